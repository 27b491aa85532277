// Package synth generates the measurements of a pump driven by an electric
// motor, from physics and a seed: vibration with shaft harmonics, imbalance,
// misalignment and bearing faults, temperature that follows load and friction
// with a lag, pressure with the ripple of the pump's vanes. A [Fault] begins at
// a time of your choice and grows.
//
// It makes test and demonstration data whose truth is known. It is no digital
// twin: amplitudes are plausible for a pump of some 15 kW, not measured on one.
package synth

import "github.com/millwright-iot/millwright/sensors/bearing"

// Bearing is the geometry of the machine's bearing.
type Bearing = bearing.Geometry

// SKF6205 is the deep-groove ball bearing 6205-2RS of the Case Western Reserve
// recordings: 9 balls of 7.94 mm on a pitch circle of 39.04 mm.
func SKF6205() Bearing { return Bearing{Balls: 9, BallDiameterMM: 7.94, PitchDiameterMM: 39.04} }
