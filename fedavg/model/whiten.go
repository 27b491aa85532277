package model

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/millwright-iot/millwright/fedavg"
)

// WhitenSums gathers a fleet's covariance of standardised features, for networks: many
// features that say nearly the same leave a loss with long flat valleys, which mean
// deltas of many participants crawl along.
type WhitenSums struct {
	features int
	layout   fedavg.Layout
}

// NewWhitenSums is for so many features, at least one.
func NewWhitenSums(features int) *WhitenSums {
	return &WhitenSums{features: features, layout: fedavg.Layout{
		{Name: "count", DType: fedavg.Float64, Len: 1},
		{Name: "sum", DType: fedavg.Float64, Len: features},
		{Name: "outer", DType: fedavg.Float64, Len: features * (features + 1) / 2},
	}}
}

// Layout is the layout of the sums.
func (s *WhitenSums) Layout() fedavg.Layout { return append(fedavg.Layout(nil), s.layout...) }

// whitenLimit bounds a feature whose products are summed.
const whitenLimit = 100

// Add adds one standardised row to sums; features beyond ±100 count as that. A row of
// the wrong length or with NaN changes nothing.
func (s *WhitenSums) Add(sums []fedavg.Vector, z []float64) error {
	if len(z) != s.features {
		return fmt.Errorf("add to whitening sums: row has %d features, want %d", len(z), s.features)
	}
	x := make([]float64, len(z))
	for i, v := range z {
		if math.IsNaN(v) {
			return fmt.Errorf("add to whitening sums: feature %d is NaN", i)
		}
		x[i] = snap(min(max(v, -whitenLimit), whitenLimit))
	}
	sums[0].F64[0]++
	k := 0
	for i, v := range x {
		sums[1].F64[i] += v
		for _, w := range x[i:] {
			sums[2].F64[k] += float64(v * w)
			k++
		}
	}
	return nil
}

// whitenFloor is added to every variance before it is divided by: directions in which
// the fleet's rows hardly vary are noise, and are not blown up to the size of the others.
// Of 0.001 to 1 this did best on training engines of C-MAPSS FD001 left out.
const whitenFloor = 0.1

// Whitener takes standardised rows to features that are uncorrelated and of about equal
// variance: x ↦ (C + 0.1·I)^(−½)(x − m), with mean m and covariance C of the fleet. Of
// all maps that do this it changes rows least (Kessy, Lewin & Strimmer, Am. Stat. 72,
// 2018), and it does not hang on the order or signs of eigenvectors. It does not change.
type Whitener struct {
	mean []float64
	w    []float64 // symmetric, row by row
}

// Fit returns the Whitener of merged sums.
func (s *WhitenSums) Fit(sums []fedavg.Vector) (*Whitener, error) {
	if err := s.layout.Check(sums); err != nil {
		return nil, fmt.Errorf("fit whitening: %w", err)
	}
	for _, v := range sums {
		for i, x := range v.F64 {
			if x-x != 0 {
				return nil, fmt.Errorf("fit whitening: %w", &fedavg.ValueError{Vector: v.Name, Index: i, Value: x})
			}
		}
	}
	n := sums[0].F64[0]
	if !(n >= 1) {
		return nil, fmt.Errorf("fit whitening: %v rows: %w", n, ErrNoRows)
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(covariance(n, sums[1].F64, sums[2].F64), true) {
		return nil, errors.New("fit whitening: eigenvalues do not converge")
	}
	var v mat.Dense
	eigen.VectorsTo(&v)
	scaled := mat.DenseCopyOf(&v)
	for k, variance := range eigen.Values(nil) {
		for i := range s.features {
			scaled.Set(i, k, v.At(i, k)/math.Sqrt(max(variance, 0)+whitenFloor))
		}
	}
	var w mat.Dense
	w.Mul(scaled, v.T())
	out := &Whitener{mean: make([]float64, s.features), w: w.RawMatrix().Data}
	for i, x := range sums[1].F64 {
		out.mean[i] = x / n
	}
	return out, nil
}

// Whiten writes the whitened row into dst (nil allocates), which must not be z. It has as
// many elements as z.
func (w *Whitener) Whiten(dst, z []float64) []float64 {
	n := len(w.mean)
	if dst == nil {
		dst = make([]float64, n)
	}
	for i := range dst {
		row := w.w[i*n : (i+1)*n]
		s := 0.0
		for k, x := range z {
			s += float64(row[k] * (x - w.mean[k]))
		}
		dst[i] = s
	}
	return dst
}

// Regressor is r for rows that are not whitened yet.
func (w *Whitener) Regressor(r Regressor, ceiling float64) Regressor {
	n := len(w.mean)
	return &whitened{w: w, inner: r, ceiling: ceiling, white: make([]float64, n), z: make([]float64, n)}
}

type whitened struct {
	w        *Whitener
	inner    Regressor
	ceiling  float64
	white, z []float64 // scratch
}

// Predict implements Regressor.
func (m *whitened) Predict(z []float64) float64 { return m.inner.Predict(m.w.Whiten(m.white, z)) }

// Score implements Model; see Regressor.
func (m *whitened) Score(z []float64) float64 { return m.inner.Score(m.w.Whiten(m.white, z)) }

// Contributions implements Model; see occlude.
func (m *whitened) Contributions(dst, z []float64) []float64 {
	return occlude(dst, z, m.z, m.Predict, m.ceiling)
}
