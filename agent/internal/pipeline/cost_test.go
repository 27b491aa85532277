package pipeline

import (
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// A job that names faults raises alarms if its costs say so, though the one that detects
// would not; and without costs it leaves them to that one.
func TestMachine_CostsRaiseAlarms(t *testing.T) {
	for _, c := range []struct {
		costs job.AlarmSpec
		want  bool
	}{{job.AlarmSpec{CostFalse: 1, CostMissed: 4}, true}, {job.AlarmSpec{}, false}} {
		r, _, spec, list := history(t)
		set, _, err := r.m.Training(spec.Digest(), 1000, labels.NewTruth(list, spec.Labels))
		if err != nil {
			t.Fatal(err)
		}
		deaf := pumps("p2", job.Live, 5*time.Second, "mean", "std")
		deaf.Alarm.Threshold = 1000
		spec.Model.Softmax.Unbalanced = true
		spec.Alarm.CostFalse, spec.Alarm.CostMissed = c.costs.CostFalse, c.costs.CostMissed
		if err := spec.Check(); err != nil {
			t.Fatal(err)
		}
		r.m.SetJobs([]job.Spec{deaf, spec}, map[string]Release{"faults": rounds(t, spec, set, 3)}, nil)
		r.seconds(120, 0)
		if st := r.m.Status(); st.State != infer.Running || st.Alarm.Active {
			t.Fatalf("in order: state %s, alarm %v, score %v", st.State, st.Alarm.Active, st.Output.Score)
		}
		r.seconds(60, 12)
		st := r.m.Status()
		if st.Alarm.Active != c.want {
			t.Errorf("costs %+v: alarm %v at score %v, want %v", c.costs, st.Alarm.Active, st.Output.Score, c.want)
		}
		if c.want && (st.Output.Advice.Fault == nil || st.Output.Advice.Fault.Class != "high") {
			t.Errorf("the alarm names %+v", st.Output.Advice.Fault)
		}
	}
}
