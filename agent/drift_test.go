package agent

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/journal"
	"github.com/millwright-iot/millwright/agent/internal/monitor"
	"github.com/millwright-iot/millwright/sensors"
)

// story feeds the machines of an agent that does not run, in event time.
type story struct {
	*Agent
	t   *testing.T
	now time.Time
	rng *rand.Rand
}

func newStory(t *testing.T, cfg Config) *story {
	t.Helper()
	a, err := New(cfg, quietLog())
	if err != nil {
		t.Fatal(err)
	}
	s := &story{a, t, time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), rand.New(rand.NewPCG(3, 4))}
	t.Cleanup(s.end)
	return s
}

// end stops as Run does.
func (s *story) end() {
	if err := s.watches.write(); err != nil {
		s.t.Error(err)
	}
	if err := s.journal.Flush(); err != nil {
		s.t.Error(err)
	}
	if err := s.store.Close(); err != nil {
		s.t.Error(err)
	}
}

// windows lets so many windows of 5 s happen on a machine, its pressure raised by offset
// standard deviations.
func (s *story) windows(machine string, n int, offset float64) {
	values := func(mean, std float64) []float64 {
		list := make([]float64, 5)
		for i := range list {
			list[i] = mean + std*s.rng.NormFloat64()
		}
		return list
	}
	m := s.byName[machine]
	for range n {
		m.Process(sensors.Block{Machine: machine, Channel: "temperature", Start: s.now, RateHz: 1, Samples: values(60, 1)})
		m.Process(sensors.Block{Machine: machine, Channel: "pressure", Start: s.now, RateHz: 1, Samples: values(4e5+1e3*offset, 1e3)})
		s.now = s.now.Add(5 * time.Second)
	}
}

// days lets a machine run for half an hour every four hours.
func (s *story) days(machine string, n int, offset float64) {
	for range 6 * n {
		s.windows(machine, monitor.Block, offset)
		s.now = s.now.Add(210 * time.Minute)
	}
}

