package infer

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// month is the time of operation that a false-alarm budget is for.
const month = 30 * 24 * time.Hour

const (
	// maxPeaks bounds the peaks kept; when there are as many, the lower half goes and
	// the level rises, so that they stay what is extreme among more and more windows.
	maxPeaks = 128
	// leastPeaks is how many it takes to say anything of a tail, and firstLevel the
	// share of the first windows below the level at the start.
	leastPeaks = 10
	firstLevel = 0.8
	// lookAhead is how many times the time observed a tail is extrapolated.
	lookAhead = 10
	// The shape ξ of a tail is a guess until there are peaks: priorShape, which is
	// between an exponential tail and a heavy one, weighing like so many peaks. Two standard
	// errors, 1/√n each, are added, as the budget is a promise; and shapes below 0,
	// tails that end, are not believed.
	priorShape  = 0.15
	priorWeight = 50
	maxShape    = 0.45 // above, moments need more peaks than are kept
)

// tail learns how high scores of a machine in order reach, and how often, by the
// method of peaks over threshold (A. Siffer et al., Anomaly detection in streams with
// extreme value theory, KDD 2017).
//
// What it looks at is the least score of the newest delay windows: it exceeds a
// threshold exactly where the on-delay raises an alarm. Exceedances that follow each
// other closely count once, with their peak. So neither the delay, nor overlapping
// windows, nor scores that depend on each other need a correction.
type tail struct {
	delay int
	hop   time.Duration
	tailState

	recent []float64 // newest scores, a ring
	next   int
	filled int
	sorted []float64 // scratch
}

// tailState is what a tail knows.
type tailState struct {
	Windows int64     `json:"windows"`
	Level   float64   `json:"level"`
	Peaks   []float64 `json:"peaks"` // of past clusters above Level
	Peak    float64   `json:"peak"`  // of the cluster under way, 0 if none
	Below   int       `json:"below"` // windows in a row below Level in it
}

// newTail begins with the scores of runs of windows in order.
func newTail(delay int, hop time.Duration, runs [][]float64) *tail {
	t := &tail{
		delay: delay, hop: hop, recent: make([]float64, delay), sorted: make([]float64, maxPeaks),
		tailState: tailState{Peaks: make([]float64, 0, maxPeaks)},
	}
	var least []float64
	for _, scores := range runs {
		t.interrupt()
		for _, s := range scores {
			if m, ok := t.least(s); ok {
				least = append(least, m)
			}
		}
	}
	if len(least) > 0 {
		slices.Sort(least)
		t.Level = least[int(firstLevel*float64(len(least)))]
	}
	for _, scores := range runs {
		t.interrupt()
		for _, s := range scores {
			t.add(s)
		}
	}
	t.interrupt()
	return t
}

// interrupt says that the next score does not follow the one before.
func (t *tail) interrupt() {
	t.filled, t.next = 0, 0
	t.close()
}

// least puts a score in and returns the least of the newest delay ones.
func (t *tail) least(score float64) (float64, bool) {
	t.recent[t.next] = score
	t.next = (t.next + 1) % t.delay
	t.filled = min(t.filled+1, t.delay)
	if t.filled < t.delay {
		return 0, false
	}
	return slices.Min(t.recent), true
}

// add learns from a window in order.
func (t *tail) add(score float64) {
	t.Windows++
	m, ok := t.least(score)
	switch {
	case ok && m > t.Level:
		t.Peak, t.Below = max(t.Peak, m), 0
	case t.Peak > 0:
		// delay scores in a row below the level, which end an alarm, make so many
		// leasts below it.
		if t.Below++; t.Below >= 2*t.delay-1 {
			t.close()
		}
	}
}

// close ends the cluster under way.
func (t *tail) close() {
	if t.Peak > t.Level {
		t.Peaks = append(t.Peaks, t.Peak)
	}
	t.Peak, t.Below = 0, 0
	if len(t.Peaks) < maxPeaks {
		return
	}
	slices.Sort(t.Peaks)
	t.Level = t.Peaks[maxPeaks/2-1]
	t.Peaks = t.Peaks[:copy(t.Peaks, t.Peaks[maxPeaks/2:])]
}

