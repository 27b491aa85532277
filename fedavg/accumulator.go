package fedavg

import (
	"errors"
	"fmt"
	"slices"
)

// Accumulator sums updates of one layout. Its memory is O(parameters), however
// many updates it is given.
//
// Sums are integers, so that they are the same, bit for bit, in any order and
// any grouping of updates, on every processor:
//
//   - Float32 vectors are summed times the update's weight, in 64 bits, in units
//     of 2^−32: weight·x is rounded to float64 and then toward zero. A mean is
//     therefore off by at most 2^−32·(updates/weight), less than the resolution
//     of a float32 parameter above 0.004 even when every weight is 1.
//     |Σ weight·x| must stay below 2^31; what could exceed it is refused.
//   - Float64 vectors (statistics) are summed as they are, without the weight,
//     in 128 bits, in units of 2^−64: exact for magnitudes from 2^−12 to 2^62,
//     the limit; smaller ones are rounded toward zero.
//   - The weight, and each metric times the weight, likewise in 128 bits.
//
// Weights are meant to be counts. Much smaller ones cost precision.
//
// An Accumulator is for one goroutine at a time; inside, large updates use
// GOMAXPROCS of them.
type Accumulator struct {
	layout   Layout
	sums     []vectorSum
	segments []segment
	scratch  scratch // of the calling goroutine
	totals
}

// vectorSum is the sum of one vector; one of the slices is set.
type vectorSum struct {
	f32 []int64
	f64 []fixed
}

// NewAccumulator returns an empty accumulator, or an error if layout is none
// (see Layout.Validate).
func NewAccumulator(layout Layout) (*Accumulator, error) {
	if err := layout.Validate(); err != nil {
		return nil, fmt.Errorf("make accumulator: %w", err)
	}
	a := &Accumulator{layout: slices.Clone(layout), sums: make([]vectorSum, len(layout)), segments: layout.segments()}
	a.metrics = map[string]metricSum{}
	for i, s := range layout {
		if s.DType == Float64 {
			a.sums[i].f64 = make([]fixed, s.Len)
		} else {
			a.sums[i].f32 = make([]int64, s.Len)
		}
	}
	return a, nil
}

// Layout returns the layout of the updates that a sums.
func (a *Accumulator) Layout() Layout { return slices.Clone(a.layout) }

// Add adds u, or leaves a as it was and returns an error: one of Update.Verify,
// or a *RangeError. It verifies u itself.
func (a *Accumulator) Add(u *Update) error { return unnamed(a.apply([]*Update{u}, plus)) }

// AddAll adds all updates, or leaves a as it was and returns an *UpdateError
// that names the first offender. It is faster than one Add after the other: sums
// are read and written once per call, so that memory bandwidth goes to the
// updates.
func (a *Accumulator) AddAll(us ...*Update) error { return a.apply(us, plus) }

// Sub takes u, which must have been added, out again: the result is the same
// as if it never had been. Errors are those of Add, and a stays as it was.
func (a *Accumulator) Sub(u *Update) error { return unnamed(a.apply([]*Update{u}, minus)) }

// unnamed drops the agent's name, which the caller of a single update knows.
func unnamed(err error) error {
	if named := (*UpdateError)(nil); errors.As(err, &named) {
		return named.Err
	}
	return err
}

// sign says whether updates go in or out.
type sign bool

const (
	plus  sign = false
	minus sign = true
)

func (a *Accumulator) apply(us []*Update, s sign) error {
	after := a.clone()
	if err := after.apply(us, a.layout, s); err != nil {
		return err
	}
	err := eachSegment(a.segments, len(us), &a.scratch, func(seg *segment, scratch *scratch) error {
		if f64 := a.sums[seg.vector].f64; f64 != nil {
			return apply64(f64[seg.from:seg.to], seg, us, s, scratch)
		}
		return apply32(a.sums[seg.vector].f32[seg.from:seg.to], seg, us, s, scratch)
	}, func(seg *segment) {
		if f64 := a.sums[seg.vector].f64; f64 != nil {
			undo64(f64[seg.from:seg.to], seg, us, s)
		} else {
			undo32(a.sums[seg.vector].f32[seg.from:seg.to], seg, us, s)
		}
	})
	if err != nil {
		return err
	}
	a.totals = after
	return nil
}
