package model

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/millwright-iot/millwright/fedavg"
)

// autoencoderFamily learns to reproduce healthy feature vectors through a narrow
// code: what it cannot reproduce is unusual. Hidden layers are tanh rather than
// ReLU: no unit can die on a gateway that sees little data, and an absurd input
// saturates instead of growing through the layers.
type autoencoderFamily struct {
	spec     AutoencoderSpec
	features int
	widths   []int // of all layers, input and output included
	layout   fedavg.Layout
}

// maxParameters bounds a model; training takes some 40 bytes for each.
const maxParameters = 1 << 22

// roundsVector is the last vector of the parameters: in how many rounds they have
// been trained. Every participant adds 1, so their mean does too, and any other strategy
// makes it positive. It tells trained parameters from initial ones, which look much the same.
const roundsVector = "rounds"

func newAutoencoder(spec AutoencoderSpec, features int) (*autoencoderFamily, error) {
	f := &autoencoderFamily{spec: spec, features: features, widths: []int{features}}
	f.widths = append(f.widths, spec.Hidden...)
	for i := len(spec.Hidden) - 2; i >= 0; i-- {
		f.widths = append(f.widths, spec.Hidden[i])
	}
	f.widths = append(f.widths, features)
	size := 0
	for l := range f.layers() {
		in, out := f.widths[l], f.widths[l+1]
		if size += out * (in + 1); size > maxParameters {
			return nil, fmt.Errorf("make model family: autoencoder of %d features and hidden layers %v has more than %d parameters", features, spec.Hidden, maxParameters)
		}
		f.layout = append(f.layout,
			fedavg.VectorSpec{Name: fmt.Sprintf("layer%d.weight", l), DType: fedavg.Float32, Len: out * in},
			fedavg.VectorSpec{Name: fmt.Sprintf("layer%d.bias", l), DType: fedavg.Float32, Len: out})
	}
	f.layout = append(f.layout, fedavg.VectorSpec{Name: roundsVector, DType: fedavg.Float32, Len: 1})
	return f, nil
}

func (f *autoencoderFamily) layers() int { return len(f.widths) - 1 }

func (f *autoencoderFamily) Learning() Learning { return Gradient }

func (f *autoencoderFamily) ParamLayout() fedavg.Layout {
	return append(fedavg.Layout(nil), f.layout...)
}

// Init draws weights uniformly from ±√(6/(in+out)) (Glorot & Bengio, AISTATS
// 2010, equation 16); biases are 0.
func (f *autoencoderFamily) Init(seed uint64) []fedavg.Vector {
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

// Train runs Epochs passes of Adam, or of plain gradient descent, over the rows of all sets together, in an
// order drawn from seed, starting at the global parameters, and returns the
// difference it made. Its loss is the mean squared error of a row's features,
// plus μ/2·|w−x|² if Proximal is set (FedProx, arXiv 1812.06127, equation 2).
// Metric "loss" is the mean loss per row under the global parameters received,
// "loss_local" under those trained here, both without the proximal term.
func (f *autoencoderFamily) Train(ctx context.Context, global []fedavg.Vector, sets []Set, options TrainOptions) (Trained, error) {
	if err := checkSets(sets, f.features); err != nil {
		return Trained{}, fmt.Errorf("train autoencoder: %w", err)
	}
	net, err := f.network(global)
	if err != nil {
		return Trained{}, fmt.Errorf("train autoencoder: %w", err)
	}
	var rows [][]float64
	for _, set := range sets {
		rows = append(rows, set.Rows...)
	}
	control, err := newControl(options, f.layout)
	if err != nil {
		return Trained{}, fmt.Errorf("train autoencoder: %w", err)
	}
	t := newTrainer(net, descent{f.spec.BatchSize, f.spec.LearningRate, f.spec.Proximal}, options, control)
	loss := reproduction{net, rows}
	before, err := loss.mean(ctx)
	if err != nil {
		return Trained{}, err
	}
	for range f.spec.Epochs {
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
		return Trained{}, fmt.Errorf("train autoencoder: %w", err)
	}
	deltas[len(deltas)-1].F32[0] = 1
	trained := Trained{
		Vectors: deltas, Weight: float64(len(rows)), Steps: t.effectiveSteps(),
		Metrics: map[string]float64{"loss": finite(before), "loss_local": finite(after)},
	}
	if control != nil {
		own, change := control.next(t.start, net.params, t.steps, f.spec.LearningRate)
		trained.OwnControl, trained.Vectors = own, append(trained.Vectors, change...)
	}
	return trained, nil
}

// reproduction is the loss of an autoencoder: the mean squared error of a row's features.
type reproduction struct {
	net  *network
	rows [][]float64
}

func (l reproduction) gradient(grad []float64, r int) {
	l.net.forward(l.rows[r])
	l.net.backward(grad, l.rows[r], l.rows[r])
}

// mean is the mean loss per row.
func (l reproduction) mean(ctx context.Context) (float64, error) {
	total := 0.0
	for r, z := range l.rows {
		if r%256 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		total += meanSquaredError(l.net.forward(z), z) / float64(len(l.rows))
	}
	return total, nil
}

// Load implements Family.
func (f *autoencoderFamily) Load(params []fedavg.Vector) (Model, error) {
	net, err := f.network(params)
	if err != nil {
		return nil, fmt.Errorf("load autoencoder: %w", err)
	}
	if !(params[len(params)-1].F32[0] > 0) {
		return nil, ErrUntrained
	}
	return &autoencoder{net: net}, nil
}

// network makes a network of params.
func (f *autoencoderFamily) network(params []fedavg.Vector) (*network, error) {
	if err := f.layout.Check(params); err != nil {
		return nil, err
	}
	n := newNetwork(f.widths)
	return n, n.set(params[:len(params)-1])
}

// autoencoder scores by reconstruction error.
type autoencoder struct{ net *network }

// Score returns the root mean square of z minus its reconstruction.
func (a *autoencoder) Score(z []float64) float64 {
	return finite(math.Sqrt(meanSquaredError(a.net.forward(z), z)))
}

// Contributions splits the square of Score: element i is the squared error of
// feature i over the number of features, ≥ 0; they sum to Score(z)².
func (a *autoencoder) Contributions(dst, z []float64) []float64 {
	if dst == nil {
		dst = make([]float64, len(z))
	}
	for i, x := range a.net.forward(z) {
		d := x - z[i]
		dst[i] = finite(d * d / float64(len(z)))
	}
	return dst
}
