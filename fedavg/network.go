package fedavg

import "math/bits"

// lanes is how many columns are sorted at a time, each row of them 128 bytes.
const lanes = 32

// exchange puts the smaller of two rows' keys, lane by lane, into row lo and the larger
// into row hi. Both are counted in bytes from the first row.
type exchange struct{ lo, hi uint32 }

// network returns the exchanges that sort n rows: Batcher's merge exchange
// (Knuth, The Art of Computer Programming 3, 5.2.2, algorithm M), O(n log² n) of
// them and the same for all data, without those that rows from ≤ row < to do not depend on.
func network(n, from, to int) []exchange {
	var all []exchange
	top := 1 << max(bits.Len(uint(n-1))-1, 0)
	for p := top; p > 0; p /= 2 {
		for q, r, d := top, 0, p; ; q, r, d = q/2, p, q-p {
			for i := 0; i < n-d; i++ {
				if i&p == r {
					all = append(all, exchange{uint32(i), uint32(i + d)})
				}
			}
			if q == p {
				break
			}
		}
	}
	needed := make([]bool, n)
	for i := from; i < to; i++ {
		needed[i] = true
	}
	at := len(all)
	for i := len(all) - 1; i >= 0; i-- {
		e := all[i]
		if needed[e.lo] || needed[e.hi] {
			needed[e.lo], needed[e.hi] = true, true
			at--
			all[at] = exchange{e.lo * lanes * 4, e.hi * lanes * 4}
		}
	}
	return all[at:]
}

// exchangeAll applies the network to rows of lanes keys.
func exchangeAll(keys []int32, network []exchange) {
	for _, e := range network {
		lo, hi := keys[e.lo/4:e.lo/4+lanes], keys[e.hi/4:e.hi/4+lanes]
		for i, x := range lo {
			y := hi[i]
			lo[i], hi[i] = min(x, y), max(x, y)
		}
	}
}

// toKey turns the bits of a float32 into an integer of the same order, −0 before
// +0; fromKey turns it back.
func toKey(b uint32) int32 { return int32(b) ^ int32(uint32(int32(b)>>31)>>1) }

func fromKey(k int32) uint32 { return uint32(k ^ int32(uint32(k>>31)>>1)) }

// toKeys writes the keys of x to dst, and returns the largest magnitude's bits.
func toKeys(dst []int32, x []float32) (top uint32) {
	dst = dst[:len(x)]
	for i, b := range bitsOf(x) {
		dst[i] = toKey(b)
		top = max(top, b&^(1<<31))
	}
	return top
}

// sumKeys adds the numbers of rows of lanes keys to sums, one row after the other.
func sumKeys(sums *[lanes]float64, keys []int32) {
	for ; len(keys) >= lanes; keys = keys[lanes:] {
		for i, k := range keys[:lanes] {
			sums[i] += float64(floatOf(k))
		}
	}
}
