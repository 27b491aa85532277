package lab

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sbinet/npyio/npz"

	"github.com/millwright-iot/millwright/sensors/bearing"
)

func cwruRecordings(t *testing.T) []CWRURecording {
	t.Helper()
	data, ok := DataDir()
	dir := filepath.Join(data, "cwru")
	if _, err := os.Stat(dir); !ok || err != nil {
		t.Skip("recorded data is not here: set MILLWRIGHT_DATA to the folder that holds cwru/")
	}
	recordings, err := FindCWRU(dir)
	if err != nil {
		t.Fatal(err)
	}
	return recordings
}

func faultLine(t *testing.T, r *FaultReport, name, learning string) FaultLine {
	t.Helper()
	i := slices.IndexFunc(r.Lines, func(l FaultLine) bool { return l.Name == name && l.Learning == learning })
	if i < 0 {
		t.Fatalf("report has no line %q %q", name, learning)
	}
	return r.Lines[i]
}

// In numpy, apart from this code, the rule reaches
// 0.888 of the seconds, and 8 of 9 bearings is what can be reached, because the lines
// of the outer race of 14 mil do not stand out.
func TestEvaluateCWRU_RecordedData(t *testing.T) {
	if underRace {
		t.Skip("too slow under the race detector; make system-test runs it without")
	}
	r, err := EvaluateCWRU(t.Context(), cwruRecordings(t))
	if err != nil {
		t.Fatal(err)
	}
	rule := faultLine(t, r, "physics: threshold learned", Federated)
	if rule.Windows < 0.88 || rule.Right != 8 || rule.Of != 9 {
		t.Errorf("rule: %.3f of windows, %d of %d bearings", rule.Windows, rule.Right, rule.Of)
	}
	if *rule.AnsweredRight < 0.99 || *rule.Answered < 0.5 {
		t.Errorf("the rule answers %.3f and is right in %.3f of that", *rule.Answered, *rule.AnsweredRight)
	}
	for _, name := range []string{"physics: threshold learned", "softmax on physics"} {
		if f, c := faultLine(t, r, name, Federated), faultLine(t, r, name, Central); f.Windows != c.Windows {
			t.Errorf("%s: federated %.4f, central %.4f", name, f.Windows, c.Windows)
		}
	}
	if l := faultLine(t, r, "softmax on physics", Federated); l.Windows < 0.85 {
		t.Errorf("softmax: %.3f", l.Windows)
	}
	if l := faultLine(t, r, "softmax on physics", LocalOnly); l.Windows > 0.4 {
		t.Errorf("plants with one bearing reach %.3f alone", l.Windows)
	}
	honest := faultLine(t, r, "perceptron on generic features", Central)
	leaky := faultLine(t, r, "perceptron, random windows held out", Central)
	if !leaky.Leaky || leaky.Windows < 0.97 || honest.Windows > 0.8 {
		t.Errorf("leaky split %.3f, honest split without physics %.3f", leaky.Windows, honest.Windows)
	}
	if l := faultLine(t, r, "always the commonest class", ""); math.Abs(l.Windows-1./3) > 1e-9 {
		t.Errorf("null rule: %.3f", l.Windows)
	}
	if c := r.Choice; c == nil || len(c.Lines) != 4 || c.Folds != 3 || c.Machines != 3 || c.Nested == nil || c.Lines[0].Cost.UpdateBytes == 0 {
		t.Errorf("choice: %+v", r.Choice)
	} else if l := faultLine(t, r, c.Lines[0].Name, Federated); math.Abs(1-l.Windows-c.Lines[0].Loss) > 0.02 { // windows count alike there, sizes here
		t.Errorf("%s: loss %.4f, but %.4f of windows right", l.Name, c.Lines[0].Loss, l.Windows)
	}
	for _, g := range r.Gaps {
		if math.Abs(g.Windows) > 0.01 || g.CrossEntropy > 0.01 { // nearer to T = 1, federated ones are less sure of themselves
			t.Errorf("federated against central: %+v", g)
		}
	}
	if len(r.Gaps) != 4 {
		t.Errorf("%d gaps of 4 models", len(r.Gaps))
	}
	var table, page strings.Builder
	if err := r.WriteTable(&table); err != nil || !strings.Contains(table.String(), "LEAKY: perceptron") {
		t.Errorf("table: %v\n%s", err, &table)
	}
	if err := r.Page().Write(&page); err != nil || !strings.Contains(page.String(), "2×BPFO") {
		t.Errorf("page: %v", err)
	}
}

