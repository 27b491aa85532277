package fedavg

import (
	"fmt"
	"slices"
)

// Sum writes the sums into dst, which must have the accumulator's layout; nil
// allocates. Float32 vectors become Σ weight·x, Float64 vectors Σ x.
func (a *Accumulator) Sum(dst []Vector) ([]Vector, error) { return a.read(dst, nil, 1) }

// Mean writes the sums over the weight into dst, which must have the
// accumulator's layout; nil allocates. A Float32 vector becomes Σ weight·x / Σ weight,
// the mean by weight; a Float64 vector, itself a sum over Weight rows,
// becomes Σ x / Σ weight, the mean over rows. No updates are ErrNoUpdates.
func (a *Accumulator) Mean(dst []Vector) ([]Vector, error) { return a.addMean(dst, nil) }

// addMean writes global (zero if nil) plus the mean.
func (a *Accumulator) addMean(dst, global []Vector) ([]Vector, error) {
	weight, err := a.divisor()
	if err != nil {
		return nil, err
	}
	return a.read(dst, global, weight)
}

// read writes global + sums/divisor. Every operation rounds by itself, so that
// no processor can fuse two.
func (a *Accumulator) read(dst, global []Vector, divisor float64) ([]Vector, error) {
	if dst == nil {
		dst = a.layout.New()
	} else if err := a.layout.Check(dst); err != nil {
		return nil, fmt.Errorf("read accumulator: destination: %w", err)
	}
	if global != nil {
		if err := a.layout.Check(global); err != nil {
			return nil, fmt.Errorf("read accumulator: global parameters: %w", err)
		}
	}
	unit := divisor * unit32
	return dst, eachSegment(a.segments, 1, &a.scratch, func(seg *segment, _ *scratch) error {
		v := seg.vector
		if out := dst[v].F64; out != nil {
			out = out[seg.from:seg.to]
			for i, sum := range a.sums[v].f64[seg.from:seg.to] {
				out[i] = sum.float() / divisor
			}
			if global != nil {
				for i, x := range global[v].F64[seg.from:seg.to] {
					out[i] = x + out[i]
				}
			}
			return nil
		}
		var x []float32
		if global != nil {
			x = global[v].F32[seg.from:seg.to]
		}
		divide32(dst[v].F32[seg.from:seg.to], x, a.sums[v].f32[seg.from:seg.to], unit)
		return nil
	}, func(*segment) {})
}

// divide32 writes x (zero if nil) plus sums/unit.
func divide32(dst, x []float32, sums []int64, unit float64) {
	if x == nil {
		for i := range dst {
			dst[i] = float32(float64(sums[i]) / unit)
		}
		return
	}
	for i := range dst {
		dst[i] = float32(float64(x[i]) + float64(float64(sums[i])/unit))
	}
}

// Merge adds what b holds, as if its updates had been added here, or leaves a as
// it was: a layout that differs is a *ShapeError, a sum too large a *RangeError.
// b is not changed.
func (a *Accumulator) Merge(b *Accumulator) error {
	if !slices.Equal(a.layout, b.layout) {
		return fmt.Errorf("merge accumulators: %w", a.layout.compare(b.layout))
	}
	after := a.clone()
	err := after.merge(&b.totals)
	if err != nil {
		return fmt.Errorf("merge accumulators: %w", err)
	}
	err = eachSegment(a.segments, 1, &a.scratch,
		func(seg *segment, old *scratch) error { return a.mergeSegment(b, seg, old) },
		func(seg *segment) { a.unmergeSegment(b, seg) })
	if err != nil {
		return fmt.Errorf("merge accumulators: %w", err)
	}
	a.totals = after
	return nil
}

func (a *Accumulator) mergeSegment(b *Accumulator, seg *segment, scratch *scratch) error {
	v := seg.vector
	var over bool
	if mine := a.sums[v].f64; mine != nil {
		mine = mine[seg.from:seg.to]
		old := scratch.keep64(mine)
		for i, x := range b.sums[v].f64[seg.from:seg.to] {
			if mine[i], over = mine[i].add(x); over {
				copy(mine, old)
				return &RangeError{Vector: a.layout[v].Name, Index: seg.from + i, Value: x.float()}
			}
		}
		return nil
	}
	mine := a.sums[v].f32[seg.from:seg.to]
	old := scratch.keep32(mine)
	seg.bound = doubt32 // not known until it matters
	for i, x := range b.sums[v].f32[seg.from:seg.to] {
		sum := mine[i] + x
		if (mine[i]^sum)&(x^sum) < 0 {
			copy(mine, old)
			return &RangeError{Vector: a.layout[v].Name, Index: seg.from + i, Value: float64(x) / unit32}
		}
		mine[i] = sum
	}
	return nil
}

// unmergeSegment reverses mergeSegment. Integers wrap, so it needs no checks.
func (a *Accumulator) unmergeSegment(b *Accumulator, seg *segment) {
	v := seg.vector
	for i := seg.from; i < seg.to; i++ {
		if a.sums[v].f64 != nil {
			a.sums[v].f64[i], _ = a.sums[v].f64[i].sub(b.sums[v].f64[i])
		} else {
			a.sums[v].f32[i] -= b.sums[v].f32[i]
		}
	}
}
