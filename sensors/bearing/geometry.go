// Package bearing knows rolling bearings: how often their parts strike when one is
// damaged, the geometry of common ones, and which part a measured spectrum accuses.
package bearing

import (
	"errors"
	"math"
)

// Geometry is a rolling bearing whose outer ring stands still and whose inner ring
// turns with the shaft. The frequencies follow R. B. Randall and J. Antoni, "Rolling
// element bearing diagnostics: a tutorial", Mechanical Systems and Signal Processing 25
// (2011) 485–520, section 2; they assume rolling without slip, which real bearings miss
// by 1 to 2 %.
type Geometry struct {
	Balls           int     // balls or rollers in one row
	BallDiameterMM  float64 // d
	PitchDiameterMM float64 // D, of the circle through the balls' centres
	ContactAngleRad float64 // φ; 0 for a deep-groove ball bearing under radial load
}

// ratio is (d/D)·cos φ.
func (g Geometry) ratio() float64 {
	return g.BallDiameterMM / g.PitchDiameterMM * math.Cos(g.ContactAngleRad)
}

// BPFO is the rate in Hz at which balls pass a point of the outer race, for a
// shaft turning at shaftHz: n/2·f·(1 − (d/D)·cos φ).
func (g Geometry) BPFO(shaftHz float64) float64 {
	return float64(g.Balls) / 2 * shaftHz * (1 - g.ratio())
}

// BPFI is the rate in Hz at which balls pass a point of the inner race:
// n/2·f·(1 + (d/D)·cos φ).
func (g Geometry) BPFI(shaftHz float64) float64 {
	return float64(g.Balls) / 2 * shaftHz * (1 + g.ratio())
}

// BSF is the rate in Hz at which a ball turns about itself:
// D/(2d)·f·(1 − ((d/D)·cos φ)²). A damaged spot on it strikes twice a turn,
// once on either race.
func (g Geometry) BSF(shaftHz float64) float64 {
	r := g.ratio()
	return g.PitchDiameterMM / (2 * g.BallDiameterMM) * shaftHz * (1 - r*r)
}

// FTF is the rate in Hz at which the cage turns: f/2·(1 − (d/D)·cos φ).
func (g Geometry) FTF(shaftHz float64) float64 { return shaftHz / 2 * (1 - g.ratio()) }

// IsZero reports whether no bearing was given.
func (g Geometry) IsZero() bool { return g == Geometry{} }

// Validate reports why g cannot be a bearing: fewer than 3 balls, balls that are not
// smaller than the pitch circle or do not fit on it side by side, a contact angle of 90°
// or more, a number that is not finite.
func (g Geometry) Validate() error {
	finite := !math.IsNaN(g.ratio()) && !math.IsInf(g.ratio(), 0) && !math.IsInf(g.PitchDiameterMM, 0)
	if g.Balls < 3 || !(g.BallDiameterMM > 0) || !(g.PitchDiameterMM > g.BallDiameterMM) || !finite || math.Abs(g.ContactAngleRad) >= math.Pi/2 {
		return errors.New("bearing needs at least 3 balls, smaller than its pitch circle, and a contact angle below 90°")
	}
	// n balls touch each other on the circle when d = D·sin(π/n).
	if g.BallDiameterMM > g.PitchDiameterMM*math.Sin(math.Pi/float64(g.Balls)) {
		return errors.New("bearing has more balls than fit on its pitch circle; check the number of balls and both diameters")
	}
	return nil
}
