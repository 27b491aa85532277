package window

import (
	"testing"
	"time"
)

// seconds adds one sample a second, with from ≤ its time < to.
func (h *harness) seconds(channel string, from, to int) {
	h.Helper()
	for s := from; s < to; s++ {
		h.add(block(channel, float64(s), 1, 1, float64(s)))
	}
}

var fiveSeconds = Spec{Window: 5 * time.Second, MaxGap: 3 * time.Second, Channels: []string{"a"}}

const day = 24 * 3600

func TestWindower_OneWrongTimeCostsOneBlock(t *testing.T) {
	for _, wrong := range []float64{30 * day, 3000 * day, -1, -10, -30 * day, -19000 * day} {
		h := start(t, fiveSeconds)
		h.seconds("a", 0, 12)
		h.add(block("a", wrong, 1, 1, -1))
		h.seconds("a", 12, 20)
		h.want("0-5 a:0,1,2,3,4", "5-10 a:5,6,7,8,9", "10-15 a:10,11,12,13,14", "15-20 a:15,16,17,18,19")
		s := h.w.Stats()
		if s.Dropped.Clock+s.Dropped.Late != 1 || s.Dropped.Total() != 1 || s.Resets != 0 {
			t.Errorf("wrong time %g s: %+v", wrong, s)
		}
	}
}

// Random wrong times between good ones never add up to a jump.
func TestWindower_ManyWrongTimes(t *testing.T) {
	h := start(t, fiveSeconds)
	for s := range 100 {
		h.add(block("a", float64(s), 1, 1, float64(s)), block("a", float64(100*day+s), 1, 1, -1), block("a", float64(s-1000), 1, 1, -1))
	}
	if s := h.w.Stats(); s.Emitted != 20 || s.Resets != 0 || s.Dropped.Clock != 100 || s.Dropped.Late != 100 {
		t.Errorf("stats %+v", s)
	}
}

// A clock that is set back or forward for good: windows go on after Window + MaxGap.
func TestWindower_ClockSet(t *testing.T) {
	for _, to := range []int{-60, -day, -19000 * day, 2 * day, 3000 * day} {
		h := start(t, fiveSeconds)
		h.seconds("a", 0, 12)
		h.got = nil
		h.seconds("a", to, to+25)
		if s := h.w.Stats(); len(h.got) < 3 || s.Resets != 1 || s.Dropped.Reset != 2 {
			t.Errorf("clock set to %d s: windows %q, stats %+v", to, h.got, s)
		}
	}
}

// Back by less than Window + MaxGap: the time before was seen already.
func TestWindower_ClockSetBackALittle(t *testing.T) {
	h := start(t, fiveSeconds)
	h.seconds("a", 0, 15)
	h.seconds("a", 11, 25)
	h.want("0-5 a:0,1,2,3,4", "5-10 a:5,6,7,8,9", "10-15 a:10,11,12,13,14", "15-20 a:15,16,17,18,19", "20-25 a:20,21,22,23,24")
	h.wantDropped(Dropped{Late: 4})
}

// A jump within a day is a long silence: no reset, nothing lost, and the many
// windows in it cost no time.
func TestWindower_LongSilence(t *testing.T) {
	h := start(t, Spec{Window: 10 * time.Second, Hop: time.Millisecond, Channels: []string{"a"}})
	h.add(block("a", 0, 1, 10, 0))
	h.add(block("a", 80_000, 1, 10, 0))
	s := h.w.Stats()
	if s.Resets != 0 || s.Pending != 0 || s.Used != 20 || s.Dropped.Total() != 0 {
		t.Errorf("stats %+v", s)
	}
	// The first window ends at 10 s, the last at 80010 s.
	if s.Emitted+s.Skipped != 80_000*1000+1 || s.Channels[0].Missing+s.Channels[0].Gaps != s.Skipped {
		t.Errorf("%d emitted and %d skipped windows", s.Emitted, s.Skipped)
	}
}

// One channel has a wrong clock for good: nothing can be whole, but nothing grows and
// the other channel keeps its time; when the clock is put right all goes on.
func TestWindower_TwoClocks(t *testing.T) {
	h := start(t, Spec{Window: 5 * time.Second, Channels: []string{"a", "b"}})
	for s := range 100 {
		h.seconds("a", s, s+1)
		h.seconds("b", s-500*day, s-500*day+1)
	}
	if s := h.w.Stats(); s.Emitted != 0 || s.Resets != 0 || s.Pending > 15 || s.Channels[1].Missing < 17 {
		t.Errorf("stats %+v", s)
	}
	for s := 100; s < 120; s++ {
		h.seconds("a", s, s+1)
		h.seconds("b", s, s+1)
	}
	if len(h.got) < 3 {
		t.Errorf("after the clock was put right: windows %q", h.got)
	}
}
