package pipeline

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// watcher is a Listener that watches.
type watcher struct {
	recorder
	t        *testing.T
	began    []string // names of jobs
	names    []string
	baseline [][]float64
	windows  int
	healthy  int
	sum      float64 // of everything standardised
	last     time.Time
}

func (w *watcher) Began(_ string, spec job.Spec, features string, names []string, baseline [][]float64) {
	if features == "" || len(baseline) == 0 || len(baseline[0]) != len(names) {
		w.t.Errorf("job %s begins with features %q, names %v and %d rows", spec.Name, features, names, len(baseline))
	}
	w.began, w.names, w.baseline = append(w.began, spec.Name), slices.Clone(names), baseline
}

func (w *watcher) Watched(_ string, _ job.Spec, out *infer.Output, z []float64, healthy bool) {
	if len(w.began) == 0 || len(z) != len(w.names) || out.State != infer.Running || !out.At.After(w.last) {
		w.t.Errorf("window at %v with %d features, %s", out.At, len(z), out.State)
	}
	w.windows, w.last = w.windows+1, out.At
	if healthy {
		w.healthy++
	}
	for _, x := range z {
		w.sum += x
	}
}

// A watcher sees the windows of the live job, from the first that is scored, and its
// baseline once; those of an alarm are not healthy; a new live job begins anew.
func TestMachine_TellsItsWatcher(t *testing.T) {
	r := newRig(t)
	w := &watcher{t: t}
	r.m.listener, r.m.watcher = w, w
	r.seconds(20*5, 0)
	if len(w.began) > 0 || w.windows > 0 {
		t.Errorf("%d windows were told of before there was a baseline", w.windows)
	}
	r.seconds(100*5, 0)
	if !slices.Equal(w.began, []string{LocalJob}) || len(w.baseline) != 20 || w.windows < 95 || w.healthy < 80 {
		t.Fatalf("%v began with %d rows; %d windows, %d healthy", w.began, len(w.baseline), w.windows, w.healthy)
	}
	if mean := w.sum / float64(w.windows*len(w.names)); math.Abs(mean) > 0.5 {
		t.Errorf("features are %v on average, want about 0: they are standardised", mean)
	}
	windows, healthy := w.windows, w.healthy
	r.seconds(20*5, 60)
	if n := w.windows - windows; n < 19 || n > 21 || w.healthy > healthy+1 {
		t.Errorf("%d windows of an alarm, %d of them healthy", n, w.healthy-healthy)
	}
	r.m.SetJobs([]job.Spec{pumps("p1", job.Live, 5*time.Second, "mean", "std")}, nil, nil)
	r.seconds(200*5, 0)
	if !slices.Equal(w.began, []string{LocalJob, "p1"}) || len(w.names) != 2 {
		t.Errorf("%v began, the last with features %v", w.began, w.names)
	}
}
