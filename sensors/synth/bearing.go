// Package synth generates the measurements of a pump driven by an electric
// motor, from physics and a seed: vibration with shaft harmonics, imbalance,
// misalignment and bearing faults, temperature that follows load and friction
// with a lag, pressure with the ripple of the pump's vanes. A [Fault] begins at
// a time of your choice and grows.
//
// It makes test and demonstration data whose truth is known. It is no digital
// twin: amplitudes are plausible for a pump of some 15 kW, not measured on one.
package synth

import (
	"errors"
	"math"
)

// Bearing is the geometry of a rolling bearing whose outer ring stands still.
// The frequencies follow R. B. Randall and J. Antoni, "Rolling element bearing
// diagnostics: a tutorial", Mechanical Systems and Signal Processing 25 (2011)
// 485–520, section 2; they assume rolling without slip, which real bearings
// miss by 1 to 2 %.
type Bearing struct {
	Balls           int
	BallDiameterMM  float64
	PitchDiameterMM float64
	ContactAngleRad float64
}

// SKF6205 is the deep-groove ball bearing 6205-2RS of the Case Western Reserve
// recordings: 9 balls of 7.94 mm on a pitch circle of 39.04 mm.
func SKF6205() Bearing { return Bearing{Balls: 9, BallDiameterMM: 7.94, PitchDiameterMM: 39.04} }

// ratio is (d/D)·cos φ.
func (b Bearing) ratio() float64 {
	return b.BallDiameterMM / b.PitchDiameterMM * math.Cos(b.ContactAngleRad)
}

// BPFO is the rate in Hz at which balls pass a point of the outer race, for a
// shaft turning at shaftHz: n/2·f·(1 − (d/D)·cos φ).
func (b Bearing) BPFO(shaftHz float64) float64 {
	return float64(b.Balls) / 2 * shaftHz * (1 - b.ratio())
}

// BPFI is the rate in Hz at which balls pass a point of the inner race:
// n/2·f·(1 + (d/D)·cos φ).
func (b Bearing) BPFI(shaftHz float64) float64 {
	return float64(b.Balls) / 2 * shaftHz * (1 + b.ratio())
}

// BSF is the rate in Hz at which a ball turns about itself:
// D/(2d)·f·(1 − ((d/D)·cos φ)²). A damaged spot on it strikes twice a turn,
// once on either race.
func (b Bearing) BSF(shaftHz float64) float64 {
	r := b.ratio()
	return b.PitchDiameterMM / (2 * b.BallDiameterMM) * shaftHz * (1 - r*r)
}

// FTF is the rate in Hz at which the cage turns: f/2·(1 − (d/D)·cos φ).
func (b Bearing) FTF(shaftHz float64) float64 { return shaftHz / 2 * (1 - b.ratio()) }

func (b Bearing) validate() error {
	finite := !math.IsNaN(b.ratio()) && !math.IsInf(b.ratio(), 0)
	if b.Balls < 3 || !(b.BallDiameterMM > 0) || !(b.PitchDiameterMM > b.BallDiameterMM) || !finite || math.Abs(b.ContactAngleRad) >= math.Pi/2 {
		return errors.New("bearing needs at least 3 balls, smaller than its pitch circle, and a contact angle below 90°")
	}
	return nil
}
