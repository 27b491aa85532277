package features

import (
	"errors"
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/bearing"
)

// Context is what some features must know of the machine around a channel. The zero
// value of a field is "not known": a feature that needs it is then an error of New.
type Context struct {
	// ShaftHz is the speed of a shaft that always turns at the same speed.
	ShaftHz float64
	// SpeedChannel names the channel that measures the shaft instead: a rotation
	// speed, an angle (phase, may be wrapped), or the signal of a tacho, which is any
	// other quantity. It must be one of the channels given to New. Orders are then
	// tracked: the signal is resampled evenly in shaft angle.
	SpeedChannel string
	// PulsesPerTurn is of the tacho. Default 1.
	PulsesPerTurn float64
	// Bearing is the geometry of the bearing that the channel listens to; see
	// bearing.Lookup for common ones.
	Bearing bearing.Geometry
	// GearTeeth is of the gear on the shaft, Vanes of the pump or fan wheel.
	GearTeeth, Vanes int
	// LineHz is the mains' frequency, 50 or 60.
	LineHz float64
	// Zones are the boundaries for iso_zone. Default DefaultZones.
	Zones Zones
	// AmbientChannel names the channel, one of those given to New, that measures the
	// temperature of the surroundings.
	AmbientChannel string
	// LoadChannel names the channel, one of those given to New, that measures how hard the
	// machine works: its power, current, torque or speed. LoadSlope is by how much the mean
	// of this channel rises with it when the machine is healthy, in base units of this
	// channel per base unit of that one: the slope of a straight line through healthy windows.
	LoadChannel string  `json:",omitempty"`
	LoadSlope   float64 `json:",omitempty"`
}

// problems returns what is wrong with c itself.
func (c *Context) problems() (errs []error) {
	for _, x := range []struct {
		name  string
		value float64
	}{{"ShaftHz", c.ShaftHz}, {"PulsesPerTurn", c.PulsesPerTurn}, {"LineHz", c.LineHz}} {
		if !(x.value >= 0) || math.IsInf(x.value, 0) {
			errs = append(errs, fmt.Errorf("%s is %g; it must be a positive number", x.name, x.value))
		}
	}
	if math.IsNaN(c.LoadSlope) || math.IsInf(c.LoadSlope, 0) {
		errs = append(errs, fmt.Errorf("LoadSlope is %g; it must be a number", c.LoadSlope))
	}
	if c.GearTeeth < 0 || c.Vanes < 0 {
		errs = append(errs, fmt.Errorf("GearTeeth %d and Vanes %d must not be negative", c.GearTeeth, c.Vanes))
	}
	if c.ShaftHz > 0 && c.SpeedChannel != "" {
		errs = append(errs, errors.New("ShaftHz and SpeedChannel are both given; the shaft either turns at one speed or is measured"))
	}
	if !c.Bearing.IsZero() {
		if err := c.Bearing.Validate(); err != nil {
			errs = append(errs, err)
		}
	}
	if c.Zones != (Zones{}) {
		if err := c.Zones.Validate(); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// lacks returns what a feature needs and c does not say.
func (c *Context) lacks(n needs) string {
	switch {
	case n&needShaft != 0 && c.ShaftHz == 0 && c.SpeedChannel == "":
		return "the shaft's speed: give ShaftHz, or SpeedChannel"
	case n&needEnvelope != 0 && c.Bearing.IsZero():
		return "the bearing: give its geometry, or look up its number"
	case n&needLine != 0 && c.LineHz == 0:
		return "the mains' frequency: give LineHz, 50 or 60"
	case n&needGear != 0 && c.GearTeeth == 0:
		return "the gear: give GearTeeth"
	case n&needVanes != 0 && c.Vanes == 0:
		return "the wheel: give Vanes"
	case n&needAmbient != 0 && c.AmbientChannel == "":
		return "the surroundings' temperature: give AmbientChannel"
	case n&needLoad != 0 && (c.LoadChannel == "" || c.LoadSlope == 0):
		return "the load: give LoadChannel and LoadSlope"
	}
	return ""
}

// refer finds the channels that the contexts name.
func (e *Extractor) refer() (errs []error) {
	find := func(name string) int {
		for i := range e.channels {
			if e.channels[i].name == name {
				return i
			}
		}
		return -1
	}
	for i := range e.channels {
		c := &e.channels[i]
		c.speed, c.ambient, c.load = -1, -1, -1
		if name := c.context.SpeedChannel; name != "" {
			if c.speed = find(name); c.speed < 0 || c.speed == i {
				errs = append(errs, fmt.Errorf("channel %q: its speed channel %q is not another one of the channels", c.name, name))
			}
		}
		if name := c.context.AmbientChannel; name != "" {
			c.ambient = find(name)
			if c.ambient < 0 || c.ambient == i || e.channels[c.ambient].quantity != sensors.Temperature {
				errs = append(errs, fmt.Errorf("channel %q: its ambient channel %q is not another one of the channels that measures temperature", c.name, name))
			}
		}
		if name := c.context.LoadChannel; name != "" {
			if c.load = find(name); c.load < 0 || c.load == i {
				errs = append(errs, fmt.Errorf("channel %q: its load channel %q is not another one of the channels", c.name, name))
			}
		}
	}
	return errs
}
