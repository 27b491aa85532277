package web

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

// fakeViewer is a coordinator whose state the test sets. The snapshot is made
// anew for each caller, as a Viewer promises.
type fakeViewer struct {
	mu      sync.Mutex
	make    func() fleet.Snapshot
	changed chan struct{}
	blobs   map[string][]byte // by "job/version"
	blobErr error
}

func newFakeViewer(snapshot func() fleet.Snapshot) *fakeViewer {
	return &fakeViewer{make: snapshot, changed: make(chan struct{})}
}

func (f *fakeViewer) set(snapshot func() fleet.Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.make = snapshot
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeViewer) Snapshot() fleet.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.make()
}

func (f *fakeViewer) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *fakeViewer) ModelBlob(job string, version uint64) ([]byte, bool, error) {
	blob, ok := f.blobs[fmt.Sprintf("%s/%d", job, version)]
	return blob, ok, f.blobErr
}

// noon is when the fixture happens, in a zone that is not the machine's.
var noon = time.Date(2026, 3, 12, 12, 0, 0, 0, time.FixedZone("CET", 3600))

func contributions(pairs ...any) []fleet.Contribution {
	var list []fleet.Contribution
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, fleet.Contribution{Feature: pairs[i].(string), Share: pairs[i+1].(float64)})
	}
	return list
}

