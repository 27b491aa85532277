package features

import (
	"errors"
	"math"
)

// Zones are the boundaries between the evaluation zones of ISO 20816-3: vibration
// velocity on housings, RMS, in mm/s.
type Zones struct {
	AB, BC, CD float64 // zone B begins at AB, zone C at BC, zone D at CD
}

// DefaultZones returns the boundaries used when none are configured: group 2 on a rigid
// support, the strictest.
func DefaultZones() Zones { return Zones{1.4, 2.8, 4.5} }

// ISOZones returns the boundaries for a machine's group and support: ISO 20816-3:2022,
// tables A.1 and A.2, the same as in ISO 10816-3:2009. They were compared with three
// printings that do not copy each other: GB/T 6075.3-2011, which is ISO 10816-3:2009
// translated, and two programs for vibration analysts that name the edition they took
// them from. Many copies on the web are of older tables (ISO 10816-1's four classes,
// ISO 2372) under this name. A machine's maker or buyer may agree on others: configure
// what holds for the machine.
//
// Group 1 is above 300 kW or a shaft height of 315 mm and more, group 2 from 15 kW or
// 160 mm. A support is flexible when the machine's lowest natural frequency on it is less
// than a quarter above the shaft's. ok is false for another group.
//
// Rotodynamic pumps left ISO 10816-3 with its second edition and have ISO 10816-7:2009,
// which does not ask for the support. Its boundaries, from one source only (Europump,
// Guidelines on Pump Vibration, 2013, as quoted), are to be configured: category I, for
// hazardous or critical service, 2.5, 4.0, 6.6 up to 200 kW and 3.5, 5.0, 7.6 above;
// category II 3.2, 5.1, 8.5 and 4.2, 6.1, 9.5.
func ISOZones(group int, flexible bool) (z Zones, ok bool) {
	switch {
	case group == 1 && flexible:
		return Zones{3.5, 7.1, 11}, true
	case group == 1, group == 2 && flexible:
		return Zones{2.3, 4.5, 7.1}, true
	case group == 2:
		return DefaultZones(), true
	}
	return Zones{}, false
}

// slowHz is the speed of 600 turns a minute. Below it ISO 20816-3 asks for vibration from
// 2 Hz on instead of 10, or the shaft's own frequency would be left out.
const slowHz = 10

// zoneBand returns where the velocity for a zone begins and ends, for a shaft that always
// turns at shaftHz; 0 for one whose speed is not known or varies.
func zoneBand(shaftHz float64) (loHz, hiHz float64) {
	if shaftHz > 0 && shaftHz < slowHz {
		return 2, 1000
	}
	return 10, 1000
}

// Validate reports boundaries that are not positive and increasing.
func (z Zones) Validate() error {
	if !(z.AB > 0 && z.BC > z.AB && z.CD > z.BC) || math.IsInf(z.CD, 0) {
		return errors.New("zone boundaries must be positive and increase from A/B to C/D")
	}
	return nil
}

// Of returns the zone of a velocity: 0 is A, 1 B, 2 C and 3 D. A boundary belongs to the
// worse zone.
func (z Zones) Of(velocityRMSMMPerS float64) int {
	switch {
	case velocityRMSMMPerS >= z.CD:
		return 3
	case velocityRMSMMPerS >= z.BC:
		return 2
	case velocityRMSMMPerS >= z.AB:
		return 1
	}
	return 0
}
