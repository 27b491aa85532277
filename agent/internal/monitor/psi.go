package monitor

import (
	"math"
	"slices"
)

// PSIBins is into how many bins a reference is cut, where its values allow.
const PSIBins = 10

// psiSmoothing is added to every count, so that an empty bin has a logarithm
// (H. Jeffreys' prior of a proportion).
const psiSmoothing = 0.5

// psiCells is into how many cells the middle 80 % of a reference are divided; edges lie
// between cells, so that a value that comes again, give or take its last bits, falls
// into one bin.
const psiCells = 50

// Histogram is how often a standardised value fell into each of at most PSIBins bins.
type Histogram struct {
	bins  int
	count [PSIBins]uint32
}

// Edges are where the bins of a feature end, ascending.
type Edges struct {
	n    int // one less than bins
	edge [PSIBins - 1]float64
}

// EdgesOf cuts standardised values, which it sorts, at their deciles, so that each bin
// holds about as many of them. Where deciles coincide there are fewer bins; what is
// constant is set apart by half a standard deviation.
func EdgesOf(z []float64) Edges {
	slices.Sort(z)
	n := len(z)
	if n == 0 || z[n-1]-z[0] < 1.0/psiCells {
		return Edges{n: 2, edge: [PSIBins - 1]float64{-0.5, 0.5}}
	}
	cell := (z[n-1-n/10] - z[n/10]) / psiCells
	if cell == 0 {
		cell = 1.0 / psiCells
	}
	var e Edges
	for i := 1; i < PSIBins; i++ {
		edge := (math.Floor(z[i*n/PSIBins]/cell) + 0.5) * cell
		if edge > z[0] && edge < z[n-1] && (e.n == 0 || edge > e.edge[e.n-1]) {
			e.edge[e.n] = edge
			e.n++
		}
	}
	if e.n == 0 { // nearly all are one value, and the rest lies on one side
		return Edges{n: 2, edge: [PSIBins - 1]float64{z[n/2] - cell/2, z[n/2] + cell/2}}
	}
	return e
}

// Bins is how many bins there are.
func (e *Edges) Bins() int { return e.n + 1 }

// Bin is in which bin z falls; NaN falls into the last.
func (e *Edges) Bin(z float64) int {
	for i, edge := range e.edge[:e.n] {
		if z < edge {
			return i
		}
	}
	return e.n
}

// Add counts a value.
func (h *Histogram) Add(e *Edges, z float64) {
	h.bins = e.Bins()
	h.count[e.Bin(z)]++
}

// PSI is the population stability index of what is against what was: Σ(p−q)·ln(p/q) over
// bins, with ½ added to each count. Both must have been counted with the same Edges; a
// histogram without values gives 0.
//
// Source: N. Siddiqi, Credit risk scorecards, Wiley 2006, where limits of 0.1 and 0.25 are
// given without regard to how many values were counted; see PSILimit.
func PSI(is, was *Histogram) float64 {
	n, m := is.total(), was.total()
	if n == 0 || m == 0 {
		return 0
	}
	psi := 0.0
	smooth := psiSmoothing * float64(was.bins)
	for i := range was.bins {
		p := (float64(is.count[i]) + psiSmoothing) / (float64(n) + smooth)
		q := (float64(was.count[i]) + psiSmoothing) / (float64(m) + smooth)
		psi += (p - q) * math.Log(p/q)
	}
	return psi
}

func (h *Histogram) total() int {
	n := 0
	for _, c := range h.count[:h.bins] {
		n += int(c)
	}
	return n
}

// PSILimit is what PSI exceeds with the probability alpha when nothing has changed:
// (1/n + 1/m)·χ²(1−alpha; bins−1), for n and m independent values in each histogram. Of
// values that depend on the ones before, n and m are how many independent ones they
// are worth.
//
// Source: B. Yurdakul, J. Naranjo, Statistical properties of the population stability
// index, Journal of Risk Model Validation 14(4), 2020. With 100 values against 100 in ten
// bins PSI is 0.18 on average with no change at all.
func PSILimit(bins int, n, m, alpha float64) float64 {
	return (1/n + 1/m) * chiSquareQuantile(bins-1, alpha)
}

// chiSquareQuantile returns x such that a χ² variable with k degrees of freedom is above
// x with probability alpha; k < 1 gives 0.
func chiSquareQuantile(k int, alpha float64) float64 {
	if k < 1 {
		return 0
	}
	low, high := 0.0, 1.0
	for chiSquareTail(k, high) > alpha && high < 1e6 {
		high *= 2
	}
	for range 100 {
		if x := (low + high) / 2; chiSquareTail(k, x) > alpha {
			low = x
		} else {
			high = x
		}
	}
	return high
}

// chiSquareTail is the probability that a χ² variable with k degrees of freedom is
// above x, in closed form for a whole k (M. Abramowitz, I. Stegun, 26.4.4 and 26.4.5).
func chiSquareTail(k int, x float64) float64 {
	term, tail := math.Exp(-x/2), 0.0
	first := 2
	if k%2 == 1 {
		tail = math.Erfc(math.Sqrt(x / 2))
		term *= math.Sqrt(2 * x / math.Pi)
		first = 3
	}
	for i := first; i <= k; i += 2 {
		tail += term
		term *= x / float64(i)
	}
	return tail
}
