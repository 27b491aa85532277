package model

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/millwright-iot/millwright/fedavg"
)

// softmaxFamily tells classes apart by softmax regression, or with hidden layers
// by a multilayer perceptron: p = softmax(logits/T), trained on the cross entropy
// with T = 1.
//
// The last vector of its parameters, "fleet", holds what is not trained by gradient and
// averages all the same: in how many rounds the parameters were trained, lg T, and
// the share of each class in the fleet's rows. A participant's update takes
// the shares to its own, so their mean by rows is exactly the fleet's; the next
// round weighs classes by them. A participant with one class only can
// thus weigh it as the fleet would, and need not see the others.
type softmaxFamily struct {
	spec     SoftmaxSpec
	features int
	healthy  int // index of spec.Healthy, or −1
	widths   []int
	layout   fedavg.Layout
}

// UnknownClass is the answer of a classifier that is not sure enough.
const UnknownClass = "unknown"

// Classifier is a Model that tells classes apart.
type Classifier interface {
	Model
	// Classes are the answers, in the order of probabilities. They are the model's.
	Classes() []string
	// Probabilities writes into dst (nil allocates) how likely each class is: finite,
	// ≥ 0, summing to 1. They are calibrated by the fleet's temperature.
	Probabilities(dst, z []float64) []float64
	// Classify returns the likeliest class and how likely it is; the class
	// is UnknownClass when that is less than the spec's Unknown.
	Classify(z []float64) (class string, probability float64)
}

const (
	fleetVector = "fleet"
	fleetRounds = 0 // places in it; the shares of classes follow
	fleetLogT   = 1
	fleetShares = 2

	// temperatureEvery row is not trained on, so that the temperature is fitted to
	// rows that the participant's own steps did not see.
	temperatureEvery = 5
	// maxLogT bounds the temperature to 1/20 … 20.
	maxLogT = 3
	// leastShare bounds the weight of a class that is rare in the fleet.
	leastShare = 0.01
)

func newSoftmax(spec SoftmaxSpec, features int) (*softmaxFamily, error) {
	f := &softmaxFamily{spec: spec, features: features, healthy: slices.Index(spec.Classes, spec.Healthy), widths: []int{features}}
	f.widths = append(append(f.widths, spec.Hidden...), len(spec.Classes))
	size := 0
	for l := range len(f.widths) - 1 {
		in, out := f.widths[l], f.widths[l+1]
		if size += out * (in + 1); size > maxParameters {
			return nil, fmt.Errorf("make model family: softmax of %d features, hidden layers %v and %d classes has more than %d parameters", features, spec.Hidden, len(spec.Classes), maxParameters)
		}
		f.layout = append(f.layout,
			fedavg.VectorSpec{Name: fmt.Sprintf("layer%d.weight", l), DType: fedavg.Float32, Len: out * in},
			fedavg.VectorSpec{Name: fmt.Sprintf("layer%d.bias", l), DType: fedavg.Float32, Len: out})
	}
	f.layout = append(f.layout, fedavg.VectorSpec{Name: fleetVector, DType: fedavg.Float32, Len: fleetShares + len(spec.Classes)})
	return f, nil
}

func (f *softmaxFamily) Learning() Learning         { return Gradient }
func (f *softmaxFamily) ParamLayout() fedavg.Layout { return slices.Clone(f.layout) }

// Init draws the weights of hidden layers as the autoencoder does; those of the
// last layer are 0, so that version 0 finds all classes equally likely.
func (f *softmaxFamily) Init(seed uint64) []fedavg.Vector {
	vs := f.layout.New()
	r := rand.New(rand.NewPCG(seed, 0x736f6674))
	for l := range len(f.widths) - 2 {
		limit := math.Sqrt(6 / float64(f.widths[l]+f.widths[l+1]))
		for i := range vs[2*l].F32 {
			vs[2*l].F32[i] = float32(limit * (2*r.Float64() - 1))
		}
	}
	return vs
}

