package model

import (
	"context"
	"fmt"

	"github.com/millwright-iot/millwright/fedavg"
)

// mlpFamily predicts a target by a dense network, learned by gradient over many
// rounds. Targets are learned in units of Cap.
type mlpFamily struct {
	*denseFamily
	ceiling float64
}

func newMLP(spec MLPSpec, features int) (*mlpFamily, error) {
	widths := append(append([]int{features}, spec.Hidden...), 1)
	dense, err := newDense(KindMLP, spec.Epochs, descent{spec.BatchSize, spec.LearningRate, spec.Proximal}, widths)
	if err != nil {
		return nil, err
	}
	return &mlpFamily{dense, spec.Cap}, nil
}

// Train implements Family. Losses are of targets in units of Cap.
func (f *mlpFamily) Train(ctx context.Context, global []fedavg.Vector, sets []Set, options TrainOptions) (Trained, error) {
	if err := checkTargets(sets, f.widths[0]); err != nil {
		return Trained{}, fmt.Errorf("train mlp: %w", err)
	}
	var rows, targets [][]float64
	for _, set := range sets {
		rows = append(rows, set.Rows...)
		for _, y := range set.Targets {
			targets = append(targets, []float64{capped(f.ceiling, y) / f.ceiling})
		}
	}
	return f.learn(ctx, global, rows, targets, options)
}

// Load implements Family; the Model is a Regressor.
func (f *mlpFamily) Load(params []fedavg.Vector) (Model, error) {
	net, err := f.network(params)
	if err != nil {
		return nil, fmt.Errorf("load mlp: %w", err)
	}
	if !(params[len(params)-1].F32[0] > 0) {
		return nil, ErrUntrained
	}
	return &mlp{net: net, ceiling: f.ceiling, z: make([]float64, f.widths[0])}, nil
}

type mlp struct {
	net     *network
	ceiling float64
	z       []float64 // scratch
}

// Predict implements Regressor.
func (m *mlp) Predict(z []float64) float64 {
	return capped(m.ceiling, finite(m.ceiling*m.net.forward(z)[0]))
}

// Score implements Model; see Regressor.
func (m *mlp) Score(z []float64) float64 { return 1 - m.Predict(z)/m.ceiling }

// Contributions implements Model; see occlude.
func (m *mlp) Contributions(dst, z []float64) []float64 {
	return occlude(dst, z, m.z, m.Predict, m.ceiling)
}
