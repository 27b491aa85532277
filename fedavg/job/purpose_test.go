package job

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/fedavg/model"
)

func TestPurpose_OfEveryKind(t *testing.T) {
	want := map[string]Purpose{
		model.KindGaussian: Detect, model.KindAutoencoder: Detect, model.KindSoftmax: Diagnose,
		model.KindRidge: Prognose, model.KindMLP: Prognose,
	}
	for _, kind := range model.Kinds() {
		got := Spec{Model: model.Spec{Kind: kind}}.Purpose()
		if got == "" || want[kind] != "" && got != want[kind] {
			t.Errorf("jobs of kind %s are to %q, want %q", kind, got, want[kind])
		}
	}
	if p := (Spec{Model: model.Spec{Kind: "oracle"}}).Purpose(); p != "" {
		t.Errorf("a kind that does not exist is to %q", p)
	}
}

func TestLabels_DefaultsAreNotWritten(t *testing.T) {
	spec := parse(t, shortYAML)
	text, err := json.Marshal(spec.WithDefaults())
	if err != nil || strings.Contains(string(text), `"labels"`) {
		t.Errorf("defaults are written: %s (%v); digests of jobs from before would change", text, err)
	}
	other := spec
	other.Labels.Lead = 48 * time.Hour
	if other.Digest() == spec.Digest() {
		t.Error("another lead is the same job")
	}
	same := spec
	same.Labels = LabelSpec{Lead: 24 * time.Hour, Settle: time.Hour}
	if same.Digest() != spec.Digest() {
		t.Error("defaults spelled out are another job")
	}
	other.Labels = LabelSpec{Lead: -1, Settle: -1}
	var paths []string
	for _, p := range other.Validate() {
		paths = append(paths, p.Path)
	}
	if got := strings.Join(paths, " "); got != "labels.lead labels.settle" {
		t.Errorf("problems at %q", got)
	}
}
