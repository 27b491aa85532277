package synth

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// The channels a Machine emits.
const (
	Vibration   = "vibration"   // acceleration of the drive-end bearing housing, m/s², in bursts
	Temperature = "temperature" // of the same housing, °C
	Pressure    = "pressure"    // at the pump's outlet, Pa
)

// Config describes a machine. The zero value of a field means its default.
type Config struct {
	// Name of the machine. Required.
	Name string
	// Seed decides everything that is random: noise, and within 20 % how this
	// machine differs from its sisters. Default 0.
	Seed uint64
	// Faults the machine gets. Default none.
	Faults []Fault

	// ShaftHz is the speed of the shaft without load. Default 25 Hz (1500 rpm).
	ShaftHz float64
	// Bearing at the drive end. Default SKF6205.
	Bearing Bearing
	// Vanes of the pump's wheel. Default 6.
	Vanes int
	// ResonanceHz and Damping (a fraction of the critical one) belong to the
	// housing that impacts make ring. Default 1000 Hz and 0.04.
	ResonanceHz, Damping float64
	// ThermalLag is the time constant with which temperature follows heat.
	// Default 3 min.
	ThermalLag time.Duration
	// LoadSwings are what the load, a fraction of the rated one, does about its
	// mean of 0.6. Default: 0.12 in 5 min, 0.06 in 127 s, 0.04 in 47 s. Their
	// phases come from the seed.
	LoadSwings []Swing

	// Start is the time of the first sample. Default: the local time when Run
	// begins, in whole seconds.
	Start time.Time
	// RateHz and BurstSamples shape a vibration burst. Default 3200 and 3200.
	RateHz       float64
	BurstSamples int
	// BurstEvery is the pause from the beginning of a burst to that of the
	// next. Default: the burst's own length, so that bursts are seamless.
	BurstEvery time.Duration
	// ScalarEvery is the pause between values of temperature, and of pressure.
	// Default 1 s.
	ScalarEvery time.Duration
	// Duration is how long the machine runs, in its own time. Default: for ever.
	Duration time.Duration
	// Speed is how much faster than the machine's time the blocks come: 1 is
	// real time. Default 0: as fast as they are consumed.
	Speed float64
}

// Swing is one slow sine in the load.
type Swing struct {
	Amplitude float64
	Period    time.Duration
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// WithDefaults returns c with every field set that has a default and is zero.
func (c Config) WithDefaults() Config {
	orDefault(&c.ShaftHz, 25)
	orDefault(&c.Bearing, SKF6205())
	orDefault(&c.Vanes, 6)
	orDefault(&c.ResonanceHz, 1000)
	orDefault(&c.Damping, 0.04)
	orDefault(&c.ThermalLag, 3*time.Minute)
	if c.LoadSwings == nil {
		c.LoadSwings = []Swing{{0.12, 5 * time.Minute}, {0.06, 127 * time.Second}, {0.04, 47 * time.Second}}
	}
	orDefault(&c.RateHz, 3200)
	orDefault(&c.BurstSamples, 3200)
	orDefault(&c.BurstEvery, time.Duration(float64(c.BurstSamples)/c.RateHz*float64(time.Second)))
	orDefault(&c.ScalarEvery, time.Second)
	return c
}

func (c Config) validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	positive := func(x float64) bool { return x > 0 && !math.IsInf(x, 0) }
	bad(c.Name == "", "machine has no name")
	bad(!positive(c.ShaftHz), "ShaftHz %v is not a speed", c.ShaftHz)
	bad(c.Vanes < 1, "Vanes %d: the pump needs at least one", c.Vanes)
	bad(!positive(c.RateHz), "RateHz %v is not a sampling rate", c.RateHz)
	bad(!positive(c.ResonanceHz) || c.ResonanceHz >= c.RateHz/2, "ResonanceHz %v must be below half of RateHz %v, else it would alias", c.ResonanceHz, c.RateHz)
	bad(!(c.Damping > 0 && c.Damping < 1), "Damping %v must lie between 0 and 1", c.Damping)
	bad(c.ThermalLag <= 0, "ThermalLag %v must be positive", c.ThermalLag)
	bad(c.BurstSamples < 1, "BurstSamples %d: a burst needs at least one", c.BurstSamples)
	bad(positive(c.RateHz) && c.BurstEvery.Seconds() < float64(c.BurstSamples)/c.RateHz-1e-6, "BurstEvery %v is shorter than a burst", c.BurstEvery)
	bad(c.ScalarEvery <= 0, "ScalarEvery %v must be positive", c.ScalarEvery)
	bad(c.Duration < 0, "Duration %v is negative", c.Duration)
	bad(c.Speed < 0 || math.IsNaN(c.Speed) || math.IsInf(c.Speed, 0), "Speed %v is not a positive factor", c.Speed)
	sum := 0.0
	for _, s := range c.LoadSwings {
		bad(s.Period <= 0, "load swing with period %v", s.Period)
		sum += math.Abs(s.Amplitude)
	}
	bad(!(sum <= meanLoad), "load swings add up to %v; more than %v would make the load negative", sum, meanLoad)
	errs = append(errs, c.Bearing.Validate())
	for _, f := range c.Faults {
		errs = append(errs, f.validate())
	}
	return errors.Join(errs...)
}
