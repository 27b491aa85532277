package monitor

import "math"

const (
	adwinBuckets   = 5  // of one size, M in the paper
	adwinRows      = 40 // sizes 1, 2, 4 …: room for 5·2⁴⁰ observations
	adwinClock     = 32 // observations between two checks
	adwinShortest  = 5  // observations in a part that is compared
	adwinLeast     = 10 // observations before the first check
	adwinDelta     = 0.002
	adwinTwoThirds = 2.0 / 3
)

// ADWIN keeps a window of observations that is as long as they have one mean: when two
// of its parts differ by more than chance, the older is dropped and that is drift.
// Observations should lie within a range of about 1. Memory is fixed, O(log n); an
// observation allocates nothing.
//
// Source: A. Bifet, R. Gavaldà, Learning from time-changing data with adaptive
// windowing, SIAM SDM 2007, pp. 443–448: ADWIN2 with buckets, and the bound with the
// variance (eq. 3.1) with δ′ = δ/ln n.
type ADWIN struct {
	delta float64
	clock int

	n               int64 // observations in the window
	total, variance float64
	ticks           int
	rows            int // in use
	row             [adwinRows]adwinRow

	statistic, limit float64 // of the cut nearest to its limit at the newest check
}

// adwinRow holds the buckets of one size, oldest first.
type adwinRow struct {
	n               int
	total, variance [adwinBuckets + 1]float64
}

// NewADWIN returns an ADWIN that looks for drift every clock observations (0: 32) with
// the confidence 1−delta (0: 0.998).
func NewADWIN(delta float64, clock int) *ADWIN {
	if !(delta > 0 && delta < 1) {
		delta = adwinDelta
	}
	if clock <= 0 {
		clock = adwinClock
	}
	return &ADWIN{delta: delta, clock: clock, rows: 1}
}

// Observe takes an observation and reports drift. A number that is not finite is
// ignored.
func (a *ADWIN) Observe(x float64) bool {
	if !finite(x) {
		return false
	}
	if a.n > 0 {
		d := x - a.total/float64(a.n)
		a.variance += d * d * float64(a.n) / float64(a.n+1)
	}
	a.n++
	a.total += x
	a.row[0].push(x, 0)
	a.compress()
	a.ticks++
	if a.ticks%a.clock != 0 || a.n <= adwinLeast {
		return false
	}
	drift := false
	a.statistic, a.limit = 0, 0
	for a.differs() {
		drift = true
		a.drop()
	}
	return drift
}

// Len is how many observations the window holds, Mean their mean.
func (a *ADWIN) Len() int64 { return a.n }

// Mean returns the mean of the window; 0 without observations.
func (a *ADWIN) Mean() float64 { return a.total / float64(max(a.n, 1)) }

// Statistic returns the difference of means that was nearest to its limit at the newest
// check, and that limit.
func (a *ADWIN) Statistic() (difference, limit float64) { return a.statistic, a.limit }

func (r *adwinRow) push(total, variance float64) {
	r.total[r.n], r.variance[r.n] = total, variance
	r.n++
}

// shift removes the k oldest buckets.
func (r *adwinRow) shift(k int) {
	copy(r.total[:], r.total[k:r.n])
	copy(r.variance[:], r.variance[k:r.n])
	r.n -= k
}

// compress merges the two oldest buckets of a size that has too many.
func (a *ADWIN) compress() {
	for i := 0; i+1 < adwinRows && a.row[i].n > adwinBuckets; i++ {
		r, n := &a.row[i], math.Ldexp(1, i)
		d := (r.total[0] - r.total[1]) / n
		a.row[i+1].push(r.total[0]+r.total[1], r.variance[0]+r.variance[1]+d*d*n/2)
		r.shift(2)
		a.rows = max(a.rows, i+2)
	}
}

// drop forgets the oldest bucket.
func (a *ADWIN) drop() {
	r, n := &a.row[a.rows-1], math.Ldexp(1, a.rows-1)
	total, variance := r.total[0], r.variance[0]
	r.shift(1)
	a.n -= int64(n)
	a.total -= total
	d := total/n - a.total/float64(a.n)
	a.variance = max(0, a.variance-variance-d*d*n*float64(a.n)/(n+float64(a.n)))
	for a.rows > 1 && a.row[a.rows-1].n == 0 {
		a.rows--
	}
}

// differs says whether two parts of the window have different means, the older part
// ending at a bucket's end.
func (a *ADWIN) differs() bool {
	n := float64(a.n)
	confidence := math.Log(2 * math.Log(n) / a.delta)
	n0, u0 := 0.0, 0.0
	for i := a.rows - 1; i >= 0; i-- {
		size := math.Ldexp(1, i)
		for k := 0; k < a.row[i].n; k++ {
			n0 += size
			u0 += a.row[i].total[k]
			n1 := n - n0
			if n1 < adwinShortest {
				return false
			}
			if n0 < adwinShortest {
				continue
			}
			m := 1/(n0-adwinShortest+1) + 1/(n1-adwinShortest+1)
			limit := math.Sqrt(2*m*a.variance/n*confidence) + adwinTwoThirds*m*confidence
			d := math.Abs(u0/n0 - (a.total-u0)/n1)
			if a.limit == 0 || d*a.limit > a.statistic*limit {
				a.statistic, a.limit = d, limit
			}
			if d > limit {
				return true
			}
		}
	}
	return false
}

func finite(x float64) bool { return math.Abs(x) <= math.MaxFloat64 }