// plant is a realistic federation at the time at: three gateways, one of them
// away, one machine in alarm, one still learning; a live and a shadow job; an
// open round, committed ones and an abandoned one.
func plant(at time.Time) fleet.Snapshot {
	ago := func(d time.Duration) time.Time { return at.Add(-d) }
	machine := func(name, class, zone string, score float64, reasons []fleet.Contribution) fleet.Machine {
		return fleet.Machine{Name: name, Class: class, State: "running", Zone: zone, Score: score, Alarm: score >= 1,
			Reasons: reasons, At: ago(4 * time.Second), Job: "pump-health", ModelVersion: 12}
	}
	learning := fleet.Machine{Name: "mixer-3", Class: "mixer", State: "baseline", At: ago(9 * time.Second)}
	s := fleet.Snapshot{At: at, Version: "0.1.0", Started: ago(50 * time.Hour)}
	s.Gateways = []fleet.Gateway{
		{Name: "augsburg-hall-2", Version: "0.1.0", Connected: true, Enrolled: ago(40 * 24 * time.Hour), LastSeen: ago(2 * time.Second),
			CertExpires: at.Add(50 * 24 * time.Hour), ReceivedTotal: 184_467_440, DroppedTotal: map[string]uint64{"not finite": 12, "queue full": 3400},
			Machines: []fleet.Machine{
				machine("feed-pump-1", "process-pump", "A", 0.31, contributions("vibration.rms", 0.34, "pressure.ripple", 0.28, "temperature.slope", 0.2)),
				machine("feed-pump-2", "process-pump", "D", 3.42, contributions("vibration.envelope_peak", 0.62, "vibration.kurtosis", 0.21, "temperature.slope", 0.09, "pressure.ripple", 0.05)),
			}},
		{Name: "brno-line-a", Version: "0.1.0", Connected: true, Enrolled: ago(39 * 24 * time.Hour), LastSeen: ago(1 * time.Second), CertExpires: at.Add(51 * 24 * time.Hour),
			ReceivedTotal: 99_120_000, Machines: []fleet.Machine{
				machine("cooling-pump", "process-pump", "B", 0.78, contributions("pressure.ripple", 0.71, "vibration.rms", 0.12)), learning}},
		{Name: "cork-utilities", Version: "0.0.9", Connected: false, Enrolled: ago(30 * 24 * time.Hour), LastSeen: ago(3 * time.Hour), CertExpires: at.Add(9 * 24 * time.Hour),
			ReceivedTotal: 41_002_311, Machines: []fleet.Machine{
				machine("booster-1", "process-pump", "C", 1.12, contributions("vibration.velocity_rms", 0.55, "vibration.crest", 0.3)),
				machine("booster-2", "process-pump", "A", 0.44, contributions("vibration.rms", 0.5, "temperature.mean", 0.31))}},
	}
	s.Gateways[1].Quarantine = []fleet.Quarantine{{Job: "pump-health", Round: 11, Since: ago(2 * time.Hour), Check: "norm",
		Reason: "norm is 1532, 153 times the fleet's usual 10.02 (limit 10 times)", Clean: 2, ReleaseAfter: 5}}
	for i := range s.Gateways[2].Machines {
		s.Gateways[2].Machines[i].At = ago(3 * time.Hour)
	}
	advise(&s, at)
	s.Jobs = []fleet.Job{
		{Name: "pump-autoencoder", Class: "process-pump", Model: "autoencoder", Role: "shadow", Digest: strings.Repeat("9a1c", 16), Version: 0, Ready: 0,
			Waiting: map[string]string{"augsburg-hall-2": "needs 300 feature vectors, has 212", "brno-line-a": "needs 300 feature vectors, has 212"}},
		{Name: "pump-health", Class: "process-pump", Model: "autoencoder", Role: "live", Digest: strings.Repeat("4f02", 16), Version: 12, Rounds: 20, Ready: 2},
	}
	s.Rounds = append(s.Rounds, fleet.Round{Job: "pump-health", Round: 13, Attempt: 2, State: "open", Started: ago(20 * time.Second), Deadline: at.Add(9*time.Minute + 40*time.Second),
		BytesIn: 40_960, BytesOut: 81_920, Participants: []fleet.Participant{
			{Gateway: "augsburg-hall-2", State: "received", Weight: 1180, Bytes: 40_960, Seconds: 12.4, Metrics: map[string]float64{"loss": 0.0412}},
			{Gateway: "brno-line-a", State: "training"}}})
	s.Rounds = append(s.Rounds, fleet.Round{Job: "pump-health", Round: 13, Attempt: 1, State: "abandoned", Started: ago(12 * time.Minute), Ended: ago(2 * time.Minute), Seconds: 600,
		BytesIn: 81_920, BytesOut: 122_880, Reason: "1 of 2 updates at the deadline", Participants: []fleet.Participant{
			{Gateway: "augsburg-hall-2", State: "received", Weight: 1180, Bytes: 40_960, Seconds: 11},
			{Gateway: "brno-line-a", State: "rejected", Reason: "update holds an unusable number: enc.w[3] = NaN", Bytes: 40_960},
			{Gateway: "cork-utilities", State: "declined", Reason: "running on battery"}}})
	for n := 12; n >= 1; n-- {
		loss := 0.04 + 0.82*math.Exp(-float64(n-1)/3)
		started := ago(time.Duration(13-n)*time.Hour + 15*time.Minute)
		s.Rounds = append(s.Rounds, fleet.Round{Job: "pump-health", Round: uint64(n), Attempt: 1, State: "committed", Started: started, Ended: started.Add(16 * time.Second),
			BytesIn: 122_880, BytesOut: 122_880, Seconds: 14 + float64(n%4)*1.3, Metrics: map[string]float64{"loss": loss, "samples": 3500}, Participants: []fleet.Participant{
				{Gateway: "augsburg-hall-2", State: "received", Weight: 1180, Bytes: 40_960, Seconds: 11, Metrics: map[string]float64{"loss": loss}},
				{Gateway: "brno-line-a", State: "received", Weight: 1190, Bytes: 40_960, Seconds: 12, Metrics: map[string]float64{"loss": loss * 1.1}},
				{Gateway: "cork-utilities", State: "received", Weight: 1130, Bytes: 40_960, Seconds: 13, Metrics: map[string]float64{"loss": loss * 0.9}}}})
		if n >= 11 {
			p := &s.Rounds[len(s.Rounds)-1].Participants[1]
			p.State, p.Reason = "quarantined", s.Gateways[1].Quarantine[0].Reason
			if n > 11 {
				p.Reason = "in quarantine since round 11; clean for 1 of 5 rounds"
			}
		}
		release := "superseded"
		if n == 12 {
			release = "live"
		}
		s.Models = append(s.Models, fleet.Model{Job: "pump-health", Version: uint64(n), Digest: fmt.Sprintf("%x", sha256.Sum256([]byte{byte(n)})), SizeBytes: 40_960 + 512, Parameters: 10_114,
			Committed: started.Add(16 * time.Second), Participants: 3, Weight: 3500, Release: release, Gateways: map[bool]int{true: 2}[n == 12], Metrics: map[string]float64{"loss": loss}})
	}
	alarm := func(id, gateway, machine, zone string, peak float64, raised, lasted time.Duration, reasons []fleet.Contribution) fleet.Alarm {
		a := fleet.Alarm{ID: id, Gateway: gateway, Machine: machine, Class: "process-pump", Zone: zone, Peak: peak, Raised: ago(raised), Reasons: reasons, Job: "pump-health", Version: 12}
		if lasted > 0 {
			a.Cleared = a.Raised.Add(lasted)
		}
		return a
	}
	s.Alarms = []fleet.Alarm{
		alarm("b7", "brno-line-a", "cooling-pump", "C", 1.31, 40*time.Minute, 11*time.Minute, contributions("pressure.ripple", 0.8)),
		alarm("a9", "augsburg-hall-2", "feed-pump-2", "D", 3.61, 2*time.Hour, 0, contributions("vibration.envelope_peak", 0.6, "vibration.kurtosis", 0.22)),
		alarm("c3", "cork-utilities", "booster-1", "C", 1.22, 5*time.Hour, 0, contributions("vibration.velocity_rms", 0.5)),
		alarm("a2", "augsburg-hall-2", "feed-pump-2", "C", 1.09, 30*time.Hour, 7*time.Minute, contributions("vibration.kurtosis", 0.44)),
	}
	s.Alarms[0].Verdict, s.Alarms[3].Verdict = "wrong", "right"
	s.Alarms[1].Fault = &fleet.Fault{Class: "inner-race", Probability: 0.92, Job: "bearing-faults", ModelVersion: 4}
	for i, q := range []fleet.Quality{{TruePositives: 12, FalsePositives: 1, FalseNegatives: 2, Hours: 1850}, {TruePositives: 4, FalsePositives: 3, Hours: 2400}} {
		s.Models[i].Quality = &q
	}
	return s
}

