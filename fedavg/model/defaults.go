package model

import (
	"fmt"
	"math"
)

// Problem is one reason why a Spec cannot be used. Path is where in the YAML,
// relative to the spec, such as "gaussian.shrinkage".
type Problem struct{ Path, Message string }

func (p Problem) Error() string { return p.Path + " " + p.Message }

// WithDefaults returns a copy of s with the settings of its kind present and
// every one left at zero at its default. It shares no memory with s.
func (s Spec) WithDefaults() Spec {
	if s.Gaussian != nil || s.Kind == KindGaussian {
		g := GaussianSpec{}
		if s.Gaussian != nil {
			g = *s.Gaussian
		}
		setDefault(&g.Shrinkage, 0.1)
		setDefault(&g.MaxWander, 5)
		setDefault(&g.PriorRows, 200)
		s.Gaussian = &g
	}
	if s.Autoencoder != nil || s.Kind == KindAutoencoder {
		a := AutoencoderSpec{}
		if s.Autoencoder != nil {
			a = *s.Autoencoder
		}
		a.Hidden = append([]int(nil), a.Hidden...)
		if len(a.Hidden) == 0 {
			a.Hidden = []int{16, 4}
		}
		setDefault(&a.Epochs, 2)
		setDefault(&a.BatchSize, 32)
		setDefault(&a.LearningRate, 0.01)
		s.Autoencoder = &a
	}
	if s.Ridge != nil || s.Kind == KindRidge {
		r := RidgeSpec{}
		if s.Ridge != nil {
			r = *s.Ridge
		}
		s.Ridge = r.withDefaults()
	}
	if s.Softmax != nil || s.Kind == KindSoftmax {
		m := SoftmaxSpec{}
		if s.Softmax != nil {
			m = *s.Softmax
		}
		s.Softmax = m.withDefaults()
	}
	return s
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Limits of an autoencoder, so that a slip of the keyboard cannot exhaust a
// gateway's memory.
const (
	maxHiddenLayers = 8
	maxHiddenWidth  = 4096
)

// Validate returns everything that is wrong with s once its defaults are filled
// in; nil means s can be used.
func (s Spec) Validate() []Problem {
	var ps []Problem
	bad := func(path, format string, args ...any) {
		ps = append(ps, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	s = s.WithDefaults()
	switch s.Kind {
	case KindGaussian, KindAutoencoder, KindRidge, KindSoftmax:
	case "":
		bad("kind", "is missing; it must be %q, %q, %q or %q", KindGaussian, KindAutoencoder, KindRidge, KindSoftmax)
	default:
		bad("kind", "is %q; it must be %q, %q, %q or %q", s.Kind, KindGaussian, KindAutoencoder, KindRidge, KindSoftmax)
	}
	if s.Ridge != nil {
		s.Ridge.validate(s.Kind, bad)
		if s.Kind == KindSoftmax {
			bad("ridge", "does not belong to a model of kind %q; remove it", s.Kind)
		}
	}
	if s.Softmax != nil {
		s.Softmax.validate(s.Kind, bad)
	}
	if g := s.Gaussian; g != nil {
		if s.Kind == KindAutoencoder || s.Kind == KindRidge || s.Kind == KindSoftmax {
			bad("gaussian", "does not belong to a model of kind %q; remove it", s.Kind)
		}
		if !(g.Shrinkage > 0 && g.Shrinkage <= 1) {
			bad("gaussian.shrinkage", "is %v; it must be above 0 and at most 1", g.Shrinkage)
		}
		if !positive(g.MaxWander) {
			bad("gaussian.max_wander", "is %v; it must be a positive number", g.MaxWander)
		}
		if !positive(g.PriorRows) {
			bad("gaussian.prior_rows", "is %v; it must be a positive number", g.PriorRows)
		}
	}
	if a := s.Autoencoder; a != nil {
		if s.Kind == KindGaussian || s.Kind == KindRidge || s.Kind == KindSoftmax {
			bad("autoencoder", "does not belong to a model of kind %q; remove it", s.Kind)
		}
		checkHidden(a.Hidden, "autoencoder.hidden", bad)
		if a.Epochs < 1 {
			bad("autoencoder.epochs", "is %d; it must be at least 1", a.Epochs)
		}
		if a.BatchSize < 1 {
			bad("autoencoder.batch_size", "is %d; it must be at least 1", a.BatchSize)
		}
		if !positive(a.LearningRate) {
			bad("autoencoder.learning_rate", "is %v; it must be a positive number", a.LearningRate)
		}
		if !(a.Proximal >= 0) || math.IsInf(a.Proximal, 0) {
			bad("autoencoder.proximal", "is %v; it must be 0 or a positive number", a.Proximal)
		}
	}
	return ps
}

func positive(x float64) bool { return x > 0 && !math.IsInf(x, 1) }
