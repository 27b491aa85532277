package model

import (
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/fedavg"
)

// ScaleSums gathers a fleet's mean and standard deviation of each feature, for
// features that must be measured in the same unit on every machine.
type ScaleSums struct{ layout fedavg.Layout }

// NewScaleSums is for so many features, at least one.
func NewScaleSums(features int) *ScaleSums {
	return &ScaleSums{layout: fedavg.Layout{
		{Name: "count", DType: fedavg.Float64, Len: 1},
		{Name: "sum", DType: fedavg.Float64, Len: features},
		{Name: "square", DType: fedavg.Float64, Len: features},
	}}
}

// Layout is the layout of the sums.
func (s *ScaleSums) Layout() fedavg.Layout { return append(fedavg.Layout(nil), s.layout...) }

// scaleLimit bounds a feature whose square is summed.
const scaleLimit = 1e4

// Add adds one row to sums. A row of the wrong length, with NaN or a value outside
// ±10⁴ changes nothing.
func (s *ScaleSums) Add(sums []fedavg.Vector, row []float64) error {
	if len(row) != s.layout[1].Len {
		return fmt.Errorf("add to scale sums: row has %d features, want %d", len(row), s.layout[1].Len)
	}
	for i, x := range row {
		if !(math.Abs(x) <= scaleLimit) {
			return fmt.Errorf("add to scale sums: feature %d is %v, outside ±%g", i, x, float64(scaleLimit))
		}
	}
	sums[0].F64[0]++
	for i, x := range row {
		x = snap(x)
		sums[1].F64[i] += x
		sums[2].F64[i] += float64(x * x)
	}
	return nil
}

// Fit returns the fleet's Baseline of merged sums; ErrNoRows if they count none.
func (s *ScaleSums) Fit(sums []fedavg.Vector) (*Baseline, error) {
	if err := s.layout.Check(sums); err != nil {
		return nil, fmt.Errorf("fit scale: %w", err)
	}
	n := sums[0].F64[0]
	if n == 0 {
		return nil, fmt.Errorf("fit scale: %w", ErrNoRows)
	}
	if !(n >= 1 && n <= math.MaxInt32) {
		return nil, fmt.Errorf("fit scale: sums count %v rows", n)
	}
	b := NewBaseline(s.layout[1].Len)
	b.Count = int(n)
	for i, sum := range sums[1].F64 {
		b.Mean[i] = sum / n
		b.M2[i] = max(sums[2].F64[i]-float64(sum*b.Mean[i]), 0)
	}
	if err := b.Validate(len(b.Mean)); err != nil {
		return nil, fmt.Errorf("fit scale: %w", err)
	}
	return b, nil
}
