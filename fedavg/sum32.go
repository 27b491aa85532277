package fedavg

import (
	"math"
	"unsafe"
)

// unit32 is how many units of a Float32 sum make 1.
const unit32 = 1 << 32

// limit32 bounds the magnitude of a Float32 sum, in units.
const limit32 = 1 << 63

// doubt32 is the bound from which on sums are checked number by number. It lies
// below limit32 by far more than what rounding can take from a bound.
const doubt32 = 1 << 62

// apply32 adds or subtracts the Float32 segment seg of us to its sums, acc, or
// leaves them as they were.
//
// The sums are allowed to go wrong first: the loop only notes how large the
// numbers are. If one was not finite or a sum could have overflowed, the segment
// is restored and done again: first with the exact magnitudes, then, where these
// too leave a doubt, number by number.
func apply32(acc []int64, seg *segment, us []*Update, s sign, scratch *scratch) error {
	if seg.bound == 0 {
		// All sums are zero, and perhaps never touched. To write first costs one page
		// fault, to read first two and a flush of the other cores' translations.
		clear(acc)
	}
	old := scratch.keep32(acc)
	if seg.bound < doubt32 {
		if bound := add32(acc, seg, us, s, addFourFast, fastLimit); bound < doubt32 {
			seg.bound = bound
			return nil
		}
		copy(acc, old)
	}
	bound, err := examine32(acc, seg, us)
	if err != nil {
		return err
	}
	if seg.bound = bound; bound < doubt32 {
		add32(acc, seg, us, s, addFour, limit32)
		return nil
	}
	if err := exact32(acc, seg, us, s); err != nil {
		copy(acc, old)
		return err
	}
	return nil
}

// undo32 reverses apply32. Integers wrap, so it needs no checks.
func undo32(acc []int64, seg *segment, us []*Update, s sign) {
	add32(acc, seg, us, !s, addFour, limit32)
	seg.bound = doubt32 // not known until it matters
}

// add32 adds, with four, or subtracts. It returns the new bound, doubt32 if that
// or whether four is right for numbers of this magnitude is in doubt.
func add32(acc []int64, seg *segment, us []*Update, s sign, four func([]int64, *[4][]float32, *[4]float64) uint32, limit float64) uint64 {
	bound := seg.bound
	for len(us) > 0 {
		n := 1
		if len(us) >= 4 {
			n = 4
		}
		var x [4][]float32
		var w [4]float64
		sum, top := 0.0, 0.0
		for k, u := range us[:n] {
			x[k], w[k] = u.Vectors[seg.vector].F32[seg.from:seg.to], u.Weight*unit32
			sum, top = sum+w[k], max(top, w[k])
		}
		var bits uint32
		switch {
		case s == minus:
			for k := range n {
				bits |= subOne(acc, x[k], w[k])
			}
		case n == 4:
			bits = four(acc, &x, &w)
		default:
			bits = addOne(acc, x[0], w[0])
		}
		us = us[n:]
		largest := float64(math.Float32frombits(bits &^ (1 << 31)))
		if !(largest*top < limit) { // true for NaN
			bound = doubt32
		}
		bound = extend(bound, largest*sum)
	}
	return bound
}

// extend adds the magnitude of an addend, in units, to a bound.
func extend(bound uint64, magnitude float64) uint64 {
	if bound >= doubt32 || !(magnitude < doubt32) {
		return doubt32
	}
	return min(bound+uint64(magnitude)+1, doubt32)
}

// examine32 looks at every number of the segment: it returns the bound that
// adding us leads to, doubt32 if it is in doubt, or an error if one is not finite.
func examine32(acc []int64, seg *segment, us []*Update) (uint64, error) {
	bound := uint64(0)
	for _, x := range acc {
		bound = max(bound, magnitude(x))
	}
	for _, u := range us {
		top := uint32(0)
		for _, b := range bitsOf(u.Vectors[seg.vector].F32[seg.from:seg.to]) {
			top = max(top, b&^(1<<31))
		}
		if top >= 0x7f800000 {
			return 0, notFinite(seg, u)
		}
		bound = extend(bound, float64(math.Float32frombits(top))*float64(u.Weight*unit32))
	}
	return min(bound, doubt32), nil
}

func notFinite(seg *segment, u *Update) error {
	for i, x := range u.Vectors[seg.vector].F32[seg.from:seg.to] {
		if x-x != 0 {
			err := &ValueError{Vector: seg.name, Index: seg.from + i, Value: float64(x)}
			return &UpdateError{Agent: u.Agent, Err: err}
		}
	}
	return nil
}

// exact32 adds or subtracts finite numbers one by one, up to the first that
// overflows.
func exact32(acc []int64, seg *segment, us []*Update, s sign) error {
	for _, u := range us {
		for i, x := range u.Vectors[seg.vector].F32[seg.from:seg.to] {
			wx := float64(float64(x) * float64(u.Weight*unit32))
			if s == minus {
				wx = -wx
			}
			sum, over := acc[i], !(math.Abs(wx) < limit32)
			if !over {
				sum += int64(wx)
				over = (acc[i]^sum)&(int64(wx)^sum) < 0
			}
			if over {
				err := &RangeError{Vector: seg.name, Index: seg.from + i, Value: float64(x) * u.Weight}
				return &UpdateError{Agent: u.Agent, Err: err}
			}
			acc[i] = sum
		}
	}
	return nil
}

func magnitude(x int64) uint64 {
	if x < 0 {
		return -uint64(x)
	}
	return uint64(x)
}

// The loops below are written four updates wide so that a sum is loaded and
// stored once for four numbers, and sliced to one length so that the compiler
// drops the bounds checks. Each returns the bits of all numbers joined by or, which
// but for the sign are at least those of the largest magnitude. The bits are loaded through a second view of the same memory: math.Float32bits
// would move every number from a floating-point to an integer register, which
// takes as long as everything else together.

func bitsOf(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

func addOne(acc []int64, x []float32, w float64) (bits uint32) {
	b := bitsOf(x)
	x, b = x[:len(acc)], b[:len(acc)]
	for i := range acc {
		acc[i] += int64(float64(x[i]) * w)
		bits |= b[i]
	}
	return bits
}

func subOne(acc []int64, x []float32, w float64) (bits uint32) {
	b := bitsOf(x)
	x, b = x[:len(acc)], b[:len(acc)]
	for i := range acc {
		acc[i] -= int64(float64(x[i]) * w)
		bits |= b[i]
	}
	return bits
}

func addFour(acc []int64, x *[4][]float32, w *[4]float64) (bits uint32) {
	n := len(acc)
	x0, x1, x2, x3 := x[0][:n], x[1][:n], x[2][:n], x[3][:n]
	b0, b1, b2, b3 := bitsOf(x0)[:n], bitsOf(x1)[:n], bitsOf(x2)[:n], bitsOf(x3)[:n]
	w0, w1, w2, w3 := w[0], w[1], w[2], w[3]
	for i := range acc {
		acc[i] += int64(float64(x0[i])*w0) + int64(float64(x1[i])*w1) +
			int64(float64(x2[i])*w2) + int64(float64(x3[i])*w3)
		bits |= b0[i] | b1[i] | b2[i] | b3[i]
	}
	return bits
}
