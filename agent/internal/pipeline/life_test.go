package pipeline

import (
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/life"
	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/sensors"
)

// lasting is a job to prognose; two windows of 5 s make a cycle.
func lasting(name, role string) job.Spec {
	spec := pumps(name, role, 5*time.Second, "mean", "std")
	spec.Model = model.Spec{Kind: model.KindRUL, RUL: &model.RULSpec{Cycle: 10 * time.Second, Cap: 30, Units: 30, Components: 1}}
	spec.Strategy, spec.Compression = job.StrategySpec{}, nil
	return spec.WithDefaults()
}

// learnedLives is a model of machines whose pressure falls until they fail.
func learnedLives(t *testing.T, spec job.Spec) []fedavg.Vector {
	t.Helper()
	family, err := spec.Family()
	if err != nil {
		t.Fatal(err)
	}
	var lives []model.Set
	for m := range 8 {
		l := model.Set{Machine: string(rune('a' + m))}
		for c := range 40 + m {
			l.Rows = append(l.Rows, []float64{4e5 - 2e3*float64(c), 1e3 + float64((c*7+m)%11)})
			l.Targets = append(l.Targets, float64(39+m-c))
		}
		lives = append(lives, l)
	}
	global := family.Init(1)
	for range 5 {
		trained, err := family.Train(t.Context(), global, lives, model.TrainOptions{})
		if err != nil {
			t.Fatal(err)
		}
		global = trained.Vectors
	}
	return global
}

func (r *rig) job(name string) JobStatus {
	r.t.Helper()
	for _, j := range r.m.Status().Jobs {
		if j.Job == name {
			return j
		}
	}
	r.t.Fatalf("no job %q in %+v", name, r.m.Status().Jobs)
	return JobStatus{}
}

