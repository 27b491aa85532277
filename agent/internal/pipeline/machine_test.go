package pipeline

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/window"
)

var quiet = slog.New(slog.DiscardHandler)

// recorder is a Listener.
type recorder struct {
	mu     sync.Mutex
	alarms []alarm.Change
	jobs   []string // job of each scored window
}

func (r *recorder) Scored(_ string, spec job.Spec, _ *infer.Output) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs = append(r.jobs, spec.Name)
}

func (r *recorder) Alarm(_ string, _ job.Spec, out *infer.Output, _ alarm.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.alarms = append(r.alarms, out.Change)
}

// rig is a machine with two channels, fed at 1 Hz in event time.
type rig struct {
	t     testing.TB
	m     *Machine
	store *samples.Store
	heard *recorder
	rng   *rand.Rand
	now   time.Time
	sent  int64
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, heard: &recorder{}, rng: rand.New(rand.NewPCG(1, 2)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	var err error
	if r.store, err = samples.Open(t.TempDir()+"/samples.db", samples.Options{}, quiet); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.store.Close() })
	r.m, err = New(Config{
		Name: "pump-1", Class: "pump", Window: 5 * time.Second, Baseline: 20, MaxRecent: 100,
		Channels: map[string]sensors.Quantity{"temperature": sensors.Temperature, "pressure": sensors.Pressure},
	}, r.store, r.heard, "", alarm.State{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// seconds processes so many rows, pressure raised by offset standard deviations.
func (r *rig) seconds(n int, offset float64) {
	for range n {
		for _, b := range []sensors.Block{
			{Machine: "pump-1", Channel: "temperature", Start: r.now, Samples: []float64{60 + r.rng.NormFloat64()}},
			{Machine: "pump-1", Channel: "pressure", Start: r.now, Samples: []float64{4e5 + 1e3*(offset+r.rng.NormFloat64())}},
		} {
			r.sent += int64(len(b.Samples))
			r.m.Offer(b)
		}
		r.m.batch(r.m.queue.take(nil))
		r.now = r.now.Add(time.Second)
	}
	r.addUp()
}

// addUp checks that every sample is accounted for.
func (r *rig) addUp() {
	r.t.Helper()
	c := r.m.Status().Counts
	if c.Received != r.sent || c.Received != c.Used+c.Stored+c.total() {
		r.t.Fatalf("sent %d, but counts are %+v", r.sent, c)
	}
}

func pumps(name, role string, window time.Duration, features ...string) job.Spec {
	return job.Spec{
		Name: name, Class: "pump", Role: role,
		Features: job.FeatureSpec{Window: window, Channels: []job.ChannelFeatures{{Channel: "pressure", Features: features}}},
		Model:    model.Spec{Kind: model.KindGaussian},
		Alarm:    job.AlarmSpec{Baseline: 20},
	}.WithDefaults()
}

func TestMachine_LocalJobUntilOneArrives(t *testing.T) {
	r := newRig(t)
	if st := r.m.Status(); st.State != infer.Waiting || st.Job != LocalJob || st.Want != 20 {
		t.Errorf("at first: %+v", st)
	}
	r.seconds(60, 0)
	if st := r.m.Status(); st.State != infer.Baseline || st.Have != 11 { // 12 windows, the last still open
		t.Errorf("after 60 s: %s with %d windows", st.State, st.Have)
	}
	r.seconds(60, 0)
	st := r.m.Status()
	if st.State != infer.Running || st.Output.Score <= 0 || len(st.Jobs) != 1 || !st.Jobs[0].Trained {
		t.Errorf("after 120 s: %+v", st)
	}
}

func TestMachine_NewLiveJobTakesOverOnceItHasItsBaseline(t *testing.T) {
	r := newRig(t)
	r.seconds(120, 0)
	spec := pumps("p1", job.Live, 5*time.Second, "mean", "std")
	r.m.SetJobs([]job.Spec{spec}, nil, nil)
	r.seconds(50, 0)
	st := r.m.Status()
	if st.Job != LocalJob || st.State != infer.Running || len(st.Jobs) != 2 {
		t.Errorf("while the new job collects, %s serves and is %s: %+v", st.Job, st.State, st.Jobs)
	}
	// A fault now must be found, and must not enter the new job's baseline.
	r.seconds(40, 8)
	if len(r.heard.alarms) == 0 || r.heard.alarms[0] != alarm.Raised {
		t.Errorf("no alarm while the new job collects: %v", r.heard.alarms)
	}
	have := r.m.Status().Jobs[1].Have
	r.seconds(20, 8)
	if now := r.m.Status().Jobs[1].Have; now != have {
		t.Errorf("baseline grew from %d to %d windows during an alarm", have, now)
	}
	r.seconds(80, 0)
	if st := r.m.Status(); st.Job != "p1" || st.State != infer.Running || len(st.Jobs) != 1 {
		t.Errorf("%s serves and is %s: %+v", st.Job, st.State, st.Jobs)
	}
	if st := r.m.Status(); st.Counts.Dropped["job_changed"] == 0 {
		t.Error("samples that waited at the change are not accounted for")
	}
	// Without the job the machine returns to its own.
	r.m.SetJobs(nil, nil, nil)
	r.seconds(120, 0)
	if st := r.m.Status(); st.Job != LocalJob || st.State != infer.Running {
		t.Errorf("%s serves and is %s", st.Job, st.State)
	}
}

func TestMachine_ChangedAlarmSettingsKeepBaselineAndEpisode(t *testing.T) {
	r := newRig(t)
	spec := pumps("p1", job.Live, 5*time.Second, "mean")
	r.m.SetJobs([]job.Spec{spec}, nil, nil)
	r.seconds(120, 0)
	r.seconds(40, 8)
	if st := r.m.Status(); !st.Alarm.Active {
		t.Fatal("no alarm")
	}
	changed := spec
	changed.Alarm.Threshold = 3
	r.m.SetJobs([]job.Spec{changed}, nil, nil)
	st := r.m.Status()
	if st.Have != 20 || !st.Alarm.Active || len(st.Jobs) != 1 || st.Jobs[0].Digest != changed.Digest() {
		t.Errorf("after the change: %+v", st)
	}
	r.seconds(60, 0)
	if got := r.heard.alarms; !slices.Equal(got, []alarm.Change{alarm.Raised, alarm.Cleared}) {
		t.Errorf("the episode was told as %v", got)
	}
}

func TestMachine_ShadowJobsRaiseNoAlarms(t *testing.T) {
	r := newRig(t)
	live, shadow := pumps("p1", job.Live, 5*time.Second, "std"), pumps("s1", job.Shadow, 10*time.Second, "mean")
	r.m.SetJobs([]job.Spec{live, shadow}, nil, nil)
	r.seconds(260, 0)
	r.seconds(60, 20) // the mean shifts, the spread does not
	st := r.m.Status()
	if st.Job != "p1" || st.Alarm.Active || len(r.heard.alarms) != 0 {
		t.Errorf("live job %s alarms: %v", st.Job, r.heard.alarms)
	}
	if len(st.Jobs) != 2 || st.Jobs[1].Job != "s1" || st.Jobs[1].Score < 2 {
		t.Errorf("shadow is %+v", st.Jobs)
	}
	for _, name := range r.heard.jobs {
		if name != "p1" {
			t.Fatalf("scores of job %s were published", name)
		}
	}
}

func TestMachine_JobItCannotServe(t *testing.T) {
	r := newRig(t)
	missing := pumps("p1", job.Live, 5*time.Second, "mean")
	missing.Features.Channels[0].Channel = "flow"
	unknown := pumps("p2", job.Shadow, 5*time.Second, "sparkle")
	second := pumps("p4", job.Live, 5*time.Second, "std")
	r.m.SetJobs([]job.Spec{missing, unknown, pumps("p3", job.Live, 5*time.Second, "mean"), second}, nil, nil)
	st := r.m.Status()
	for name, want := range map[string]string{
		"p1": `machine pump-1 has no channel "flow"; add it to the agent's configuration`,
		"p2": "sparkle",
		"p4": `machine pump-1 already serves live job "p3" of its class`,
	} {
		if got := st.Unserved[name]; !strings.Contains(got, want) {
			t.Errorf("job %s: %q, want %q", name, got, want)
		}
	}
	if len(st.Unserved) != 3 || st.Job != "p3" {
		t.Errorf("%s serves; unserved: %v", st.Job, st.Unserved)
	}
}

func TestMachine_QueueIsBoundedAndCounts(t *testing.T) {
	r := newRig(t)
	big := make([]float64, maxQueuedSamples/4)
	ok := 0
	for range 10 {
		if r.m.Offer(sensors.Block{Machine: "pump-1", Channel: "pressure", Start: r.now, RateHz: 1e5, Samples: big}) {
			ok++
		}
		r.sent += int64(len(big))
	}
	if ok != 4 {
		t.Errorf("%d blocks of a quarter of the bound were taken, want 4", ok)
	}
	r.addUp()
	if c := r.m.Status().Counts; c.Dropped["queue_full"] != int64(6*len(big)) || c.Stored != int64(4*len(big)) {
		t.Errorf("counts are %+v", c)
	}
	// A single block over the bound passes through an empty queue: it is in memory anyway.
	q := newQueue()
	if !q.put(sensors.Block{Samples: make([]float64, maxQueuedSamples+1)}) || q.put(sensors.Block{Samples: big}) {
		t.Error("a large block was refused, or another taken behind it")
	}
}

func TestMachine_APanicCostsOneWindow(t *testing.T) {
	r := newRig(t)
	r.seconds(120, 0)
	f := r.m.serving.front
	emit := f.emit
	f.emit = func(*window.Window) error { panic("index out of range") }
	r.seconds(10, 0)
	f.emit = emit
	if st := r.m.Status(); st.Panics == 0 || st.Counts.Dropped["internal_error"] == 0 {
		t.Errorf("after a panic: %d panics, %v", st.Panics, st.Counts.Dropped)
	}
	before := r.m.Status().Windows
	r.seconds(60, 0)
	if st := r.m.Status(); st.Windows <= before || st.State != infer.Running {
		t.Errorf("the machine did not go on: %s, %d windows then %d", st.State, before, st.Windows)
	}
}

func TestMachine_RestoresFromTheStore(t *testing.T) {
	r := newRig(t)
	r.seconds(120, 0)
	again, err := New(r.m.cfg, r.store, r.heard, "", alarm.State{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.serving.detector.Threshold(), r.m.serving.detector.Threshold(); got != want || got == 0 {
		t.Errorf("threshold after a restart is %v, want %v", got, want)
	}
	if st := again.Status(); st.State != infer.Waiting || !st.Jobs[0].Trained {
		t.Errorf("after a restart: %+v", st)
	}
}

func TestMachine_TrainingSetIsStandardised(t *testing.T) {
	r := newRig(t)
	spec := pumps("p1", job.Live, 5*time.Second, "mean", "std")
	r.m.SetJobs([]job.Spec{spec}, nil, nil)
	if _, ok, err := r.m.Training(spec.Digest(), 1000, nil); ok || err != nil {
		t.Errorf("a machine without baseline offers rows (%v)", err)
	}
	r.seconds(120, 0)
	r.seconds(40, 20) // a fault: nothing to learn from
	set, ok, err := r.m.Training(spec.Digest(), 1000, nil)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	healthy := len(set.Rows)
	if healthy < 22 || healthy > 24 { // 160 s are 31 windows, of which 8 are faulty
		t.Errorf("%d rows to learn from", healthy)
	}
	mean, square := 0.0, 0.0
	for _, row := range set.Rows[:20] {
		mean += row[0] / 20
		square += row[0] * row[0] / 19
	}
	if mean*mean > 1e-18 || square < 1-1e-9 || square > 1+1e-9 {
		t.Errorf("baseline rows have mean %v and variance %v, want 0 and 1", mean, square)
	}
	if _, ok, _ := r.m.Training("unknown", 1000, nil); ok {
		t.Error("rows for a job the machine does not serve")
	}
}

// Models are swapped while the machine scores: under the race detector, and every
// window is scored by one model or the other.
func TestMachine_InstallWhileScoring(t *testing.T) {
	r := newRig(t)
	spec := pumps("p1", job.Live, 5*time.Second, "mean", "std")
	r.m.SetJobs([]job.Spec{spec}, nil, nil)
	r.seconds(120, 0)
	f, err := spec.Family()
	if err != nil {
		t.Fatal(err)
	}
	set, _, _ := r.m.Training(spec.Digest(), 1000, nil)
	trained, err := f.Train(context.Background(), f.Init(1), []model.Set{set}, model.TrainOptions{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.m.Run(ctx) })
	wg.Go(func() {
		for v := range uint64(50) {
			if err := r.m.Install(spec.Digest(), Release{Version: v + 1, Params: trained.Vectors}); err != nil {
				t.Error(err)
			}
			_ = r.m.Status()
		}
	})
	for range 300 {
		for _, ch := range []string{"temperature", "pressure"} {
			r.m.Offer(sensors.Block{Machine: "pump-1", Channel: ch, Start: r.now, Samples: []float64{4e5 + 1e3*r.rng.NormFloat64()}})
		}
		r.now = r.now.Add(time.Second)
	}
	for _, idle := r.m.Beat(); !idle; _, idle = r.m.Beat() {
		runtime.Gosched()
	}
	cancel()
	wg.Wait()
	if st := r.m.Status(); st.Output.Version != 50 {
		t.Errorf("version %d serves, want the last one", st.Output.Version)
	}
	if err := r.m.Install(spec.Digest(), Release{Version: 51, Params: []fedavg.Vector{{Name: "w"}}}); err == nil {
		t.Error("a model of another shape was installed")
	}
	if st := r.m.Status(); st.Output.Version != 50 {
		t.Errorf("a refused model serves: version %d", st.Output.Version)
	}
}

// The hot path of one block, score and alarm included.
func TestMachine_ABlockAllocatesNothing(t *testing.T) {
	r := newRig(t)
	spec := pumps("p1", job.Live, time.Second, "mean", "std")
	r.m.SetJobs([]job.Spec{spec}, nil, nil)
	r.heard.jobs = make([]string, 0, 1<<16)
	r.seconds(60, 0)
	r.m.memory = noMemory{} // the store's own buffers are measured there
	b := []sensors.Block{{Machine: "pump-1", Channel: "pressure", Samples: []float64{4e5}}}
	windows := r.m.Status().Windows
	n := testing.AllocsPerRun(500, func() {
		r.now = r.now.Add(time.Second)
		b[0].Start = r.now
		b[0].Samples[0] += 10
		r.m.batch(b)
	})
	if scored := r.m.Status().Windows - windows; scored < 400 {
		t.Fatalf("only %d windows were scored", scored)
	}
	if n != 0 {
		t.Errorf("%v allocations a window", n)
	}
}

type noMemory struct{}

func (noMemory) Add(samples.Key, samples.Kind, time.Time, []float64) {}
func (noMemory) Observe(samples.Key, time.Time, []float64, samples.Prediction) {
}
func (noMemory) Each(samples.Key, samples.Kind, func(samples.Row) bool) error { return nil }
func (noMemory) Rows(samples.Key, samples.Kind) ([]samples.Row, error)        { return nil, nil }
func (noMemory) Newest(samples.Key, samples.Kind, int) ([]samples.Row, error) { return nil, nil }
func (noMemory) Count(samples.Key, samples.Kind) int                          { return 0 }
func (noMemory) Forget(samples.Key, samples.Kind) error                       { return nil }
