package bussource

import "time"

// rateMeter measures the sampling rate of a chip that runs on its own clock, from
// how many samples came over a span of up to spanMarks marks.
type rateMeter struct {
	began bool
	start mark // of the span
	count int64
	last  time.Duration
	marks []mark // one every markEvery, oldest first
}

type mark struct {
	at    time.Duration
	count int64
}

const (
	markEvery = time.Second
	spanMarks = 60
	// jitter is how late a poll may see the newest sample: the scheduler's doing.
	jitter = 2 * time.Millisecond
	// Least span and count for a first judgement.
	settleAfter = time.Second
	settleCount = 40
)

// restart forgets everything: samples were lost, so that counting them says nothing.
func (m *rateMeter) restart() { *m = rateMeter{marks: m.marks[:0]} }

// add notes that n samples were there at a moment.
func (m *rateMeter) add(at time.Duration, n int) {
	if !m.began { // how long these took to come is not known
		m.began, m.start, m.last = true, mark{at, 0}, at
		return
	}
	m.count += int64(n)
	m.last = at
	newest := m.start
	if len(m.marks) > 0 {
		newest = m.marks[len(m.marks)-1]
	}
	if at-newest.at < markEvery {
		return
	}
	if len(m.marks) == spanMarks {
		m.start = m.marks[0]
		copy(m.marks, m.marks[1:])
		m.marks = m.marks[:spanMarks-1]
	}
	m.marks = append(m.marks, mark{at, m.count})
}

// rate returns the measured rate and by what fraction it may be off: a sample and a
// half and the jitter, over the span. ok is false until that is small enough to judge.
func (m *rateMeter) rate() (hz, uncertainty float64, ok bool) {
	span, n := m.last-m.start.at, m.count-m.start.count
	if span < settleAfter || n < settleCount {
		return 0, 0, false
	}
	s := span.Seconds()
	return float64(n) / s, 1.5/float64(n) + jitter.Seconds()/s, true
}
