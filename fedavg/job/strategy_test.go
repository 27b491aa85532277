package job

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millwright-iot/millwright/fedavg"
)

// with replaces the strategy of longYAML, an autoencoder with 2 participants at
// least and a proximal term.
func with(t *testing.T, strategy string) Spec {
	t.Helper()
	text := strings.Replace(longYAML, "    proximal: 0.1\n", "", 1)
	text = strings.Replace(text, "min_participants: 2", "min_participants: 7", 1)
	return parse(t, text+"strategy: "+strategy+"\n")
}

func TestStrategySpec_Builds(t *testing.T) {
	for text, want := range map[string]fedavg.Strategy{
		"{name: fedavg}":   fedavg.FedAvg{},
		"{name: fedprox}":  fedavg.FedAvg{},
		"{name: fedavgm}":  fedavg.FedAvgM{Rate: 1, Momentum: 0.9},
		"{name: fedadam}":  fedavg.FedAdam{Rate: 0.1, Beta1: 0.9, Beta2: 0.99, Tau: 1e-3},
		"{name: fedyogi}":  fedavg.FedYogi{Rate: 0.01, Beta1: 0.9, Beta2: 0.99, Tau: 1e-3},
		"{name: scaffold}": fedavg.Scaffold{Rate: 1},
		"{name: fednova}":  fedavg.FedNova{},
		"{name: fedbuff}":  fedavg.FedBuff{Rate: 1},
		"{name: median}":   fedavg.Median{},
		"{name: krum}":     fedavg.Krum{Byzantine: 1},
		"{name: bulyan}":   fedavg.Bulyan{Byzantine: 1},
		"{}":               fedavg.FedAvg{},
		"{name: fedadagrad, tau: 0.5, server_rate: 2}":     fedavg.FedAdagrad{Rate: 2, Tau: 0.5},
		"{name: trimmed_mean, trim: 0.2}":                  fedavg.TrimmedMean{Trim: 0.2},
		"{name: multi_krum, byzantine: 2, select: 3}":      fedavg.MultiKrum{Byzantine: 2, Select: 3},
		"{name: geometric_median}":                         fedavg.GeometricMedian{},
		"{name: scaffold, population: 50, server_rate: 3}": fedavg.Scaffold{Rate: 3, Population: 50},
	} {
		s := with(t, text)
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		got, err := s.NewStrategy()
		if err != nil || got != want {
			t.Errorf("%s: %#v, %v", text, got, err)
		}
		data, err := json.Marshal(s.WithDefaults())
		if err != nil {
			t.Fatal(err)
		}
		var back Spec
		if err := json.Unmarshal(data, &back); err != nil || back.Digest() != s.Digest() {
			t.Errorf("%s: the digest changes on the wire (%v)", text, err)
		}
	}
}

func TestStrategySpec_Refuses(t *testing.T) {
	for text, path := range map[string]string{
		"{name: best}":                         "strategy.name",
		"{name: sum}":                          "strategy.name",
		"{name: fedavg, momentum: 0.5}":        "strategy.momentum",
		"{name: fedavgm, momentum: 1}":         "strategy.momentum",
		"{name: fedavgm, server_rate: -1}":     "strategy.server_rate",
		"{name: fedadam, beta1: 1.5}":          "strategy.beta1",
		"{name: fedadam, beta2: 2}":            "strategy.beta2",
		"{name: fedadam, tau: -1}":             "strategy.tau",
		"{name: trimmed_mean, trim: 0.5}":      "strategy.trim",
		"{name: krum, byzantine: -1}":          "strategy.byzantine",
		"{name: krum, byzantine: 3}":           "rounds.min_participants",
		"{name: bulyan, byzantine: 2}":         "rounds.min_participants",
		"{name: multi_krum, select: -2}":       "strategy.select",
		"{name: krum, select: 2}":              "strategy.select",
		"{name: fedbuff, buffer: -3}":          "strategy.buffer",
		"{name: fedbuff, max_staleness: -3}":   "strategy.max_staleness",
		"{name: median, trim: 0.1}":            "strategy.trim",
		"{name: fedprox, proximal: -1}":        "strategy.proximal",
		"{name: fedadagrad, beta1: 0.9}":       "strategy.beta1",
		"{name: scaffold, population: -1}":     "strategy.population",
		"{name: fednova, population: 3}":       "strategy.population",
		"{}\ncompression: [lzma]":              "compression[0]",
		"{}\ncompression: [zstd, top_k, zstd]": "compression[2]",
		"{}\nquarantine: {max_norm: 0.5}":      "quarantine.max_norm",
		"{}\nquarantine: {min_cosine: 2}":      "quarantine.min_cosine",
	} {
		s := with(t, text)
		ps := s.Validate()
		if len(ps) != 1 || ps[0].Path != path {
			t.Errorf("%s: got %v", text, ps)
		}
	}
	statistics := parse(t, shortYAML+"strategy: {name: median}\ncompression: [int8, zstd]\n")
	var paths []string
	for _, p := range statistics.Validate() {
		paths = append(paths, p.Path)
	}
	if diff := cmp.Diff([]string{"strategy.name", "compression[0]"}, paths); diff != "" {
		t.Error(diff)
	}
	if _, err := statistics.NewStrategy(); err == nil {
		t.Error("statistics get a median")
	}
	sampled := with(t, "{name: scaffold}")
	sampled.Rounds.Fraction = 0.5
	if ps := sampled.Validate(); len(ps) != 1 || ps[0].Path != "strategy.population" {
		t.Errorf("sampled scaffold: %v", ps)
	}
	early := with(t, "{name: fedbuff}")
	early.Rounds.OnDrift = true
	if ps := early.Validate(); len(ps) != 1 || ps[0].Path != "rounds.on_drift" {
		t.Errorf("rounds on drift without rounds: %v", ps)
	}
	twice := parse(t, longYAML+"strategy: {name: fedprox, proximal: 0.2}\n")
	if ps := twice.Validate(); len(ps) != 1 || ps[0].Path != "strategy.proximal" {
		t.Errorf("proximal given twice: %v", ps)
	}
}

