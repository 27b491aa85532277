package pipeline

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/sensors"
)

// finiteOnly is a Listener that refuses numbers that are none.
type finiteOnly struct {
	t      testing.TB
	scored int
	off    int
	alarms int
}

func (f *finiteOnly) Scored(_ string, _ job.Spec, out *infer.Output) {
	switch out.State {
	case infer.Running:
		f.scored++
	case infer.Off:
		f.off++
	}
	for _, x := range []float64{out.Raw, out.Score} {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			f.t.Fatalf("raw score %v, score %v at %v", out.Raw, out.Score, out.At)
		}
	}
	for _, r := range out.Reasons {
		if !(r.Share >= 0 && r.Share <= 1) {
			f.t.Fatalf("share %v of %s", r.Share, r.Feature)
		}
	}
}

func (f *finiteOnly) Alarm(_ string, _ job.Spec, out *infer.Output, _ alarm.State) {
	if out.Change == alarm.Raised {
		f.alarms++
	}
}

// fan is a machine whose vibration comes in blocks of a second.
type fan struct {
	m     *Machine
	heard *finiteOnly
	rng   *rand.Rand
	now   time.Time
}

func newFan(t testing.TB, store Memory) *fan {
	f := &fan{heard: &finiteOnly{t: t}, rng: rand.New(rand.NewPCG(7, 7)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	var err error
	f.m, err = New(Config{
		Name: "fan-1", Class: "fan", Window: time.Second, Baseline: 30, MaxRecent: 100,
		Channels: map[string]sensors.Quantity{"vibration": sensors.Acceleration, "temperature": sensors.Temperature},
	}, store, f.heard, "", alarm.State{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// seconds gives so many seconds of vibration of an amplitude at a rate.
func (f *fan) seconds(n int, amplitude float64, rateHz int) {
	for range n {
		xs := make([]float64, rateHz)
		for i := range xs {
			xs[i] = amplitude * (math.Sin(2*math.Pi*25*float64(i)/float64(rateHz)) + 0.1*f.rng.NormFloat64())
		}
		f.blocks(sensors.Block{Machine: "fan-1", Channel: "vibration", RateHz: float64(rateHz), Samples: xs})
	}
}

func (f *fan) blocks(vibration sensors.Block) {
	vibration.Start = f.now
	f.m.Process(vibration)
	f.m.Process(sensors.Block{Machine: "fan-1", Channel: "temperature", Start: f.now, Samples: []float64{40 + 0.1*f.rng.NormFloat64()}})
	f.now = f.now.Add(time.Second)
}

func TestMachine_OffIsAState(t *testing.T) {
	f := newFan(t, noMemory{})
	f.seconds(60, 1, 400)
	if st := f.m.Status(); st.State != infer.Running {
		t.Fatalf("state is %s", st.State)
	}
	before := f.heard.scored
	f.seconds(50, 0.01, 400)
	st := f.m.Status()
	if st.State != infer.Off || f.heard.alarms != 0 || f.heard.off < 48 {
		t.Errorf("switched off: state %s, %d windows off, %d alarms", st.State, f.heard.off, f.heard.alarms)
	}
	if f.heard.scored > before+2 {
		t.Errorf("%d windows were scored while the machine was off", f.heard.scored-before)
	}
	f.seconds(10, 1, 400)
	if st := f.m.Status(); st.State != infer.Running || st.Alarm.Active {
		t.Errorf("switched on again: state %s, alarm %+v", st.State, st.Alarm)
	}
	f.seconds(10, 3, 400)
	if !f.m.Status().Alarm.Active {
		t.Fatal("three times the vibration raises no alarm")
	}
	f.seconds(20, 0.01, 400) // stopped for it
	if st := f.m.Status(); st.State != infer.Off || !st.Alarm.Active {
		t.Errorf("stopped during an alarm: state %s, alarm lasts %v", st.State, st.Alarm.Active)
	}
}

// Windows in which the machine was off are no part of its baseline, on file neither.
func TestMachine_OffInTheBaseline(t *testing.T) {
	store, err := samples.Open(t.TempDir()+"/samples.db", samples.Options{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	f := newFan(t, store)
	f.seconds(10, 1, 400)
	f.seconds(10, 0.01, 400)
	f.seconds(12, 1, 400) // the 30th window closes
	if st := f.m.Status(); st.State != infer.Baseline || st.Have >= 25 {
		t.Fatalf("with ten windows off: %s, %d windows", st.State, st.Have)
	}
	f.seconds(15, 1, 400)
	if st := f.m.Status(); st.State != infer.Running {
		t.Fatalf("state is %s with %d of %d windows", st.State, st.Have, st.Want)
	}
	f.seconds(10, 2, 400)
	if !f.m.Status().Alarm.Active {
		t.Error("twice the vibration raises no alarm: windows off widened the baseline")
	}
	rows, err := store.Rows(f.m.Keys()[0], samples.Baseline)
	if err != nil || len(rows) != 30 {
		t.Fatalf("%d rows on file (%v), want 30", len(rows), err)
	}
	again := newFan(t, store)
	if st := again.m.Status(); st.Have != 30 || st.Want != 30 {
		t.Errorf("after a restart %d of %d windows", st.Have, st.Want)
	}
}

func TestMachine_ConstantChannels(t *testing.T) {
	f := newFan(t, noMemory{})
	still := func(n int, level float64) {
		for range n {
			xs := make([]float64, 400)
			for i := range xs {
				xs[i] = level
			}
			f.blocks(sensors.Block{Machine: "fan-1", Channel: "vibration", RateHz: 400, Samples: xs})
		}
	}
	still(40, 2.5) // a sensor that is stuck from the first day
	if st := f.m.Status(); st.State != infer.Running && st.State != infer.Off {
		t.Fatalf("state is %s with %d of %d windows, refused %v", st.State, st.Have, st.Want, st.Refused)
	}
	still(20, 2.5)
	if f.heard.alarms != 0 {
		t.Error("a constant channel that stays as it is raises an alarm")
	}
	f.seconds(10, 3, 400)
	if f.heard.scored < 30 {
		t.Errorf("%d windows scored", f.heard.scored)
	}
	still(5, 0)
}

func TestMachine_RateJumps(t *testing.T) {
	f := newFan(t, noMemory{})
	f.seconds(60, 1, 400)
	before := f.heard.scored
	for range 5 { // back and forth
		f.seconds(4, 1, 1600)
		f.seconds(4, 1, 400)
	}
	if n := f.heard.scored - before; n < 20 {
		t.Errorf("%d of 40 windows scored across jumps of the rate", n)
	}
	if f.heard.alarms != 0 {
		t.Error("a rate that jumps raises an alarm on a machine that runs as before")
	}
	f.blocks(sensors.Block{Machine: "fan-1", Channel: "vibration", RateHz: 400, Samples: make([]float64, 0)})
	f.seconds(3, 1, 400)
}

func TestMachine_NaNRuns(t *testing.T) {
	f := newFan(t, noMemory{})
	f.seconds(60, 1, 400)
	bad := func(x float64, from, to int) {
		xs := make([]float64, 400)
		for i := range xs {
			xs[i] = math.Sin(2 * math.Pi * 25 * float64(i) / 400)
			if i >= from && i < to {
				xs[i] = x
			}
		}
		f.blocks(sensors.Block{Machine: "fan-1", Channel: "vibration", RateHz: 400, Samples: xs})
	}
	before := f.heard.scored
	for range 5 {
		bad(math.NaN(), 0, 400)
		bad(math.NaN(), 100, 110)
		bad(math.Inf(1), 399, 400)
		bad(1e200, 5, 6)
	}
	f.seconds(10, 1, 400)
	st := f.m.Status()
	if st.State != infer.Running || f.heard.scored < before+8 || f.heard.alarms != 0 {
		t.Errorf("after runs of NaN: state %s, %d windows scored, %d alarms", st.State, f.heard.scored-before, f.heard.alarms)
	}
	if c := st.Counts; c.Received != c.Used+c.Stored+c.total() {
		t.Errorf("counts do not add up: %+v", c)
	}
	t.Logf("dropped %v, refused %v", st.Counts.Dropped, st.Refused)
}

// Two windows are the least baseline there can be, and copies of a channel make a
// singular covariance.
func TestMachine_FewRowsAndSingularCovariance(t *testing.T) {
	f := newFan(t, noMemory{})
	spec := job.Spec{
		Name: "fans", Class: "fan",
		Features: job.FeatureSpec{Window: time.Second, Channels: []job.ChannelFeatures{{Channel: "vibration", Features: []string{"rms", "peak", "crest", "kurtosis", "skewness", "shape", "impulse"}}}},
		Model:    model.Spec{Kind: model.KindGaussian},
		Alarm:    job.AlarmSpec{Baseline: 2, Budget: 1},
	}
	f.m.SetJobs([]job.Spec{spec}, nil, nil)
	f.seconds(40, 1, 400)
	if st := f.m.Status(); st.State != infer.Running || st.Job != "fans" {
		t.Fatalf("state %s under job %s: %v", st.State, st.Job, st.Unserved)
	}
	if f.heard.scored == 0 {
		t.Error("nothing was scored")
	}
}

func TestMachine_JobOfAnotherMachineSaysSo(t *testing.T) {
	f := newFan(t, noMemory{})
	f.m.SetJobs([]job.Spec{{
		Name: "pumps", Class: "fan",
		Features: job.FeatureSpec{Window: time.Second, Channels: []job.ChannelFeatures{{Channel: "pressure", Features: []string{"mean"}}}},
		Model:    model.Spec{Kind: model.KindGaussian},
	}}, nil, nil)
	f.seconds(40, 1, 400)
	st := f.m.Status()
	if why := st.Unserved["pumps"]; !strings.Contains(why, `has no channel "pressure"`) {
		t.Errorf("why it is not served: %q", why)
	}
	if st.State != infer.Running || st.Job != LocalJob {
		t.Errorf("state %s under job %s; its own job should go on", st.State, st.Job)
	}
}
