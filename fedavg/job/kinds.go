package job

import (
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// The names of the strategies.
const (
	NameSum        = "sum"
	NameFedAvg     = "fedavg"
	NameFedProx    = "fedprox"
	NameFedAvgM    = "fedavgm"
	NameFedAdagrad = "fedadagrad"
	NameFedAdam    = "fedadam"
	NameFedYogi    = "fedyogi"
	NameScaffold   = "scaffold"
	NameFedNova    = "fednova"
	NameFedBuff    = "fedbuff"

	NameMedian          = "median"
	NameTrimmedMean     = "trimmed_mean"
	NameKrum            = "krum"
	NameMultiKrum       = "multi_krum"
	NameBulyan          = "bulyan"
	NameGeometricMedian = "geometric_median"
)

// kind is one strategy: its name, the learning it merges and what it can be told.
type kind struct {
	name     string
	learning model.Learning
	params   []param
	build    func(StrategySpec) fedavg.Strategy
}

var kinds = []kind{
	{NameSum, model.Statistics, nil, func(StrategySpec) fedavg.Strategy { return fedavg.Sum{} }},
	{NameFedAvg, model.Gradient, []param{rateDecay}, func(StrategySpec) fedavg.Strategy { return fedavg.FedAvg{} }},
	{NameFedProx, model.Gradient, []param{proximal, rateDecay}, func(StrategySpec) fedavg.Strategy { return fedavg.FedAvg{} }},
	{NameFedAvgM, model.Gradient, []param{serverRate(1), momentum, rateDecay}, func(s StrategySpec) fedavg.Strategy {
		return fedavg.FedAvgM{Rate: s.ServerRate, Momentum: s.Momentum}
	}},
	{NameFedAdagrad, model.Gradient, []param{serverRate(0.1), tau, rateDecay}, func(s StrategySpec) fedavg.Strategy {
		return fedavg.FedAdagrad{Rate: s.ServerRate, Tau: s.Tau}
	}},
	{NameFedAdam, model.Gradient, []param{serverRate(0.1), beta1, beta2, tau, rateDecay}, func(s StrategySpec) fedavg.Strategy {
		return fedavg.FedAdam{Rate: s.ServerRate, Beta1: s.Beta1, Beta2: s.Beta2, Tau: s.Tau}
	}},
	{NameFedYogi, model.Gradient, []param{serverRate(0.01), beta1, beta2, tau, rateDecay}, func(s StrategySpec) fedavg.Strategy {
		return fedavg.FedYogi{Rate: s.ServerRate, Beta1: s.Beta1, Beta2: s.Beta2, Tau: s.Tau}
	}},
	{NameScaffold, model.Gradient, []param{serverRate(1), population, rateDecay}, func(s StrategySpec) fedavg.Strategy {
		return fedavg.Scaffold{Rate: s.ServerRate, Population: s.Population}
	}},
	{NameFedNova, model.Gradient, []param{rateDecay}, func(StrategySpec) fedavg.Strategy { return fedavg.FedNova{} }},
	{NameFedBuff, model.Gradient, []param{serverRate(1), buffer, maxStaleness, rateDecay}, func(s StrategySpec) fedavg.Strategy {
		return fedavg.FedBuff{Rate: s.ServerRate}
	}},
	{NameMedian, model.Gradient, []param{rateDecay}, func(StrategySpec) fedavg.Strategy { return fedavg.Median{} }},
	{NameTrimmedMean, model.Gradient, []param{trim, rateDecay}, func(s StrategySpec) fedavg.Strategy { return fedavg.TrimmedMean{Trim: s.Trim} }},
	{NameKrum, model.Gradient, []param{byzantine, rateDecay}, func(s StrategySpec) fedavg.Strategy { return fedavg.Krum{Byzantine: s.Byzantine} }},
	{NameMultiKrum, model.Gradient, []param{byzantine, selection, rateDecay}, func(s StrategySpec) fedavg.Strategy {
		return fedavg.MultiKrum{Byzantine: s.Byzantine, Select: s.Select}
	}},
	{NameBulyan, model.Gradient, []param{byzantine, rateDecay}, func(s StrategySpec) fedavg.Strategy { return fedavg.Bulyan{Byzantine: s.Byzantine} }},
	{NameGeometricMedian, model.Gradient, []param{rateDecay}, func(StrategySpec) fedavg.Strategy { return fedavg.GeometricMedian{} }},
}

func kindOf(name string) *kind {
	for i := range kinds {
		if kinds[i].name == name {
			return &kinds[i]
		}
	}
	return nil
}

// strategy builds s, whose defaults are filled in.
func (s StrategySpec) strategy() (fedavg.Strategy, error) {
	k := kindOf(s.Name)
	if k == nil {
		return nil, fmt.Errorf("choose strategy: unknown name %q", s.Name)
	}
	return k.build(s), nil
}

// param is one parameter of a StrategySpec.
type param struct {
	path     string
	get      func(*StrategySpec) float64
	set      func(*StrategySpec, float64)
	standard float64 // what 0 stands for
	ok       func(float64) bool
	want     string
}

// The parameters, with the default of those that have one for every strategy.
var (
	momentum     = real("momentum", func(s *StrategySpec) *float64 { return &s.Momentum }, 0.9, isShare, "above 0 and below 1")
	beta1        = real("beta1", func(s *StrategySpec) *float64 { return &s.Beta1 }, 0.9, isShare, "above 0 and below 1")
	beta2        = real("beta2", func(s *StrategySpec) *float64 { return &s.Beta2 }, 0.99, isShare, "above 0 and below 1")
	tau          = real("tau", func(s *StrategySpec) *float64 { return &s.Tau }, 1e-3, isPositive, "a positive number")
	proximal     = real("proximal", func(s *StrategySpec) *float64 { return &s.Proximal }, 0.01, isPositive, "a positive number")
	population   = whole("population", func(s *StrategySpec) *int { return &s.Population }, 0, 0)
	buffer       = whole("buffer", func(s *StrategySpec) *int { return &s.Buffer }, 10, 1)
	maxStaleness = whole("max_staleness", func(s *StrategySpec) *int { return &s.MaxStaleness }, 20, 1)
	byzantine    = whole("byzantine", func(s *StrategySpec) *int { return &s.Byzantine }, 1, 1)
	selection    = whole("select", func(s *StrategySpec) *int { return &s.Select }, 0, 0)
	rateDecay    = real("rate_decay", func(s *StrategySpec) *float64 { return &s.RateDecay }, 0, func(x float64) bool { return x >= 0 && x <= 1 }, "above 0 and at most 1")
	trim         = real("trim", func(s *StrategySpec) *float64 { return &s.Trim }, 0.1, func(x float64) bool { return x > 0 && x < 0.5 }, "above 0 and below 0.5")
)

// allParams is every parameter there is.
var allParams = []param{serverRate(1), momentum, beta1, beta2, tau, proximal, population, byzantine, selection, trim, buffer, maxStaleness, rateDecay}

func serverRate(standard float64) param {
	return real("server_rate", func(s *StrategySpec) *float64 { return &s.ServerRate }, standard, isPositive, "a positive number")
}

func isShare(x float64) bool    { return x > 0 && x < 1 }
func isPositive(x float64) bool { return x > 0 && !math.IsInf(x, 1) }

func real(path string, field func(*StrategySpec) *float64, standard float64, ok func(float64) bool, want string) param {
	return param{path, func(s *StrategySpec) float64 { return *field(s) }, func(s *StrategySpec, x float64) { *field(s) = x }, standard, ok, want}
}

func whole(path string, field func(*StrategySpec) *int, standard, least int) param {
	return param{
		path, func(s *StrategySpec) float64 { return float64(*field(s)) }, func(s *StrategySpec, x float64) { *field(s) = int(x) },
		float64(standard), func(x float64) bool { return x >= float64(least) }, fmt.Sprintf("at least %d", least),
	}
}

// fill sets p to its default where it is 0.
func (p param) fill(s *StrategySpec) {
	if p.get(s) == 0 {
		p.set(s, p.standard)
	}
}

// validateStrategy judges s.Strategy in the light of the model and the rounds.
func (s Spec) validateStrategy(ps *problems) {
	st := s.Strategy
	if learning := model.LearningOf(s.Model.Kind); learning != 0 { // else that is said already
		if p := st.problem(learning); p != nil {
			*ps = append(*ps, *p)
			return
		}
	}
	k := kindOf(st.Name)
	if k == nil {
		return
	}
	mine := map[string]bool{}
	for _, p := range k.params {
		mine[p.path] = true
		if x := p.get(&st); !p.ok(x) {
			ps.add("strategy."+p.path, "is %v; it must be %s", x, p.want)
		}
	}
	for _, p := range allParams {
		if !mine[p.path] && p.get(&st) != 0 {
			ps.add("strategy."+p.path, "does not belong to strategy %q; remove it", st.Name)
		}
	}
	sampled := s.Rounds.Participants > 0 || s.Rounds.Fraction > 0
	if st.Name == NameScaffold && st.Population == 0 && sampled {
		ps.add("strategy.population", "is missing: rounds sample agents, so scaffold must know how many there are")
	}
	if st.Async() && s.Rounds.OnDrift {
		ps.add("rounds.on_drift", "is given with strategy %q, which has no rounds to bring forward; remove it", st.Name)
	}
	if least := st.leastUpdates(); least > 0 && s.Rounds.MinParticipants < least {
		ps.add("rounds.min_participants", "is %d, but strategy %q withstands %d lying agents only among at least %d", s.Rounds.MinParticipants, st.Name, st.Byzantine, least)
	}
	if a := s.Model.Autoencoder; st.Name == NameFedProx && a != nil && a.Proximal != 0 {
		ps.add("strategy.proximal", "is given as model.autoencoder.proximal too; keep this one")
	}
}

// leastUpdates is how many updates s needs to keep its promise.
func (s StrategySpec) leastUpdates() int {
	f := int64(s.Byzantine)
	switch s.Name {
	case NameKrum, NameMultiKrum:
		return int(min(2*f+3, math.MaxInt32))
	case NameBulyan:
		return int(min(4*f+3, math.MaxInt32))
	}
	return 0
}