// advise adds what is known beside scores: a fault with its evidence, lives, trends,
// drift of one machine and of the whole class, verdicts and what follows from them.
func advise(s *fleet.Snapshot, at time.Time) {
	ago := func(d time.Duration) time.Time { return at.Add(-d) }
	hours := func(x float64) *float64 { return &x }
	warm := fleet.Drift{Monitor: "psi", Subject: "temperature.mean", Kind: "data", Statistic: 0.81, Limit: 0.35, Since: ago(70 * time.Hour)}
	for g := range s.Gateways {
		for m := range s.Gateways[g].Machines {
			if s.Gateways[g].Machines[m].Zone != "" {
				s.Gateways[g].Machines[m].Drift = []fleet.Drift{warm}
			}
		}
	}
	sick := &s.Gateways[0].Machines[1]
	sick.Evidence = &fleet.Evidence{Channel: "vibration", Part: "inner-race", OuterRaceDB: 3.1, InnerRaceDB: 18.4, BallDB: 1.2}
	sick.Fault = &fleet.Fault{Class: "inner-race", Probability: 0.92, Job: "bearing-faults", ModelVersion: 4}
	sick.Life = &fleet.Life{Hours: 340, Low: 210, High: 520, Confidence: 0.9, At: ago(3 * time.Hour), Job: "pump-life", ModelVersion: 7}
	sick.Trend = &fleet.Trend{PerDay: 0.21}
	sick.Drift = append(sick.Drift, fleet.Drift{Monitor: "adwin", Subject: "score", Kind: "data", Statistic: 0.22, Limit: 0.09, Since: ago(9 * 24 * time.Hour)})
	sick.Quality = &fleet.Quality{TruePositives: 3, FalsePositives: 1, Hours: 2900}
	slow := &s.Gateways[1].Machines[0]
	slow.Trend = &fleet.Trend{PerDay: 0.013, HoursToAlarm: hours(406)}
	slow.Life = &fleet.Life{Hours: 4000, AtLeast: true, At: ago(time.Hour), Job: "pump-life", ModelVersion: 7}
	s.Drift = fleet.DriftOf(s.Gateways)
}

