package fedavg

import "sync"

// tileBytes is how much of the updates is sorted at a time: it fits into a core's
// second cache.
const tileBytes = 256 << 10

// sortColumns is reduceColumns with the keys sorted, as far as the ranks from ≤ rank < to
// need it.
func (c *columns) sortColumns(global []Vector, picked []int, from, to int, reduce func(out *[lanes]float64, keys []int32)) ([]Vector, error) {
	net := network(len(picked), from, to)
	return c.reduceColumns(global, picked, func(out *[lanes]float64, keys []int32) {
		exchangeAllFast(keys, net)
		reduce(out, keys)
	})
}

// everyone is what picks all updates.
func (c *columns) everyone() []int {
	all := make([]int, c.n)
	for i := range all {
		all[i] = i
	}
	return all
}

// reduceColumns takes each parameter's numbers of all updates that picked names. It
// calls reduce for lanes parameters at a time, their keys row by row, which reduce may
// change, and adds what reduce makes of them to global.
func (c *columns) reduceColumns(global []Vector, picked []int, reduce func(out *[lanes]float64, keys []int32)) ([]Vector, error) {
	n := len(picked)
	length := max(tileBytes/(4*n)/lanes, 1) * lanes
	next := c.layout.New()
	err := c.each(c.layout.cut(length), func(seg *segment, rows [][]float32, s *scratch) error {
		size := seg.to - seg.from
		tiles := (size + lanes - 1) / lanes
		if len(s.keys) < tiles*lanes*n {
			s.keys = make([]int32, length*n)
		}
		for i, k := range picked {
			top := uint32(0)
			for t := range tiles {
				x := rows[k][t*lanes : min((t+1)*lanes, size)]
				top = max(top, toKeysFast(s.keys[(t*n+i)*lanes:], x))
			}
			if top >= infinite {
				return c.notFinite(seg, rows[k], k)
			}
		}
		x, dst := global[seg.vector].F32[seg.from:seg.to], next[seg.vector].F32[seg.from:seg.to]
		for t := range tiles {
			keys := s.keys[t*n*lanes : (t+1)*n*lanes]
			var out [lanes]float64
			reduce(&out, keys)
			for i := t * lanes; i < min((t+1)*lanes, size); i++ {
				dst[i] = float32(float64(x[i]) + out[i-t*lanes])
			}
		}
		return nil
	})
	return next, err
}

// Median adds the median of each parameter's deltas, whatever their weights: half
// of the updates may hold anything (Yin et al. 2018, arXiv 1803.01498, definition
// 1). Of an even number it is the mean of the middle two.
type Median struct{}

// TrimmedMean drops the ⌊Trim·n⌋ smallest and largest of each parameter's deltas and adds
// the mean of the rest, whatever their weights: so many updates may hold anything
// (Yin et al. 2018, arXiv 1803.01498, definition 2).
type TrimmedMean struct {
	Trim float64 // β, 0 ≤ β < 0.5
}

// UpdateLayout implements Strategy.
func (Median) UpdateLayout(params Layout) Layout { return params }

// StateLayout implements Strategy.
func (Median) StateLayout(Layout) Layout { return nil }

// Aggregate implements Strategy. All vectors must be Float32.
func (Median) Aggregate(global, _ []Vector, updates Updates) (Result, error) {
	c, err := newColumns(global, updates, "Median orders")
	if err != nil {
		return Result{}, err
	}
	next, err := c.medians(global)
	if err != nil {
		return Result{}, err
	}
	return c.finish(next, nil)
}

// medians adds the median of each parameter to global.
func (c *columns) medians(global []Vector) ([]Vector, error) {
	low, high := (c.n-1)/2, c.n/2
	net := sync.OnceValue(func() []exchange { return network(c.n, low, high+1) })
	return c.reduceColumns(global, c.everyone(), func(out *[lanes]float64, keys []int32) {
		var atLow, atHigh [lanes]int32
		if !middleFast(keys, low, high, &atLow, &atHigh) {
			exchangeAllFast(keys, net())
			copy(atLow[:], keys[low*lanes:])
			copy(atHigh[:], keys[high*lanes:])
		}
		for i := range out {
			out[i] = (float64(floatOf(atLow[i])) + float64(floatOf(atHigh[i]))) / 2
		}
	})
}

// UpdateLayout implements Strategy.
func (TrimmedMean) UpdateLayout(params Layout) Layout { return params }

// StateLayout implements Strategy.
func (TrimmedMean) StateLayout(Layout) Layout { return nil }

// Aggregate implements Strategy. All vectors must be Float32.
func (s TrimmedMean) Aggregate(global, _ []Vector, updates Updates) (Result, error) {
	c, err := newColumns(global, updates, "TrimmedMean orders")
	if err != nil {
		return Result{}, err
	}
	drop := int(s.Trim*float64(c.n) + 1e-9) // 0.29·100 is 28.999…
	if !(s.Trim >= 0 && 2*drop < c.n) {
		return Result{}, &TooFewError{Strategy: "TrimmedMean", Got: c.n, Want: 2*drop + 1}
	}
	kept := float64(c.n - 2*drop)
	next, err := c.sortColumns(global, c.everyone(), drop, c.n-drop, func(out *[lanes]float64, keys []int32) {
		sumKeysFast(out, keys[drop*lanes:(c.n-drop)*lanes])
		for i := range out {
			out[i] /= kept
		}
	})
	if err != nil {
		return Result{}, err
	}
	return c.finish(next, nil)
}
