package lab

import (
	"testing"
	"time"
)

// Counts and figures worked out by hand.
func TestConfusion_ByHand(t *testing.T) {
	var c Confusion
	c.Add([]bool{true, true, true, false, false, false, false}, []bool{true, true, false, true, false, false, false})
	if want := (Confusion{TP: 2, FP: 1, FN: 1, TN: 3}); c != want {
		t.Fatalf("got %+v, want %+v", c, want)
	}
	for name, pair := range map[string][2]float64{
		"F1": {c.F1(), 2.0 / 3}, "FAR": {c.FAR(), 0.25}, "MAR": {c.MAR(), 1.0 / 3},
		"precision": {c.Precision(), 2.0 / 3}, "recall": {c.Recall(), 2.0 / 3},
	} {
		if d := pair[0] - pair[1]; d > 1e-15 || d < -1e-15 {
			t.Errorf("%s is %v, want %v", name, pair[0], pair[1])
		}
	}
}

func TestConfusion_NothingThere(t *testing.T) {
	var c Confusion
	if c.F1() != 0 || c.FAR() != 0 || c.MAR() != 0 {
		t.Errorf("got %v, %v, %v, want zeros", c.F1(), c.FAR(), c.MAR())
	}
}

func TestEvents_ByHand(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	times := make([]time.Time, 12)
	for i := range times {
		times[i] = start.Add(time.Duration(i) * 10 * time.Second)
	}
	// Rows 2–4: found two rows late. Rows 7–8: found at once, by an alarm that
	// began too early. Row 11: missed. Row 0: an alarm for nothing.
	truth := []bool{false, false, true, true, true, false, false, true, true, false, false, true}
	said := []bool{true, false, false, false, true, false, true, true, false, false, false, false}
	var e Events
	e.Add(times, truth, said)
	if e.Total != 3 || e.Detected != 2 || e.False != 1 {
		t.Errorf("got %d events, %d detected, %d false; want 3, 2, 1", e.Total, e.Detected, e.False)
	}
	if e.Delays[0] != 20*time.Second || e.Delays[1] != 0 || e.MedianDelay() != 0 {
		t.Errorf("got delays %v with median %v, want 20s and 0s with 0s", e.Delays, e.MedianDelay())
	}
	if got, want := e.FalsePerHour(), 1/(110.0/3600); got != want {
		t.Errorf("got %v false episodes an hour, want %v", got, want)
	}
}
