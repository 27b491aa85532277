package ads1115

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/chips"
)

// Levels of a 4–20 mA loop by NAMUR NE 43: a transmitter that is well stays within
// 3.8 to 20.5 mA, at whose ends it is saturated; below 3.6 and above 21 mA it, or
// the wire, has failed.
const (
	failLowMA, saturatedLowMA   = 3.6, 3.8
	saturatedHighMA, failHighMA = 20.5, 21.0
)

// fullScales are the ranges of the amplifier in V, with their code in PGA[2:0].
var fullScales = []float64{6.144, 4.096, 2.048, 1.024, 0.512, 0.256}

// input is one channel: what to convert and what the code means.
type input struct {
	mux       byte // MUX[2:0]
	gain      byte // PGA[2:0]
	fullV     float64
	shuntOhm  float64 // 0: the channel is a voltage
	loop      bool
	low, high float64 // at 4 and 20 mA, in unit
	unit      sensors.Unit
	quantity  sensors.Quantity
}

// muxes are the inputs in the order of MUX[2:0] (config register, bits 14:12).
var muxes = []string{"ain0-ain1", "ain0-ain3", "ain1-ain3", "ain2-ain3", "ain0", "ain1", "ain2", "ain3"}

func newInput(o chips.Options) (in input, err error) {
	var errs []error
	name := o.Input
	if name == "" {
		name = "ain0"
	}
	mux, err := chips.Index("input", name, muxes...)
	errs = append(errs, err)
	in.mux, in.shuntOhm, in.unit = byte(mux), o.ShuntOhm, o.Unit
	if in.fullV, err = chips.Choose("range_v", o.RangeV, defaultRange(o.ShuntOhm), fullScales); err != nil {
		errs = append(errs, err)
	}
	in.gain = byte(max(0, slices.Index(fullScales, in.fullV)))
	in.quantity = sensors.Voltage
	if in.shuntOhm > 0 {
		in.quantity = sensors.Current
	}
	switch {
	case (o.At4mA == nil) != (o.At20mA == nil):
		errs = append(errs, errors.New("at_4ma, at_20ma: give both or neither"))
	case o.At4mA == nil:
		errs = append(errs, chips.CheckUnit(o.Unit, in.quantity))
	default:
		in.loop, in.low, in.high = true, *o.At4mA, *o.At20mA
		errs = append(errs, in.checkLoop())
	}
	return in, errors.Join(errs...)
}

func (in *input) checkLoop() error {
	switch {
	case in.shuntOhm == 0:
		return errors.New("shunt_ohm is missing; at_4ma and at_20ma need the resistance that the loop flows through")
	case in.unit.Symbol == "" || in.unit.Scale == 0:
		return errors.New("unit is missing; name the one of at_4ma and at_20ma, such as bar")
	case in.low == in.high:
		return fmt.Errorf("at_4ma, at_20ma: both are %v; give the values at the ends of the range", in.low)
	case in.fullV/in.shuntOhm*1000 <= failHighMA:
		return fmt.Errorf("range_v: %v V over shunt_ohm %v is %.3g mA; choose a larger range, so that more than %v mA, a failure, can be seen",
			in.fullV, in.shuntOhm, in.fullV/in.shuntOhm*1000, failHighMA)
	}
	in.quantity = in.unit.Quantity
	return nil
}

// defaultRange is ±2.048 V, the chip's own, or with a shunt the smallest that
// holds 22 mA.
func defaultRange(shuntOhm float64) float64 {
	if shuntOhm == 0 {
		return 2.048
	}
	best := fullScales[0]
	for _, v := range fullScales {
		if v/shuntOhm >= 0.022 {
			best = v
		}
	}
	return best
}

// value turns a code into the channel's base unit. Clipped says that the code is at
// the converter's limit, or the loop saturated.
func (in *input) value(code int16) (v float64, clipped bool, fault error) {
	clipped = code == math.MaxInt16 || code == math.MinInt16
	v = float64(code) * in.fullV / 32768 // data sheet, "Data Format"
	if in.shuntOhm == 0 {
		return v, clipped, nil
	}
	v /= in.shuntOhm
	if !in.loop {
		return v, clipped, nil
	}
	mA := v * 1000
	switch {
	case mA < failLowMA:
		return 0, false, fmt.Errorf("loop current %.2f mA is under %v mA, a failure by NAMUR NE 43: broken wire, no supply or a failed transmitter", mA, failLowMA)
	case mA > failHighMA:
		return 0, false, fmt.Errorf("loop current %.2f mA is over %v mA, a failure by NAMUR NE 43: short circuit or a failed transmitter", mA, failHighMA)
	}
	clipped = clipped || mA < saturatedLowMA || mA > saturatedHighMA
	return in.unit.Base(in.low + (mA-4)/16*(in.high-in.low)), clipped, nil
}
