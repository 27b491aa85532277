package pipeline

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/sensors"
)

// faults is a job that tells high pressure from low.
func faults(role string) job.Spec {
	spec := pumps("faults", role, 5*time.Second, "mean", "std")
	spec.Model = model.Spec{Kind: model.KindSoftmax, Softmax: &model.SoftmaxSpec{
		Classes: []string{"ok", "high", "low"}, Healthy: "ok", Epochs: 20, LearningRate: 0.05, Unknown: 0.6,
	}}
	spec.Strategy = job.StrategySpec{}
	spec.Labels = job.LabelSpec{Lead: 30 * time.Second, Settle: 5 * time.Second}
	return spec.WithDefaults()
}

// history is a machine that was high for a minute and low for a minute.
func history(t *testing.T) (r *rig, detect, diagnose job.Spec, list []labels.Label) {
	r = newRig(t)
	detect, diagnose = pumps("p1", job.Live, 5*time.Second, "mean", "std"), faults(job.Live)
	r.m.SetJobs([]job.Spec{detect, diagnose}, nil, nil)
	r.seconds(150, 0)
	high := r.now
	r.seconds(60, 12)
	r.seconds(60, 0)
	low := r.now
	r.seconds(60, -12)
	list = []labels.Label{
		{Kind: labels.Fault, Class: "high", From: high, To: high.Add(time.Minute)},
		{Kind: labels.Failure, Class: "low", At: low.Add(55 * time.Second)},
	}
	r.seconds(60, 0)
	return r, detect, diagnose, list
}

