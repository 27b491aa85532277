package dsp

import (
	"errors"
	"fmt"
	"math"
)

// Rotation is how a shaft turned: its angle at increasing times. It is filled from a
// tacho, from measured speed or from measured phase, and then says the mean speed and
// resamples a signal evenly in angle (order tracking: K. R. Fyfe and E. D. S. Munck,
// Analysis of computed order tracking, Mechanical Systems and Signal Processing 11 (1997)
// 187–205).
//
// Between two known angles the time is a cubic of the angle, with slopes from the
// neighbours. The zero value is empty. It reuses its buffers.
type Rotation struct {
	timeS, turns []float64 // of the knots, both strictly increasing
	last, lastS  float64   // newest speed and its time, or newest phase
}

// ErrStill is returned when the shaft does not turn.
var ErrStill = errors.New("the shaft does not turn")

// Reset forgets everything.
func (r *Rotation) Reset() { r.timeS, r.turns = r.timeS[:0], r.turns[:0] }

// Knots returns how many angles are known.
func (r *Rotation) Knots() int { return len(r.timeS) }

// add appends a knot if it is later and further on than the one before it.
func (r *Rotation) add(timeS, turns float64) {
	if n := len(r.timeS); n > 0 && !(timeS > r.timeS[n-1] && turns > r.turns[n-1]) {
		return
	}
	r.timeS, r.turns = append(r.timeS, timeS), append(r.turns, turns)
}