func (s *story) document(machine string) (d struct {
	Drift   []monitor.Drift `json:"drift"`
	Quality map[string]any  `json:"quality"`
}) {
	s.t.Helper()
	doc, _ := view{s.Agent}.Machine(machine)
	body, err := json.Marshal(doc)
	if err == nil {
		err = json.Unmarshal(body, &d)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *story) metrics(t *testing.T) string {
	t.Helper()
	rec := httptest.NewRecorder()
	s.Agent.metrics().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(rec.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func storyConfig(t *testing.T) Config {
	cfg := testConfig(t, "127.0.0.1:1", "pump-1", "pump-2")
	for i := range cfg.Machines {
		cfg.Machines[i].Baseline = 200
	}
	return cfg
}

// What drifts is told by name, in the document, to the coordinator and to Prometheus,
// and outlives a restart; a machine that stays as it was does not drift.
func TestAgent_Drift(t *testing.T) {
	cfg := storyConfig(t)
	s := newStory(t, cfg)
	for _, machine := range []string{"pump-1", "pump-2"} {
		s.windows(machine, 200, 0)
		s.days(machine, 1, 0)
		if d := s.document(machine); len(d.Drift) > 0 || d.Quality != nil {
			t.Errorf("%s: before anything happened: %+v", machine, d)
		}
	}
	before := s.now
	s.days("pump-1", 4, 0.6)
	s.days("pump-2", 1, 0)
	drift := s.document("pump-1").Drift
	if len(drift) == 0 || !strings.HasPrefix(drift[0].Subject, "pressure.") || drift[0].Since.Before(before) {
		t.Fatalf("pump-1 drifts: %+v", drift)
	}
	for _, d := range drift {
		if strings.HasPrefix(d.Subject, "temperature.") {
			t.Errorf("temperature drifts: %+v", d)
		}
	}
	if d := s.document("pump-2").Drift; len(d) > 0 {
		t.Errorf("pump-2 drifts: %+v", d)
	}
	told := node{s.Agent}.Status().Machines
	if len(told[0].Drift) != len(drift) || told[0].Drift[0].Subject != drift[0].Subject || len(told[1].Drift) != 0 || told[0].Quality != nil {
		t.Errorf("the coordinator is told %+v", told)
	}
	text := s.metrics(t)
	for _, want := range []string{
		`millwright_drift_ratio{machine="pump-1",subject="` + drift[0].Subject + `",kind="data",monitor="psi"} `,
		`millwright_drifting{machine="pump-2",kind="data"} 0`,
		`millwright_watched_hours_total{machine="pump-2"} `,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	s.end()
	again := newStory(t, cfg)
	if got := again.document("pump-1").Drift; len(got) != len(drift) || !got[0].Since.Equal(drift[0].Since) {
		t.Errorf("after a restart %+v drifts, before it was %+v", got, drift)
	}
	again.now = s.now
	again.windows("pump-1", 10, 0.6)
	if got := again.document("pump-1").Drift; len(got) != len(drift) || !got[0].Since.Equal(drift[0].Since) {
		t.Errorf("after the first windows %+v drifts, before it was %+v", got, drift)
	}
}

// What people say of alarms makes quality, which outlives a restart with its hours.
func TestAgent_Quality(t *testing.T) {
	cfg := storyConfig(t)
	s := newStory(t, cfg)
	s.windows("pump-1", 200, 0)
	s.days("pump-1", 1, 0) // 3 h
	raised := s.now
	s.record(journal.Episode{ID: "e1", Machine: "pump-1", Class: "pump", Active: true, Zone: "C", PeakScore: 1.2, Raised: raised, Job: "local"}, "", alarm.State{})
	s.days("pump-1", 1, 0)
	s.record(journal.Episode{ID: "e1", Machine: "pump-1", Class: "pump", Zone: "C", PeakScore: 1.2, Raised: raised, Cleared: raised.Add(time.Hour), Job: "local"}, "", alarm.State{})
	if _, err := s.keepLabel([]byte(`{"kind": "verdict", "episode": "e1", "right": false}`)); err != nil {
		t.Fatal(err)
	}
	check := func(s *story) {
		t.Helper()
		q := s.document("pump-1").Quality
		if q["false_positives"] != 1.0 || q["true_positives"] != 0.0 || q["precision"] != 0.0 || q["recall"] != nil {
			t.Errorf("quality is %v", q)
		}
		if h := q["hours"].(float64); h < 5.9 || h > 6.1 {
			t.Errorf("watched for %v h, want 6", h)
		}
		versions := q["versions"].([]any)
		if v := versions[0].(map[string]any); len(versions) != 1 || v["job"] != "local" || v["false_positives"] != 1.0 {
			t.Errorf("versions are %v", versions)
		}
		told := node{s.Agent}.Status().Machines
		if told[0].Quality.FalsePositives != 1 || told[0].Versions[0].Job != "local" || told[1].Quality.FalsePositives != 0 {
			t.Errorf("the coordinator is told %+v", told)
		}
		if text := s.metrics(t); !strings.Contains(text, `millwright_alarms_judged{machine="pump-1",result="wrong"} 1`) {
			t.Error("metrics do not count the alarm that was wrong")
		}
	}
	check(s)
	s.end()
	if err := s.labels.Flush(); err != nil {
		t.Fatal(err)
	}
	check(newStory(t, cfg))
}

// Labels are held against what was watched: an agent that is killed soon after its first
// start still knows when that began.
func TestWatches_AreWrittenSoon(t *testing.T) {
	s := newStory(t, storyConfig(t))
	s.windows("pump-1", 200, 0)
	path := filepath.Join(s.cfg.DataDir, "watched.json")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.watches.run(ctx) }()
		writes := 0
		for range 60 {
			time.Sleep(time.Minute)
			synctest.Wait()
			if os.Remove(path) == nil {
				writes++
			}
			if writes == 0 {
				t.Fatal("not written after a minute")
			}
		}
		if writes != 5 { // after 1, 3, 7, 15 and 31 minutes; flash wears
			t.Errorf("written %d times in an hour, want 5", writes)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A damaged file costs what it held, and nothing else.
func TestAgent_WatchedDamaged(t *testing.T) {
	cfg := storyConfig(t)
	for _, body := range []string{"", "no checksum\n{}", strings.Repeat("\x00", 5000)} {
		if err := os.WriteFile(filepath.Join(cfg.DataDir, "watched.json"), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		s := newStory(t, cfg)
		if d := s.document("pump-1"); len(d.Drift) > 0 {
			t.Errorf("%q: %+v", body, d)
		}
		s.end()
	}
}
