package model

import (
	"context"
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/fedavg"
)

// gaussianFamily learns mean and covariance of healthy feature vectors from sums,
// which add up over machines to exactly those of one fit over all rows.
type gaussianFamily struct {
	spec     GaussianSpec
	features int
	overlap  int
	layout   fedavg.Layout
}

// The vectors of a Gaussian's parameters, in this order; p is the number of features.
const (
	gaussianCount    = iota // 1: n, rows
	gaussianSum             // p: Σz
	gaussianOuter           // p(p+1)/2: Σzzᵀ, upper triangle, row by row
	gaussianWander          // p: Σ over machines of ln wander
	gaussianMachines        // 1: machines whose wander could be measured
)

func newGaussian(spec GaussianSpec, features, overlap int) *gaussianFamily {
	vector := func(name string, n int) fedavg.VectorSpec {
		return fedavg.VectorSpec{Name: name, DType: fedavg.Float64, Len: n}
	}
	return &gaussianFamily{
		spec: spec, features: features, overlap: max(overlap, 1),
		layout: fedavg.Layout{
			gaussianCount:    vector("count", 1),
			gaussianSum:      vector("sum", features),
			gaussianOuter:    vector("outer", features*(features+1)/2),
			gaussianWander:   vector("wander_log", features),
			gaussianMachines: vector("machines", 1),
		},
	}
}

func (f *gaussianFamily) Learning() Learning         { return Statistics }
func (f *gaussianFamily) ParamLayout() fedavg.Layout { return append(fedavg.Layout(nil), f.layout...) }

// Init returns sums over no rows.
func (f *gaussianFamily) Init(uint64) []fedavg.Vector { return f.layout.New() }

// Train returns the sums over all rows of sets. Metric "loss" is the mean
// negative log-likelihood per feature, in nats, of the rows under the global
// parameters received, or under the standard normal if these are untrained.
func (f *gaussianFamily) Train(ctx context.Context, global []fedavg.Vector, sets []Set, options TrainOptions) (Trained, error) {
	if err := options.Plain(); err != nil {
		return Trained{}, fmt.Errorf("train gaussian: %w", err)
	}
	if err := checkSets(sets, f.features); err != nil {
		return Trained{}, fmt.Errorf("train gaussian: %w", err)
	}
	loss, err := f.loss(ctx, global, sets)
	if err != nil {
		return Trained{}, fmt.Errorf("train gaussian: %w", err)
	}
	sums := f.layout.New()
	for _, set := range sets {
		if err := f.addRows(ctx, sums, set.Rows); err != nil {
			return Trained{}, err
		}
		if wander := Wander(set.Rows, f.overlap); wander != nil {
			sums[gaussianMachines].F64[0]++
			for i, w := range wander {
				sums[gaussianWander].F64[i] += math.Log(w)
			}
		}
	}
	return Trained{Vectors: sums, Weight: sums[gaussianCount].F64[0], Metrics: map[string]float64{"loss": loss}}, nil
}

// addRows adds the moments of rows to sums.
func (f *gaussianFamily) addRows(ctx context.Context, sums []fedavg.Vector, rows [][]float64) error {
	sum, outer := sums[gaussianSum].F64, sums[gaussianOuter].F64
	for r, z := range rows {
		if r%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		k := 0
		for i, zi := range z {
			sum[i] += zi
			for _, zj := range z[i:] {
				outer[k] += float64(zi * zj)
				k++
			}
		}
	}
	sums[gaussianCount].F64[0] += float64(len(rows))
	return ctx.Err()
}

// loss is the mean negative log-likelihood per feature of the rows of sets.
func (f *gaussianFamily) loss(ctx context.Context, global []fedavg.Vector, sets []Set) (float64, error) {
	moments, err := f.moments(global)
	if err != nil {
		return 0, err
	}
	squares, features, logDet := sumOfSquares, float64(f.features), 0.0
	if moments.trained() {
		m, err := f.fit(moments)
		if err != nil {
			return 0, err
		}
		squares = func(z []float64) float64 { d := m.Score(z); return d * d }
		features, logDet = float64(len(m.index)), m.logDet
	}
	total, n := 0.0, 0
	for _, set := range sets {
		for _, z := range set.Rows {
			if n%256 == 0 && ctx.Err() != nil {
				return 0, ctx.Err()
			}
			total += squares(z)
			n++
		}
	}
	return 0.5 * (math.Log(2*math.Pi) + (logDet+total/float64(n))/features), nil
}

func sumOfSquares(z []float64) float64 {
	s := 0.0
	for _, x := range z {
		s += float64(x * x)
	}
	return s
}

// checkSets refuses rows that Train must not learn from, naming the machine.
func checkSets(sets []Set, features int) error {
	n := 0
	for _, set := range sets {
		n += len(set.Rows)
		for r, z := range set.Rows {
			if len(z) != features {
				return fmt.Errorf("machine %q, row %d: has %d features, want %d", set.Machine, r, len(z), features)
			}
			for i, x := range z {
				if !(math.Abs(x) <= ZLimit) {
					return fmt.Errorf("machine %q, row %d: feature %d is %v, outside ±%g; standardise rows with a Baseline", set.Machine, r, i, x, ZLimit)
				}
			}
		}
	}
	if n == 0 {
		return fmt.Errorf("no rows to learn from on any of %d machines", len(sets))
	}
	return nil
}
