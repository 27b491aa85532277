package fedavg

import (
	"math"
	"math/bits"
)

// fixed is a 128-bit two's complement number in units of 2^−64: hi is the
// integer part (rounded down), lo the fraction. It holds every float64 of
// magnitude 2^−12 to 2^62 exactly, and sums of them.
type fixed struct {
	hi int64
	lo uint64
}

// fixedLimit bounds what may be turned into a fixed.
const fixedLimit = 1 << 62

// toFixed truncates x, |x| < fixedLimit, toward zero to a multiple of 2^−64.
func toFixed(x float64) fixed {
	b := math.Float64bits(x)
	e := int(b >> 52 & 0x7ff)
	m := b&(1<<52-1) | 1<<52 // subnormals get this bit wrongly, and truncate to 0 all the same
	var f fixed
	switch s := e - (1023 + 52 - 64); { // x = ±m·2^s units
	case s <= -53:
		return f
	case s <= 0:
		f.lo = m >> -s
	case s < 64:
		f.hi, f.lo = int64(m>>(64-s)), m<<s
	default:
		f.hi = int64(m << (s - 64))
	}
	if b>>63 != 0 {
		return f.neg()
	}
	return f
}

func (f fixed) neg() fixed {
	lo, borrow := bits.Sub64(0, f.lo, 0)
	return fixed{hi: -f.hi - int64(borrow), lo: lo}
}

// add returns f+g, and whether that overflowed.
func (f fixed) add(g fixed) (fixed, bool) {
	lo, carry := bits.Add64(f.lo, g.lo, 0)
	hi := f.hi + g.hi + int64(carry)
	return fixed{hi: hi, lo: lo}, (f.hi^hi)&(g.hi^hi) < 0
}

// sub returns f−g, and whether that overflowed.
func (f fixed) sub(g fixed) (fixed, bool) {
	lo, borrow := bits.Sub64(f.lo, g.lo, 0)
	hi := f.hi - g.hi - int64(borrow)
	return fixed{hi: hi, lo: lo}, (f.hi^g.hi)&(f.hi^hi) < 0
}

// float returns the float64 nearest to f, ties to even.
func (f fixed) float() float64 {
	negative := f.hi < 0
	if negative {
		f = f.neg() // −2^127 stays itself, and is right as an unsigned magnitude
	}
	hi, lo := uint64(f.hi), f.lo
	if hi|lo == 0 {
		return 0
	}
	shift := bits.LeadingZeros64(hi)
	if hi == 0 {
		shift = 64 + bits.LeadingZeros64(lo)
		hi, lo = lo<<(shift-64), 0
	} else {
		hi, lo = hi<<shift|lo>>(64-shift), lo<<shift
	}
	if lo != 0 {
		hi |= 1 // what was cut off decides only whether a tie is one
	}
	x := math.Ldexp(float64(hi), -shift)
	if negative {
		return -x
	}
	return x
}