// large is a federation of n gateways with two machines each.
func large(at time.Time, n int) fleet.Snapshot {
	s := fleet.Snapshot{At: at, Version: "0.1.0", Started: at.Add(-time.Hour)}
	r := fleet.Round{Job: "pump-health", Round: 4, Attempt: 1, State: "open", Started: at.Add(-time.Minute), Deadline: at.Add(time.Minute)}
	for i := range n {
		g := fleet.Gateway{Name: fmt.Sprintf("gateway-%04d", i), Version: "0.1.0", Connected: i%25 != 7, LastSeen: at.Add(-time.Duration(i%60) * time.Second)}
		for k, name := range []string{"pump-a", "pump-b"} {
			score := 0.1 + 0.0009*float64((i*37+k*411)%1000)
			g.Machines = append(g.Machines, fleet.Machine{Name: name, Class: "process-pump", State: "running", Zone: map[bool]string{true: "A", false: "B"}[score < 0.5], Score: score,
				At: at.Add(-3 * time.Second), Job: "pump-health", ModelVersion: 3, Reasons: contributions("vibration.rms", 0.5, "vibration.kurtosis", 0.3, "temperature.slope", 0.1)})
		}
		s.Gateways = append(s.Gateways, g)
		r.Participants = append(r.Participants, fleet.Participant{Gateway: g.Name, State: map[bool]string{true: "received", false: "training"}[i%3 > 0], Weight: 100, Bytes: 4096, Seconds: 3})
	}
	s.Jobs = []fleet.Job{{Name: "pump-health", Class: "process-pump", Model: "autoencoder", Role: "live", Digest: "d", Version: 3, Ready: n}}
	s.Rounds = []fleet.Round{r}
	return s
}

func at(s fleet.Snapshot) func() fleet.Snapshot { return func() fleet.Snapshot { return s } }

func plantNow() fleet.Snapshot { return plant(noon) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func testOptions() Options { return Options{Location: noon.Location()} }

// get asks a page that shows what snapshot makes.
func get(t testing.TB, snapshot func() fleet.Snapshot, target string) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	New(newFakeViewer(snapshot), testOptions(), quiet()).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, target, nil))
	return rec
}

// TestDevServer serves the fixture for a person with a browser, when asked:
//
//	MILLWRIGHT_WEB_DEV=127.0.0.1:7480 go test -run TestDevServer -timeout 0 ./coordinator/internal/web
func TestDevServer(t *testing.T) {
	addr := os.Getenv("MILLWRIGHT_WEB_DEV")
	if addr == "" {
		t.Skip("set MILLWRIGHT_WEB_DEV to an address to serve the fixture there")
	}
	viewer := newFakeViewer(func() fleet.Snapshot { return plant(time.Now()) })
	go func() {
		for range time.Tick(2 * time.Second) {
			viewer.set(func() fleet.Snapshot { return plant(time.Now()) })
		}
	}()
	t.Fatal(http.ListenAndServe(addr, New(viewer, Options{}, slog.Default())))
}
