package model

import (
	"errors"
	"fmt"

	"github.com/millwright-iot/millwright/fedavg"
)

// ErrUntrained says that parameters have learned nothing yet, so that there is
// no model to load.
var ErrUntrained = errors.New("parameters have learned nothing yet")

// NewFamily returns the family that spec describes for vectors of so many
// features. The defaults of spec are filled in; an invalid spec is an error
// that lists every problem. A family of kind rul is made by package prognosis.
func NewFamily(spec Spec, features int) (Family, error) {
	if features < 1 {
		return nil, fmt.Errorf("make model family: %d features; at least one is needed", features)
	}
	spec = spec.WithDefaults()
	var errs []error
	for _, p := range spec.Validate() {
		errs = append(errs, p)
	}
	if errs != nil {
		return nil, fmt.Errorf("make model family: %w", errors.Join(errs...))
	}
	switch spec.Kind {
	case KindRUL:
		return nil, errors.New("make model family: one of kind rul must know its features by name; make it with package prognosis")
	case KindRidge:
		return asFamily(newRidge(*spec.Ridge, features))
	case KindMLP:
		return asFamily(newMLP(*spec.MLP, features))
	case KindSoftmax:
		return asFamily(newSoftmax(*spec.Softmax, features))
	case KindAutoencoder:
		return asFamily(newAutoencoder(*spec.Autoencoder, features))
	}
	return newGaussian(*spec.Gaussian, features, spec.Overlap), nil
}

// asFamily drops f if there is an error: a nil pointer in an interface is not a
// nil interface.
func asFamily[F Family](f F, err error) (Family, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// LocalBlender is a Family that can join what the fleet knows with what one
// machine knows of itself.
type LocalBlender interface {
	Family
	// LoadBlended makes a Model of the global parameters and of local ones, the
	// Vectors that Train returned for this machine alone. Either may have learned
	// nothing yet, then the other counts alone; ErrUntrained if both.
	LoadBlended(global, local []fedavg.Vector) (Model, error)
}

// Strategy returns how updates that learn in this way are merged.
func (l Learning) Strategy() (fedavg.Strategy, error) {
	switch l {
	case Gradient:
		return fedavg.FedAvg{}, nil
	case Statistics:
		return fedavg.Sum{}, nil
	}
	return nil, fmt.Errorf("choose strategy: unknown kind of learning %d", l)
}
