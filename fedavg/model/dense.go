package model

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/millwright-iot/millwright/fedavg"
)

// maxParameters bounds a model; training takes some 40 bytes for each.
const maxParameters = 1 << 22

// roundsVector is the last vector of the parameters: in how many rounds they have
// been trained. Every participant adds 1, so their mean does too, and any other strategy
// makes it positive. It tells trained parameters from initial ones, which look much the same.
const roundsVector = "rounds"

// denseFamily is what families of dense networks have in common: parameters,
// and training by gradient towards target vectors.
type denseFamily struct {
	kind   string
	epochs int
	spec   descent
	widths []int // of all layers, input and output included
	layout fedavg.Layout
}

func newDense(kind string, epochs int, spec descent, widths []int) (*denseFamily, error) {
	f := &denseFamily{kind: kind, epochs: epochs, spec: spec, widths: widths}
	size := 0
	for l := range f.layers() {
		in, out := f.widths[l], f.widths[l+1]
		if size += out * (in + 1); size > maxParameters {
			return nil, fmt.Errorf("make model family: %s with layers of %v units has more than %d parameters", kind, widths, maxParameters)
		}
		f.layout = append(f.layout,
			fedavg.VectorSpec{Name: fmt.Sprintf("layer%d.weight", l), DType: fedavg.Float32, Len: out * in},
			fedavg.VectorSpec{Name: fmt.Sprintf("layer%d.bias", l), DType: fedavg.Float32, Len: out})
	}
	f.layout = append(f.layout, fedavg.VectorSpec{Name: roundsVector, DType: fedavg.Float32, Len: 1})
	return f, nil
}

func (f *denseFamily) layers() int { return len(f.widths) - 1 }

func (f *denseFamily) Learning() Learning { return Gradient }

func (f *denseFamily) ParamLayout() fedavg.Layout {
	return append(fedavg.Layout(nil), f.layout...)
}

// Init draws weights uniformly from ±√(6/(in+out)) (Glorot & Bengio, AISTATS
// 2010, equation 16); biases are 0.
func (f *denseFamily) Init(seed uint64) []fedavg.Vector {
	vs := f.layout.New()
	r := rand.New(rand.NewPCG(seed, 0x6d696c6c))
	for l := range f.layers() {
		limit := math.Sqrt(6 / float64(f.widths[l]+f.widths[l+1]))
		for i := range vs[2*l].F32 {
			vs[2*l].F32[i] = float32(limit * (2*r.Float64() - 1))
		}
	}
	return vs
}

// learn runs Epochs passes of Adam, or of plain gradient descent, over rows in an
// order drawn from seed, starting at the global parameters, and returns the
// difference it made. Its loss is the mean squared error of a row's targets,
// plus μ/2·|w−x|² if Proximal is set (FedProx, arXiv 1812.06127, equation 2).
// Metric "loss" is the mean loss per row under the global parameters received,
// "loss_local" under those trained here, both without the proximal term.
func (f *denseFamily) learn(ctx context.Context, global []fedavg.Vector, rows, targets [][]float64, options TrainOptions) (Trained, error) {
	net, err := f.network(global)
	if err != nil {
		return Trained{}, fmt.Errorf("train %s: %w", f.kind, err)
	}
	control, err := newControl(options, f.layout)
	if err != nil {
		return Trained{}, fmt.Errorf("train %s: %w", f.kind, err)
	}
	t := newTrainer(net, f.spec, options, control)
	loss := squaredError{net, rows, targets}
	before, err := loss.mean(ctx)
	if err != nil {
		return Trained{}, err
	}
	for range f.epochs {
		if err := t.epoch(ctx, len(rows), loss); err != nil {
			return Trained{}, err
		}
	}
	after, err := loss.mean(ctx)
	if err != nil {
		return Trained{}, err
	}
	deltas, err := t.deltas(f.layout)
	if err != nil {
		return Trained{}, fmt.Errorf("train %s: %w", f.kind, err)
	}
	deltas[len(deltas)-1].F32[0] = 1
	trained := Trained{
		Vectors: deltas, Weight: float64(len(rows)), Steps: t.effectiveSteps(),
		Metrics: map[string]float64{"loss": finite(before), "loss_local": finite(after)},
	}
	if control != nil {
		own, change := control.next(t.start, net.params, t.steps, t.spec.LearningRate)
		trained.OwnControl, trained.Vectors = own, append(trained.Vectors, change...)
	}
	return trained, nil
}

// squaredError is the mean squared error of a row's targets.
type squaredError struct {
	net           *network
	rows, targets [][]float64
}

func (l squaredError) gradient(grad []float64, r int) {
	l.net.forward(l.rows[r])
	l.net.backward(grad, l.rows[r], l.targets[r])
}

// mean is the mean loss per row.
func (l squaredError) mean(ctx context.Context) (float64, error) {
	total := 0.0
	for r, z := range l.rows {
		if r%256 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		total += meanSquaredError(l.net.forward(z), l.targets[r]) / float64(len(l.rows))
	}
	return total, nil
}

// network makes a network of params.
func (f *denseFamily) network(params []fedavg.Vector) (*network, error) {
	if err := f.layout.Check(params); err != nil {
		return nil, err
	}
	n := newNetwork(f.widths)
	return n, n.set(params[:len(params)-1])
}