// Train runs Epochs passes over the rows of all sets together, except every fifth,
// and fits the temperature of the global parameters received to those. Its
// loss is the cross entropy, −ln p of the true class, a row weighing what makes all
// classes of the fleet count alike (unless Unbalanced), plus Decay/2·|w|², plus μ/2·|w−x|² if
// Proximal is set. Metrics, under the global parameters received: "loss", the mean
// cross entropy per row with no weights and T = 1, and "accuracy", the share of rows
// whose likeliest class is the true one; "loss_local" is under those trained here.
func (f *softmaxFamily) Train(ctx context.Context, global []fedavg.Vector, sets []Set, options TrainOptions) (Trained, error) {
	fail := func(err error) (Trained, error) { return Trained{}, fmt.Errorf("train softmax: %w", err) }
	rows, truth, err := f.labelled(sets)
	if err != nil {
		return fail(err)
	}
	net, fleet, err := f.network(global)
	if err != nil {
		return fail(err)
	}
	control, err := newControl(options, f.layout)
	if err != nil {
		return fail(err)
	}
	loss := newCrossEntropy(net, rows, truth, f.spec.Decay)
	shares := loss.shares(len(f.spec.Classes))
	if !f.spec.Unbalanced {
		loss.balance(fleet)
	}
	before, right, err := loss.mean(ctx)
	if err != nil {
		return Trained{}, err
	}
	logT, err := loss.temperature(ctx)
	if err != nil {
		return Trained{}, err
	}
	t := newTrainer(net, descent{f.spec.BatchSize, f.spec.LearningRate, f.spec.Proximal}, options, control)
	for range f.spec.Epochs {
		if err := t.epoch(ctx, len(loss.train), loss); err != nil {
			return Trained{}, err
		}
	}
	after, _, err := loss.mean(ctx)
	if err != nil {
		return Trained{}, err
	}
	trained := Trained{
		Weight: float64(len(rows)), Steps: t.effectiveSteps(),
		Metrics: map[string]float64{"loss": finite(before), "loss_local": finite(after), "accuracy": right},
	}
	if trained.Vectors, err = t.deltas(f.layout); err != nil {
		return fail(err)
	}
	change := trained.Vectors[len(trained.Vectors)-1].F32
	change[fleetRounds] = 1
	change[fleetLogT] = float32(logT - fleet.logT)
	for i, share := range shares {
		change[fleetShares+i] = float32(share - fleet.shares[i])
	}
	if control != nil {
		own, change := control.next(t.start, net.params, t.steps, t.spec.LearningRate)
		trained.OwnControl, trained.Vectors = own, append(trained.Vectors, change...)
	}
	return trained, nil
}

// labelled joins the rows of sets, with the class of each.
func (f *softmaxFamily) labelled(sets []Set) (rows [][]float64, truth []int, err error) {
	if err := checkTargets(sets, f.features); err != nil {
		return nil, nil, err
	}
	for _, set := range sets {
		for r, y := range set.Targets {
			if y != math.Trunc(y) || y < 0 || y >= float64(len(f.spec.Classes)) {
				return nil, nil, fmt.Errorf("machine %q, row %d: target is %v; it must be the number of a class, 0 to %d", set.Machine, r, y, len(f.spec.Classes)-1)
			}
			truth = append(truth, int(y))
		}
		rows = append(rows, set.Rows...)
	}
	return rows, truth, nil
}

// fleetState is what the vector "fleet" holds.
type fleetState struct {
	rounds, logT float64
	shares       []float64
}

// network makes a network of params and reads what the fleet knows.
func (f *softmaxFamily) network(params []fedavg.Vector) (*network, fleetState, error) {
	if err := f.layout.Check(params); err != nil {
		return nil, fleetState{}, err
	}
	n := newNetwork(f.widths)
	if err := n.set(params[:len(params)-1]); err != nil {
		return nil, fleetState{}, err
	}
	last := params[len(params)-1]
	for i, x := range last.F32 {
		if x-x != 0 {
			return nil, fleetState{}, &fedavg.ValueError{Vector: last.Name, Index: i, Value: float64(x)}
		}
	}
	s := fleetState{rounds: float64(last.F32[fleetRounds]), logT: min(max(float64(last.F32[fleetLogT]), -maxLogT), maxLogT)}
	for _, x := range last.F32[fleetShares:] {
		s.shares = append(s.shares, float64(x))
	}
	return n, s, nil
}
