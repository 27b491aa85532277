package job

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/strictyaml"
)

const shortYAML = `
name: pumps
class: process-pump
features:
  window: 10s
  channels:
    - channel: vibration
      features: [rms, band_10_1000]
    - channel: temperature
      features: [mean]
model:
  kind: gaussian
`

const longYAML = `
name: pumps-2
class: process-pump
role: shadow
features:
  window: 15s
  hop: 1s
  max_gap: 3s
  channels:
    - channel: vibration
      features: [rms]
model:
  kind: autoencoder
  autoencoder:
    hidden: [8, 2]
    epochs: 3
    batch_size: 16
    learning_rate: 0.005
    proximal: 0.1
alarm: {baseline: 100, threshold: 2, on_delay: 1, clear: 0.5}
rounds: {every: 5m, min_participants: 2, deadline: 30s, count: 5}
seed: 7
`

func parse(t testing.TB, text string) Spec {
	t.Helper()
	var s Spec
	doc, err := strictyaml.Parse("job.yaml", []byte(text), &s)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Err(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSpec_Defaults(t *testing.T) {
	s := parse(t, shortYAML)
	got := s.WithDefaults()
	want := Spec{
		Name: "pumps", Class: "process-pump", Role: Live,
		Features: FeatureSpec{Window: 10 * time.Second, Hop: 10 * time.Second, MaxGap: 10 * time.Second, Channels: []ChannelFeatures{
			{Channel: "vibration", Features: []string{"rms", "band_10_1000"}}, {Channel: "temperature", Features: []string{"mean"}},
		}},
		Model:  model.Spec{Kind: model.KindGaussian, Gaussian: &model.GaussianSpec{Shrinkage: 0.1, MaxWander: 5, PriorRows: 200}},
		Alarm:  AlarmSpec{Baseline: 300, Threshold: 1.5, OnDelay: 3, Clear: 0.3},
		Labels: LabelSpec{Lead: 24 * time.Hour, Settle: time.Hour},
		Rounds: RoundPolicy{Every: time.Hour, MinParticipants: 1, Deadline: 10 * time.Minute, Late: LateDrop},
		Seed:   1, Strategy: StrategySpec{Name: NameSum},
		Quarantine: QuarantineSpec{MaxNorm: 10, MinCosine: -0.5, ReleaseAfter: 5},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(got, got.WithDefaults()); diff != "" {
		t.Error("defaults of defaults differ", diff)
	}
	if s.Model.Gaussian != nil || s.Role != "" {
		t.Error("the spec itself was changed")
	}
	got.Features.Channels[0].Features[0] = "changed"
	if s.Features.Channels[0].Features[0] != "rms" {
		t.Error("the copy shares memory with the spec")
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

func TestSpec_YAMLRoundTrip(t *testing.T) {
	for _, text := range []string{shortYAML, longYAML} {
		s := parse(t, text).WithDefaults()
		data, err := yaml.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, parse(t, string(data)).WithDefaults()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestSpec_JSONRoundTrip(t *testing.T) {
	for _, text := range []string{shortYAML, longYAML} {
		s := parse(t, text).WithDefaults()
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var got Spec
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, got.WithDefaults()); diff != "" { // JSON leaves some defaults out
			t.Error(diff)
		}
		if got.Digest() != s.Digest() {
			t.Error("the digest changes on the wire")
		}
	}
}

func TestSpec_Digest(t *testing.T) {
	s := parse(t, shortYAML)
	if d := s.Digest(); len(d) != 64 || strings.Trim(d, "0123456789abcdef") != "" {
		t.Errorf("digest %q", d)
	}
	if s.Digest() != s.WithDefaults().Digest() {
		t.Error("spelling the defaults out changes the digest")
	}
	seen := map[string]string{s.Digest(): "nothing"}
	for name, change := range map[string]func(*Spec){
		"name":    func(s *Spec) { s.Name = "other" },
		"role":    func(s *Spec) { s.Role = Shadow },
		"hop":     func(s *Spec) { s.Features.Hop = time.Second },
		"order":   func(s *Spec) { slices.Reverse(s.Features.Channels) },
		"feature": func(s *Spec) { s.Features.Channels[0].Features[0] = "peak" },
		"model":   func(s *Spec) { s.Model = model.Spec{Kind: model.KindAutoencoder} },
		"setting": func(s *Spec) { s.Model.Gaussian = &model.GaussianSpec{Shrinkage: 0.2} },
		"seed":    func(s *Spec) { s.Seed = 2 },
	} {
		changed := parse(t, shortYAML)
		change(&changed)
		d := changed.Digest()
		if same, ok := seen[d]; ok {
			t.Errorf("changing %s gives the digest of changing %s", name, same)
		}
		seen[d] = name
	}
}

// Agents keep jobs across upgrades: the digest of a spec may only change with a
// reason. The number is that of the JSON below by sha256sum.
func TestSpec_DigestIsStable(t *testing.T) {
	const canonical = `{"name":"pumps","class":"process-pump","role":"live","features":{"window_ns":10000000000,"hop_ns":10000000000,"max_gap_ns":10000000000,` +
		`"channels":[{"channel":"vibration","features":["rms","band_10_1000"]},{"channel":"temperature","features":["mean"]}]},` +
		`"model":{"kind":"gaussian","gaussian":{"shrinkage":0.1,"max_wander":5,"prior_rows":200}},` +
		`"alarm":{"baseline":300,"threshold":1.5,"on_delay":3,"clear":0.3},` +
		`"rounds":{"every_ns":3600000000000,"min_participants":1,"deadline_ns":600000000000,"count":0},"seed":1}`
	data, err := json.Marshal(parse(t, shortYAML).WithDefaults())
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != canonical {
		t.Errorf("got  %s\nwant %s", data, canonical)
	}
	if got := parse(t, shortYAML).Digest(); got != "a184e3929646fa452e1b5af19c71956a31e9e426178b318185e8f6a8d5619a17" {
		t.Errorf("digest %s", got)
	}
}

func TestSpec_ValidateListsEverything(t *testing.T) {
	s := Spec{
		Name: "no spaces please", Role: "dead",
		Features: FeatureSpec{Window: -1, MaxGap: -1, Channels: []ChannelFeatures{
			{Channel: "", Features: []string{"rms", "", "rms"}}, {Channel: "a"}, {Channel: "a", Features: []string{"x"}},
		}},
		Model:  model.Spec{Kind: "forest", Gaussian: &model.GaussianSpec{Shrinkage: 2, MaxWander: -1, PriorRows: math.Inf(1)}},
		Alarm:  AlarmSpec{Baseline: 1, Threshold: math.NaN(), OnDelay: -1, Clear: 1},
		Rounds: RoundPolicy{Every: -1, MinParticipants: -1, Deadline: -1, Count: -1},
	}
	want := []string{
		"name", "class", "role", "features.window", "features.max_gap",
		"features.channels[0].channel", "features.channels[0].features[1]", "features.channels[0].features[2]",
		"features.channels[1].features", "features.channels[2].channel",
		"model.kind", "model.gaussian.shrinkage", "model.gaussian.max_wander", "model.gaussian.prior_rows",
		"alarm.baseline", "alarm.threshold", "alarm.on_delay", "alarm.clear",
		"rounds.every", "rounds.min_participants", "rounds.deadline", "rounds.count",
	}
	var got []string
	for _, p := range s.Validate() {
		got = append(got, p.Path)
		if p.Message == "" || !strings.Contains(s.Check().Error(), p.Error()) {
			t.Errorf("problem %+v is not in the error", p)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(s.Digest()) != 64 {
		t.Error("a spec with NaN has no digest")
	}
}

func TestSpec_ValidateOne(t *testing.T) {
	many := make([]string, MaxFeatures+1)
	for i := range many {
		many[i] = strings.Repeat("x", i+1)
	}
	for path, change := range map[string]func(*Spec){
		"features.hop":                    func(s *Spec) { s.Features.Hop = 11 * time.Second },
		"features.channels":               func(s *Spec) { s.Features.Channels = nil },
		"features.channels#many":          func(s *Spec) { s.Features.Channels[0].Features = many },
		"model.kind":                      func(s *Spec) { s.Model.Kind = "" },
		"model.autoencoder":               func(s *Spec) { s.Model.Autoencoder = &model.AutoencoderSpec{} },
		"model.gaussian":                  func(s *Spec) { s.Model = model.Spec{Kind: "autoencoder", Gaussian: &model.GaussianSpec{}} },
		"model.autoencoder.hidden[1]":     func(s *Spec) { s.Model = autoencoder(model.AutoencoderSpec{Hidden: []int{3, 0}}) },
		"model.autoencoder.hidden":        func(s *Spec) { s.Model = autoencoder(model.AutoencoderSpec{Hidden: slices.Repeat([]int{1}, 9)}) },
		"model.autoencoder.epochs":        func(s *Spec) { s.Model = autoencoder(model.AutoencoderSpec{Epochs: -1}) },
		"model.autoencoder.batch_size":    func(s *Spec) { s.Model = autoencoder(model.AutoencoderSpec{BatchSize: -1}) },
		"model.autoencoder.learning_rate": func(s *Spec) { s.Model = autoencoder(model.AutoencoderSpec{LearningRate: -1}) },
		"model.autoencoder.proximal":      func(s *Spec) { s.Model = autoencoder(model.AutoencoderSpec{Proximal: math.NaN()}) },
		"rounds.deadline":                 func(s *Spec) { s.Rounds.Deadline = time.Microsecond },
	} {
		s := parse(t, shortYAML)
		change(&s)
		ps := s.Validate()
		if want, _, _ := strings.Cut(path, "#"); len(ps) != 1 || ps[0].Path != want {
			t.Errorf("%s: got %v", path, ps)
		}
	}
}

func autoencoder(a model.AutoencoderSpec) model.Spec {
	return model.Spec{Kind: model.KindAutoencoder, Autoencoder: &a}
}

// Every path that Validate names must be one that the YAML has, or its line
// cannot be found.
func TestSpec_ProblemsHaveLines(t *testing.T) {
	text := strings.Replace(longYAML, "hop: 1s", "hop: 16s", 1)
	text = strings.Replace(text, "clear: 0.5", "clear: 5", 1)
	text = strings.Replace(text, "hidden: [8, 2]", "hidden: [8, -2]", 1)
	var s Spec
	doc, err := strictyaml.Parse("job.yaml", []byte(text), &s)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range s.Validate() {
		doc.Problem(p.Path, "%s", p.Message)
	}
	err = doc.Err()
	if err == nil {
		t.Fatal("no problems")
	}
	for _, want := range []string{"job.yaml:7: features.hop", "job.yaml:15: model.autoencoder.hidden[1]", "job.yaml:20: alarm.clear"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
}

func TestFeatureSpec(t *testing.T) {
	f := parse(t, shortYAML).Features
	if diff := cmp.Diff([]string{"vibration.rms", "vibration.band_10_1000", "temperature.mean"}, f.Names()); diff != "" || f.Len() != 3 {
		t.Error(diff, f.Len())
	}
	for _, tt := range []struct {
		window, hop time.Duration
		want        int
	}{{10, 10, 1}, {10, 0, 1}, {10, 20, 1}, {15, 1, 15}, {10, 4, 3}, {math.MaxInt64, 1, 1 << 20}, {0, 0, 1}} {
		if got := (FeatureSpec{Window: tt.window, Hop: tt.hop}).Overlap(); got != tt.want {
			t.Errorf("window %d, hop %d: overlap %d, want %d", tt.window, tt.hop, got, tt.want)
		}
	}
}

func TestSpec_FamilyAndStrategy(t *testing.T) {
	for text, want := range map[string]fedavg.Strategy{shortYAML: fedavg.Sum{}, longYAML: fedavg.FedAvg{}} {
		s := parse(t, text)
		f, err := s.Family()
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.NewStrategy()
		if err != nil || got != want {
			t.Errorf("strategy %T, %v; want %T", got, err, want)
		}
		if err := f.ParamLayout().Validate(); err != nil {
			t.Error(err)
		}
	}
	if _, err := (Spec{}).Family(); err == nil {
		t.Error("an empty spec has a family")
	}
	if _, err := (Spec{}).NewStrategy(); err == nil {
		t.Error("an empty spec has a strategy")
	}
}
