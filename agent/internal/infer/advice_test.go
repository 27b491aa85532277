package infer

import (
	"reflect"
	"testing"
)

func TestAdvice_CloneSharesNothing(t *testing.T) {
	full := func() Advice {
		h := 5.
		return Advice{Evidence: &Evidence{Channel: "c"}, Fault: &Fault{Class: "f"}, Life: &Life{Hours: 3}, Trend: &Trend{PerDay: 1, HoursToAlarm: &h}}
	}
	a := full()
	c := a.Clone()
	a.Evidence.Channel, a.Fault.Class, a.Life.Hours, a.Trend.PerDay, *a.Trend.HoursToAlarm = "", "", 0, 0, 0
	if !reflect.DeepEqual(c, full()) {
		t.Errorf("a change of the original changed the clone: %+v, trend %+v in %v h", c, *c.Trend, *c.Trend.HoursToAlarm)
	}
	if c := (Advice{}).Clone(); c != (Advice{}) {
		t.Errorf("clone of nothing is %+v", c)
	}
}
