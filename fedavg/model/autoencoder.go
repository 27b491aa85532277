package model

import (
	"context"
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/fedavg"
)

// autoencoderFamily learns to reproduce healthy feature vectors through a narrow
// code: what it cannot reproduce is unusual. Hidden layers are tanh rather than
// ReLU: no unit can die on a gateway that sees little data, and an absurd input
// saturates instead of growing through the layers.
type autoencoderFamily struct{ *denseFamily }

func newAutoencoder(spec AutoencoderSpec, features int) (*autoencoderFamily, error) {
	widths := append([]int{features}, spec.Hidden...)
	for i := len(spec.Hidden) - 2; i >= 0; i-- {
		widths = append(widths, spec.Hidden[i])
	}
	dense, err := newDense(KindAutoencoder, spec.Epochs, descent{spec.BatchSize, spec.LearningRate, spec.Proximal}, append(widths, features))
	if err != nil {
		return nil, err
	}
	return &autoencoderFamily{dense}, nil
}

// Train implements Family; a row's target is the row itself.
func (f *autoencoderFamily) Train(ctx context.Context, global []fedavg.Vector, sets []Set, options TrainOptions) (Trained, error) {
	if err := checkSets(sets, f.widths[0]); err != nil {
		return Trained{}, fmt.Errorf("train autoencoder: %w", err)
	}
	var rows [][]float64
	for _, set := range sets {
		rows = append(rows, set.Rows...)
	}
	return f.learn(ctx, global, rows, rows, options)
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
