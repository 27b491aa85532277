package monitor

import "math"

const (
	ddmLeast = 30 // predictions before it speaks
	ddmWarn  = 2.0
	ddmDrift = 3.0
)

// DDM watches the error rate p of predictions that were put to the test: it warns when
// p + s passes the least p + 2s seen, and speaks at p + 3s, where s = √(p(1−p)/n).
// After drift it begins anew.
//
// Source: J. Gama, P. Medas, G. Castillo, P. Rodrigues, Learning with drift detection,
// SBIA 2004, LNAI 3171, pp. 286–295. A beginning without any error sets no least: there
// s would be 0, and the first error ever would be drift.
type DDM struct {
	n, errors int
	p, s      float64 // at the least p + s
	drift     bool
	warning   bool
}

// Observe takes whether a prediction was wrong and reports drift.
func (d *DDM) Observe(wrong bool) bool {
	if d.drift {
		*d = DDM{}
	}
	d.n++
	if wrong {
		d.errors++
	}
	if d.n <= ddmLeast || d.errors == 0 {
		return false
	}
	p, s := d.rate()
	if d.p == 0 || p+s <= d.p+d.s {
		d.p, d.s = p, s
	}
	d.drift = p+s > d.p+ddmDrift*d.s
	d.warning = !d.drift && p+s > d.p+ddmWarn*d.s
	return d.drift
}

func (d *DDM) rate() (p, s float64) {
	if d.n == 0 {
		return 0, 0
	}
	n := float64(d.n)
	p = float64(d.errors) / n
	return p, math.Sqrt(p * (1 - p) / n)
}

// Warning says that drift is near.
func (d *DDM) Warning() bool { return d.warning }

// Statistic returns p + s of the newest observation and where DDM speaks; both are 0
// until it has a least.
func (d *DDM) Statistic() (level, limit float64) {
	if d.p == 0 {
		return 0, 0
	}
	p, s := d.rate()
	return p + s, d.p + ddmDrift*d.s
}
