package fedavg

import "math"

// apply64 adds or subtracts the Float64 segment seg of us to its sums, acc, or
// leaves them as they were.
func apply64(acc []fixed, seg *segment, us []*Update, s sign, scratch *scratch) error {
	old := scratch.keep64(acc)
	for _, u := range us {
		for i, x := range u.Vectors[seg.vector].F64[seg.from:seg.to] {
			if !(math.Abs(x) < fixedLimit) {
				copy(acc, old)
				return &UpdateError{Agent: u.Agent, Err: unusable(seg, i, x)}
			}
			var over bool
			if s == minus {
				acc[i], over = acc[i].sub(toFixed(x))
			} else {
				acc[i], over = acc[i].add(toFixed(x))
			}
			if over {
				copy(acc, old)
				return &UpdateError{Agent: u.Agent, Err: unusable(seg, i, x)}
			}
		}
	}
	return nil
}

// undo64 reverses apply64. Integers wrap, so it needs no checks.
func undo64(acc []fixed, seg *segment, us []*Update, s sign) {
	for _, u := range us {
		for i, x := range u.Vectors[seg.vector].F64[seg.from:seg.to] {
			if s == minus {
				acc[i], _ = acc[i].add(toFixed(x))
			} else {
				acc[i], _ = acc[i].sub(toFixed(x))
			}
		}
	}
}

func unusable(seg *segment, i int, x float64) error {
	name, i := seg.name, seg.from+i
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return &ValueError{Vector: name, Index: i, Value: x}
	}
	return &RangeError{Vector: name, Index: i, Value: x}
}
