package model

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/millwright-iot/millwright/fedavg"
)

// HealthSums gathers what is needed to condense the channels of a machine into a
// few health indices: many channels show the same wear, each with noise of its
// own, and what regresses on their trends does better with few clean inputs.
// It is immutable and safe for concurrent use.
type HealthSums struct {
	channels int
	ceiling  float64
	layout   fedavg.Layout
}

const (
	healthCount     = iota // rows
	healthSum              // Σz
	healthOuter            // Σzzᵀ, upper triangle
	healthSmoothSum        // the same of s, a causal mean of z
	healthSmoothOuter
	healthTarget       // Σy
	healthTargetMoment // Σyz
)

// NewHealthSums is for so many channels, and targets limited to ceiling.
func NewHealthSums(channels int, ceiling float64) (*HealthSums, error) {
	if channels < 1 || !positive(ceiling) {
		return nil, fmt.Errorf("make health sums: %d channels, cap %v; both must be positive", channels, ceiling)
	}
	vector := func(name string, n int) fedavg.VectorSpec {
		return fedavg.VectorSpec{Name: name, DType: fedavg.Float64, Len: n}
	}
	triangle := channels * (channels + 1) / 2
	return &HealthSums{channels: channels, ceiling: ceiling, layout: fedavg.Layout{
		healthCount: vector("count", 1),
		healthSum:   vector("sum", channels), healthOuter: vector("outer", triangle),
		healthSmoothSum: vector("smooth_sum", channels), healthSmoothOuter: vector("smooth_outer", triangle),
		healthTarget: vector("target_sum", 1), healthTargetMoment: vector("target_moment", channels),
	}}, nil
}

// Layout is the layout of the sums.
func (h *HealthSums) Layout() fedavg.Layout { return append(fedavg.Layout(nil), h.layout...) }

// Add adds one row to sums: the channels z normalised (see Conditions), a causal
// mean s of them, and the target y, such as the remaining life. A row that does
// not fit, or is not finite, changes nothing.
func (h *HealthSums) Add(sums []fedavg.Vector, z, s []float64, y float64) error {
	if len(z) != h.channels || len(s) != h.channels {
		return fmt.Errorf("add to health sums: row has %d and %d channels, want %d", len(z), len(s), h.channels)
	}
	for i := range z {
		if !(math.Abs(z[i]) <= ridgeLimit && math.Abs(s[i]) <= ridgeLimit) {
			return fmt.Errorf("add to health sums: channel %d is %v, smoothed %v, outside ±%d", i, z[i], s[i], ridgeLimit)
		}
	}
	if math.IsNaN(y) {
		return errors.New("add to health sums: target is NaN")
	}
	y = snap(min(max(y, 0), h.ceiling))
	sums[healthCount].F64[0]++
	sums[healthTarget].F64[0] += y
	moments := func(sum, outer []float64, x []float64) {
		k := 0
		for i := range x {
			xi := snap(x[i])
			sum[i] += xi
			for j := i; j < len(x); j++ {
				outer[k] += float64(xi * snap(x[j]))
				k++
			}
		}
	}
	moments(sums[healthSum].F64, sums[healthOuter].F64, z)
	moments(sums[healthSmoothSum].F64, sums[healthSmoothOuter].F64, s)
	for i, v := range z {
		sums[healthTargetMoment].F64[i] += float64(y * snap(v))
	}
	return nil
}

// Ended says whether sums count any row with a target below the cap: without one,
// nothing can be learned of how machines end.
func (h *HealthSums) Ended(sums []fedavg.Vector) bool {
	return sums[healthTarget].F64[0] < sums[healthCount].F64[0]*snap(h.ceiling)
}

// healthShrinkage of the covariance towards its mean eigenvalue, in the regression.
const healthShrinkage = 0.01

// Health condenses normalised channels into health indices.
type Health struct {
	weights [][]float64 // index×channel
}

