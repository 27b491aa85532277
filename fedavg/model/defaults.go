package model

import (
	"fmt"
	"math"
	"slices"
	"strings"
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
	if s.MLP != nil || s.Kind == KindMLP {
		m := MLPSpec{}
		if s.MLP != nil {
			m = *s.MLP
		}
		s.MLP = m.withDefaults()
	}
	if s.Softmax != nil || s.Kind == KindSoftmax {
		m := SoftmaxSpec{}
		if s.Softmax != nil {
			m = *s.Softmax
		}
		s.Softmax = m.withDefaults()
	}
	if s.RUL != nil || s.Kind == KindRUL {
		r := RULSpec{}
		if s.RUL != nil {
			r = *s.RUL
		}
		s.RUL = r.withDefaults()
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
	switch {
	case slices.Contains(Kinds(), s.Kind):
		s.validateForeign(bad)
	case s.Kind == "":
		bad("kind", "is missing; it must be one of %s", strings.Join(Kinds(), ", "))
	default:
		bad("kind", "is %q; it must be one of %s", s.Kind, strings.Join(Kinds(), ", "))
	}
	if s.Ridge != nil {
		s.Ridge.validate(bad)
	}
	if s.MLP != nil {
		s.MLP.validate(bad)
	}
	if s.Softmax != nil {
		s.Softmax.validate(bad)
	}
	if s.RUL != nil {
		s.RUL.validate(bad)
	}
	if g := s.Gaussian; g != nil {
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
		checkHidden(a.Hidden, "autoencoder.hidden", bad)
		checkDescent("autoencoder", a.Epochs, descent{a.BatchSize, a.LearningRate, a.Proximal}, bad)
	}
	return ps
}

// validateForeign refuses settings of other kinds.
func (s Spec) validateForeign(bad func(path, format string, args ...any)) {
	for _, other := range []struct {
		kind string
		set  bool
	}{
		{KindGaussian, s.Gaussian != nil}, {KindAutoencoder, s.Autoencoder != nil}, {KindRidge, s.Ridge != nil},
		{KindMLP, s.MLP != nil}, {KindSoftmax, s.Softmax != nil}, {KindRUL, s.RUL != nil},
	} {
		if other.set && other.kind != s.Kind {
			bad(other.kind, "does not belong to a model of kind %q; remove it", s.Kind)
		}
	}
}

// checkDescent judges how a network is to be trained.
func checkDescent(path string, epochs int, d descent, bad func(path, format string, args ...any)) {
	if epochs < 1 {
		bad(path+".epochs", "is %d; it must be at least 1", epochs)
	}
	if d.BatchSize < 1 {
		bad(path+".batch_size", "is %d; it must be at least 1", d.BatchSize)
	}
	if !positive(d.LearningRate) {
		bad(path+".learning_rate", "is %v; it must be a positive number", d.LearningRate)
	}
	if !(d.Proximal >= 0) || math.IsInf(d.Proximal, 0) {
		bad(path+".proximal", "is %v; it must be 0 or a positive number", d.Proximal)
	}
}

func positive(x float64) bool { return x > 0 && !math.IsInf(x, 1) }
