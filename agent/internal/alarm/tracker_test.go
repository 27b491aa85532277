package alarm

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millwright-iot/millwright/fedavg/job"
)

var spec = job.AlarmSpec{Baseline: 300, Threshold: 1.5, OnDelay: 3, Clear: 0.3}

// run feeds raw scores, one a second from time 1 s on, and returns the results.
func run(t testing.TB, tr *Tracker, raws ...float64) []Result {
	t.Helper()
	out := make([]Result, len(raws))
	for i, raw := range raws {
		out[i] = tr.Observe(time.Unix(int64(i)+1, 0), raw)
	}
	return out
}

func newTracker(t testing.TB) *Tracker {
	t.Helper()
	tr, err := NewTracker(spec)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func changes(rs []Result) string {
	var b strings.Builder
	for _, r := range rs {
		b.WriteByte(".RWC"[r.Change])
	}
	return b.String()
}

func TestZoneOf(t *testing.T) {
	for score, want := range map[float64]Zone{0: ZoneA, 0.499: ZoneA, 0.5: ZoneB, 0.999: ZoneB, 1: ZoneC, 1.999: ZoneC, 2: ZoneD, 1e9: ZoneD} {
		if got := ZoneOf(score); got != want {
			t.Errorf("zone of %v is %s, want %s", score, got, want)
		}
	}
}

func TestTracker_Episodes(t *testing.T) {
	for _, c := range []struct {
		name string
		raws []float64
		want string // . none, R raised, W worse, C cleared
	}{
		{"healthy", []float64{0.2, 0.6, 0.99, 0.3}, "...."},
		{"two windows above are not three", []float64{1, 1, 0.9, 1, 1}, "....."},
		{"raised at the third window in a row", []float64{1, 1, 1, 1}, "..R."},
		{"grows worse once", []float64{1.2, 1.2, 1.2, 2.1, 3, 1.5}, "..RW.."},
		{"raised in the worst zone is not told again", []float64{1, 5, 1.9, 4}, "..R."},
		{"two windows below do not clear", []float64{1.5, 1.5, 1.5, 0.5, 0.5, 1.2, 0.5, 0.5}, "..R....."},
		{"clears at the third window below the threshold", []float64{1.5, 1.5, 1.5, 0.5, 0.5, 0.5}, "..R..C"},
		{"clears below 30 % of the peak, above the threshold", []float64{10, 10, 10, 2.9, 2.9, 2.9}, "..R..C"},
		{"does not clear at 30 % of the peak", []float64{10, 10, 10, 3, 3, 3}, "..R..."},
	} {
		if got := changes(run(t, newTracker(t), c.raws...)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestTracker_OffsetAfterRelativeClearIsTheNewNormal(t *testing.T) {
	tr := newTracker(t)
	// Peak 10, then the machine keeps an offset of 2.5.
	run(t, tr, 10, 10, 10, 2.5, 2.5, 2.5)
	if st := tr.State(); st.Active || st.Level != 2.5 {
		t.Fatalf("after the relative clear: %+v", st)
	}
	rs := run(t, tr, 2.5, 2.6, 2.4, 2.5, 3.4, 3.4, 3.4)
	if got := changes(rs); got != "......." {
		t.Errorf("offset alarms again: %s", got)
	}
	if s := rs[0]; s.Score != 0 || s.Zone != ZoneA {
		t.Errorf("score at the offset is %+v", s)
	}
	// A whole threshold above the offset is an alarm again.
	if got := changes(run(t, tr, 4, 4, 4)); got != "..R" {
		t.Errorf("a new fault on top of the offset: %s", got)
	}
}

// An alarm has the peak of its own excess: with that of the one before, it would end at
// once as much better, begin again, and so on while the fault grows.
func TestTracker_PeakIsOfItsOwnAlarm(t *testing.T) {
	ended := State{Peak: 160, Zone: ZoneD, Smooth: 0.5} // as kept with the alarm that ended, before a kill
	for name, raws := range map[string][]float64{
		"at once":        {1.5, 1.6, 1.7, 1.8, 1.9, 1.9, 1.9},
		"after a moment": {0.4, 1.6, 1.7, 1.8, 1.9, 1.9, 1.9},
	} {
		tr := newTracker(t)
		if err := tr.Restore(ended); err != nil {
			t.Fatal(err)
		}
		rs := run(t, tr, raws...)
		if got := strings.Trim(changes(rs), "."); got != "R" || tr.State().Peak != 1.9 || tr.State().Zone != ZoneC {
			t.Errorf("%s: %s with state %+v, want one alarm that lasts, peak 1.9", name, changes(rs), tr.State())
		}
	}
	// So without a restart, when the fault goes on growing after a relative clear.
	tr := newTracker(t)
	if got := changes(run(t, tr, 100, 100, 100, 5, 5, 5, 7, 9, 11, 13, 15, 17)); got != "..R..C..R..." {
		t.Errorf("%s, want a second alarm that lasts", got)
	}
}

func TestTracker_LevelDecaysAndIsForgotten(t *testing.T) {
	tr := newTracker(t)
	run(t, tr, 10, 10, 10, 2.5, 2.5, 2.5)
	// Smoothed score after k windows at 1.0: 1 + 1.5·0.9^k; the level follows it down.
	run(t, tr, 1, 1, 1, 1, 1)
	if got, want := tr.State().Level, 1+1.5*math.Pow(0.9, 5); math.Abs(got-want) > 1e-12 {
		t.Errorf("level after 5 windows is %v, want %v", got, want)
	}
	// It does not rise again.
	before := tr.State().Level
	run(t, tr, 1.9, 1.9, 1.9, 1.9, 1.9, 1.9, 1.9, 1.9)
	if got := tr.State().Level; got > before {
		t.Errorf("level rose from %v to %v outside an alarm", before, got)
	}
	// Back inside the baseline's range (1/1.5) it is forgotten.
	for range 40 {
		run(t, tr, 0.3)
	}
	if got := tr.State().Level; got != 0 {
		t.Errorf("level of a healthy machine is %v", got)
	}
	if got := changes(run(t, tr, 1.1, 1.1, 1.1)); got != "..R" {
		t.Errorf("alarm of a machine whose level is forgotten: %s", got)
	}
}

func TestTracker_StateGoesOn(t *testing.T) {
	raws := []float64{0.5, 10, 10, 10, 4, 2.5, 2.5, 2.5, 2.4, 2.3, 4, 4, 4, 0.1, 0.1, 0.1}
	whole := run(t, newTracker(t), raws...)
	for cut := range raws {
		first := newTracker(t)
		run(t, first, raws[:cut]...)
		second := newTracker(t)
		if err := second.Restore(first.State()); err != nil {
			t.Fatal(err)
		}
		for i := cut; i < len(raws); i++ {
			if got := second.Observe(time.Unix(int64(i)+1, 0), raws[i]); got != whole[i] {
				t.Fatalf("restarted before window %d: window %d gives %+v, want %+v", cut, i, got, whole[i])
			}
		}
	}
}

func TestTracker_Rescale(t *testing.T) {
	tr := newTracker(t)
	run(t, tr, 10, 10, 10, 2.5, 2.5, 2.5)
	tr.Rescale(2) // another model scores twice as high
	if got := changes(run(t, tr, 5, 5, 5)); got != "..." {
		t.Errorf("same offset under another model alarms: %s", got)
	}
	for _, factor := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		before := tr.State()
		if tr.Rescale(factor); tr.State() != before {
			t.Errorf("factor %v changed the state", factor)
		}
	}
}

func TestTracker_BadInput(t *testing.T) {
	for want, s := range map[string]job.AlarmSpec{
		"alarm on_delay is 0; it must be at least 1 window":         {Threshold: 1, Clear: 0.3},
		"alarm clear is 1; it must be at least 0 and less than 1":   {Threshold: 1, OnDelay: 1, Clear: 1},
		"alarm threshold is 0; it must be a positive number":        {OnDelay: 1, Clear: 0.3},
		"alarm threshold is NaN; it must be a positive number":      {OnDelay: 1, Threshold: math.NaN()},
		"alarm clear is NaN; it must be at least 0 and less than 1": {OnDelay: 1, Threshold: 1, Clear: math.NaN()},
	} {
		if _, err := NewTracker(s); err == nil || err.Error() != want {
			t.Errorf("%+v: %v, want %s", s, err, want)
		}
	}
	tr := newTracker(t)
	run(t, tr, 1, 1)
	before := tr.State()
	run(t, tr, math.NaN(), math.Inf(1), math.Inf(-1))
	if tr.State() != before {
		t.Errorf("scores that are no numbers changed %+v to %+v", before, tr.State())
	}
	for _, bad := range []State{{Level: math.NaN()}, {Peak: -1}, {Smooth: math.Inf(1)}, {Run: -1}, {Active: true}} {
		if err := tr.Restore(bad); err == nil {
			t.Errorf("state %+v was accepted", bad)
		}
	}
	if tr.State() != before {
		t.Error("a refused state changed the tracker")
	}
}

// Whatever the scores: an episode begins only after OnDelay windows at 1 or more,
// the level rises only at the end of an episode, and changes alternate.
func TestTracker_Properties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		raws := rapid.SliceOfN(rapid.Float64Range(0, 12), 1, 200).Draw(rt, "raws")
		tr := newTracker(t)
		active, above := false, 0
		for i, raw := range raws {
			before := tr.State()
			r := tr.Observe(time.Unix(int64(i)+1, 0), raw)
			after := tr.State()
			if r.Score < 0 || r.Score > raw {
				rt.Fatalf("raw %v gives score %v", raw, r.Score)
			}
			if r.Score >= 1 {
				above++
			} else {
				above = 0
			}
			switch r.Change {
			case Raised:
				if active || above < spec.OnDelay {
					rt.Fatalf("window %d raised: active %v, %d above in a row", i, active, above)
				}
				active = true
			case Cleared, Worse:
				if !active {
					rt.Fatalf("window %d: change %d without an alarm", i, r.Change)
				}
				active = r.Change == Worse
			}
			if after.Level > before.Level && r.Change != Cleared {
				rt.Fatalf("window %d: level rose from %v to %v", i, before.Level, after.Level)
			}
			if r.Active != active || after.Active != active {
				rt.Fatalf("window %d: active %v, want %v", i, r.Active, active)
			}
		}
	})
}
