package model

import (
	"fmt"
	"math"
	"slices"

	"github.com/millwright-iot/millwright/fedavg"
)

// ResidualSums gathers, per class of predicted value, an exact histogram of the
// residuals truth − prediction on rows that the prediction has not learned from.
// Histograms add up over machines; no machine shows its residuals one by one.
// It is immutable and safe for concurrent use.
type ResidualSums struct {
	edges   []float64 // lower edges of the classes but the first
	ceiling float64
	bins    int // of each class
	layout  fedavg.Layout
}

// residualBins is how many bins a cap of residuals is divided into: intervals are
// wrong by at most 1/500 of the cap.
const residualBins = 500

// NewResidualSums classes predictions at edges, ascending within (0, ceiling).
func NewResidualSums(edges []float64, ceiling float64) (*ResidualSums, error) {
	if !positive(ceiling) {
		return nil, fmt.Errorf("make residual sums: cap is %v; it must be positive", ceiling)
	}
	for i, e := range edges {
		if !(e > 0 && e < ceiling) || (i > 0 && e <= edges[i-1]) {
			return nil, fmt.Errorf("make residual sums: edges %v must ascend within 0 and %v", edges, ceiling)
		}
	}
	r := &ResidualSums{edges: slices.Clone(edges), ceiling: ceiling, bins: 2*residualBins + 1}
	r.layout = fedavg.Layout{{Name: "residuals", DType: fedavg.Float64, Len: (len(edges) + 1) * r.bins}}
	return r, nil
}

// Layout is the layout of the sums.
func (r *ResidualSums) Layout() fedavg.Layout { return append(fedavg.Layout(nil), r.layout...) }

// class of a predicted value.
func (r *ResidualSums) class(predicted float64) int {
	k, _ := slices.BinarySearch(r.edges, predicted)
	for k < len(r.edges) && r.edges[k] <= predicted {
		k++ // an edge belongs to the class above
	}
	return k
}

// AddMachine adds what was true and what was predicted at rows of one machine.
// They depend on each other, so in each class they weigh 1 together. Truths are
// capped. Lengths that differ or NaN change nothing.
func (r *ResidualSums) AddMachine(sums []fedavg.Vector, truth, predicted []float64) error {
	if len(truth) != len(predicted) {
		return fmt.Errorf("add to residual sums: %d truths for %d predictions", len(truth), len(predicted))
	}
	rows := make([]float64, len(r.edges)+1) // of the machine, in each class
	for i, x := range predicted {
		if math.IsNaN(truth[i]) || math.IsNaN(x) {
			return fmt.Errorf("add to residual sums: row %d has truth %v and prediction %v", i, truth[i], x)
		}
		rows[r.class(x)]++
	}
	for i, x := range predicted {
		x = min(max(x, 0), r.ceiling)
		d := min(max(truth[i], 0), r.ceiling) - x
		bin := residualBins + int(math.Round(d/r.ceiling*residualBins))
		// Weights are rounded so that their sums are exact too.
		const unit = 1 << 32
		sums[0].F64[r.class(x)*r.bins+bin] += math.Round(unit/rows[r.class(x)]) / unit
	}
	return nil
}

// Intervals turns predictions into intervals.
type Intervals struct {
	sums     *ResidualSums
	low, up  []float64 // residual quantiles of each class
	weights  []float64
	coverage float64
}

// minClassWeight is how many machines must have contributed to a class for it to
// have quantiles of its own; else it has those of all classes.
const minClassWeight = 5

// Fit returns intervals that cover the given share, such as 0.9, of truths in
// each class, if machines to come are like those summed over (split conformal
// prediction, Vovk et al. 2005, Mondrian by predicted value). They are made of
// the (1∓coverage)/2 quantiles with n+1 for n, so they may be lopsided.
func (r *ResidualSums) Fit(sums []fedavg.Vector, coverage float64) (*Intervals, error) {
	if err := r.layout.Check(sums); err != nil {
		return nil, fmt.Errorf("fit intervals: %w", err)
	}
	if !(coverage > 0 && coverage < 1) {
		return nil, fmt.Errorf("fit intervals: coverage %v; it must be between 0 and 1", coverage)
	}
	all := make([]float64, r.bins)
	for i, w := range sums[0].F64 {
		if !(w >= 0) || math.IsInf(w, 0) {
			return nil, &fedavg.ValueError{Vector: r.layout[0].Name, Index: i, Value: w}
		}
		all[i%r.bins] += w
	}
	if total(all) == 0 {
		return nil, fmt.Errorf("fit intervals: %w", ErrNoRows)
	}
	v := &Intervals{sums: r, coverage: coverage}
	for k := range len(r.edges) + 1 {
		histogram := sums[0].F64[k*r.bins : (k+1)*r.bins]
		n := total(histogram)
		v.weights = append(v.weights, n)
		if n < minClassWeight {
			histogram = all
		}
		v.low = append(v.low, -r.quantile(histogram, coverage, true))
		v.up = append(v.up, r.quantile(histogram, coverage, false))
	}
	return v, nil
}

func total(xs []float64) float64 {
	s := 0.0
	for _, x := range xs {
		s += x
	}
	return s
}

// quantile returns how far residuals reach to one side, negative if they do not:
// the smallest bin edge below which lies a share (1+coverage)/2·(n+1)/n of them.
func (r *ResidualSums) quantile(histogram []float64, coverage float64, below bool) float64 {
	n := total(histogram)
	want := (1 + coverage) / 2 * (n + 1)
	seen := 0.0
	for i := range histogram {
		at := i
		if below {
			at = len(histogram) - 1 - i
		}
		if seen += histogram[at]; seen >= want {
			return (float64(i-residualBins) + 0.5) * r.ceiling / residualBins
		}
	}
	return r.ceiling
}

// Around returns the interval of a prediction, within 0 and the cap, which holds the
// prediction itself in any case. An upper end at the cap means the cap or more.
func (v *Intervals) Around(predicted float64) (low, high float64) {
	k := v.sums.class(predicted)
	low = min(max(predicted+v.low[k], 0), v.sums.ceiling)
	high = min(max(predicted+v.up[k], 0), v.sums.ceiling)
	return min(low, predicted), max(high, min(predicted, v.sums.ceiling))
}

// Coverage is what the intervals were made for.
func (v *Intervals) Coverage() float64 { return v.coverage }

// Machines returns how many machines each class rests on.
func (v *Intervals) Machines() []float64 { return slices.Clone(v.weights) }
