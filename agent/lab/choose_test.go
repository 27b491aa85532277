package lab

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/replay"
	"github.com/millwright-iot/millwright/sensors/synth"
)

var chooseStart = time.Date(2026, 1, 5, 6, 0, 0, 0, time.UTC)

// recordGenerated writes the recordings of generated pumps, two to a gateway, and
// labels that say when their faults began. Every other one has the second fault.
func recordGenerated(t *testing.T, dir string, machines int, faults ...synth.Kind) {
	t.Helper()
	var labels strings.Builder
	for i := range machines {
		name, kind := fmt.Sprintf("pump-%d", i+1), faults[i%len(faults)]
		m, err := synth.New(synth.Config{
			Name: name, Seed: uint64(i + 1), Start: chooseStart, Duration: 3 * time.Minute, RateHz: 2560, BurstSamples: 512, BurstEvery: time.Second,
			Faults: []synth.Fault{{Kind: kind, Begins: 2 * time.Minute, Severity: 0.5}},
		})
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.Create(filepath.Join(dir, name+".jsonl.gz"))
		if err != nil {
			t.Fatal(err)
		}
		packed := gzip.NewWriter(file)
		recorder, err := replay.NewRecorder(packed, replay.RecordingHeader{Gateway: fmt.Sprintf("hall-%d", i/2), Started: chooseStart, Channels: []replay.RecordedChannel{
			{Machine: name, Channel: synth.Vibration, Unit: "m/s2", BaseUnit: "m/s2"}, {Machine: name, Channel: synth.Temperature, Unit: "degC", BaseUnit: "degC"},
		}})
		if err != nil {
			t.Fatal(err)
		}
		err = m.Run(t.Context(), func(b sensors.Block) error {
			if b.Channel == synth.Pressure {
				return nil
			}
			return recorder.Write(b)
		})
		for _, err := range []error{err, packed.Close(), file.Close()} {
			if err != nil {
				t.Fatal(err)
			}
		}
		at := func(d time.Duration) string { return chooseStart.Add(d).Format(time.RFC3339) }
		fmt.Fprintf(&labels, `{"machine":%q,"kind":"healthy","from":%q,"to":%q}`+"\n", name, at(0), at(2*time.Minute))
		fmt.Fprintf(&labels, `{"machine":%q,"kind":"fault","class":%q,"from":%q,"to":%q}`+"\n", name, kind, at(2*time.Minute), at(4*time.Minute))
	}
	labels.WriteString(`{"machine":"fan-9","kind":"failure","at":"2026-01-05T07:00:00Z"}` + "\n\n")
	if err := os.WriteFile(filepath.Join(dir, "labels.jsonl"), []byte(labels.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

const chooseHead = `name: pumps
class: pump
features:
  window: 2s
  channels:
    - {channel: vibration, features: [rms, crest, kurtosis, band_10_200, band_200_1000]}
    - {channel: temperature, features: [mean]}
alarm: {baseline: 40}
rounds: {count: 3}
`

func writeJob(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "job.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func chooseFrom(t *testing.T, dir, yaml string) *Choice {
	t.Helper()
	j, err := LoadCandidateJob(writeJob(t, chooseHead+yaml))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Choose(t.Context(), j, ChooseOptions{Data: dir, Labels: filepath.Join(dir, "labels.jsonl")})
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	if err := c.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
	if data, err := json.Marshal(c); err != nil || !bytes.Contains(data, []byte(`"chosen":"`+c.Chosen)) {
		t.Errorf("JSON: %v\n%s", err, data)
	}
	for _, want := range []string{"chosen: " + c.Chosen, "model:\n    kind: "} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table does not say %q", want)
		}
	}
	return c
}

// The fault stands far out of the baseline, so both detectors find it; an autoencoder
// that has hardly trained cannot be chosen for being cheap.
func TestChoose_Detector(t *testing.T) {
	dir := t.TempDir()
	recordGenerated(t, dir, 4, synth.OuterRace)
	c := chooseFrom(t, dir, `model: {kind: gaussian}
candidates:
  - {name: network, model: {kind: autoencoder, autoencoder: {hidden: [4]}}}
`)
	if len(c.Lines) != 2 || c.Machines != 4 || c.Nested == nil || c.Lines[0].Loss > 0.3 {
		t.Errorf("got %+v, %+v", c.Lines, c.Nested)
	}
	for _, l := range c.Lines {
		if k := l.Cost; l.Failed != "" || k.ModelBytes < 100 || k.UpdateBytes < 100 || k.PredictionMicroseconds <= 0 {
			t.Errorf("%s: %+v", l.Name, l)
		}
	}
	if c.Lines[0].Cost.Rounds != 1 || c.Lines[1].Cost.Rounds != 3 {
		t.Errorf("statistics take one round and gradients those of the job: %+v", c.Lines)
	}
	if len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "1 of 9 labels") {
		t.Errorf("notes: %q", c.Notes)
	}
}

