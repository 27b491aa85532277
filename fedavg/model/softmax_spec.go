package model

import (
	"fmt"
	"math"
	"slices"
)

// SoftmaxSpec sets up the classifier learned by gradient. It needs targets
// (Set.Targets): the index in Classes of what was true.
type SoftmaxSpec struct {
	// Classes are the answers, at least 2, in the order of targets and probabilities.
	Classes []string `yaml:"classes" json:"classes"`
	// Healthy is the one of Classes that is no fault; with it the model scores how
	// sure a fault is, without it how unsure the answer. Default none.
	Healthy string `yaml:"healthy" json:"healthy,omitempty"`
	// Hidden are the widths of layers between features and classes; none (default)
	// makes it softmax regression, some a multilayer perceptron.
	Hidden []int `yaml:"hidden" json:"hidden,omitempty"`
	// Unknown is the probability that the likeliest class must reach, or the answer is
	// "unknown". 0 < Unknown < 1; default 0.5.
	Unknown float64 `yaml:"unknown" json:"unknown"`
	// Unbalanced lets a class count by its rows; else (default) the loss weighs
	// all classes of the fleet alike.
	Unbalanced   bool    `yaml:"unbalanced" json:"unbalanced,omitempty"`
	Epochs       int     `yaml:"epochs" json:"epochs"`               // local passes a round; default 5
	BatchSize    int     `yaml:"batch_size" json:"batch_size"`       // default 32
	LearningRate float64 `yaml:"learning_rate" json:"learning_rate"` // default 0.01
	Decay        float64 `yaml:"decay" json:"decay"`                 // pulls weights, not biases, to 0: adds Decay/2·|w|² to the loss; default 0.001
	Proximal     float64 `yaml:"proximal" json:"proximal"`           // FedProx μ ≥ 0; default 0
}

func (s SoftmaxSpec) withDefaults() *SoftmaxSpec {
	s.Classes, s.Hidden = slices.Clone(s.Classes), slices.Clone(s.Hidden)
	setDefault(&s.Unknown, 0.5)
	setDefault(&s.Epochs, 5)
	setDefault(&s.BatchSize, 32)
	setDefault(&s.LearningRate, 0.01)
	setDefault(&s.Decay, 0.001)
	return &s
}

// maxClasses bounds the classes of a model.
const maxClasses = 256

func (s *SoftmaxSpec) validate(bad func(path, format string, args ...any)) {
	if len(s.Classes) < 2 || len(s.Classes) > maxClasses {
		bad("softmax.classes", "lists %d classes; list 2 to %d", len(s.Classes), maxClasses)
	}
	for i, c := range s.Classes {
		switch {
		case c == "" || c == UnknownClass:
			bad(fmt.Sprintf("softmax.classes[%d]", i), "is %q; a class needs a name other than %q", c, UnknownClass)
		case slices.Index(s.Classes, c) < i:
			bad(fmt.Sprintf("softmax.classes[%d]", i), "is %q, which is listed already", c)
		}
	}
	if s.Healthy != "" && !slices.Contains(s.Classes, s.Healthy) {
		bad("softmax.healthy", "is %q, which is not one of the classes", s.Healthy)
	}
	checkHidden(s.Hidden, "softmax.hidden", bad)
	if !(s.Unknown > 0 && s.Unknown < 1) {
		bad("softmax.unknown", "is %v; it must be above 0 and below 1", s.Unknown)
	}
	if s.Epochs < 1 {
		bad("softmax.epochs", "is %d; it must be at least 1", s.Epochs)
	}
	if s.BatchSize < 1 {
		bad("softmax.batch_size", "is %d; it must be at least 1", s.BatchSize)
	}
	if !positive(s.LearningRate) {
		bad("softmax.learning_rate", "is %v; it must be a positive number", s.LearningRate)
	}
	for path, x := range map[string]float64{"softmax.decay": s.Decay, "softmax.proximal": s.Proximal} {
		if !(x >= 0) || math.IsInf(x, 0) {
			bad(path, "is %v; it must be 0 or a positive number", x)
		}
	}
}

// checkHidden judges the widths of hidden layers.
func checkHidden(hidden []int, path string, bad func(path, format string, args ...any)) {
	if len(hidden) > maxHiddenLayers {
		bad(path, "has %d layers; the most is %d", len(hidden), maxHiddenLayers)
	}
	for i, n := range hidden {
		if n < 1 || n > maxHiddenWidth {
			bad(fmt.Sprintf("%s[%d]", path, i), "is %d; it must be 1 to %d", n, maxHiddenWidth)
		}
	}
}
