package chips

import (
	"errors"

	"github.com/millwright-iot/millwright/sensors"
)

// Output is one thing that a chip without a stream measures.
type Output struct {
	Name     string // as Options.Measure spells it
	Quantity sensors.Quantity
}

// ConfigureScalar settles the options of the channels that share a chip with the
// given outputs: which output each channel reads, and the plan.
func ConfigureScalar(options []Options, outputs []Output) (which []int, plan Plan, err error) {
	names := make([]string, len(outputs))
	for i, o := range outputs {
		names[i] = o.Name
	}
	errs := []error{Agree(options)}
	plan.Every = options[0].Every
	if plan.Every == 0 {
		plan.Every = DefaultEvery
	}
	for _, o := range options {
		i, err := Index("measure", o.Measure, names...)
		errs = append(errs, err, CheckUnit(o.Unit, outputs[i].Quantity))
		which = append(which, i)
		plan.Quantities = append(plan.Quantities, outputs[i].Quantity)
	}
	return which, plan, errors.Join(errs...)
}
