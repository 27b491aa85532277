package fedavg

import "golang.org/x/sys/cpu"

//go:noescape
func exchangeAVX2(keys *int32, network *exchange, n int)

//go:noescape
func exchangeAVX512(keys *int32, network *exchange, n int)

//go:noescape
func toKeysAVX2(dst *int32, x *float32, n int) uint32

//go:noescape
func sumKeysAVX2(sums *[lanes]float64, keys *int32, rows int)

//go:noescape
func squaresAVX2(a0, a1, b0, b1 *float64, n int, out *[4]float64)

// The functions below do what those they are named for do, several lanes at a
// time where the processor can, with the same results to the bit.

func exchangeAllFast(keys []int32, network []exchange) {
	switch {
	case len(network) == 0:
	case cpu.X86.HasAVX512F:
		exchangeAVX512(&keys[0], &network[0], len(network))
	case cpu.X86.HasAVX2:
		exchangeAVX2(&keys[0], &network[0], len(network))
	default:
		exchangeAll(keys, network)
	}
}

func toKeysFast(dst []int32, x []float32) uint32 {
	whole := len(x) &^ 7
	if !cpu.X86.HasAVX2 || whole == 0 {
		return toKeys(dst, x)
	}
	dst = dst[:len(x)]
	return max(toKeysAVX2(&dst[0], &x[0], whole), toKeys(dst[whole:], x[whole:]))
}

func sumKeysFast(sums *[lanes]float64, keys []int32) {
	if !cpu.X86.HasAVX2 || len(keys) < lanes {
		sumKeys(sums, keys)
		return
	}
	sumKeysAVX2(sums, &keys[0], len(keys)/lanes)
}

func squaresFast(a0, a1, b0, b1 []float64, out *[4]float64) {
	n := len(a0)
	if !cpu.X86.HasAVX2 || n == 0 {
		squares(a0, a1, b0, b1, out)
		return
	}
	a1, b0, b1 = a1[:n], b0[:n], b1[:n]
	squaresAVX2(&a0[0], &a1[0], &b0[0], &b1[0], n&^3, out)
}
