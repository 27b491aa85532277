package agent

import (
	"strings"
	"testing"
)

// A corrected unit changes every number: the machine that has it begins anew, the other
// goes on.
func TestAgent_CorrectedUnitTakesANewBaseline(t *testing.T) {
	broker := startBroker(t, "")
	s := newSensor(t, broker)
	cfg := testConfig(t, broker, "pump-1", "pump-2")
	r := start(t, cfg)
	eventually(t, "broker connected", func() bool { return r.messages().Connected })
	state := func(machine string) any { return r.machine(machine)["state"] }
	s.rows("pump-1", 110, 0)
	s.rows("pump-1", 40, 1)
	s.rows("pump-2", 150, 0)
	eventually(t, "alarm", func() bool { return r.machine("pump-1")["alarm"] == true && state("pump-2") == "running" })
	r.stop()

	cfg.Machines[0].Channels[1].Unit = "psi"
	for _, again := range []bool{false, true} {
		r = start(t, cfg)
		log := r.log.String()
		switch told := strings.Contains(log, "converted in another way"); {
		case told == again, told && !strings.Contains(log, "machine=pump-1 channels=[pressure]"):
			t.Errorf("start %v after the change: log is\n%s", again, log)
		}
		if again { // baselines outlive the second start, new and old
			eventually(t, "broker connected", func() bool { return r.messages().Connected })
			s.rows("pump-1", 10, 0)
			s.rows("pump-2", 10, 0)
			eventually(t, "scores", func() bool { return state("pump-1") == "running" && state("pump-2") == "running" })
		} else {
			if r.machine("pump-1")["alarm"] == true {
				t.Error("an alarm in the old numbers goes on")
			}
			eventually(t, "broker connected", func() bool { return r.messages().Connected })
			s.rows("pump-1", 30, 0)
			s.rows("pump-2", 30, 0)
			eventually(t, "a baseline taken anew, and one kept", func() bool { return state("pump-1") == "baseline" && state("pump-2") == "running" })
			s.rows("pump-1", 110, 0)
			eventually(t, "the new baseline", func() bool { return state("pump-1") == "running" && r.machine("pump-1")["zone"] == "A" })
		}
		r.stop()
	}
}

func TestConversions_Changed(t *testing.T) {
	before := conversions{"a": {"x": "g", "y": "bar"}, "gone": {"x": "g"}}
	now := conversions{"a": {"x": "m/s²", "y": "bar", "new": "g"}, "b": {"x": "g"}}
	if got := now.changed(before); len(got) != 1 || strings.Join(got["a"], " ") != "x" {
		t.Errorf("changed is %v, want x of a", got)
	}
	if got := now.changed(nil); len(got) != 0 {
		t.Errorf("with nothing known before, %v has changed", got)
	}
}
