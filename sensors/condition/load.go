package condition

import "math"

// Load is a straight line through what a healthy machine measured against its load: a
// temperature over the power, say. What is left when the line is taken away, the
// residual, no longer follows the load. The zero value has learned nothing.
type Load struct {
	n, meanX, meanY, xx, xy float64
	lo, hi                  float64
}

// Learn adds a healthy window: the load and what was measured. A pair that is not finite
// is ignored. Sums are kept by means and deviations, which a large mean does not spoil
// (B. P. Welford, Note on a method for calculating corrected sums of squares and
// products, Technometrics 4 (1962) 419–420).
func (l *Load) Learn(load, measured float64) {
	if !finite(load) || !finite(measured) {
		return
	}
	if l.n == 0 {
		l.lo, l.hi = load, load
	}
	l.lo, l.hi = min(l.lo, load), max(l.hi, load)
	l.n++
	dx := load - l.meanX
	l.meanX += dx / l.n
	l.meanY += (measured - l.meanY) / l.n
	l.xx += dx * (load - l.meanX)
	l.xy += dx * (measured - l.meanY)
}

// Slope returns what is measured per unit of load, by least squares; 0 as long as the
// load did not vary.
func (l *Load) Slope() float64 {
	if size := max(math.Abs(l.lo), math.Abs(l.hi)); l.hi-l.lo <= 1e-9*size {
		return 0
	}
	return l.xy / l.xx
}

// Residual returns what the load does not explain of a measurement: it less the line. A
// load outside of what was learned counts as the nearest that was, because a line goes on
// for ever and a machine does not. Before anything was learned it is 0. The result is
// finite when both arguments are.
func (l *Load) Residual(load, measured float64) float64 {
	if l.n == 0 {
		return 0
	}
	return measured - l.meanY - l.Slope()*(min(max(load, l.lo), l.hi)-l.meanX)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
