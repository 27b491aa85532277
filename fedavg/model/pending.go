package model

import (
	"context"
	"errors"

	"github.com/millwright-iot/millwright/fedavg"
)

type pending struct {
	learning Learning
}

func newAutoencoder(spec AutoencoderSpec, features int) Family    { return pending{Gradient} }

func (p pending) Learning() Learning { return p.learning }
func (p pending) ParamLayout() fedavg.Layout {
	return fedavg.Layout{{Name: "w", DType: fedavg.Float32, Len: 1}}
}
func (p pending) Init(seed uint64) []fedavg.Vector { return p.ParamLayout().New() }
func (p pending) Train(ctx context.Context, global []fedavg.Vector, sets []Set, seed uint64) (Trained, error) {
	return Trained{}, errors.New("not built yet")
}
func (p pending) Load(params []fedavg.Vector) (Model, error) { return nil, ErrUntrained }