// rounds trains as a fleet of one.
func rounds(t *testing.T, spec job.Spec, set model.Set, n int) Release {
	t.Helper()
	f, err := spec.Family()
	if err != nil {
		t.Fatal(err)
	}
	global := f.Init(1)
	for range n {
		trained, err := f.Train(context.Background(), global, []model.Set{set}, model.TrainOptions{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		for i := range global {
			for k := range global[i].F32 {
				global[i].F32[k] += trained.Vectors[i].F32[k]
			}
		}
	}
	return Release{Version: uint64(n), Params: global}
}

func TestMachine_NamesTheFault(t *testing.T) {
	r, _, spec, list := history(t)
	if f := r.m.Status().Output.Advice.Fault; f != nil {
		t.Errorf("before any training it says %+v", f)
	}
	set, _, err := r.m.Training(spec.Digest(), 1000, labels.NewTruth(list, spec.Labels))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.m.Install(spec.Digest(), rounds(t, spec, set, 3)); err != nil {
		t.Fatal(err)
	}
	r.heard.alarms = nil
	for _, c := range []struct {
		offset float64
		class  string
	}{{0, "ok"}, {12, "high"}, {0, "ok"}, {-12, "low"}} {
		r.seconds(60, c.offset)
		st := r.m.Status()
		f := st.Output.Advice.Fault
		if f == nil || f.Class != c.class || f.Job != "faults" || f.ModelVersion != 3 || !(f.Probability > 0.6 && f.Probability <= 1) {
			t.Errorf("at %v it says %+v, want %s", c.offset, f, c.class)
		}
		if st.Job != "p1" || st.Alarm.Active != (c.offset != 0) {
			t.Errorf("at %v job %s is in alarm: %v", c.offset, st.Job, st.Alarm.Active)
		}
	}
	if len(r.heard.alarms) != 3 || r.heard.alarms[0] != alarm.Raised {
		t.Errorf("alarms: %v; the diagnosing job raises none", r.heard.alarms)
	}
	for _, name := range r.heard.jobs {
		if name == "faults" {
			t.Fatal("scores of the diagnosing job were published")
		}
	}
	// Between the classes it does not know.
	unsure := false
	for offset := 0.0; offset > -12 && !unsure; offset -= 0.5 {
		r.seconds(5, offset)
		f := r.m.Status().Output.Advice.Fault
		unsure = f != nil && f.Class == infer.Unknown && f.Probability < 0.6
	}
	if !unsure {
		t.Error("it is sure of everything between ok and low")
	}
	// A fault that nobody has seen: the pressure is as ever in the mean, and restless. The
	// model, which has learned to look at the mean, finds nothing.
	r.seconds(30, 0)
	for range 30 {
		r.seconds(1, 9)
		r.seconds(1, -9)
	}
	st := r.m.Status()
	if f := st.Output.Advice.Fault; st.Output.Score < 1 || f == nil || f.Class != infer.Unknown {
		t.Errorf("of a fault nobody has seen, with score %v, it says %+v", st.Output.Score, f)
	}
	r.m.SetJobs([]job.Spec{pumps("p1", job.Live, 5*time.Second, "mean", "std")}, nil, nil)
	r.seconds(10, 0)
	if f := r.m.Status().Output.Advice.Fault; f != nil {
		t.Errorf("without the job it says %+v", f)
	}
}

// An alarm is raised before the fault is clear: it is told again once it has a name, and a
// name that wavers is not told again and again.
func TestNaming_Settles(t *testing.T) {
	windows := func(n *naming, classes ...string) (told string) {
		for i, c := range classes {
			out := infer.Output{Active: true}
			if c != "-" {
				out.Advice.Fault = &infer.Fault{Class: c}
			}
			if i == 0 && *n == (naming{}) {
				out.Change = alarm.Raised
			}
			if told += "."; n.settled(&out, 3, "ok") {
				told += c
			}
		}
		return told
	}
	for _, c := range []struct {
		name    string
		classes []string
		want    string
	}{
		{"unknown at first", []string{"unknown", "-", "ok", "belt", "belt", "belt", "belt"}, "......belt."},
		{"named when raised", []string{"belt", "belt", "belt", "belt", "belt"}, "....."},
		{"never for long", []string{"unknown", "belt", "belt", "unknown", "belt", "belt", "ok"}, "......."},
		{"another one", []string{"belt", "race", "race", "race", "belt", "belt", "belt", "belt", "belt", "belt"}, "....race......belt"},
	} {
		if got := windows(&naming{}, c.classes...); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	n := &naming{}
	var wavering []string
	for range 1000 {
		wavering = append(wavering, "belt", "belt", "belt", "race", "race", "race")
	}
	if got := windows(n, wavering...); len(got) > 6000+20 {
		t.Errorf("a name that wavers is told of in %d bytes", len(got)-6000)
	}
	if n.settled(&infer.Output{}, 3, "ok"); *n != (naming{run: 1}) {
		t.Errorf("after the alarm it remembers %+v", *n)
	}
}

func TestMachine_ShadowDiagnosisIsNotHeard(t *testing.T) {
	r, detect, live, list := history(t)
	set, _, err := r.m.Training(live.Digest(), 1000, labels.NewTruth(list, live.Labels))
	if err != nil {
		t.Fatal(err)
	}
	shadow := faults(job.Shadow)
	r.m.SetJobs([]job.Spec{detect, shadow}, map[string]Release{"faults": rounds(t, shadow, set, 2)}, nil)
	r.seconds(60, 12)
	st := r.m.Status()
	if st.Output.Advice.Fault != nil {
		t.Errorf("a shadow says %+v", st.Output.Advice.Fault)
	}
	if len(st.Jobs) != 2 || st.Jobs[1].Version != 2 || st.Jobs[1].Score < 0.9 {
		t.Errorf("jobs: %+v", st.Jobs)
	}
}

// The diagnosing job may have windows of its own, and none while a channel is silent.
func TestMachine_FaultOfOtherWindowsGoesStale(t *testing.T) {
	r := newRig(t)
	detect, spec := pumps("p1", job.Live, 5*time.Second, "mean"), faults(job.Live)
	spec.Features.Channels[0].Channel = "temperature"
	spec.Features.Window, spec.Features.Hop, spec.Features.MaxGap = 10*time.Second, 10*time.Second, 10*time.Second
	r.m.SetJobs([]job.Spec{detect, spec}, nil, nil)
	r.seconds(300, 0)
	set := model.Set{}
	for i := range 60 {
		z := float64(i%3 - 1)
		set.Rows, set.Targets = append(set.Rows, []float64{9 * z, 0}), append(set.Targets, math.Mod(z+3, 3))
	}
	if err := r.m.Install(spec.Digest(), rounds(t, spec, set, 2)); err != nil {
		t.Fatal(err)
	}
	r.seconds(30, 0)
	if f := r.m.Status().Output.Advice.Fault; f == nil || f.Class != "ok" {
		t.Fatalf("at score %v it says %+v", r.m.Status().Output.Score, f)
	}
	m := r.m
	m.mu.Lock()
	m.diagnosedAt = m.diagnosedAt.Add(-time.Minute) // as if its channel had been silent
	stale := m.faultBy(&infer.Output{At: r.now})
	m.mu.Unlock()
	if stale != nil {
		t.Errorf("of a window a minute ago it says %+v", stale)
	}
}

func TestMachine_TwoLiveJobsOfOnePurpose(t *testing.T) {
	r := newRig(t)
	second := faults(job.Live)
	second.Name = "faults-2"
	r.m.SetJobs([]job.Spec{pumps("p1", job.Live, 5*time.Second, "mean"), faults(job.Live), second}, nil, nil)
	st := r.m.Status()
	if want := `machine pump-1 already serves live job "faults" of its class to diagnose`; st.Unserved["faults-2"] != want || len(st.Unserved) != 1 {
		t.Errorf("unserved: %v", st.Unserved)
	}
}

func TestMachine_DiagnosingAllocatesNothing(t *testing.T) {
	r := newRig(t)
	detect, diagnose := pumps("p1", job.Live, time.Second, "mean", "std"), faults(job.Live)
	diagnose.Features = detect.Features
	r.m.SetJobs([]job.Spec{detect, diagnose}, nil, nil)
	r.heard.jobs = make([]string, 0, 1<<16)
	r.seconds(60, 0)
	rows := model.Set{Rows: [][]float64{{0, 0}, {9, 0}, {-9, 0}}, Targets: []float64{0, 1, 2}}
	if err := r.m.Install(diagnose.Digest(), rounds(t, diagnose, rows, 1)); err != nil {
		t.Fatal(err)
	}
	r.m.memory = noMemory{} // the store's own buffers are measured there
	b := []sensors.Block{{Machine: "pump-1", Channel: "pressure", Samples: []float64{4e5}}}
	if n := testing.AllocsPerRun(500, func() {
		r.now = r.now.Add(time.Second)
		b[0].Start = r.now
		b[0].Samples[0] += 10
		r.m.batch(b)
	}); n != 0 {
		t.Errorf("%v allocations a window", n)
	}
	if f := r.m.Status().Output.Advice.Fault; f == nil {
		t.Error("nothing was diagnosed")
	}
}
