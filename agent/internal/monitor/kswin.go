package monitor

import (
	"math"
	"slices"
)

const (
	kswinWindow = 100
	kswinRecent = 30
	kswinOlder  = kswinWindow - kswinRecent
	kswinAlpha  = 0.005
)

// KSWIN compares the distribution of the newest 30 observations with that of the 70
// before them by the two-sample Kolmogorov–Smirnov test, and speaks when they are that
// different by chance with a probability of at most alpha. After drift only the newest
// 30 are left. Memory is fixed; an observation allocates nothing.
//
// Source: C. Raab, M. Heusinger, F.-M. Schleif, Reactive soft prototype computing for
// concept drift streams, Neurocomputing 416 (2020) 340–351. Where the paper draws 30 of
// the 70 at random, all are taken: it needs no random numbers and finds more. The limit
// is exact for these sizes, by counting paths (J. L. Hodges, Arkiv för Matematik 3
// (1958) 469–486), not asymptotic.
type KSWIN struct {
	limit float64
	n     int                  // observations held
	ring  [kswinWindow]float64 // in the order they came
	next  int                  // where the next goes
	older [kswinOlder]float64  // sorted
	fresh [kswinRecent]float64 // sorted
	stat  float64
}

// NewKSWIN returns a KSWIN with a test at level alpha (0: 0.005).
func NewKSWIN(alpha float64) *KSWIN {
	if !(alpha > 0 && alpha < 1) {
		alpha = kswinAlpha
	}
	return &KSWIN{limit: ksLimit(kswinOlder, kswinRecent, alpha)}
}

// Observe takes an observation and reports drift. A number that is not finite is
// ignored.
func (k *KSWIN) Observe(x float64) bool {
	if !finite(x) {
		return false
	}
	recent := min(k.n, kswinRecent)
	older := k.n - recent
	if k.n == kswinWindow {
		remove(k.older[:older], k.ring[k.next])
		older--
	}
	if recent == kswinRecent {
		aged := k.ring[(k.next+kswinWindow-kswinRecent)%kswinWindow]
		remove(k.fresh[:recent], aged)
		recent--
		insert(k.older[:older+1], aged)
	}
	insert(k.fresh[:recent+1], x)
	k.ring[k.next] = x
	k.next = (k.next + 1) % kswinWindow
	k.n = min(k.n+1, kswinWindow)
	if k.n < kswinWindow {
		k.stat = 0
		return false
	}
	if k.stat = ksDistance(k.older[:], k.fresh[:]); k.stat <= k.limit {
		return false
	}
	k.n = kswinRecent // the ring keeps the newest before next
	return true
}

// remove takes x, which is there, out of a sorted list; what follows moves up.
func remove(list []float64, x float64) {
	at, _ := slices.BinarySearch(list, x)
	copy(list[at:], list[at+1:])
}

// insert puts x into a sorted list whose last element is free.
func insert(list []float64, x float64) {
	n := len(list) - 1
	at, _ := slices.BinarySearch(list[:n], x)
	copy(list[at+1:], list[at:n])
	list[at] = x
}

// ksDistance is the largest distance between the empirical distributions of two sorted
// samples.
func ksDistance(x, y []float64) float64 {
	d, i, j := 0.0, 0, 0
	for i < len(x) && j < len(y) {
		at := min(x[i], y[j])
		for i < len(x) && x[i] == at {
			i++
		}
		for j < len(y) && y[j] == at {
			j++
		}
		d = max(d, math.Abs(float64(i)/float64(len(x))-float64(j)/float64(len(y))))
	}
	return d
}

// ksLimit is the largest distance of samples of m and n observations from one
// continuous distribution that is exceeded with a probability of at most alpha.
func ksLimit(m, n int, alpha float64) float64 {
	// Distances are multiples of 1/(m·n); the probability to exceed k of them falls
	// with k.
	low, high := 0, m*n // exceeded too often; never exceeded
	for high-low > 1 {
		if k := (low + high) / 2; ksExceeds(m, n, k) > alpha {
			low = k
		} else {
			high = k
		}
	}
	return (float64(high) + 0.5) / float64(m*n) // between two possible distances
}

// ksExceeds is the probability that the distance is above k/(m·n): one minus the share
// of paths from (0,0) to (m,n), all equally likely, that stay within |i·n − j·m| ≤ k.
// Summing what leaves keeps small probabilities exact.
func ksExceeds(m, n, k int) float64 {
	inside := make([]float64, n+1) // probability to be at (i, j) without having left
	left := 0.0
	for i := 0; i <= m; i++ {
		for j := 0; j <= n; j++ {
			p := 0.0
			if i == 0 && j == 0 {
				p = 1
			}
			// The next step goes along the samples not yet passed, at random.
			if i > 0 {
				p += inside[j] * float64(m-i+1) / float64(m-i+1+n-j)
			}
			if j > 0 {
				p += inside[j-1] * float64(n-j+1) / float64(m-i+n-j+1)
			}
			if d := i*n - j*m; d > k || -d > k {
				left += p
				p = 0
			}
			inside[j] = p
		}
	}
	return min(left, 1)
}
