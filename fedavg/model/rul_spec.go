package model

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// RULSpec sets up the prediction of remaining useful life, which package prognosis
// learns from sums, one stage a round. It needs targets (Set.Targets): how many
// cycles were left.
type RULSpec struct {
	// Cycle is how much operation makes one row: what the windows of a machine in
	// operation show is averaged over it, and lives are counted in it. Default 1h.
	Cycle time.Duration `yaml:"cycle" json:"cycle_ns"`
	// Operation tells windows of a machine in operation from those of one that is
	// off. Default: all windows are of a machine in operation.
	Operation *RULOperation `yaml:"operation,omitempty" json:"operation,omitempty"`
	// Settings are the features that say how the machine is run, such as its speed;
	// all others are judged in their light. Default none.
	Settings []RULSetting `yaml:"settings" json:"settings,omitempty"`
	// Cap is how many cycles before its end a machine counts as new: no more is
	// predicted. Default 125.
	Cap float64 `yaml:"cap" json:"cap"`
	// Components is how many ways of wearing are told apart, at most as many as
	// there are features beside Settings. Default 2.
	Components int `yaml:"components" json:"components"`
	// Confidence is the share of truths that intervals are made to hold, above 0
	// and below 1. Default 0.9.
	Confidence float64 `yaml:"confidence" json:"confidence"`
	// Units, Inputs, Members, Lambda and Seed are those of RidgeSpec. Defaults 200,
	// 3, 2, 3 and 1. An update holds some 20·Members·(13·Components+Units)² bytes.
	Units   int     `yaml:"units" json:"units"`
	Inputs  int     `yaml:"inputs" json:"inputs"`
	Members int     `yaml:"members" json:"members"`
	Lambda  float64 `yaml:"lambda" json:"lambda"`
	// Forgetting γ weighs a row γ^(rows of the machine since), 0 < γ ≤ 1; every third
	// cycle is a row. Default 1: never.
	Forgetting float64 `yaml:"forgetting" json:"forgetting"`
	Seed       uint64  `yaml:"seed" json:"seed"`
}

// RULOperation says when a machine is in operation: while Feature, written
// "channel.feature", is above Above.
type RULOperation struct {
	Feature string  `yaml:"feature" json:"feature"`
	Above   float64 `yaml:"above" json:"above"`
}

// RULSetting is a feature, written "channel.feature", that says how a machine is run, and
// the grid on which its operating conditions are found.
type RULSetting struct {
	Feature       string `yaml:"feature" json:"feature"`
	ConditionAxis `yaml:",inline"`
}

// Axes are the grid's axes, in the order of Settings.
func (r *RULSpec) Axes() []ConditionAxis {
	axes := make([]ConditionAxis, len(r.Settings))
	for i, s := range r.Settings {
		axes[i] = s.ConditionAxis
	}
	return axes
}

// Regression is the ridge regression of the remaining life on the features of a
// trajectory.
func (r *RULSpec) Regression() Spec {
	return Spec{Kind: KindRidge, Ridge: &RidgeSpec{
		Units: r.Units, Inputs: r.Inputs, Members: r.Members, Lambda: r.Lambda, Cap: r.Cap, Forgetting: r.Forgetting, Seed: r.Seed,
	}}
}

func (r RULSpec) withDefaults() *RULSpec {
	r.Settings = slices.Clone(r.Settings)
	if r.Operation != nil {
		operation := *r.Operation
		r.Operation = &operation
	}
	setDefault(&r.Cycle, time.Hour)
	setDefault(&r.Cap, 125)
	setDefault(&r.Components, 2)
	setDefault(&r.Confidence, 0.9)
	setDefault(&r.Units, 200)
	setDefault(&r.Inputs, 3)
	setDefault(&r.Members, 2)
	setDefault(&r.Lambda, 3)
	setDefault(&r.Forgetting, 1)
	setDefault(&r.Seed, 1)
	return &r
}

func (r *RULSpec) validate(bad func(path, format string, args ...any)) {
	if r.Cycle < 0 {
		bad("rul.cycle", "is %v; it must be longer than zero, for example 1h", r.Cycle)
	}
	if o := r.Operation; o != nil {
		if o.Feature == "" {
			bad("rul.operation.feature", "is missing; name the feature that is small while the machine is off")
		}
		if math.IsNaN(o.Above) || math.IsInf(o.Above, 0) {
			bad("rul.operation.above", "is %v; it must be a finite number", o.Above)
		}
	}
	for i, s := range r.Settings {
		path := fmt.Sprintf("rul.settings[%d]", i)
		if s.Feature == "" {
			bad(path+".feature", "is missing; name the feature")
		} else if first := slices.IndexFunc(r.Settings, func(o RULSetting) bool { return o.Feature == s.Feature }); first < i {
			bad(path+".feature", "%q is listed already as rul.settings[%d]", s.Feature, first)
		}
	}
	if _, err := NewConditionGrid(r.Axes(), 1); err != nil {
		bad("rul.settings", "do not make a grid: %v", err)
	}
	if r.Components < 1 || r.Components > maxComponents {
		bad("rul.components", "is %d; it must be 1 to %d", r.Components, maxComponents)
	}
	if !(r.Confidence > 0 && r.Confidence < 1) {
		bad("rul.confidence", "is %v; it must be above 0 and below 1", r.Confidence)
	}
	r.Regression().Ridge.validate(func(path, format string, args ...any) {
		bad("rul"+path[len(KindRidge):], format, args...)
	})
}

// maxComponents bounds the ways of wearing that are told apart.
const maxComponents = 8
