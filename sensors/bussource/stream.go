package bussource

import (
	"math"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/chips"
)

const (
	// maxRateError is how far the measured rate may be from the nominal one.
	maxRateError = 0.10
	// rateStep is the least change of the measured rate that is passed on: a
	// change ends the stretch that a spectrum is taken from.
	rateStep = 0.0005
	// maxSlip is how far the samples may be from where the clock expects them
	// before the stretch is ended and begun anew.
	maxSlip = 50 * time.Millisecond
	// clockStep is how far the wall clock may run away from the monotonic one
	// before that counts as a jump.
	clockStep = 250 * time.Millisecond
)

// moment is a time by both clocks.
type moment struct {
	wall time.Time
	mono time.Duration // since an arbitrary zero
}

// stream turns the samples of a chip with a FIFO into evenly timed blocks. Time is
// kept by the monotonic clock and the count of samples; the wall clock only names it.
type stream struct {
	nominalHz float64
	block     time.Duration
	meter     rateMeter
	rateHz    float64 // passed on; 0 until measured
	refused   bool    // the measured rate is implausible

	pending [][]float64 // of each channel, not yet in a block
	clipped []bool
	start   time.Duration // of pending's first sample
	// anchored says that start is known: from a batch read in time, or from the
	// block before.
	anchored bool
	last     moment    // of the newest batch
	zero     time.Time // the wall clock's name for mono zero, as passed on
	doubts   sensors.Quality
}

func newStream(nominalHz float64, block time.Duration, channels int) *stream {
	return &stream{nominalHz: nominalHz, block: block, pending: make([][]float64, channels), clipped: make([]bool, channels)}
}

// verdict is what comes out of a stream.
type verdict struct {
	blocks  []sensors.Block // one a channel, without names
	refused int             // samples dropped because the rate is implausible
	judged  bool            // the rate was measured just now
	hz      float64         // measured
}

// cut ends a stretch after samples were lost, and returns what was pending: as
// blocks, or as a number of samples that have no rate.
func (s *stream) cut() (v verdict, unsettled int) {
	if s.rateHz > 0 && !s.refused {
		v = s.flush()
	} else {
		unsettled = s.discard()
	}
	s.meter.pause()
	s.anchored = false
	s.doubts |= sensors.QualityGap
	return v, unsettled
}

func (s *stream) discard() (n int) {
	for i := range s.pending {
		n += len(s.pending[i])
		s.pending[i], s.clipped[i] = nil, false
	}
	return n
}

// add takes a batch read at a moment, and returns the blocks that are complete.
func (s *stream) add(at moment, b *chips.Batch) (v verdict) {
	n := len(b.Values[0])
	if n == 0 {
		return v
	}
	// When a FIFO overran, reading was late by some unknown time: count from the
	// next batch on.
	if !b.Overrun {
		s.meter.add(at.mono, n)
	}
	s.last = at
	for i := range s.pending {
		s.pending[i] = append(s.pending[i], b.Values[i]...)
		s.clipped[i] = s.clipped[i] || b.Clipped[i]
	}
	if !s.anchored {
		s.start = at.mono - s.seconds(float64(len(s.pending[0]))-0.5)
		s.anchored = !b.Overrun
	}
	hz, off, ok := s.meter.rate()
	if !s.anchored || !ok && (s.rateHz == 0 || s.refused) || s.seconds(float64(len(s.pending[0]))) < s.block {
		return v
	}
	if ok {
		v.judged, v.hz = true, hz
		s.judge(hz, off)
	}
	if s.refused {
		v.refused = s.discard()
		s.anchored = false
		s.meter.restart() // a mended rate must not be held down by its past
		s.doubts |= sensors.QualityGap
		return v
	}
	v.blocks = s.flush().blocks
	return v
}

// judge decides the rate to pass on.
func (s *stream) judge(hz, off float64) {
	s.refused = math.Abs(hz/s.nominalHz-1) > maxRateError+off
	switch {
	case s.refused:
	case s.rateHz == 0:
		// The samples that led here were waiting for their rate: place them by it.
		s.rateHz = hz
		s.start = s.last.mono - s.seconds(float64(len(s.pending[0]))-0.5)
	case math.Abs(hz/s.rateHz-1) > max(rateStep, off):
		s.rateHz = hz
	}
}

// seconds is how long n samples take.
func (s *stream) seconds(n float64) time.Duration {
	hz := s.rateHz
	if hz == 0 {
		hz = s.nominalHz
	}
	return time.Duration(n / hz * float64(time.Second))
}

// flush makes blocks of what is pending.
func (s *stream) flush() (v verdict) {
	n := len(s.pending[0])
	if n == 0 {
		return v
	}
	s.nameTime()
	for i := range s.pending {
		q := s.doubts
		if s.clipped[i] {
			q |= sensors.QualityClipped
		}
		v.blocks = append(v.blocks, sensors.Block{
			Start: s.zero.Add(s.start), RateHz: s.rateHz, Samples: s.pending[i], Quality: q,
		})
		s.pending[i], s.clipped[i] = make([]float64, 0, n+n/8), false // the old ones belong to the receiver
	}
	s.doubts = 0
	// The newest sample was taken half a period before the poll, give or take as
	// much. Lean towards the clock by less than anybody notices; if that is not
	// enough, something was lost.
	end := s.start + s.seconds(float64(n))
	slip := s.last.mono + s.seconds(0.5) - end
	if slip > max(maxSlip, s.seconds(4)) || -slip > max(maxSlip, s.seconds(4)) {
		s.anchored = false
		s.doubts |= sensors.QualityGap
		return v
	}
	lean := s.seconds(0.25)
	s.start = end + min(max(slip/8, -lean), lean)
	return v
}

// nameTime follows the wall clock: at once if it jumped, else without a break.
func (s *stream) nameTime() {
	zero := s.last.wall.Add(-s.last.mono)
	if s.zero.IsZero() {
		s.zero = zero
		return
	}
	switch off := zero.Sub(s.zero); {
	case off > clockStep || off < -clockStep:
		s.zero = zero
		s.doubts |= sensors.QualityGap | sensors.QualityRebased
	default:
		lean := s.seconds(0.25)
		s.zero = s.zero.Add(min(max(off, -lean), lean))
	}
}