func TestChoose_Classifier(t *testing.T) {
	if underRace {
		t.Skip("too slow under the race detector; make system-test runs it without")
	}
	dir := t.TempDir()
	recordGenerated(t, dir, 6, synth.OuterRace, synth.Imbalance)
	c := chooseFrom(t, dir, `model: {kind: softmax, softmax: {classes: [fine, outer-race, imbalance], healthy: fine}}
candidates:
  - {name: perceptron, model: {kind: softmax, softmax: {classes: [fine, outer-race, imbalance], healthy: fine, hidden: [8]}}, strategy: {name: fedavgm, momentum: 0.5}}
`)
	if c.Machines != 6 || c.Lines[0].Loss > 0.2 {
		t.Errorf("got %+v", c.Lines)
	}
}

func TestLoadCandidateJob_SaysWhereAndWhat(t *testing.T) {
	for want, yaml := range map[string]string{
		`candidates[0].model.kind: is "softmax", a model to diagnose with, but the job is to detect`: "model: {kind: gaussian}\ncandidates:\n  - {name: x, model: {kind: softmax, softmax: {classes: [a, b]}}}\n",
		`candidates[0].name: is ""`:                               "model: {kind: gaussian}\ncandidates:\n  - {model: {kind: autoencoder}}\n",
		`is the name of another candidate`:                        "model: {kind: gaussian}\ncandidates:\n  - {name: x, model: {kind: autoencoder}}\n  - {name: x, model: {kind: autoencoder}}\n",
		`candidates[0].model.gaussian.shrinkage`:                  "model: {kind: gaussian}\ncandidates:\n  - {name: x, model: {kind: gaussian, gaussian: {shrinkage: 7}}}\n",
		`candidates[0].strategy.name`:                             "model: {kind: gaussian}\ncandidates:\n  - {name: x, model: {kind: gaussian}, strategy: {name: fedavgm}}\n",
		`candidates[0].modle: unknown key; did you mean "model"?`: "model: {kind: gaussian}\ncandidates:\n  - {name: x, modle: {kind: gaussian}}\n",
		`model.kind: is missing`:                                  "candidates: []\n",
	} {
		if c, err := LoadCandidateJob(writeJob(t, chooseHead+yaml)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "job.yaml:") {
			t.Errorf("want %s, got %v, %v", want, c.Candidates, err)
		}
	}
	if _, err := LoadCandidateJob(filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("read a file that is not there")
	}
}

func TestChoose_BadInput(t *testing.T) {
	full := t.TempDir()
	recordGenerated(t, full, 2, synth.OuterRace)
	labels := func(text string) string {
		path := filepath.Join(t.TempDir(), "labels.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := filepath.Join(full, "labels.jsonl")
	gaussian := "model: {kind: gaussian}\ncandidates:\n  - {name: x, model: {kind: gaussian, gaussian: {shrinkage: 0.5}}}\n"
	classes := "model: {kind: softmax, softmax: {classes: [fine, cracked], healthy: fine}}\ncandidates:\n  - {name: x, model: {kind: softmax, softmax: {classes: [fine, cracked], healthy: fine}}}\n"
	for want, try := range map[string]struct {
		yaml, data, labels string
		groups             int
	}{
		"no machine is recorded":     {gaussian, t.TempDir(), good, 0},
		"lists no candidates":        {"model: {kind: gaussian}\n", full, good, 0},
		"9 groups":                   {gaussian, full, good, 9},
		"labels.jsonl:2: read label": {gaussian, full, labels("\n{\"machin\": 1}\n"), 0},
		"at is missing":              {gaussian, full, labels(`{"machine":"pump-1","kind":"failure"}`), 0},
		"holds no label":             {gaussian, full, labels("\n"), 0},
		"no such file":               {gaussian, full, filepath.Join(full, "none.jsonl"), 0},
		"lack flow":                  {strings.Replace(gaussian, "model:", "role: live\nmodel:", 1) + "#flow", full, good, 0},
		"windows, of which the baseline takes 10000": {gaussian + "#long", full, good, 0},
		"name different classes":                     {strings.Replace(classes, "[fine, cracked], healthy: fine}}}", "[fine, outer-race], healthy: fine}}}", 1), full, good, 0},
		"a gateway has no targets":                   {"model: {kind: ridge}\ncandidates:\n  - {name: x, model: {kind: ridge}}\n", full, good, 0},
		"in other cycles":                            {"model: {kind: rul}\ncandidates:\n  - {name: x, model: {kind: rul, rul: {cycle: 2h}}}\n", full, good, 0},
		"none could be judged":                       {"model: {kind: rul, rul: {cycle: 2s}}\ncandidates:\n  - {name: x, model: {kind: rul, rul: {cycle: 2s, units: 20}}}\n", full, good, 0},
	} {
		head := chooseHead
		if strings.HasSuffix(try.yaml, "#flow") {
			head = strings.Replace(head, "channel: temperature", "channel: flow", 1)
		}
		if strings.HasSuffix(try.yaml, "#long") {
			head = strings.Replace(head, "baseline: 40", "baseline: 10000", 1)
		}
		j, err := LoadCandidateJob(writeJob(t, head+try.yaml))
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		if c, err := Choose(t.Context(), j, ChooseOptions{Data: try.data, Labels: try.labels, Groups: try.groups}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, got %+v, %v", want, c, err)
		}
	}
}
