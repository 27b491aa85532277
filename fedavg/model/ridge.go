package model

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/millwright-iot/millwright/fedavg"
)

// ridgeFamily predicts a target, such as the remaining useful life in cycles, by
// ridge regression on random features (Rahimi & Recht, NIPS 2007; with ReLU
// units: an extreme learning machine, Huang et al., Neurocomputing 70, 2006).
// Units are drawn from a shared seed and never trained, so all that a machine
// has to send is ΦᵀΦ and Φᵀy, which add up over machines to those of one fit over
// all rows. Each unit looks at few inputs: with all of them, each unit would
// drown what matters in the noise of what does not.
type ridgeFamily struct {
	spec     RidgeSpec
	features int
	width    int // of φ: 1 + features + units
	members  []randomFeatures
	layout   fedavg.Layout
}

// The vectors of a ridge model's parameters: for member m, at 2m its ΦᵀΦ (upper
// triangle, row by row) and at 2m+1 its Φᵀy. The first element of each ΦᵀΦ is
// the number of rows.

// ridgeLimit bounds a standardised input. With inputs and weights limited and
// snapped, activations are exact.
const ridgeLimit = 16

func newRidge(spec RidgeSpec, features int) (*ridgeFamily, error) {
	f := &ridgeFamily{spec: spec, features: features, width: 1 + features + spec.Units}
	if size := int64(spec.Members) * int64(f.width) * int64(f.width+3) / 2; f.width > maxParameters || size > maxParameters {
		return nil, fmt.Errorf("make model family: ridge of %d features, %d units and %d members has more than %d sums; take fewer units",
			features, spec.Units, spec.Members, maxParameters)
	}
	for m := range spec.Members {
		f.members = append(f.members, drawFeatures(spec, features, uint64(m)))
		f.layout = append(f.layout,
			fedavg.VectorSpec{Name: fmt.Sprintf("gram%d", m), DType: fedavg.Float64, Len: f.width * (f.width + 1) / 2},
			fedavg.VectorSpec{Name: fmt.Sprintf("moment%d", m), DType: fedavg.Float64, Len: f.width})
	}
	return f, nil
}

func (f *ridgeFamily) Learning() Learning         { return Statistics }
func (f *ridgeFamily) ParamLayout() fedavg.Layout { return append(fedavg.Layout(nil), f.layout...) }

// Init returns sums over no rows.
func (f *ridgeFamily) Init(uint64) []fedavg.Vector { return f.layout.New() }

// randomFeatures is φ(z) = (1, z, max(0, Wz+b)) with a sparse random W.
type randomFeatures struct {
	features int
	inputs   int
	index    []int     // units×inputs: which feature each weight is for
	weight   []float64 // units×inputs
	bias     []float64 // units
}

// drawFeatures draws weights from N(0, 1/inputs) and biases from N(0, 1).
func drawFeatures(spec RidgeSpec, features int, member uint64) randomFeatures {
	inputs := min(spec.Inputs, features)
	r := rand.New(rand.NewPCG(spec.Seed, 0x72696467_00000000+member))
	φ := randomFeatures{features: features, inputs: inputs, bias: make([]float64, spec.Units)}
	order := make([]int, features)
	for i := range order {
		order[i] = i
	}
	scale := 1 / math.Sqrt(float64(inputs))
	for u := range spec.Units {
		for k := range inputs { // a partial shuffle: inputs of a unit differ
			j := k + r.IntN(features-k)
			order[k], order[j] = order[j], order[k]
			φ.index = append(φ.index, order[k])
			φ.weight = append(φ.weight, snap(scale*r.NormFloat64()))
		}
		φ.bias[u] = snap(r.NormFloat64())
	}
	return φ
}

// write sets dst, of length 1+features+units, to φ(z).
func (φ *randomFeatures) write(dst, z []float64) {
	dst[0] = 1
	x := dst[1 : 1+φ.features]
	for i, v := range z {
		x[i] = snap(min(max(v, -ridgeLimit), ridgeLimit))
	}
	for u, h := range φ.bias {
		for k := u * φ.inputs; k < (u+1)*φ.inputs; k++ {
			h += float64(φ.weight[k] * x[φ.index[k]])
		}
		dst[1+φ.features+u] = snap(max(h, 0))
	}
}

// Train returns the sums over all rows of sets, in which a row counts
// Forgetting^(number of rows of its machine that came after it). Targets are
// capped. Metric "loss" is the mean squared error of the targets under the
// global parameters received, or if these are untrained, around their own mean.
func (f *ridgeFamily) Train(ctx context.Context, global []fedavg.Vector, sets []Set, options TrainOptions) (Trained, error) {
	fail := func(err error) (Trained, error) { return Trained{}, fmt.Errorf("train ridge: %w", err) }
	if err := options.Plain(); err != nil {
		return fail(err)
	}
	if err := checkTargets(sets, f.features); err != nil {
		return fail(err)
	}
	loss, rows, err := f.loss(ctx, global, sets)
	if err != nil {
		return fail(err)
	}
	sums := f.layout.New()
	for m := range f.members {
		s := newGramSummer(f.width)
		for _, set := range sets {
			for r, z := range set.Rows {
				if r%64 == 0 && ctx.Err() != nil {
					return Trained{}, ctx.Err()
				}
				weight := 1.0
				if γ := f.spec.Forgetting; γ < 1 {
					weight = math.Pow(γ, float64(len(set.Rows)-1-r))
				}
				f.members[m].write(s.next(), z)
				s.add(snap(capped(f.spec.Cap, set.Targets[r])), weight)
			}
		}
		s.finish(sums[2*m].F64, sums[2*m+1].F64)
	}
	return Trained{Vectors: sums, Weight: float64(rows), Metrics: map[string]float64{"loss": loss}}, ctx.Err()
}

// loss returns the mean squared error and the number of rows.
func (f *ridgeFamily) loss(ctx context.Context, global []fedavg.Vector, sets []Set) (float64, int, error) {
	n, mean := 0, 0.0
	for _, set := range sets {
		for _, y := range set.Targets {
			n++
			mean += (capped(f.spec.Cap, y) - mean) / float64(n)
		}
	}
	predict := func([]float64) float64 { return mean }
	if err := f.layout.Check(global); err != nil {
		return 0, 0, err
	}
	if global[0].F64[0] > 0 {
		m, err := f.fit(global)
		if err != nil {
			return 0, 0, err
		}
		predict = m.Predict
	}
	total := 0.0
	for _, set := range sets {
		for r, z := range set.Rows {
			if r%64 == 0 && ctx.Err() != nil {
				return 0, 0, ctx.Err()
			}
			d := predict(z) - capped(f.spec.Cap, set.Targets[r])
			total += float64(d * d)
		}
	}
	return total / float64(n), n, nil
}