func TestMachine_PredictsRemainingLife(t *testing.T) {
	r := newRig(t)
	spec := lasting("life", job.Live)
	r.m.SetJobs([]job.Spec{spec}, nil, nil)
	if j := r.job("life"); j.State != infer.Waiting || j.Trained || j.Role != job.Live {
		t.Errorf("at first: %+v", j)
	}
	r.seconds(101, 0) // 10 cycles
	if j := r.job("life"); j.State != infer.Baseline || !j.Trained || j.Cycles != 10 || j.Samples != 10 {
		t.Errorf("after 100 s: %+v", j)
	}
	if st := r.m.Status(); st.Output.Advice.Life != nil || st.Job != LocalJob {
		t.Errorf("without a model: %+v", st)
	}
	if err := r.m.Install(spec.Digest(), Release{Version: 4, Params: learnedLives(t, spec)}); err != nil {
		t.Fatal(err)
	}
	l := r.m.Status().Output.Advice.Life
	if l == nil || l.ModelVersion != 4 || !l.At.Equal(r.now.Add(-time.Second)) || !(l.Hours > 0 && l.Hours < 31*10./3600) {
		t.Fatalf("with a model: %+v", l)
	}
	r.seconds(10, -20)
	before := *r.m.Status().Output.Advice.Life
	if !before.At.Equal(l.At.Add(10*time.Second)) || r.job("life").State != infer.Running {
		t.Errorf("a cycle later: %+v", before)
	}

	// Another machine object over the same store is the machine after a restart.
	again, err := New(r.m.cfg, r.store, r.heard, "", alarm.State{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	again.SetJobs([]job.Spec{spec}, map[string]Release{"life": {Version: 4, Params: learnedLives(t, spec)}}, nil)
	if l := again.Status().Output.Advice.Life; l == nil || *l != before {
		t.Errorf("after a restart: %+v, before %+v", l, before)
	}

	// It failed after six cycles, as is told now.
	failed := r.now.Add(-time.Second - 50*time.Second)
	if err := r.m.SetEnds([]life.End{{At: failed, Failed: true}}); err != nil {
		t.Fatal(err)
	}
	if j := r.job("life"); j.Cycles != 5 || j.Samples != 11 {
		t.Errorf("after the failure: %+v", j)
	}
	lives, ok, err := r.m.Lives(spec.Digest(), 1000)
	if err != nil || !ok || len(lives) != 2 || lives[0].Targets[0] != 5 || lives[0].Targets[5] != 0 || lives[1].Targets[0] != -1 {
		t.Errorf("lives %+v, %v", lives, err)
	}
	if err := r.m.SetEnds([]life.End{{At: failed, Failed: true}, {At: r.now, Failed: false}}); err != nil {
		t.Fatal(err)
	}
	if l := r.m.Status().Output.Advice.Life; l != nil {
		t.Errorf("a repaired machine has the life %+v", l)
	}
	if _, ok, _ := r.m.Lives("unknown", 10); ok {
		t.Error("lives for a job the machine does not serve")
	}
}

func TestMachine_LifeJobsComeAndGo(t *testing.T) {
	r := newRig(t)
	detect := pumps("p1", job.Live, 5*time.Second, "mean", "std")
	first, second, shadow := lasting("first", job.Live), lasting("second", job.Live), lasting("shadow", job.Shadow)
	shadow.Model.RUL.Cap = 50
	ridge := lasting("ridge", job.Shadow)
	ridge.Model = model.Spec{Kind: model.KindRidge}
	r.m.SetJobs([]job.Spec{detect, first, second, shadow, ridge}, nil, nil)
	st := r.m.Status()
	if !strings.Contains(st.Unserved["second"], `already serves live job "first" of its class to prognose`) ||
		!strings.Contains(st.Unserved["ridge"], "has no targets") || len(st.Unserved) != 2 {
		t.Errorf("unserved: %v", st.Unserved)
	}
	if n := len(r.m.fronts); n != 1 { // all of the coordinator's jobs want the same
		t.Errorf("%d fronts", n)
	}
	r.seconds(41, 0)
	follower := r.m.prognosing.follower
	r.m.SetJobs([]job.Spec{detect, first}, nil, nil)
	if r.m.prognosing.follower != follower || len(r.m.lives) != 1 {
		t.Error("a job that stays began anew")
	}
	keys := r.m.Keys()
	if len(keys) != 2 || keys[1] != (samples.Key{Machine: "pump-1", Features: r.m.featuresDigest(first.Features) + "-10s"}) {
		t.Errorf("keys %v", keys)
	}
	r.m.SetJobs(nil, nil, nil)
	r.seconds(5, 0)
	if len(r.m.lives) != 0 || r.m.prognosing != nil || len(r.m.Keys()) != 1 {
		t.Errorf("%d jobs to prognose are left, keys %v", len(r.m.lives), r.m.Keys())
	}
}

// A machine that is off does not age.
func TestMachine_OffIsNoOperation(t *testing.T) {
	r := newRig(t)
	r.m.SetJobs([]job.Spec{lasting("life", job.Live)}, nil, nil)
	r.seconds(31, 0)
	r.m.mu.Lock()
	r.m.serving.out.State = infer.Off
	for range 4 {
		r.m.live(r.m.prognosing.front, r.now, []float64{1, 1})
	}
	r.m.serving.out.State = infer.Running
	r.m.mu.Unlock()
	if j := r.job("life"); j.Cycles != 3 {
		t.Errorf("%d cycles, want 3", j.Cycles)
	}
}

// What is not finite is refused and counted, and the next windows go on.
func TestMachine_LifeOfBadWindows(t *testing.T) {
	r := newRig(t)
	r.m.SetJobs([]job.Spec{lasting("life", job.Live)}, nil, nil)
	r.m.Offer(sensors.Block{Machine: "pump-1", Channel: "pressure", Start: r.now, RateHz: 1, Samples: []float64{1e308, -1e308, 1e308, -1e308, 1e308, 0}})
	r.m.batch(r.m.queue.take(nil))
	if n := r.m.Status().Refused; n["feature"]+n["vector"] == 0 {
		t.Errorf("refused: %v", n)
	}
	r.now = r.now.Add(10 * time.Second)
	r.sent += 6
	r.seconds(21, 0)
	if j := r.job("life"); j.Cycles != 2 {
		t.Errorf("%d cycles, want 2", j.Cycles)
	}
}
