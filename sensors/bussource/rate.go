package bussource

import "time"

// rateMeter measures the sampling rate of a chip that runs on its own clock: how many
// samples came, over how long, in up to the last minute. Where samples were lost it
// pauses; what it knows from before stays good.
type rateMeter struct {
	counting bool
	at       time.Duration // of the newest batch
	total    tally
	marks    []tally // one every markEvery, oldest first; the first begins the span
}

// tally is what was counted up to some moment.
type tally struct {
	time      time.Duration // while counting
	samples   int64
	stretches int64 // each is off by a sample or so at its ends
}

const (
	markEvery = time.Second
	spanMarks = 60
	// jitter is how late a poll may see the newest sample: the scheduler's doing.
	jitter = 2 * time.Millisecond
	// Least time and samples, and the largest uncertainty, for a judgement.
	settleAfter = time.Second
	settleCount = 40
	settleError = 0.05
)

// restart forgets everything.
func (m *rateMeter) restart() { *m = rateMeter{marks: m.marks[:0]} }

// pause ends a stretch: samples were lost.
func (m *rateMeter) pause() { m.counting = false }

// add notes that n samples were there at a moment.
func (m *rateMeter) add(at time.Duration, n int) {
	if !m.counting { // how long these took to come is not known
		m.counting, m.at = true, at
		m.total.stretches++
		if len(m.marks) == 0 {
			m.marks = append(m.marks, tally{})
		}
		return
	}
	m.total.time += at - m.at
	m.total.samples += int64(n)
	m.at = at
	if m.total.time-m.marks[len(m.marks)-1].time < markEvery {
		return
	}
	if len(m.marks) == spanMarks {
		copy(m.marks, m.marks[1:])
		m.marks = m.marks[:spanMarks-1]
	}
	m.marks = append(m.marks, m.total)
}

// rate returns the measured rate and by what fraction it may be off: a sample and a
// half and the jitter for each stretch. ok is false until that is small enough.
func (m *rateMeter) rate() (hz, uncertainty float64, ok bool) {
	if len(m.marks) == 0 {
		return 0, 0, false
	}
	first := m.marks[0]
	span, n := m.total.time-first.time, m.total.samples-first.samples
	if span < settleAfter || n < settleCount {
		return 0, 0, false
	}
	ends := float64(max(1, m.total.stretches-first.stretches+1))
	if first.stretches == 0 {
		ends = float64(m.total.stretches)
	}
	hz = float64(n) / span.Seconds()
	uncertainty = ends * (1.5/float64(n) + jitter.Seconds()/span.Seconds())
	return hz, uncertainty, uncertainty <= settleError
}
