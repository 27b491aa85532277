package chips

import (
	"errors"
	"fmt"
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

// StandardGravity is 1 g in m/s², by definition (3rd CGPM, 1901).
const StandardGravity = 9.80665

// Accel is the settled configuration of a three-axis accelerometer with a FIFO.
type Accel struct {
	RateHz float64
	RangeG float64
	Axes   []int // of each channel: 0 x, 1 y, 2 z
}

// ConfigureAccel settles the options of the channels that share an
// accelerometer. Rates and ranges are those it has; defRate and defRange apply
// where the options say nothing.
func ConfigureAccel(options []Options, rates []float64, defRate float64, ranges []float64, defRange float64) (Accel, error) {
	var a Accel
	var err1, err2 error
	a.RateHz, err1 = Choose("rate_hz", options[0].RateHz, defRate, rates)
	a.RangeG, err2 = Choose("range_g", options[0].RangeG, defRange, ranges)
	errs := []error{Agree(options), err1, err2}
	for _, o := range options {
		errs = append(errs, CheckUnit(o.Unit, sensors.Acceleration))
		if o.Axis == "" {
			errs = append(errs, errors.New("axis is missing; choose x, y or z"))
			continue
		}
		i, err := Index("axis", o.Axis, "x", "y", "z")
		errs = append(errs, err)
		a.Axes = append(a.Axes, i)
	}
	return a, errors.Join(errs...)
}

// Plan is for a FIFO of depth samples an axis: it is read when half full.
func (a Accel) Plan(depth int) Plan {
	every := time.Duration(float64(depth) / 2 / a.RateHz * float64(time.Second))
	p := Plan{RateHz: a.RateHz, Every: min(max(every, 2*time.Millisecond), 250*time.Millisecond)}
	for range a.Axes {
		p.Quantities = append(p.Quantities, sensors.Acceleration)
	}
	return p
}

// Append adds one sample of all three axes, in counts of perG a g, to the
// channels of b. At or beyond lo or hi a sample counts as clipped.
func (a Accel) Append(b *Batch, counts [3]int, perG float64, lo, hi int) {
	for i, axis := range a.Axes {
		c := counts[axis]
		b.Values[i] = append(b.Values[i], float64(c)*(StandardGravity/perG))
		if c <= lo || c >= hi {
			b.Clipped[i] = true
		}
	}
}

// CheckBusRate refuses a sampling rate that a bus cannot carry.
func CheckBusRate(bus Bus, on Bus, rateHz, maxHz float64) error {
	if bus == on && rateHz > maxHz {
		return fmt.Errorf("rate_hz: %v is too fast for %s, which carries %v at most; use SPI or a lower rate", rateHz, on, maxHz)
	}
	return nil
}
