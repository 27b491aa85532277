package window

import (
	"math"
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

// doubt remembers blocks of implausible time until a plausible one comes.
type doubt struct {
	blocks      int // how many in a row, their times rising
	ahead       bool
	first, last int64
}

// jumped notes a block that starts at t, ahead of or behind its time, and reports
// whether the run of such blocks means that the clock has jumped: it goes on for at
// least span, in steps of at most jump or in three blocks or more.
func (d *doubt) jumped(t int64, ahead bool, span, jump int64) bool {
	if d.blocks == 0 || d.ahead != ahead || t < d.last {
		*d = doubt{blocks: 1, ahead: ahead, first: t, last: t}
		return false
	}
	sure := t-d.first >= span && (t-d.last <= jump || d.blocks >= 2)
	d.blocks++
	d.last = t
	return sure
}

// plausible reports whether c can be kept. If not it is counted, unless it shows that
// the clock has jumped: then everything else is dropped and c is kept.
func (w *Windower) plausible(ch *channel, c *chunk) bool {
	if !w.started {
		w.startAt(c.start)
		return true
	}
	ahead := c.start > w.latest+w.jump
	behind := c.at(c.n-1) < w.next && !ch.follows(c, w.next)
	if !ahead && !behind {
		w.doubt.blocks = 0
		return true
	}
	if behind && w.next == w.first && c.start >= w.origin {
		w.doubt.blocks = 0
		w.stats.Dropped.Incomplete += int64(c.n) // the first window is yet to begin
		return false
	}
	if w.doubt.jumped(c.start, ahead, w.window+w.maxGap, w.jump) {
		w.reset(c.start)
		return true
	}
	if ahead {
		w.stats.Dropped.Clock += int64(c.n)
	} else {
		w.stats.Dropped.Late += int64(c.n)
	}
	return false
}

// startAt makes the first window the first that begins at t or later.
func (w *Windower) startAt(t int64) {
	w.started, w.latest = true, math.MinInt64
	w.doubt.blocks = 0
	w.origin, w.next = t, t
	if past := t % w.hop; past > 0 {
		w.next += w.hop - past
	} else {
		w.next -= past
	}
	w.first = w.next
}

// reset drops everything that waits and starts again at t.
func (w *Windower) reset(t int64) {
	w.stats.Resets++
	for i := range w.channels {
		unused := w.channels[i].clear()
		w.stats.Dropped.Reset += unused
		w.stats.Pending -= unused
	}
	w.startAt(t)
}

// The years whose times are kept: their nanoseconds since 1970 fit in an int64 with
// room for any window and gap.
const minYear, maxYear = 1700, 2250

func nanoseconds(t time.Time) (ns int64, ok bool) {
	if y := t.UTC().Year(); y < minYear || y > maxYear {
		return 0, false
	}
	return t.UnixNano(), true
}

// spanTooLong reports whether b lasts longer than limit, in ns.
func spanTooLong(b sensors.Block, limit int64) bool {
	return b.RateHz > 0 && float64(len(b.Samples)) > float64(limit)/1e9*b.RateHz
}
