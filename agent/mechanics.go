package agent

import (
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/bearing"
	"github.com/millwright-iot/millwright/sensors/features"
)

// MechanicsConfig says what a machine is made of, for features that must know it:
// bearing lines, shaft orders, gear mesh, vane pass, mains lines, ISO zones,
// temperatures above the surroundings'. It stands at a machine, for all its channels,
// and at a channel, where what is set replaces the machine's.
type MechanicsConfig struct {
	// ShaftHz is the speed of a shaft that always turns at the same speed.
	// SpeedChannel instead names the machine's channel that measures it: a rotation
	// speed, a shaft angle, or the signal of a tacho with PulsesPerTurn (default 1).
	ShaftHz       float64 `yaml:"shaft_hz" json:"shaft_hz,omitempty"`
	SpeedChannel  string  `yaml:"speed_channel" json:"speed_channel,omitempty"`
	PulsesPerTurn float64 `yaml:"pulses_per_turn" json:"pulses_per_turn,omitempty"`
	// Bearing is the number of a common bearing, such as "6205-2RS"; BearingGeometry
	// describes one that is not in the catalogue.
	Bearing         string                 `yaml:"bearing" json:"bearing,omitempty"`
	BearingGeometry *BearingGeometryConfig `yaml:"bearing_geometry" json:"bearing_geometry,omitempty"`
	GearTeeth       int                    `yaml:"gear_teeth" json:"gear_teeth,omitempty"` // of the gear on the shaft
	Vanes           int                    `yaml:"vanes" json:"vanes,omitempty"`           // of the pump or fan wheel
	LineHz          float64                `yaml:"line_hz" json:"line_hz,omitempty"`       // of the mains, 50 or 60
	// ISOGroup, 1 or 2, and FlexibleSupport choose the zones of ISO 20816-3; Zones
	// gives the three boundaries themselves, in mm/s. Default group 2, rigid.
	ISOGroup        int       `yaml:"iso_group" json:"iso_group,omitempty"`
	FlexibleSupport bool      `yaml:"flexible_support" json:"flexible_support,omitempty"`
	Zones           []float64 `yaml:"zones_mm_s" json:"zones_mm_s,omitempty"`
	// AmbientChannel names the machine's channel that measures the temperature of its
	// surroundings.
	AmbientChannel string `yaml:"ambient_channel" json:"ambient_channel,omitempty"`
	// LoadChannel names the machine's channel that measures its load, such as its power.
	// LoadSlope is by how much the mean of the channel this stands at rises with it when
	// the machine is healthy, in base units of the one per base unit of the other: °C per W.
	LoadChannel string  `yaml:"load_channel" json:"load_channel,omitempty"`
	LoadSlope   float64 `yaml:"load_slope" json:"load_slope,omitempty"`
}

// BearingGeometryConfig is a bearing whose outer ring stands still.
type BearingGeometryConfig struct {
	Balls           int     `yaml:"balls" json:"balls"` // or rollers, in one row
	BallDiameterMM  float64 `yaml:"ball_diameter_mm" json:"ball_diameter_mm"`
	PitchDiameterMM float64 `yaml:"pitch_diameter_mm" json:"pitch_diameter_mm"`
	ContactAngleDeg float64 `yaml:"contact_angle_deg" json:"contact_angle_deg"` // default 0
}

func (b *BearingGeometryConfig) geometry() bearing.Geometry {
	return bearing.Geometry{Balls: b.Balls, BallDiameterMM: b.BallDiameterMM, PitchDiameterMM: b.PitchDiameterMM, ContactAngleRad: b.ContactAngleDeg * math.Pi / 180}
}

// check reports what is wrong with c. quantity tells what a channel of the machine
// measures; ok is false when there is none of that name.
func (c *MechanicsConfig) check(problem problemFunc, path string, quantity func(channel string) (q sensors.Quantity, ok bool)) {
	if c == nil {
		return
	}
	for key, x := range map[string]float64{"shaft_hz": c.ShaftHz, "pulses_per_turn": c.PulsesPerTurn, "line_hz": c.LineHz, "gear_teeth": float64(c.GearTeeth), "vanes": float64(c.Vanes)} {
		if !(x >= 0) || math.IsInf(x, 0) {
			problem(path+"."+key, "is %v; it must be a positive number", x)
		}
	}
	if c.ShaftHz != 0 && c.SpeedChannel != "" {
		problem(path+".speed_channel", "excludes shaft_hz: the shaft either turns at one speed or is measured; keep one of them")
	}
	if c.PulsesPerTurn != 0 && c.SpeedChannel == "" {
		problem(path+".pulses_per_turn", "belongs to a tacho; name its channel as speed_channel")
	}
	if _, ok := quantity(c.SpeedChannel); !ok && c.SpeedChannel != "" {
		problem(path+".speed_channel", "%q is not a channel of this machine", c.SpeedChannel)
	}
	if q, ok := quantity(c.AmbientChannel); c.AmbientChannel != "" && (!ok || q != sensors.Temperature) {
		problem(path+".ambient_channel", "%q is not a channel of this machine that measures a temperature", c.AmbientChannel)
	}
	if _, ok := quantity(c.LoadChannel); !ok && c.LoadChannel != "" {
		problem(path+".load_channel", "%q is not a channel of this machine", c.LoadChannel)
	}
	if (c.LoadChannel == "") != (c.LoadSlope == 0) {
		problem(path+".load_slope", "belongs together with load_channel; give both")
	}
	switch {
	case c.Bearing != "" && c.BearingGeometry != nil:
		problem(path+".bearing_geometry", "excludes bearing; keep one of them")
	case c.Bearing != "":
		if _, err := bearing.Lookup(c.Bearing); err != nil {
			problem(path+".bearing", "%v, under bearing_geometry", err)
		}
	case c.BearingGeometry != nil:
		if err := c.BearingGeometry.geometry().Validate(); err != nil {
			problem(path+".bearing_geometry", "%v", err)
		}
	}
	switch {
	case c.Zones != nil && (c.ISOGroup != 0 || c.FlexibleSupport):
		problem(path+".zones_mm_s", "excludes iso_group and flexible_support; keep one way to give the zones")
	case c.Zones != nil && len(c.Zones) != 3:
		problem(path+".zones_mm_s", "has %d numbers; give three, where zones B, C and D begin", len(c.Zones))
	case c.Zones != nil:
		if err := (features.Zones{AB: c.Zones[0], BC: c.Zones[1], CD: c.Zones[2]}).Validate(); err != nil {
			problem(path+".zones_mm_s", "%v", err)
		}
	case c.ISOGroup != 0:
		if _, ok := features.ISOZones(c.ISOGroup, c.FlexibleSupport); !ok {
			problem(path+".iso_group", "is %d; the groups of ISO 20816-3 are 1 and 2", c.ISOGroup)
		}
	}
}