// The part of the evaluation that the report is about, at one speed.
func TestEvaluateCWRU_OneLoad(t *testing.T) {
	var load []CWRURecording
	for _, r := range cwruRecordings(t) {
		if math.Abs(r.ShaftHz*60-1797) < 1 && r.Part != "" {
			r.Samples = r.Samples[:5*cwruWindow]
			load = append(load, r)
		}
	}
	if err := checkSizes(load); err != nil {
		t.Skip("no recordings at 1797 rpm of every fault in two sizes")
	}
	c, err := newCWRUEvaluation(t.Context(), load, cwruLayouts()[:1])
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.physics(t.Context()), c.learned(t.Context(), cwruModels()[:1])); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"physics: threshold learned", "softmax on physics"} {
		f, c := faultLine(t, c.report, name, Federated), faultLine(t, c.report, name, Central)
		if f.Windows < 0.75 || f.Right < f.Of-2 { // five seconds of each bearing are few
			t.Errorf("%s: %.3f of windows, %d of %d bearings", name, f.Windows, f.Right, f.Of)
		}
		if f.Windows != c.Windows {
			t.Errorf("%s: federated %.4f, central %.4f", name, f.Windows, c.Windows)
		}
	}
}

// What layouts are compared with is what features compute.
func TestCWRU_FirstLayoutIsThatOfFeatures(t *testing.T) {
	r := CWRURecording{Name: "noise", ShaftHz: 29.95, Part: bearing.Ball, Samples: make([]float64, cwruWindow)}
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range r.Samples {
		r.Samples[i] = rnd.NormFloat64()
	}
	m, err := cwruMeasure(t.Context(), []CWRURecording{r, r, r}, cwruLayouts()[:1])
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m[0].evidence[0][0], evidenceIn(m[0].vectors[0]); math.Abs(got.OuterDB-want.OuterDB) > 1e-9 || math.Abs(got.InnerDB-want.InnerDB) > 1e-9 ||
		math.Abs(got.BallDB-want.BallDB) > 1e-9 || math.Abs(got.CageDB-want.CageDB) > 1e-9 {
		t.Errorf("layout %v: %+v, features: %+v", cwruLayouts()[0], got, want)
	}
}

// By hand: balls at 8 and 11 dB, races at 10, 16 and 20. Above 11.05 (the end of the
// ball's bin) and up to 16 the only error is the race at 10; the middle of the edges 11.1 … 16.0 is 13.55.
func TestLearnRaceDB(t *testing.T) {
	row := func(class int, dB float64) faultRow {
		return faultRow{class: class, machine: "m", vector: []float64{dB, 3, 5, 2}}
	}
	parts := [][]faultRow{{row(2, 8.05), row(0, 10.05)}, {row(2, 11.05), row(0, 16.05)}, {row(0, 20.05)}}
	got, err := learnRaceDB(parts)
	if err != nil || math.Abs(got-13.55) > 1e-9 {
		t.Errorf("threshold %v, %v", got, err)
	}
	if central, err := learnRaceDB([][]faultRow{slices.Concat(parts...)}); err != nil || central != got {
		t.Errorf("central %v, federated %v, %v", central, got, err)
	}
	if _, err := learnRaceDB([][]faultRow{{row(0, 12)}}); err == nil || !strings.Contains(err.Error(), "0 windows of balls") {
		t.Errorf("races only: %v", err)
	}
}

func writeNPZ(t *testing.T, dir, name string, arrays map[string]any) {
	t.Helper()
	if err := npz.Write(filepath.Join(dir, name), arrays); err != nil {
		t.Fatal(err)
	}
}

func TestFindCWRU_BadInput(t *testing.T) {
	second := make([]float32, cwruWindow)
	second[5] = 1
	broken := slices.Clone(second)
	broken[7] = float32(math.NaN())
	for want, arrays := range map[string]map[string]any{
		"there is no array DE":              {"FE": second},
		"has 100 samples; one window":       {"DE": second[:100]},
		"sample 7 of array DE is NaN":       {"DE": broken},
		"is of type":                        {"DE": make([]int32, cwruWindow)},
		"in 1 sizes; to leave one size out": {"DE": second},
		"the sensor did not measure":        {"DE": make([]float32, cwruWindow)},
	} {
		dir := t.TempDir()
		writeNPZ(t, dir, "1797_OR6_7_DE12.npz", arrays)
		if _, err := FindCWRU(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	dir := t.TempDir()
	writeNPZ(t, dir, "measurement.npz", map[string]any{"DE": second})
	if _, err := FindCWRU(dir); err == nil || !strings.Contains(err.Error(), "none of the 1 .npz files") {
		t.Errorf("other names: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "1797_IR_7_DE12.npz"), []byte("PK\x03\x04 not a zip file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := FindCWRU(dir); err == nil || !strings.Contains(err.Error(), "1797_IR_7_DE12.npz") {
		t.Errorf("broken file: %v", err)
	}
}
