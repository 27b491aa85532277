package job

import (
	"fmt"
	"math"
	"slices"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// StrategySpec chooses a strategy by name and tunes it. Parameters that the
// named strategy does not have must be absent.
type StrategySpec struct {
	// Name is one of Strategies. Default: fedavg for models that learn by
	// gradient, sum for statistics.
	Name string `yaml:"name" json:"name"`
	// ServerRate η scales the step of the global model. Default 1 (fedavgm,
	// scaffold, fedbuff), 0.1 (fedadagrad, fedadam) or 0.01 (fedyogi).
	ServerRate float64 `yaml:"server_rate" json:"server_rate,omitempty"`
	Momentum   float64 `yaml:"momentum" json:"momentum,omitempty"` // fedavgm: β, 0 < β < 1; default 0.9
	Beta1      float64 `yaml:"beta1" json:"beta1,omitempty"`       // fedadam, fedyogi: β₁, 0 < β₁ < 1; default 0.9
	Beta2      float64 `yaml:"beta2" json:"beta2,omitempty"`       // fedadam, fedyogi: β₂, 0 < β₂ < 1; default 0.99
	Tau        float64 `yaml:"tau" json:"tau,omitempty"`           // fedadagrad, fedadam, fedyogi: τ > 0; default 0.001
	Proximal   float64 `yaml:"proximal" json:"proximal,omitempty"` // fedprox: μ > 0 of the agents' loss; default 0.01
	// RateDecay d, 0 < d ≤ 1: agents learn from version v of the global model at d^v times
	// their learning rate, but no less than a hundredth, so that their steps stop pulling
	// it to and fro. Not for sum. Default 1.
	RateDecay float64 `yaml:"rate_decay" json:"rate_decay,omitempty"`
	// Population is scaffold's N, how many agents the fleet has. 0 means those of
	// the round, and is right only if every round asks all.
	Population int `yaml:"population" json:"population,omitempty"`
	// Byzantine f is how many lying agents krum, multi_krum and bulyan withstand,
	// ≥ 1. Default 1.
	Byzantine int     `yaml:"byzantine" json:"byzantine,omitempty"`
	Select    int     `yaml:"select" json:"select,omitempty"` // multi_krum: how many of the best it averages; default all but f
	Trim      float64 `yaml:"trim" json:"trim,omitempty"`     // trimmed_mean: share β dropped at each end, 0 < β < 0.5; default 0.1
	Buffer    int     `yaml:"buffer" json:"buffer,omitempty"` // fedbuff: K, arrivals that make a version; default 10
	// MaxStaleness: fedbuff leaves out updates to a version that so many others
	// have followed. Default 20.
	MaxStaleness int `yaml:"max_staleness" json:"max_staleness,omitempty"`
}

// IsZero says whether s is the default, which JSON leaves out: digests of jobs
// from before there was a choice stay what they are.
func (s StrategySpec) IsZero() bool {
	return s == StrategySpec{} || s == StrategySpec{Name: NameSum} || s == StrategySpec{Name: NameFedAvg}
}

// SharesState says whether agents need the strategy's state beside the global
// model in order to train: scaffold's control variates.
func (s StrategySpec) SharesState() bool { return s.Name == NameScaffold }

// Async says whether the strategy makes a version of every Buffer arrivals,
// whatever version they started from, instead of rounds.
func (s StrategySpec) Async() bool { return s.Name == NameFedBuff }

// Strategies returns the names of all strategies, in order.
func Strategies() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.name
	}
	slices.Sort(names)
	return names
}

// Build returns the strategy that s names for updates that learn in this way; a
// strategy of the other way is an error. s must have its defaults filled in, as
// Spec.WithDefaults does.
func (s StrategySpec) Build(l model.Learning) (fedavg.Strategy, error) {
	if p := s.problem(l); p != nil {
		return nil, fmt.Errorf("choose strategy: %w", p)
	}
	return s.strategy()
}

func (s StrategySpec) withDefaults(model string) StrategySpec {
	setDefault(&s.Name, defaultStrategy(model))
	k := kindOf(s.Name)
	if k == nil {
		return s
	}
	for _, p := range k.params {
		p.fill(&s)
	}
	return s
}

func defaultStrategy(kind string) string {
	if model.LearningOf(kind) == model.Statistics {
		return NameSum
	}
	return NameFedAvg
}

// leastRate is where RateDecay ends: a model may learn for years.
const leastRate = 0.01

func (s StrategySpec) trainOptions(seed, version uint64) model.TrainOptions {
	o := model.TrainOptions{Seed: seed, Proximal: s.Proximal}
	if s.RateDecay != 0 {
		o.RateFactor = max(math.Pow(s.RateDecay, float64(version)), leastRate)
	}
	o.PlainSGD = s.Name == NameScaffold || s.Name == NameFedNova
	return o
}

// problem says why s cannot merge updates that learn in this way.
func (s StrategySpec) problem(l model.Learning) *Problem {
	k := kindOf(s.Name)
	switch {
	case k == nil:
		return &Problem{Path: "strategy.name", Message: fmt.Sprintf("is %q; it must be one of %v", s.Name, Strategies())}
	case k.learning != l && l == model.Statistics:
		return &Problem{Path: "strategy.name", Message: fmt.Sprintf("is %q, but statistics are summed; use %q or leave it out", s.Name, NameSum)}
	case k.learning != l:
		return &Problem{Path: "strategy.name", Message: fmt.Sprintf("is %q, which adds statistics; this model learns by gradient", s.Name)}
	}
	return nil
}
