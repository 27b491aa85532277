package agent

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/pipeline"
	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/sensors"
)

// wearing is a machine under a job with a budget, whose temperature creeps up.
type wearing struct {
	m     *pipeline.Machine
	rng   *rand.Rand
	hours int
}

var wearJob = job.Spec{
	Name: "pumps", Class: "pump",
	Features: job.FeatureSpec{Window: time.Hour, Channels: []job.ChannelFeatures{{Channel: "temperature", Features: []string{"mean"}}}},
	Model:    model.Spec{Kind: model.KindGaussian},
	Alarm:    job.AlarmSpec{Baseline: 40, Budget: 1, Smooth: 4},
}

func newWearing(t *testing.T, store *samples.Store, hours int) *wearing {
	w := &wearing{rng: rand.New(rand.NewPCG(1, uint64(hours))), hours: hours}
	var err error
	w.m, err = pipeline.New(pipeline.Config{
		Name: "pump-1", Class: "pump", Window: time.Hour, Baseline: 40, MaxRecent: 10,
		Channels: map[string]sensors.Quantity{"temperature": sensors.Temperature},
	}, store, &stopwatch{}, "", alarm.State{}, quietLog())
	if err != nil {
		t.Fatal(err)
	}
	w.m.SetJobs([]job.Spec{wearJob}, nil, nil)
	return w
}

func (w *wearing) run(hours int, perHour float64) {
	begin := w.hours
	for range hours {
		rise := perHour * float64(w.hours-begin)
		w.m.Process(sensors.Block{
			Machine: "pump-1", Channel: "temperature", Start: time.Unix(int64(w.hours)*3600, 0),
			Samples: []float64{50 + rise + w.rng.NormFloat64()},
		})
		w.hours++
	}
}

// After a restart the trend is there at once, though only the newest few windows are on file.
func TestHistories_TrendOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	store, err := samples.Open(filepath.Join(dir, "samples.db"), samples.Options{MaxRecent: 10}, quietLog())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	first := newWearing(t, store, 1)
	first.run(60, 0)
	first.run(500, 0.01)
	before := first.m.Status()
	if tr := before.Output.Advice.Trend; tr == nil || tr.PerDay <= 0 {
		t.Fatalf("trend before the restart: %+v", tr)
	}
	if b := before.FalseAlarms; b == nil || b.Asked != 1 || b.Windows < 40 {
		t.Fatalf("budget: %+v", b)
	}
	path := filepath.Join(dir, "scores.json")
	if err := (&histories{path, []*pipeline.Machine{first.m}, quietLog()}).write(); err != nil {
		t.Fatal(err)
	}
	second := newWearing(t, store, first.hours)
	(&histories{path, []*pipeline.Machine{second.m}, quietLog()}).restore()
	first.run(1, 0)
	second.run(2, 0) // the first window after a start is cut
	a, b := first.m.Status(), second.m.Status()
	if tr := b.Output.Advice.Trend; tr == nil || math.Abs(tr.PerDay/a.Output.Advice.Trend.PerDay-1) > 0.2 {
		t.Errorf("trend after the restart: %+v, without %+v", tr, a.Output.Advice.Trend)
	}
	if b.FalseAlarms.Windows < before.FalseAlarms.Windows {
		t.Errorf("budget after the restart: %+v, before %+v", b.FalseAlarms, before.FalseAlarms)
	}
}

// A file that cannot be used costs the history, nothing else.
func TestHistories_DamagedFile(t *testing.T) {
	dir := t.TempDir()
	store, err := samples.Open(filepath.Join(dir, "samples.db"), samples.Options{MaxRecent: 10}, quietLog())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	w := newWearing(t, store, 1)
	w.run(60, 0)
	path := filepath.Join(dir, "scores.json")
	h := &histories{path, []*pipeline.Machine{w.m}, quietLog()}
	if err := h.write(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(whole), "\n")
	if !json.Valid([]byte(body)) {
		t.Fatalf("not JSON: %s", body)
	}
	threshold := w.m.Status().Output.Score
	for _, text := range []string{"", "x\n{}", string(whole[:len(whole)/2])} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(path + ".previous")
		h.restore()
		if got := w.m.Status().Output.Score; got != threshold {
			t.Errorf("%q: score %v, before %v", text, got, threshold)
		}
	}
	w.run(5, 0)
	if st := w.m.Status(); st.State != "running" {
		t.Errorf("state is %s", st.State)
	}
}
