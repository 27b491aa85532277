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

// ISOZones returns the boundaries for a machine's group and support as printed in ISO
// 10816-3:2009, tables A.1 and A.2, which ISO 20816-3:2022 took over. Copies of these
// tables contradict each other, and a machine's maker or buyer may agree on others: check
// them against the standard, and configure what holds for the machine.
//
// Group 1 is above 300 kW or a shaft height of 315 mm and more, group 2 from 15 kW. A
// support is flexible when the machine's lowest natural frequency on it is less than a
// quarter above the shaft's. ok is false for another group.
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
