package window

import (
	"math"

	"github.com/millwright-iot/millwright/sensors"
)

// chunk is what is kept of one block: evenly spaced samples.
type chunk struct {
	start   int64   // of the block, in ns since the Unix epoch
	rateHz  float64 // zero only for a single sample
	off     int     // samples of the block cut off its front
	n       int     // samples kept
	used    int     // how many of the first were in an emitted window
	joined  bool    // continues the chunk before it
	quality sensors.Quality
}

// at returns the time of kept sample i, which may be c.n for where the next block
// would begin.
func (c *chunk) at(i int) int64 {
	i += c.off
	if i == 0 || c.rateHz <= 0 {
		return c.start
	}
	return c.start + int64(math.Round(float64(i)*1e9/c.rateHz))
}

// before returns how many kept samples were taken before t.
func (c *chunk) before(t int64) int {
	if c.at(0) >= t {
		return 0
	}
	if c.n == 1 || c.at(c.n-1) < t {
		return c.n
	}
	lo, hi := 0, c.n-1 // at(lo) < t ≤ at(hi)
	if guess := int(float64(t-c.at(0)) * c.rateHz / 1e9); guess > 1 && guess < c.n-2 {
		// The rounding of at is worth at most a sample where it matters.
		if c.at(guess-1) < t {
			lo = guess - 1
		}
		if c.at(guess+1) >= t {
			hi = guess + 1
		}
	}
	for hi-lo > 1 {
		mid := int(uint(lo+hi) / 2)
		if c.at(mid) < t {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}

// slack returns how far, in ns, a block may start from where the one before it ended
// and still count as its continuation: half a sample, or an eighth of the block,
// because the true rate of a cheap accelerometer can be a tenth off its nominal one and
// each block has a time of its own; half the block if it carries only its arrival time.
func (c *chunk) slack() int64 {
	if c.rateHz <= 0 {
		return 0
	}
	share := 8.0
	if c.quality&sensors.QualityArrivalTime != 0 {
		share = 2
	}
	return int64(max(0.5, float64(c.n)/share) * 1e9 / c.rateHz)
}

// channel holds the samples of one channel that wait for their window.
type channel struct {
	name    string
	samples queue[float64]
	chunks  queue[chunk] // in order of time; their samples lie in samples, one after the other
	seen    bool
	time    int64 // the latest end of any block
}

// first returns the time of the first waiting sample.
func (ch *channel) first() (t int64, ok bool) {
	if ch.chunks.len() == 0 {
		return 0, false
	}
	return ch.chunks.live()[0].at(0), true
}

// follows reports whether c begins where the newest block ended and no more than
// its slack before t.
func (ch *channel) follows(c *chunk, t int64) bool {
	return ch.seen && c.rateHz > 0 && abs(c.start-ch.time) <= c.slack() && t-c.start <= c.slack()
}

// place finds the index among the chunks where c belongs, and cuts off c what other
// chunks already cover. It returns the number of samples cut; c.n is zero if none is
// left, and duplicate then says that a block with the same start is the reason.
func (ch *channel) place(c *chunk) (i, cut int, duplicate bool) {
	chunks := ch.chunks.live()
	i = len(chunks)
	for i > 0 && chunks[i-1].start > c.start {
		i--
	}
	if i > 0 && chunks[i-1].start == c.start {
		cut, c.n = c.n, 0
		return i, cut, true
	}
	if i > 0 {
		prev := &chunks[i-1]
		over := prev.at(prev.n)
		if c.n == 1 { // a single sample takes no time, whatever its nominal rate
			over = prev.at(prev.n - 1)
		}
		if over-c.at(0) > c.slack() {
			k := c.before(over)
			c.off, c.n, cut = c.off+k, c.n-k, cut+k
		}
	}
	if i < len(chunks) && c.n > 1 {
		if next := chunks[i].at(0); c.at(c.n)-next > c.slack() {
			k := c.n - c.before(next)
			c.n, cut = c.n-k, cut+k
		}
	}
	return i, cut, false
}

// put stores c, whose samples are xs, as chunk i.
func (ch *channel) put(i int, c chunk, xs []float64) {
	chunks := ch.chunks.live()
	at := ch.samples.len()
	for j := i; j < len(chunks); j++ {
		at -= chunks[j].n
	}
	copy(ch.samples.insert(at, len(xs)), xs)
	ch.chunks.insert(i, 1)[0] = c
	chunks = ch.chunks.live()
	for j := max(i, 1); j < min(i+2, len(chunks)); j++ {
		chunks[j].joined = continues(&chunks[j-1], &chunks[j])
	}
}

// continues reports whether c goes on where prev ended, with no sample missing.
func continues(prev, c *chunk) bool {
	return c.rateHz > 0 && c.rateHz == prev.rateHz && c.quality&sensors.QualityGap == 0 &&
		abs(c.at(0)-prev.at(prev.n)) <= c.slack()
}

// discard drops the samples before t and returns how many of them were never used.
func (ch *channel) discard(t int64) (unused int64) {
	for ch.chunks.len() > 0 {
		c := &ch.chunks.live()[0]
		k := c.before(t)
		used := min(k, c.used)
		unused += int64(k - used)
		ch.samples.drop(k)
		if k < c.n {
			c.off, c.n, c.used = c.off+k, c.n-k, c.used-used
			return unused
		}
		ch.chunks.drop(1)
	}
	return unused
}

// clear forgets everything and returns how many samples had never been used.
func (ch *channel) clear() (unused int64) {
	for _, c := range ch.chunks.live() {
		unused += int64(c.n - c.used)
	}
	ch.chunks.drop(ch.chunks.len())
	ch.samples.drop(ch.samples.len())
	ch.seen = false
	return unused
}

func abs(x int64) int64 {
	if x < 0 {
		return -x
	}
	return x
}
