package window

import (
	"fmt"
	"math"
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

// Windower cuts the blocks of one machine into windows. It must be used by one
// goroutine at a time.
//
// A window closes when every channel has passed its end, or when one is MaxGap past
// it: a dead channel must not hold up the others. It is then emitted if every channel
// has samples in it and none was silent for longer than MaxGap.
//
// Blocks may come in any order until their windows have closed; after that they are
// late. A block whose time is implausible (late, or more than a day ahead) is dropped;
// when such blocks go on for Window + MaxGap of their own time with no plausible one
// between them, the clock has jumped: the Windower drops what it holds and goes on from
// the new time. So one wrong time costs one block, and no wrong time stops the windows.
//
// Memory is bounded by Spec.MaxPending for each channel.
type Windower struct {
	machine string
	spec    Spec
	window  int64 // ns, as everything below
	hop     int64
	maxGap  int64
	jump    int64 // how far ahead a block is implausible

	channels []channel
	index    map[string]int
	started  bool
	origin   int64 // time of the first block since the start or a reset
	first    int64 // start of the first window since then
	next     int64 // start of the next window to close
	latest   int64 // latest end of any block
	doubt    doubt
	stats    Stats
	out      Window
}

// New returns a Windower for the blocks of machine, or everything that is wrong with
// spec. It starts nothing.
func New(machine string, spec Spec) (*Windower, error) {
	spec, err := spec.complete()
	if err != nil {
		return nil, fmt.Errorf("window machine %q: %w", machine, err)
	}
	w := &Windower{
		machine: machine, spec: spec,
		window: int64(spec.Window), hop: int64(spec.Hop), maxGap: int64(spec.MaxGap),
		jump:     int64(max(24*time.Hour, 10*spec.Window, 10*spec.MaxGap)),
		channels: make([]channel, len(spec.Channels)),
		index:    make(map[string]int, len(spec.Channels)),
		out:      Window{Machine: machine, Segments: make([]Segment, len(spec.Channels))},
	}
	w.stats.Channels = make([]ChannelStats, len(spec.Channels))
	for i, name := range spec.Channels {
		w.channels[i].name, w.index[name] = name, i
		w.stats.Channels[i].Channel, w.out.Segments[i].Channel = name, name
	}
	return w, nil
}

// Stats returns the counters. The slice of channels is the caller's.
func (w *Windower) Stats() Stats {
	s := w.stats
	s.Channels = append([]ChannelStats(nil), s.Channels...)
	return s
}

// Add takes a block and calls emit for every window it completes, in order of time.
// The window and all it points to are valid only during the call. Add keeps no part of
// b. What cannot be used is counted in Stats; the only errors are those of emit, and
// the Windower remains usable after one.
func (w *Windower) Add(b sensors.Block, emit func(*Window) error) error {
	n := int64(len(b.Samples))
	w.stats.Received += n
	start, ok := nanoseconds(b.Start)
	if !ok || b.Machine != w.machine || b.Validate() != nil || spanTooLong(b, w.jump) {
		w.stats.Dropped.Invalid += n
		return nil //nolint:nilerr // counted
	}
	i, ok := w.index[b.Channel]
	if !ok {
		w.stats.Dropped.UnknownChannel += n
		return nil
	}
	c := chunk{start: start, rateHz: b.RateHz, n: len(b.Samples), quality: b.Quality}
	if !w.plausible(&w.channels[i], &c) {
		return nil
	}
	w.store(&w.channels[i], c, b.Samples)
	return w.advance(emit)
}

// store cuts c to what can still be used and keeps that.
func (w *Windower) store(ch *channel, c chunk, samples []float64) {
	if c.start < w.next {
		if ch.follows(&c, w.next) {
			// The clock wavers by less than the block's slack: the block goes on
			// where the last one ended, which closed a window.
			c.start = w.next
		} else {
			k := c.before(w.next)
			c.off, c.n = k, c.n-k
			if w.next == w.first {
				w.stats.Dropped.Incomplete += int64(k)
			} else {
				w.stats.Dropped.Late += int64(k)
			}
		}
	}
	end := c.at(c.n)
	i, cut, duplicate := ch.place(&c)
	if duplicate {
		w.stats.Dropped.Duplicate += int64(cut)
	} else {
		w.stats.Dropped.Overlap += int64(cut)
	}
	switch {
	case c.n == 0:
	case c.n > w.spec.MaxPending-ch.samples.len():
		w.stats.Dropped.Overflow += int64(c.n)
	default:
		ch.put(i, c, samples[c.off:c.off+c.n])
		w.stats.Pending += int64(c.n)
	}
	// Even a block that was not kept tells the time.
	if !ch.seen || end > ch.time {
		ch.seen, ch.time = true, end
	}
	w.latest = max(w.latest, end)
}

// advance closes every window whose time has passed.
func (w *Windower) advance(emit func(*Window) error) error {
	passed := int64(math.MaxInt64)
	for i := range w.channels {
		if ch := &w.channels[i]; ch.seen {
			passed = min(passed, ch.time)
		} else {
			passed = math.MinInt64
		}
	}
	limit := max(passed, w.latest-w.maxGap)
	for w.next+w.window <= limit {
		earliest := int64(math.MaxInt64)
		for i := range w.channels {
			if t, ok := w.channels[i].first(); ok {
				earliest = min(earliest, t)
			}
		}
		if earliest >= w.next+w.window {
			w.skip(min(earliest, limit))
			continue
		}
		if err := w.close(emit); err != nil {
			return err
		}
	}
	return nil
}

// skip passes over the windows that end at or before t, all of them empty, without
// looking at each: there may be millions after a long silence.
func (w *Windower) skip(t int64) {
	k := (t-w.window-w.next)/w.hop + 1
	w.next += k * w.hop
	w.stats.Skipped += k
	for i := range w.stats.Channels {
		w.stats.Channels[i].Missing += k
	}
}

// close emits the next window if it is whole, and moves on to the one after it.
func (w *Windower) close(emit func(*Window) error) (err error) {
	if w.gather() {
		w.stats.Emitted++
		for i := range w.channels {
			w.markUsed(&w.channels[i])
		}
		err = emit(&w.out)
	} else {
		w.stats.Skipped++
	}
	w.next += w.hop
	for i := range w.channels {
		unused := w.channels[i].discard(w.next)
		w.stats.Dropped.Incomplete += unused
		w.stats.Pending -= unused
	}
	return err
}

// gather fills w.out with the next window and reports whether it is whole.
func (w *Windower) gather() (whole bool) {
	whole = true
	w.out.Start, w.out.End = time.Unix(0, w.next).UTC(), time.Unix(0, w.next+w.window).UTC()
	w.out.Quality = 0
	for i := range w.channels {
		switch w.gatherChannel(&w.channels[i], &w.out.Segments[i]) {
		case missing:
			w.stats.Channels[i].Missing++
			whole = false
		case gap:
			w.stats.Channels[i].Gaps++
			whole = false
		}
	}
	return whole
}

type finding int

const (
	good finding = iota
	missing
	gap
)

// gatherChannel fills s with the samples of ch in the next window.
func (w *Windower) gatherChannel(ch *channel, s *Segment) finding {
	s.Pieces = s.Pieces[:0]
	end := w.next + w.window
	n, last, silence := 0, w.next, int64(0)
	for _, c := range ch.chunks.live() {
		k := c.before(end)
		if k == 0 {
			break
		}
		from := c.at(0)
		silence = max(silence, from-last)
		if k > 1 {
			silence = max(silence, c.at(1)-from)
		}
		last = max(last, c.at(k-1))
		s.Pieces = append(s.Pieces, Piece{
			// Within its slack a block may begin before the end of the one before it.
			OffsetS: float64(max(0, from-w.next)) / 1e9, RateHz: c.rateHz, N: k, Joined: n > 0 && c.joined,
		})
		w.out.Quality |= c.quality
		n += k
		if k < c.n {
			break
		}
	}
	s.Samples = ch.samples.live()[:n]
	switch {
	case n == 0:
		return missing
	case max(silence, end-last) > w.maxGap:
		return gap
	}
	return good
}

// markUsed counts the samples of ch in the next window that no window had before.
func (w *Windower) markUsed(ch *channel) {
	chunks := ch.chunks.live()
	for i := range chunks {
		c := &chunks[i]
		k := c.before(w.next + w.window)
		if k > c.used {
			w.stats.Used += int64(k - c.used)
			w.stats.Pending -= int64(k - c.used)
			c.used = k
		}
		if k < c.n {
			return
		}
	}
}
