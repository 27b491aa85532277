package fedavg

import "math"

// apply64 adds or subtracts one Float64 segment of us, or leaves it as it was.
func (a *Accumulator) apply64(seg *segment, us []*Update, s sign, scratch *scratch) error {
	acc := a.sums[seg.vector].f64[seg.from:seg.to]
	old := scratch.keep64(acc)
	for _, u := range us {
		for i, x := range u.Vectors[seg.vector].F64[seg.from:seg.to] {
			if !(math.Abs(x) < fixedLimit) {
				copy(acc, old)
				return &UpdateError{Agent: u.Agent, Err: a.unusable(seg, i, x)}
			}
			var over bool
			if s == minus {
				acc[i], over = acc[i].sub(toFixed(x))
			} else {
				acc[i], over = acc[i].add(toFixed(x))
			}
			if over {
				copy(acc, old)
				return &UpdateError{Agent: u.Agent, Err: a.unusable(seg, i, x)}
			}
		}
	}
	return nil
}

// undo64 reverses apply64. Integers wrap, so it needs no checks.
func (a *Accumulator) undo64(seg *segment, us []*Update, s sign) {
	acc := a.sums[seg.vector].f64[seg.from:seg.to]
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

func (a *Accumulator) unusable(seg *segment, i int, x float64) error {
	name, i := a.layout[seg.vector].Name, seg.from+i
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return &ValueError{Vector: name, Index: i, Value: x}
	}
	return &RangeError{Vector: name, Index: i, Value: x}
}
