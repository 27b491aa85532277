// Package prognosis predicts, cycle by cycle, the remaining useful life of a
// machine that wears under changing operating conditions, and learns to from a fleet's
// machines that failed. A [Predictor] holds only the machine's own past in bounded
// memory, and what a [Family] has learned.
package prognosis

import (
	"fmt"
	"math"
)

// The windows and time constants of a trajectory, in cycles.
const (
	longWindow   = 100
	mediumWindow = 60
	shortWindow  = 5
	fastDecay    = 5
	slowDecay    = 20
	// ageUnit is how many cycles of age count 1.
	ageUnit = 100
)

// perIndex is the number of features that TrajectoryNames lists for an index.
const perIndex = 12

// TrajectoryLen is the number of features of so many health indices.
func TrajectoryLen(indices int) int { return perIndex*indices + 1 }

// TrajectoryNames names the features of so many health indices, in order: for
// each index the mean of the last 5 cycles; mean, rise and standard deviation
// over the last 60, the last 100 and all cycles; exponential means with time
// constants 5 and 20. A rise is the least-squares slope times the number of
// cycles it is fitted to. Last comes the age, in hundreds of cycles.
func TrajectoryNames(indices int) []string {
	var names []string
	for i := range indices {
		for _, f := range [perIndex]string{"mean_5", "mean_60", "rise_60", "std_60", "mean_100", "rise_100", "std_100",
			"mean_all", "rise_all", "std_all", "ewma_5", "ewma_20"} {
			names = append(names, fmt.Sprintf("index%d.%s", i, f))
		}
	}
	return append(names, "age")
}

// Trajectory follows the health indices of one machine, in memory for the last
// 100 cycles. A machine younger than a window is described by the cycles there
// are: windows begin with its first cycle, and rises are over as many cycles.
type Trajectory struct {
	indices int
	recent  []float64 // ring of longWindow rows
	count   int       // cycles pushed
	fast    []decay
	slow    []decay
	whole   []line // over all cycles
}

// NewTrajectory follows so many health indices.
func NewTrajectory(indices int) *Trajectory {
	t := &Trajectory{
		indices: indices, recent: make([]float64, longWindow*indices),
		fast: make([]decay, indices), slow: make([]decay, indices), whole: make([]line, indices),
	}
	for i := range indices {
		t.fast[i].keep, t.slow[i].keep = math.Exp(-1./fastDecay), math.Exp(-1./slowDecay)
	}
	return t
}

// Push adds a cycle; h is as long as the trajectory has indices, and finite.
func (t *Trajectory) Push(h []float64) {
	copy(t.recent[t.count%longWindow*t.indices:], h[:t.indices])
	for i, x := range h[:t.indices] {
		t.fast[i].push(x)
		t.slow[i].push(x)
		t.whole[i].push(float64(t.count), x)
	}
	t.count++
}

// Features writes the features of TrajectoryNames into dst (nil allocates). Before
// the first cycle all are 0.
func (t *Trajectory) Features(dst []float64) []float64 {
	if dst == nil {
		dst = make([]float64, TrajectoryLen(t.indices))
	}
	for i := range t.indices {
		d := dst[i*perIndex : (i+1)*perIndex]
		var short, medium, long line
		n := min(t.count, longWindow)
		for age := range n { // newest first; time runs from 0 backwards
			x := t.recent[(t.count-1-age)%longWindow*t.indices+i]
			long.push(float64(-age), x)
			if age+1 == min(n, shortWindow) {
				short = long
			}
			if age+1 == min(n, mediumWindow) {
				medium = long
			}
		}
		d[0] = short.mean
		d[1], d[2], d[3] = medium.mean, medium.rise(), medium.std()
		d[4], d[5], d[6] = long.mean, long.rise(), long.std()
		d[7], d[8], d[9] = t.whole[i].mean, t.whole[i].rise(), t.whole[i].std()
		d[10], d[11] = t.fast[i].mean(), t.slow[i].mean()
	}
	dst[len(dst)-1] = float64(t.count) / ageUnit
	return dst
}

// decay is an exponential mean whose weights sum to 1 from the first value on.
type decay struct{ keep, sum, weight float64 }

func (d *decay) push(x float64) {
	d.sum = float64(d.keep*d.sum) + x
	d.weight = float64(d.keep*d.weight) + 1
}

func (d *decay) mean() float64 {
	if d.weight == 0 {
		return 0
	}
	return d.sum / d.weight
}

// line fits x = a + b·t by Welford's recurrence for means and products.
type line struct{ n, meanTime, mean, timeTime, timeValue, valueValue float64 }

func (l *line) push(t, x float64) {
	l.n++
	dt, dx := t-l.meanTime, x-l.mean
	l.meanTime += dt / l.n
	l.mean += dx / l.n
	l.timeTime += float64(dt * (t - l.meanTime))
	l.timeValue += float64(dt * (x - l.mean))
	l.valueValue += float64(dx * (x - l.mean))
}

// rise is slope times number of values, 0 for one value.
func (l *line) rise() float64 {
	if l.timeTime == 0 {
		return 0
	}
	return l.timeValue / l.timeTime * l.n
}

func (l *line) std() float64 {
	if l.n == 0 {
		return 0
	}
	return math.Sqrt(l.valueValue / l.n)
}
