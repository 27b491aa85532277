package fedavg

import (
	"math"
	"slices"
)

// blend is a weighted mean of updates under any weights ≥ 0, not all 0.
type blend struct {
	sums *Accumulator
	unit float64 // what divides its sums
}

// blend averages the updates. Unlike FedAvg it refuses no magnitude: the grid
// that sums are rounded to is as fine as the largest number times its weight
// allows, far below what a float32 resolves of it. So one huge update among those that count
// costs the others precision, never the round.
func (c *columns) blend(weights []float64) (*blend, error) {
	tops, err := c.magnitudes()
	if err != nil {
		return nil, err
	}
	bounds := make([]float64, c.n)
	for i, w := range weights {
		bounds[i] = w * tops[i]
	}
	// Powers of two scale without rounding: to sums up to 2^18, which the fast loops
	// take, but to no weight beyond what a total of them can hold.
	scale := powerUpTo(1<<18, sortedTotal(bounds), powerUpTo(1<<55, sortedTotal(weights), math.Inf(1)))
	a, err := NewAccumulator(c.layout)
	if err != nil {
		return nil, err
	}
	var held []*Update
	i := 0
	err = c.updates.Each(func(u *Update) error {
		if i == c.n || u.Agent != c.agents[i] {
			return errChanged
		}
		// A weight too small to tell from 0 beside the others counts as 0.
		if w := weights[i] * scale; w > 0x1p-500 && tops[i] > 0 {
			held = append(held, &Update{Agent: u.Agent, Weight: w, Vectors: u.Vectors})
		}
		i++
		if len(held) < batch || c.all != nil { // in memory anyway
			return nil
		}
		err := a.AddAll(held...)
		clear(held)
		held = held[:0]
		return err
	})
	if err == nil {
		err = a.AddAll(held...)
	}
	if err != nil {
		return nil, err
	}
	return &blend{sums: a, unit: sortedTotal(weights) * scale * unit32}, nil
}

// powerUpTo returns the largest power of two, at most most, that times x is no
// more than limit; most if x is 0.
func powerUpTo(limit, x, most float64) float64 {
	if x == 0 {
		return most
	}
	_, e := math.Frexp(x / limit)
	return min(math.Ldexp(1, -e), most)
}

// sortedTotal is the sum of x, the same in whatever order.
func sortedTotal(x []float64) float64 {
	x = slices.Clone(x)
	slices.Sort(x)
	return total(x)
}

// step returns global plus the mean.
func (b *blend) step(global []Vector) []Vector {
	next := b.sums.layout.New()
	b.sums.eachSum(func(k, from int, sums []int64) {
		x, dst := global[k].F32[from:], next[k].F32[from:]
		for i, sum := range sums {
			dst[i] = float32(float64(x[i]) + float64(sum)/b.unit)
		}
	})
	return next
}

// magnitudes returns the largest magnitude in each update, and finds numbers
// that are not finite.
func (c *columns) magnitudes() ([]float64, error) {
	if c.tops != nil {
		return c.tops, nil
	}
	tops, err := c.measure(func(_ *segment, x []float32) float64 {
		top := uint32(0)
		for _, b := range bitsOf(x) {
			top = max(top, b&^(1<<31))
		}
		if top >= infinite {
			return math.Inf(1)
		}
		return float64(math.Float32frombits(top))
	}, slices.Max[[]float64])
	if err != nil {
		return nil, err
	}
	if slices.Max(tops) > math.MaxFloat32 {
		return nil, c.verify()
	}
	c.tops = tops
	return tops, nil
}

// measure calls part for every segment of every update, with several goroutines,
// and returns for each update what join makes of its parts, which are in order.
func (c *columns) measure(part func(seg *segment, x []float32) float64, join func(parts []float64) float64) ([]float64, error) {
	segments := c.layout.segments()
	for i := range segments {
		segments[i].start = i
	}
	parts := make([]float64, len(segments))
	measured := make([]float64, 0, c.n)
	own := new(scratch)
	err := c.updates.Each(func(u *Update) error {
		if err := u.verifyScalars(c.layout); err != nil {
			return &UpdateError{Agent: u.Agent, Err: err}
		}
		err := eachSegment(segments, 4, own, func(seg *segment, _ *scratch) error {
			parts[seg.start] = part(seg, u.Vectors[seg.vector].F32[seg.from:seg.to])
			return nil
		}, func(*segment) {})
		measured = append(measured, join(parts))
		return err
	})
	if err == nil && len(measured) != c.n {
		err = errChanged
	}
	return measured, err
}
