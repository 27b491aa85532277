package job

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/prognosis"
)

const lifeYAML = `
name: pump-life
class: process-pump
features:
  window: 10s
  channels:
    - channel: vibration
      features: [rms, kurtosis]
    - channel: speed
      features: [mean]
model:
  kind: rul
  rul:
    cycle: 4h
    operation: {feature: speed.mean, above: 5}
    settings:
      - {feature: speed.mean, from: 0, to: 60, step: 5}
    cap: 400
    confidence: 0.8
`

func TestLife_Defaults(t *testing.T) {
	s := parse(t, lifeYAML).WithDefaults()
	want := &model.RULSpec{
		Cycle: 4 * time.Hour, Operation: &model.RULOperation{Feature: "speed.mean", Above: 5},
		Settings: []model.RULSetting{{Feature: "speed.mean", ConditionAxis: model.ConditionAxis{To: 60, Step: 5}}},
		Cap:      400, Components: 2, Confidence: 0.8, Units: 200, Inputs: 3, Members: 2, Lambda: 3, Forgetting: 1, Seed: 1,
	}
	if diff := cmp.Diff(want, s.Model.RUL); diff != "" {
		t.Error(diff)
	}
	if s.Strategy.Name != NameSum || !slices.Equal(s.Compression, []string{"zstd"}) {
		t.Errorf("strategy %q, compression %v; want sums, packed", s.Strategy.Name, s.Compression)
	}
	if s.Purpose() != Prognose {
		t.Errorf("its purpose is to %q", s.Purpose())
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	f, err := s.Family()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := f.(*prognosis.Family); !ok {
		t.Errorf("family is a %T", f)
	}
	var read Spec
	if data, err := json.Marshal(s); err != nil || json.Unmarshal(data, &read) != nil {
		t.Fatalf("cannot be read back: %s, %v", data, err)
	}
	if read.Digest() != parse(t, lifeYAML).Digest() {
		t.Error("the digest changes on the way through JSON")
	}
}

func TestLife_Problems(t *testing.T) {
	for want, change := range map[string][2]string{
		`model.rul.cycle is 1s; a cycle must be at least as long as features.hop, 10s`:     {"cycle: 4h", "cycle: 1s"},
		`model.rul.operation.feature is "motor.mean", which is none of the job's features`: {"{feature: speed.mean, above", "{feature: motor.mean, above"},
		`model.rul.settings[0].feature is "speed.max", which is none`:                      {"- {feature: speed.mean", "- {feature: speed.max"},
		"model.rul.settings do not make a grid":                                            {"step: 5", "step: 0"},
		"model.rul.confidence is 1.5; it must be above 0 and below 1":                      {"0.8", "1.5"},
		"model.rul.cap is -400":             {"400", "-400"},
		"model.rul.cycle is -4h0m0s":        {"4h", "-4h"},
		"model.rul does not belong":         {"kind: rul", "kind: gaussian"},
		"model.rul.operation.feature is mi": {"{feature: speed.mean, above: 5}", "{above: 5}"},
		"model.rul.forgetting is 2":         {"cap: 400", "forgetting: 2"},
	} {
		text := strings.Replace(lifeYAML, change[0], change[1], 1)
		if err := parse(t, text).Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