// threshold is above what at most budget peaks reach in a month; false while there
// are too few peaks to say.
func (t *tail) threshold(budget float64) (float64, bool) {
	n := len(t.Peaks)
	if n < leastPeaks {
		return 0, false
	}
	excess := t.sorted[:n]
	for i, p := range t.Peaks {
		excess[i] = p - t.Level
	}
	shape, scale := paretoFit(excess)
	ratio := float64(n) / t.months() / budget
	if ratio <= 1 {
		return t.Level, true
	}
	if shape == 0 {
		return t.Level + float64(scale*math.Log(ratio)), true
	}
	return t.Level + float64(scale/shape*(math.Pow(ratio, shape)-1)), true
}

// paretoFit returns the shape ξ ≥ 0 and scale σ of a generalised Pareto distribution of
// excesses: ξ by probability-weighted moments (J. R. M. Hosking and J. R. Wallis,
// Technometrics 29(3), 1987, equation 9), drawn towards priorShape and raised by its
// errors, and the σ that gives their mean, σ/(1−ξ). It sorts excesses.
func paretoFit(excess []float64) (shape, scale float64) {
	slices.Sort(excess)
	n, mean, weighted := float64(len(excess)), 0.0, 0.0
	for i, x := range excess {
		mean += x / n
		weighted += x / n * (n - 1 - float64(i)) / (n - 1)
	}
	if d := mean - 2*weighted; d > 0 {
		shape = 2 - mean/d
	}
	own := n / (n + priorWeight)
	shape = float64(own*shape) + float64((1-own)*priorShape) + 2/math.Sqrt(n+priorWeight)
	shape = min(max(0, shape), maxShape)
	return shape, mean * (1 - shape)
}

// months is how much time of operation was observed.
func (t *tail) months() float64 { return float64(t.Windows) * t.hop.Seconds() / month.Seconds() }

// held is the least budget that the windows seen so far can keep; 0 if none.
func (t *tail) held() float64 {
	if len(t.Peaks) < leastPeaks {
		return 0
	}
	return 1 / (t.months() * lookAhead)
}

// enough says that more windows would not change much: a whole interval between two
// alarms of the budget was seen.
func (t *tail) enough(budget float64) bool { return t.months()*budget >= 1 }

// rescale multiplies all scores by factor.
func (t *tail) rescale(factor float64) {
	t.Level *= factor
	t.Peak *= factor
	for _, xs := range [][]float64{t.Peaks, t.recent} {
		for i := range xs {
			xs[i] *= factor
		}
	}
}

// state returns a copy of what t knows.
func (t *tail) state() tailState {
	s := t.tailState
	s.Peaks = slices.Clone(s.Peaks)
	return s
}

// restore takes what state returned. What cannot be that is an error and changes
// nothing.
func (t *tail) restore(s tailState) error {
	if s.Windows < 0 || s.Windows > 1<<40 || len(s.Peaks) >= maxPeaks || s.Below < 0 || !(s.Level >= 0) || !(s.Peak >= 0) || math.IsInf(s.Level, 0) || math.IsInf(s.Peak, 0) {
		return fmt.Errorf("restore tail of scores: %d windows, %d peaks, level %v, peak %v", s.Windows, len(s.Peaks), s.Level, s.Peak)
	}
	for _, p := range s.Peaks {
		if !(p >= s.Level) || math.IsInf(p, 0) {
			return fmt.Errorf("restore tail of scores: peak %v with level %v", p, s.Level)
		}
	}
	s.Peaks = append(t.Peaks[:0], s.Peaks...) //nolint:gocritic // t's memory, s's peaks
	t.tailState = s
	t.filled, t.next = 0, 0
	return nil
}
