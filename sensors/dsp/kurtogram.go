package dsp

import (
	"math"

	"gonum.org/v1/gonum/dsp/fourier"
)

// Kurtogram finds the frequency band whose envelope is most impulsive: the spectral
// kurtosis of the bands of a 1/3-binary tree (J. Antoni, Fast computation of the
// kurtogram for the detection of transient faults, Mechanical Systems and Signal
// Processing 21 (2007) 108–124). The tree's bands are cut from one transform of the
// samples instead of filtered, with sharp edges; half the rate is split into 1, 2, 3, 4,
// 6, 8, 12 … parts.
//
// The zero value is ready. It reuses its buffers: one goroutine at a time.
type Kurtogram struct {
	n      int
	fft    fourier.FFT
	seq    []float64
	coeff  []complex128
	levels [len(treeParts)]treeLevel
	depth  int
}

type treeLevel struct {
	bins    int // of one band
	inverse fourier.CmplxFFT
	a, out  []complex128
}

var treeParts = [...]int{1, 2, 3, 4, 6, 8, 12, 16, 24, 32}

// leastBins is how many samples of a band's envelope a kurtosis is taken of: with fewer,
// the highest of many bands of noise would look like impacts.
const leastBins = 128

// Peak is the most impulsive band.
type Peak struct {
	Kurtosis float64 // ⟨|a|⁴⟩/⟨|a|²⟩² − 2; 0 for normal noise
	Band     Band
}

// Compute returns the highest kurtosis in xs, sampled at rateHz. There are 10 levels of
// the tree when xs has 8192 samples or more, fewer below; with less than 2·128 samples,
// or when xs is constant, the result is the whole band with kurtosis 0.
func (g *Kurtogram) Compute(xs []float64, rateHz float64) Peak {
	g.prepare(len(xs))
	peak := Peak{Band: Band{0, rateHz / 2}}
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	mean, largest := sum/float64(max(1, len(xs))), 0.0
	for i, x := range xs {
		g.seq[i] = x - mean
		largest = max(largest, math.Abs(g.seq[i]))
	}
	if g.depth == 0 || largest <= 1e-12*math.Abs(mean) || largest == 0 {
		return peak
	}
	for i := range g.seq {
		g.seq[i] /= largest
	}
	g.fft.Coefficients(g.coeff, g.seq)
	total := 0.0
	for _, c := range g.coeff {
		total += real(c)*real(c) + imag(c)*imag(c)
	}
	binHz := rateHz / float64(g.n)
	found := false
	for i := range g.levels[:g.depth] {
		l := &g.levels[i]
		for part := range treeParts[i] {
			from := 1 + part*l.bins
			k, ok := l.kurtosis(g.coeff[from:from+l.bins], 1e-12*total)
			if ok && (!found || k > peak.Kurtosis) {
				found = true
				peak = Peak{k, Band{float64(from) * binHz, float64(from+l.bins) * binHz}}
			}
		}
	}
	return peak
}

func (g *Kurtogram) prepare(n int) {
	if g.n == n {
		return
	}
	g.n, g.depth = n, 0
	g.seq = grow(g.seq, n)
	if n < 2*leastBins {
		return
	}
	g.fft.Reset(n)
	g.coeff = grow(g.coeff, n/2+1)
	for i, parts := range treeParts {
		l := &g.levels[i]
		l.bins = (n/2 - 1) / parts
		if l.bins < leastBins-1 {
			return
		}
		m := nextGoodLength(l.bins)
		l.inverse.Reset(m)
		l.a, l.out = grow(l.a, m), grow(l.out, m)
		g.depth = i + 1
	}
}

// kurtosis of the band with these bins; not ok when there is nothing in it.
func (l *treeLevel) kurtosis(bins []complex128, least float64) (k float64, ok bool) {
	copy(l.a, bins)
	clear(l.a[len(bins):])
	l.inverse.Sequence(l.out, l.a)
	var second, fourth float64
	for _, c := range l.out {
		p := real(c)*real(c) + imag(c)*imag(c)
		second += p
		fourth += p * p
	}
	m := float64(len(l.out))
	if second/m <= least {
		return 0, false
	}
	return fourth*m/(second*second) - 2, true
}