// over returns c with what the channel sets in place of it. Both may be nil.
func (c *MechanicsConfig) over(channel *MechanicsConfig) MechanicsConfig {
	var m MechanicsConfig
	if c != nil {
		m = *c
	}
	if channel == nil {
		return m
	}
	if channel.ShaftHz != 0 || channel.SpeedChannel != "" {
		m.ShaftHz, m.SpeedChannel, m.PulsesPerTurn = channel.ShaftHz, channel.SpeedChannel, channel.PulsesPerTurn
	}
	if channel.Bearing != "" || channel.BearingGeometry != nil {
		m.Bearing, m.BearingGeometry = channel.Bearing, channel.BearingGeometry
	}
	if channel.Zones != nil || channel.ISOGroup != 0 || channel.FlexibleSupport {
		m.Zones, m.ISOGroup, m.FlexibleSupport = channel.Zones, channel.ISOGroup, channel.FlexibleSupport
	}
	if channel.LoadChannel != "" {
		m.LoadChannel, m.LoadSlope = channel.LoadChannel, channel.LoadSlope
	}
	set(&m.GearTeeth, channel.GearTeeth)
	set(&m.Vanes, channel.Vanes)
	set(&m.LineHz, channel.LineHz)
	set(&m.AmbientChannel, channel.AmbientChannel)
	return m
}

func set[T comparable](field *T, value T) {
	var zero T
	if value != zero {
		*field = value
	}
}

// context is what features are told. c has been checked.
func (c MechanicsConfig) context() features.Context {
	x := features.Context{
		ShaftHz: c.ShaftHz, SpeedChannel: c.SpeedChannel, PulsesPerTurn: c.PulsesPerTurn,
		GearTeeth: c.GearTeeth, Vanes: c.Vanes, LineHz: c.LineHz, AmbientChannel: c.AmbientChannel,
		LoadChannel: c.LoadChannel, LoadSlope: c.LoadSlope,
	}
	if c.BearingGeometry != nil {
		x.Bearing = c.BearingGeometry.geometry()
	} else if c.Bearing != "" {
		entry, _ := bearing.Lookup(c.Bearing)
		x.Bearing = entry.Geometry
	}
	if len(c.Zones) == 3 {
		x.Zones = features.Zones{AB: c.Zones[0], BC: c.Zones[1], CD: c.Zones[2]}
	} else if c.ISOGroup != 0 || c.FlexibleSupport {
		group := c.ISOGroup
		if group == 0 {
			group = 2
		}
		x.Zones, _ = features.ISOZones(group, c.FlexibleSupport)
	}
	return x
}

// checkMechanics checks what is said of the machine and of each of its channels.
func (m *MachineConfig) checkMechanics(problem problemFunc, path string) {
	quantities := m.quantities()
	quantity := func(channel string) (sensors.Quantity, bool) {
		q, ok := quantities[channel]
		return q, ok
	}
	m.Mechanics.check(problem, path+".mechanics", quantity)
	for j := range m.Channels {
		m.Channels[j].Mechanics.check(problem, fmt.Sprintf("%s.channels[%d].mechanics", path, j), quantity)
	}
}

// contexts is what features are told of each channel of which something is known.
func (m *MachineConfig) contexts() map[string]features.Context {
	all := map[string]features.Context{}
	for name := range m.quantities() {
		var own *MechanicsConfig
		for j := range m.Channels {
			if m.Channels[j].Name == name {
				own = m.Channels[j].Mechanics
			}
		}
		x := m.Mechanics.over(own).context()
		if x.SpeedChannel == name { // the speed has no speed
			x.SpeedChannel, x.PulsesPerTurn = "", 0
		}
		if x.AmbientChannel == name {
			x.AmbientChannel = ""
		}
		if x.LoadChannel == name {
			x.LoadChannel, x.LoadSlope = "", 0
		}
		if x != (features.Context{}) {
			all[name] = x
		}
	}
	return all
}