func TestStrategySpec_TrainOptions(t *testing.T) {
	if o := with(t, "{name: fedprox}").TrainOptions(5, 3); o.Proximal != 0.01 || o.PlainSGD || o.Seed != 5 {
		t.Errorf("fedprox: %+v", o)
	}
	for name, plain := range map[string]bool{"scaffold": true, "fednova": true, "fedavg": false, "krum": false} {
		s := with(t, "{name: "+name+"}")
		if o := s.TrainOptions(1, 0); o.PlainSGD != plain || o.Proximal != 0 {
			t.Errorf("%s: %+v", name, o)
		}
		if got := s.Strategy.SharesState(); got != (name == NameScaffold) {
			t.Errorf("%s shares its state: %v", name, got)
		}
	}
	if s := with(t, "{name: fedbuff}").WithDefaults().Strategy; !s.Async() || s.Buffer != 10 || s.MaxStaleness != 20 {
		t.Errorf("fedbuff: %+v", s)
	}
	if len(Strategies()) != len(kinds) || !strings.Contains(strings.Join(Strategies(), " "), "geometric_median krum median") {
		t.Errorf("strategies %v", Strategies())
	}
}

func TestRoundPolicy_Sample(t *testing.T) {
	for _, tt := range []struct {
		policy    RoundPolicy
		ready     int
		want, ask int
	}{
		{RoundPolicy{MinParticipants: 1}, 7, 7, 7},
		{RoundPolicy{MinParticipants: 1, Participants: 3}, 7, 3, 3},
		{RoundPolicy{MinParticipants: 1, Participants: 3, OverSelect: 1.3}, 7, 3, 4},
		{RoundPolicy{MinParticipants: 1, Participants: 3, OverSelect: 5}, 7, 3, 7},
		{RoundPolicy{MinParticipants: 1, Participants: 30}, 7, 7, 7},
		{RoundPolicy{MinParticipants: 1, Fraction: 0.1}, 30, 3, 3}, // 0.1·30 is a little more than 3 in binary
		{RoundPolicy{MinParticipants: 1, Fraction: 0.1}, 31, 4, 4},
		{RoundPolicy{MinParticipants: 5, Fraction: 0.1}, 31, 5, 5},
		{RoundPolicy{MinParticipants: 5, Fraction: 0.1}, 4, 4, 4},
	} {
		if want, ask := tt.policy.Sample(tt.ready); want != tt.want || ask != tt.ask {
			t.Errorf("%+v of %d: want %d ask %d", tt.policy, tt.ready, want, ask)
		}
	}
	s := parse(t, shortYAML)
	s.Rounds = RoundPolicy{MinParticipants: 2, Participants: 1, Fraction: 2, OverSelect: 0.5, Late: "keep"}
	var paths []string
	for _, p := range s.Validate() {
		paths = append(paths, p.Path)
	}
	if diff := cmp.Diff([]string{"rounds.participants", "rounds.fraction", "rounds.over_select", "rounds.late"}, paths); diff != "" {
		t.Error(diff)
	}
}

func TestQuarantineSpec_Defaults(t *testing.T) {
	off := false
	for text, want := range map[string]bool{"": true, "quarantine: {}": true, "quarantine: {enabled: true}": true, "quarantine: {enabled: false}": false} {
		s := parse(t, shortYAML+text+"\n")
		if got := s.WithDefaults().Quarantine.On(); got != want {
			t.Errorf("%q: on is %v", text, got)
		}
		if same := s.Digest() == parse(t, shortYAML).Digest(); same != want {
			t.Errorf("%q: digest like the default's: %v", text, same)
		}
	}
	s := Spec{Quarantine: QuarantineSpec{Enabled: &off}}
	c := s.WithDefaults()
	*c.Quarantine.Enabled = true
	if off {
		t.Error("the copy shares memory with the spec")
	}
}

// 0.9³ is 0.729; a hundredth is where it ends.
func TestStrategySpec_RateDecay(t *testing.T) {
	s := with(t, "{name: fedavgm, rate_decay: 0.9}")
	for version, want := range map[uint64]float64{0: 1, 3: 0.729, 1000: 0.01, math.MaxUint64: 0.01} {
		if got := s.TrainOptions(1, version).RateFactor; math.Abs(got-want) > 1e-15 {
			t.Errorf("version %d: factor %v, want %v", version, got, want)
		}
	}
	if got := with(t, "{name: fedavg}").TrainOptions(1, 7).RateFactor; got != 0 {
		t.Errorf("without a decay: factor %v", got)
	}
}
