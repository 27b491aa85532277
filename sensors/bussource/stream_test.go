package bussource

import (
	"math"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/chips"
)

// feed gives s samples of a chip at hz, polled every 5 ms, from one moment to
// another, by a wall clock that is off by some time.
func feed(s *stream, hz float64, from, to time.Duration, off time.Duration, made *int64) (blocks []sensors.Block) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for at := from; at < to; at += 5 * time.Millisecond {
		var b chips.Batch
		b.Reset(1)
		for n := int64(at.Seconds() * hz); *made < n; *made++ {
			b.Values[0] = append(b.Values[0], float64(*made))
		}
		blocks = append(blocks, s.add(moment{wall: noon.Add(at + off), mono: at}, &b).blocks...)
	}
	return blocks
}

// When the wall clock is set, the next block says so and follows it; samples are
// neither lost nor timed anew within a block.
func TestStream_ClockJump(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour, 300 * time.Millisecond} {
		s := newStream(1000, 500*time.Millisecond, 1)
		var made int64
		before := feed(s, 1000, 0, 10*time.Second, 0, &made)
		after := feed(s, 1000, 10*time.Second, 20*time.Second, jump, &made)
		flagged := 0
		for _, b := range append(before, after...) {
			if b.Quality != 0 {
				flagged++
				if b.Quality != sensors.QualityGap|sensors.QualityRebased {
					t.Errorf("quality %b", b.Quality)
				}
			}
		}
		if flagged != 1 {
			t.Errorf("jump of %v: %d blocks flagged; want 1", jump, flagged)
		}
		first, last := before[0], after[len(after)-1]
		want := time.Duration((last.Samples[0]-first.Samples[0])/1000*1e9) + jump
		if got := last.Start.Sub(first.Start); (got - want).Abs() > 5*time.Millisecond {
			t.Errorf("jump of %v: %v from first to last block; want %v", jump, got, want)
		}
	}
}

// A clock that is being slewed by 500 ppm, as NTP does, is followed without a break.
func TestStream_ClockSlew(t *testing.T) {
	s := newStream(1000, 500*time.Millisecond, 1)
	var made int64
	var blocks []sensors.Block
	for i := range 60 {
		from := time.Duration(i) * time.Second
		blocks = append(blocks, feed(s, 1000, from, from+time.Second, time.Duration(i)*500*time.Microsecond, &made)...)
	}
	last := blocks[len(blocks)-1]
	for _, b := range blocks {
		if b.Quality != 0 {
			t.Errorf("block at %v has quality %b", b.Start, b.Quality)
		}
	}
	first := blocks[0]
	lag := time.Duration((last.Samples[0]-first.Samples[0])/1000*1e9) + 29*time.Millisecond - last.Start.Sub(first.Start)
	if lag.Abs() > 10*time.Millisecond {
		t.Errorf("after a minute of slewing times lag by %v", lag)
	}
}

// A chip whose FIFO overran many times is still measured well.
func TestRateMeter_Stretches(t *testing.T) {
	var m rateMeter
	at, made := time.Duration(0), int64(0)
	for i := range 2000 {
		at += 5 * time.Millisecond
		n := int64(at.Seconds()*3100) - made
		made += n
		m.add(at, int(n))
		if i%100 == 99 { // 50 ms are lost
			at += 50 * time.Millisecond
			made = int64(at.Seconds() * 3100)
			m.pause()
		}
	}
	hz, off, ok := m.rate()
	if !ok || math.Abs(hz/3100-1) > 0.001 || math.Abs(hz/3100-1) > off || off > 0.02 {
		t.Errorf("%v Hz, off by %v, %v; want 3100", hz, off, ok)
	}
	// One that loses all the time is not judged at all.
	m.restart()
	for range 2000 {
		at += 5 * time.Millisecond
		m.add(at, 16)
		m.pause()
	}
	if hz, _, ok := m.rate(); ok {
		t.Errorf("a chip that always overruns was measured as %v Hz", hz)
	}
}