// AddPulses adds the rising edges of a tacho signal: samples xs at rateHz, of which the
// first is at startS, with so many pulses a turn. An edge is where the signal rises
// through the middle between its lowest and highest value, interpolated; the next one
// counts only after the signal fell below a quarter of its range, so that noise on an
// edge is not a pulse. A signal without edges adds nothing.
func (r *Rotation) AddPulses(xs []float64, rateHz, startS, perTurn float64) error {
	if !(rateHz > 0) || !(perTurn > 0) {
		return fmt.Errorf("read tacho: a rate of %g Hz and %g pulses a turn must be positive", rateHz, perTurn)
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, x := range xs {
		lo, hi = min(lo, x), max(hi, x)
	}
	if !(hi > lo) {
		return nil
	}
	middle, rearm := (lo+hi)/2, lo+(hi-lo)/4
	angle, armed := 0.0, false
	if n := len(r.turns); n > 0 {
		angle = r.turns[n-1] + 1/perTurn
	}
	for i, x := range xs {
		if x < rearm {
			armed = true
		}
		if armed && x >= middle && i > 0 {
			armed = false
			part := (middle - xs[i-1]) / (x - xs[i-1])
			r.add(startS+(float64(i-1)+part)/rateHz, angle)
			angle += 1 / perTurn
		}
	}
	return nil
}

// AddSpeed adds measured speeds hz in Hz, taken at rateHz from startS on; the angle is
// their integral by trapezoids, also from the last one added before. A negative speed
// counts as its size; a standstill adds no angle.
func (r *Rotation) AddSpeed(hz []float64, rateHz, startS float64) {
	for i, v := range hz {
		t, v := sampleTime(i, rateHz, startS), math.Abs(v)
		if n := len(r.timeS); n == 0 {
			r.add(t, 0)
		} else {
			r.add(t, r.turns[n-1]+(t-r.lastS)*(v+r.last)/2)
		}
		r.last, r.lastS = v, t
	}
}

// AddPhase adds measured shaft angles in radians, taken at rateHz from startS on. They
// may be wrapped to one turn: a step of more than half a turn is a wrap. The shaft may
// turn either way, but one way in all of one call; steps back are noise.
func (r *Rotation) AddPhase(rad []float64, rateHz, startS float64) {
	if len(rad) == 0 {
		return
	}
	step := func(from, to float64) float64 {
		turns := (to - from) / (2 * math.Pi)
		return turns - math.Round(turns)
	}
	sum := 0.0
	for i := 1; i < len(rad); i++ {
		sum += step(rad[i-1], rad[i])
	}
	way := math.Copysign(1, sum)
	angle := 0.0
	if n := len(r.turns); n > 0 {
		angle = r.turns[n-1] + max(0, way*step(r.last, rad[0]))
	}
	for i, x := range rad {
		if i > 0 {
			angle += way * step(rad[i-1], x)
		}
		r.add(sampleTime(i, rateHz, startS), angle)
	}
	r.last = rad[len(rad)-1]
}

// sampleTime is when sample i was taken; a single one may have no rate.
func sampleTime(i int, rateHz, startS float64) float64 {
	if i == 0 {
		return startS
	}
	return startS + float64(i)/rateHz
}

// MeanHz returns the mean speed between the first and last known angle, or ErrStill when
// fewer than two are known.
func (r *Rotation) MeanHz() (float64, error) {
	n := len(r.timeS)
	if n < 2 {
		return 0, ErrStill
	}
	return (r.turns[n-1] - r.turns[0]) / (r.timeS[n-1] - r.timeS[0]), nil
}

// Resample appends to dst the signal xs, sampled at rateHz from startS on, at perTurn
// points in every turn, and returns it: from the first known angle or sample on to the
// last. Values between samples come from the polynomial through the six around them. The
// signal should have little above 0.3·rateHz, and perTurn times the speed should not be
// less than twice the highest frequency in it.
func (r *Rotation) Resample(dst, xs []float64, rateHz, startS float64, perTurn int) ([]float64, error) {
	if len(r.timeS) < 2 {
		return dst, ErrStill
	}
	if perTurn < 1 || !(rateHz > 0) || len(xs) < 6 {
		return dst, fmt.Errorf("resample in angle: %d samples at %g Hz, %d points a turn; it needs 6 samples", len(xs), rateHz, perTurn)
	}
	last := len(r.timeS) - 1
	endS := startS + float64(len(xs)-1)/rateHz
	knot := 0
	for k := int(math.Ceil(r.turns[0] * float64(perTurn))); ; k++ {
		angle := float64(k) / float64(perTurn)
		if angle > r.turns[last] {
			return dst, nil
		}
		for knot < last-1 && r.turns[knot+1] < angle {
			knot++
		}
		t := r.at(knot, angle)
		if t < startS {
			continue
		}
		if t > endS {
			return dst, nil
		}
		dst = append(dst, lagrange6(xs, (t-startS)*rateHz))
	}
}

// at returns the time of an angle between knots i and i+1.
func (r *Rotation) at(i int, angle float64) float64 {
	t0, t1, a0, a1 := r.timeS[i], r.timeS[i+1], r.turns[i], r.turns[i+1]
	h := a1 - a0
	s := (t1 - t0) / h
	m0, m1 := s, s // seconds a turn at both ends
	if i > 0 {
		m0 = slopeAt(r.timeS[i-1], t0, t1, r.turns[i-1], a0, a1)
	}
	if i+2 < len(r.timeS) {
		m1 = slopeAt(t0, t1, r.timeS[i+2], a0, a1, r.turns[i+2])
	}
	if i == 0 {
		m0 = 2*s - m1 // parabola at the ends
	}
	if i+2 >= len(r.timeS) {
		m1 = 2*s - m0
		if i == 0 {
			m0, m1 = s, s
		}
	}
	// Time must not run backwards however rough the knots are (F. N. Fritsch and R. E.
	// Carlson, Monotone piecewise cubic interpolation, SIAM J. Numer. Anal. 17 (1980)
	// 238–246: slopes within 0 and 3 times the secant suffice).
	m0, m1 = min(max(m0, 0), 3*s), min(max(m1, 0), 3*s)
	u := (angle - a0) / h
	v := 1 - u
	return v*v*(1+2*u)*t0 + u*u*(3-2*u)*t1 + h*u*v*(v*m0-u*m1)
}

// slopeAt is the derivative at the middle one of three points by the parabola through
// them.
func slopeAt(t0, t1, t2, a0, a1, a2 float64) float64 {
	h0, h1 := a1-a0, a2-a1
	return ((t1-t0)/h0*h1 + (t2-t1)/h1*h0) / (h0 + h1)
}

// lagrange6 interpolates xs at position p by Lagrange's polynomial through six samples.
func lagrange6(xs []float64, p float64) float64 {
	i := min(max(int(p)-2, 0), len(xs)-6)
	u := p - float64(i) // 2 to 3 in the middle of xs
	y := (*[6]float64)(xs[i:])
	d0, d1, d2, d3, d4, d5 := u, u-1, u-2, u-3, u-4, u-5
	a01, a45 := d0*d1, d4*d5
	a012, a345 := a01*d2, d3*a45
	return -y[0]*d1*d2*a345/120 + y[1]*d0*d2*a345/24 - y[2]*a01*a345/12 +
		y[3]*a012*a45/12 - y[4]*a012*d3*d5/24 + y[5]*a012*d3*d4/120
}
