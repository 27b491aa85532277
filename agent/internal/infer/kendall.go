package infer

import (
	"math"
	"slices"
)

// clearTrend is how many times the median deviation from the line values must change for
// it not to matter that deviations depend on each other: what is almost a line, slightly
// bent, is not chance. A random walk of 32 steps changes so much less than once in a
// thousand times (by simulation).
const clearTrend = 40

// fitLine fits the straight line of Theil and Sen, whose slope is the median of those
// between all pairs of points, and tests it by Mann and Kendall's S. points ascend in
// time; there are at most trendBlocks. work is scratch for all pairs.
func fitLine(points []trendPoint, work *[trendPairs]float64) trendLine {
	n := len(points)
	if n < leastTrendBlocks {
		return trendLine{}
	}
	s, pairs := 0, work[:0]
	for j := range points {
		for i := range j {
			d := points[j].Score - points[i].Score
			switch {
			case d > 0:
				s++
			case d < 0:
				s--
			}
			pairs = append(pairs, d/(points[j].At-points[i].At))
		}
	}
	last := points[n-1].At
	l := trendLine{slope: median(pairs), at: last, span: last - points[0].At}
	var residuals [trendBlocks]float64
	for i, p := range points {
		residuals[i] = p.Score - float64(l.slope*(p.At-last))
	}
	inflation := kendallInflation(residuals[:n])
	l.score = median(residuals[:n])
	for i, x := range residuals[:n] {
		residuals[i] = math.Abs(x - l.score)
	}
	if math.Abs(l.slope)*l.span > clearTrend*median(residuals[:n]) {
		inflation = 1
	}
	variance := kendallVariance(n) * inflation
	// The continuity correction: S moves in steps of 2.
	switch {
	case s > 0:
		l.z = float64(s-1) / math.Sqrt(variance)
	case s < 0:
		l.z = float64(s+1) / math.Sqrt(variance)
	}
	return l
}

// kendallVariance is the variance of S for n independent values (M. G. Kendall, Rank
// Correlation Methods, 1975, chapter 4). Ties make it smaller, which is left out: S
// then counts as a little less significant than it is.
func kendallVariance(n int) float64 { return float64(n*(n-1)*(2*n+5)) / 18 }

// kendallInflation is by how much the variance of S is larger because values depend
// on those before: 1 + 2/(n(n−1)(n−2)) Σ (n−k)(n−k−1)(n−k−2) ρ(k), where ρ is the
// autocorrelation of the ranks of the values without their trend (K. H. Hamed and A. R.
// Rao, J. Hydrology 204, 1998, equation 14), summed up to the first that is not
// significant. It is never below 1.
func kendallInflation(residuals []float64) float64 {
	n := len(residuals)
	var ranks [trendBlocks]float64
	power := 0.0
	for i, x := range residuals {
		for j, y := range residuals {
			if y < x || y == x && j < i {
				ranks[i]++
			}
		}
		ranks[i] -= float64(n-1) / 2
		power += float64(ranks[i] * ranks[i])
	}
	sum := 0.0
	for k := 1; k < n-2; k++ {
		rho := 0.0
		for i := range n - k {
			rho += float64(ranks[i] * ranks[i+k])
		}
		if rho /= power; math.Abs(rho) < 1.96/math.Sqrt(float64(n)) {
			break
		}
		sum += float64((n-k)*(n-k-1)*(n-k-2)) * rho
	}
	return max(1, 1+2*sum/float64(n*(n-1)*(n-2)))
}

// median sorts xs, which must not be empty.
func median(xs []float64) float64 {
	slices.Sort(xs)
	n := len(xs)
	if n%2 == 1 {
		return xs[n/2]
	}
	return (xs[n/2-1] + xs[n/2]) / 2
}
