package model

import "math"

// Statistics of supervised models are sums of products of numbers that have been
// rounded to multiples of 1/snapPerUnit. Such products are multiples of 2^−24,
// so a float64 holds their sums without any rounding up to 2^29: the sum over a
// fleet does not depend, not even in its last bit, on how rows are spread over
// machines, on their order, or on whether the processor fuses multiply and add.
// For standardised values the rounding is 0.00024 of a standard deviation.
const snapPerUnit = 1 << 12

// snap rounds x to a multiple of 1/snapPerUnit, ties to even.
func snap(x float64) float64 { return math.RoundToEven(x*snapPerUnit) / snapPerUnit }

// double is an unevaluated sum hi+lo with |lo| ≤ ulp(hi)/2: some 106 bits.
type double struct{ hi, lo float64 }

// twoSum is a+b exactly (Knuth, TAOCP vol. 2, 4.2.2, theorem B).
func twoSum(a, b float64) double {
	s := a + b
	t := s - a
	return double{s, (a - (s - t)) + (b - t)}
}

// twoProduct is a·b exactly.
func twoProduct(a, b float64) double {
	p := float64(a * b)
	return double{p, math.FMA(a, b, -p)}
}

// plus returns d+e (Dekker 1971, add2, with a full first sum).
func (d double) plus(e double) double {
	s := twoSum(d.hi, e.hi)
	return renormalise(s.hi, s.lo+(d.lo+e.lo))
}

// times returns d·e (Dekker 1971, mul2).
func (d double) times(e double) double {
	p := twoProduct(d.hi, e.hi)
	return renormalise(p.hi, p.lo+(float64(d.hi*e.lo)+float64(d.lo*e.hi)))
}

// over returns d/n (Dekker 1971, div2).
func (d double) over(n float64) double {
	q := d.hi / n
	p := twoProduct(q, n)
	return renormalise(q, (((d.hi-p.hi)-p.lo)+d.lo)/n)
}

func renormalise(hi, lo float64) double {
	s := hi + lo
	return double{s, lo - (s - hi)}
}

// digits is a sum over raw measurements, whose mean may be 10⁵ of their standard
// deviations, in three parts that are multiples of 2²⁰, 2⁻²⁰ and 2⁻⁶⁰. The lower
// two stay below half of the part above, so the parts of 10⁴ machines add up
// without rounding, each on its own, in a float64. (The halves of a double do
// not: the sum of high halves needs more bits than it has.)
type digits [3]float64

func digitUnits() digits { return digits{1 << 20, 1. / (1 << 20), 1. / (1 << 60)} }

// add adds d to the sum, rounded to 2⁻⁶⁰.
func (g *digits) add(d double) {
	for i, unit := range digitUnits() {
		part := math.RoundToEven(d.hi/unit) * unit
		g[i] += part
		d = twoSum(d.hi-part, d.lo)
	}
	for i := len(g) - 1; i > 0; i-- { // carry
		unit := digitUnits()[i-1]
		part := math.RoundToEven(g[i]/unit) * unit
		g[i] -= part
		g[i-1] += part
	}
}

func (g digits) double() double {
	return twoSum(g[0], g[1]).plus(double{g[2], 0})
}