// Fit makes components+1 indices of merged sums: the first principal components of
// the smoothed channels, which say where in the fleet's ways of wearing a machine
// is, and the shrunk linear regression of the target on the channels as they
// are, which says how far. All have about unit variance.
func (h *HealthSums) Fit(sums []fedavg.Vector, components int) (*Health, error) {
	if err := h.layout.Check(sums); err != nil {
		return nil, fmt.Errorf("fit health indices: %w", err)
	}
	if components < 0 || components > h.channels {
		return nil, fmt.Errorf("fit health indices: %d components of %d channels", components, h.channels)
	}
	n := sums[healthCount].F64[0]
	if !(n >= 2) {
		return nil, fmt.Errorf("fit health indices: %v rows: %w", n, ErrNoRows)
	}
	for _, v := range sums {
		for i, x := range v.F64 {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return nil, fmt.Errorf("fit health indices: %w", &fedavg.ValueError{Vector: v.Name, Index: i, Value: x})
			}
		}
	}
	smooth := covariance(n, sums[healthSmoothSum].F64, sums[healthSmoothOuter].F64)
	raw := covariance(n, sums[healthSum].F64, sums[healthOuter].F64)
	if trace := mat.Trace(raw); !(trace > 0) || math.IsInf(trace, 0) {
		return nil, errors.New("fit health indices: no channel varies; are these the right columns?")
	}
	health := &Health{}
	var eigen mat.EigenSym
	if !eigen.Factorize(smooth, true) {
		return nil, errors.New("fit health indices: eigenvalues of the smoothed channels do not converge")
	}
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	for k := range components { // eigenvalues ascend
		at := h.channels - 1 - k
		health.weights = append(health.weights, unitVariance(mat.Col(nil, at, &vectors), eigen.Values(nil)[at]))
	}
	w, err := h.regression(n, raw, sums)
	if err != nil {
		return nil, err
	}
	health.weights = append(health.weights, w)
	return health, nil
}

func (h *HealthSums) regression(n float64, cov *mat.SymDense, sums []fedavg.Vector) ([]float64, error) {
	c := mat.NewVecDense(h.channels, nil)
	for i, s := range sums[healthTargetMoment].F64 {
		c.SetVec(i, s/n-float64(sums[healthSum].F64[i]/n*(sums[healthTarget].F64[0]/n)))
	}
	shrunk := mat.NewSymDense(h.channels, nil)
	shrunk.CopySym(cov)
	for i := range h.channels {
		shrunk.SetSym(i, i, cov.At(i, i)+healthShrinkage*mat.Trace(cov)/float64(h.channels))
	}
	var chol mat.Cholesky
	w := mat.NewVecDense(h.channels, nil)
	if !chol.Factorize(shrunk) || chol.SolveVecTo(w, c) != nil {
		return nil, errors.New("fit health indices: covariance of the channels is not positive definite: the sums cannot come from real rows")
	}
	return unitVariance(w.RawVector().Data, mat.Inner(w, cov, w)), nil
}

// leastVariance is below what an index is rounding noise and counts as constant.
const leastVariance = 1e-7

// unitVariance scales w so that w·x, whose variance is given, has variance 1, and
// turns it so that its largest element is positive: the sign of an eigenvector
// is nobody's to rely on.
func unitVariance(w []float64, variance float64) []float64 {
	scale := 0.0
	if variance > leastVariance {
		scale = 1 / math.Sqrt(variance)
	}
	largest := 0.0
	for _, x := range w {
		if math.Abs(x) > math.Abs(largest) {
			largest = x
		}
	}
	if largest < 0 {
		scale = -scale
	}
	for i := range w {
		w[i] *= scale
	}
	return w
}

// covariance of sums over n rows, divided by n.
func covariance(n float64, sum, outer []float64) *mat.SymDense {
	p, k := len(sum), 0
	c := mat.NewSymDense(p, nil)
	for i := range p {
		for j := i; j < p; j++ {
			c.SetSym(i, j, outer[k]/n-float64(sum[i]/n*(sum[j]/n)))
			k++
		}
	}
	return c
}

// Channels is the number of channels that indices are made of.
func (h *Health) Channels() int { return len(h.weights[0]) }

// Len is the number of indices, at least 1.
func (h *Health) Len() int { return len(h.weights) }

// Indices writes the health indices of normalised channels z into dst (nil
// allocates).
func (h *Health) Indices(dst, z []float64) []float64 {
	if dst == nil {
		dst = make([]float64, len(h.weights))
	}
	for i, w := range h.weights {
		dst[i] = dot(w, z)
	}
	return dst
}
