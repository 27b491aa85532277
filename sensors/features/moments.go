package features

import "math"

// moments are the time-domain sums of one segment.
type moments struct {
	n                int
	mean, meanSquare float64
	meanAbs          float64
	min, max, last   float64
	m2, m3, m4       float64 // central, divided by n; zero for a constant signal
	meanRoot         float64 // of √|x|
}

// constant is the ratio of deviation to size below which a signal is constant: its
// deviation is then rounding.
const constant = 1e-12

func (m *moments) peak() float64 { return max(math.Abs(m.min), math.Abs(m.max)) }
func (m *moments) rms() float64  { return math.Sqrt(m.meanSquare) }

// ratio returns a/b for two sizes of the signal that are equal when it is constant.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 1
	}
	return a / b
}

// compute fills m from xs, which has at least one element. A sample that is NaN,
// infinite or above 1e150 makes meanSquare NaN or infinite.
func (m *moments) compute(xs []float64, need needs) {
	// Four sums side by side: one would wait for each addition to finish.
	var s, q, a [4]float64
	lo, hi := xs[0], xs[0]
	i := 0
	for ; i+4 <= len(xs); i += 4 {
		x := (*[4]float64)(xs[i:])
		s[0], s[1], s[2], s[3] = s[0]+x[0], s[1]+x[1], s[2]+x[2], s[3]+x[3]
		q[0], q[1], q[2], q[3] = q[0]+x[0]*x[0], q[1]+x[1]*x[1], q[2]+x[2]*x[2], q[3]+x[3]*x[3]
		a[0], a[1], a[2], a[3] = a[0]+math.Abs(x[0]), a[1]+math.Abs(x[1]), a[2]+math.Abs(x[2]), a[3]+math.Abs(x[3])
		for _, v := range x {
			if v < lo {
				lo = v
			}
			if v > hi {
				hi = v
			}
		}
	}
	for _, v := range xs[i:] {
		s[0], q[0], a[0] = s[0]+v, q[0]+v*v, a[0]+math.Abs(v)
		lo, hi = min(lo, v), max(hi, v)
	}
	n := float64(len(xs))
	*m = moments{
		n: len(xs), min: lo, max: hi, last: xs[len(xs)-1],
		mean:       (s[0] + s[1] + s[2] + s[3]) / n,
		meanSquare: (q[0] + q[1] + q[2] + q[3]) / n,
		meanAbs:    (a[0] + a[1] + a[2] + a[3]) / n,
	}
	if need&needCentral != 0 {
		m.central(xs)
	}
	if need&needRoots != 0 {
		sum := 0.0
		for _, v := range xs {
			sum += math.Sqrt(math.Abs(v))
		}
		m.meanRoot = sum / n
	}
}

// central computes the central moments in a second pass, which a large mean does
// not spoil (T. F. Chan, G. H. Golub, R. J. LeVeque, Algorithms for computing the sample
// variance, The American Statistician 37 (1983) 242–247: the corrected two-pass algorithm).
func (m *moments) central(xs []float64) {
	if m.min == m.max {
		m.mean = m.min
		return
	}
	var d1, d2, d3, d4 [2]float64
	mean := m.mean
	i := 0
	for ; i+2 <= len(xs); i += 2 {
		a, b := xs[i]-mean, xs[i+1]-mean
		aa, bb := a*a, b*b
		d1[0], d1[1] = d1[0]+a, d1[1]+b
		d2[0], d2[1] = d2[0]+aa, d2[1]+bb
		d3[0], d3[1] = d3[0]+aa*a, d3[1]+bb*b
		d4[0], d4[1] = d4[0]+aa*aa, d4[1]+bb*bb
	}
	for _, v := range xs[i:] {
		a := v - mean
		d1[0], d2[0], d3[0], d4[0] = d1[0]+a, d2[0]+a*a, d3[0]+a*a*a, d4[0]+a*a*(a*a)
	}
	n := float64(len(xs))
	// e is the rounding error of the mean; the moments are moved to the true one.
	e := (d1[0] + d1[1]) / n
	c2, c3, c4 := (d2[0]+d2[1])/n, (d3[0]+d3[1])/n, (d4[0]+d4[1])/n
	m2 := c2 - e*e
	limit := constant * m.peak()
	if m2 <= limit*limit || m2*m2 < 0x1p-1022 {
		return
	}
	m.mean += e
	m.m2, m.m3, m.m4 = m2, c3-3*e*c2+2*e*e*e, c4-4*e*c3+6*e*e*c2-3*e*e*e*e
}

func (m *moments) skewness() float64 {
	if m.m2 == 0 {
		return 0
	}
	return m.m3 / (m.m2 * math.Sqrt(m.m2))
}

func (m *moments) kurtosis() float64 {
	if m.m2 == 0 {
		return 3
	}
	return m.m4 / (m.m2 * m.m2)
}

// largestRipple is returned when the mean is lost in the variation, as with a pump
// that is off and a gauge that shows noise around zero.
const largestRipple = 100

func (m *moments) ripple() float64 {
	span, mean := m.max-m.min, math.Abs(m.mean)
	switch {
	case span == 0:
		return 0
	case span >= largestRipple*mean:
		return largestRipple
	}
	return span / mean
}
