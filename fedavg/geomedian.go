package fedavg

import (
	"math"
	"slices"
)

// GeometricMedian adds the point whose distances to the updates' deltas, times
// their weights, have the smallest sum: less than half of the weight may hold
// anything (RFA, Pillutla et al. 2022, arXiv 1912.13445, algorithm 2). It is found
// by the smoothed Weiszfeld iteration, z ← Σ β_k Δ_k / Σ β_k with
// β_k = α_k/max(ν, ‖z−Δ_k‖), α_k the weight and ν = 10⁻⁶, until z moves by less than a
// 10⁻⁵th of the median distance, or for 50 iterations. Where the paper starts at the mean it
// starts at the median of each parameter: a single update of 10³⁰ puts the mean so far out that the way back
// takes a hundred iterations. It goes twice through the updates in each.
type GeometricMedian struct{}

const (
	geometricSmoothing  = 1e-6
	geometricTolerance  = 1e-5
	geometricIterations = 50
)

// UpdateLayout implements Strategy.
func (GeometricMedian) UpdateLayout(params Layout) Layout { return params }

// StateLayout implements Strategy.
func (GeometricMedian) StateLayout(Layout) Layout { return nil }

// Aggregate implements Strategy. All vectors must be Float32.
func (GeometricMedian) Aggregate(global, _ []Vector, updates Updates) (Result, error) {
	c, err := newColumns(global, updates, "GeometricMedian measures")
	if err != nil {
		return Result{}, err
	}
	z, err := c.medianPoint()
	if err != nil {
		return Result{}, err
	}
	next := newPoint(c.layout)
	// Weights relative to the largest cannot overflow.
	_, e := math.Frexp(slices.Max(c.weights))
	beta := make([]float64, c.n)
	for range geometricIterations {
		d, err := c.from(z)
		if err != nil {
			return Result{}, err
		}
		for i, w := range c.weights {
			beta[i] = math.Ldexp(w, -e) / max(geometricSmoothing, d[i])
		}
		mean, err := c.blend(beta)
		if err != nil {
			return Result{}, err
		}
		mean.write(next)
		slices.Sort(d)
		moved := z.distance(next)
		z, next = next, z
		if moved <= geometricTolerance*max(geometricSmoothing, d[c.n/2]) {
			break
		}
	}
	return c.finish(z.step(c.layout, global), nil)
}

// point is one float64 for each parameter, by vector.
type point [][]float64

func newPoint(layout Layout) point {
	p := make(point, len(layout))
	for i, s := range layout {
		p[i] = make([]float64, s.Len)
	}
	return p
}

// medianPoint is the median of each parameter.
func (c *columns) medianPoint() (point, error) {
	vectors, err := c.medians(c.layout.New())
	if err != nil {
		return nil, err
	}
	p := newPoint(c.layout)
	for k, v := range vectors {
		for i, x := range v.F32 {
			p[k][i] = float64(x)
		}
	}
	return p, nil
}

// write makes p the mean.
func (b *blend) write(p point) {
	b.sums.eachSum(func(k, from int, sums []int64) {
		dst := p[k][from:]
		for i, sum := range sums {
			dst[i] = float64(sum) / b.unit
		}
	})
}

// step returns global plus p.
func (p point) step(layout Layout, global []Vector) []Vector {
	next := layout.New()
	for k, dst := range next {
		for i, x := range global[k].F32 {
			dst.F32[i] = float32(float64(x) + p[k][i])
		}
	}
	return next
}

func (p point) distance(q point) float64 {
	s := 0.0
	for k, a := range p {
		for i, x := range q[k] {
			d := a[i] - x
			s += float64(d * d)
		}
	}
	return math.Sqrt(s)
}

// from returns the distance of every update from p.
func (c *columns) from(p point) ([]float64, error) {
	return c.measure(func(seg *segment, x []float32) float64 {
		return squaresFrom(p[seg.vector][seg.from:seg.to], x)
	}, func(parts []float64) float64 { return math.Sqrt(total(parts)) })
}

// squaresFrom returns Σ (p − x)².
func squaresFrom(p []float64, x []float32) float64 {
	x = x[:len(p)]
	var s [4]float64
	for ; len(p) >= 4; p, x = p[4:], x[4:] {
		d0, d1, d2, d3 := p[0]-float64(x[0]), p[1]-float64(x[1]), p[2]-float64(x[2]), p[3]-float64(x[3])
		s[0] += float64(d0 * d0)
		s[1] += float64(d1 * d1)
		s[2] += float64(d2 * d2)
		s[3] += float64(d3 * d3)
	}
	for i, v := range p {
		d := v - float64(x[i])
		s[i] += float64(d * d)
	}
	return (s[0] + s[1]) + (s[2] + s[3])
}
