package fedavg

import "golang.org/x/sys/cpu"

// fastLimit bounds the magnitude, in units, of what addFourFast adds exactly. The
// processor turns four float64 at a time into integers only if they are smaller
// than 2^51.
const fastLimit = 1 << 51

//go:noescape
func addFourAVX2(acc *int64, n int, x *[4]*float32, w *[4]float64) uint32

// addFourFast is addFour, four sums at a time where the processor can. It may
// return smaller bits, since it knows the largest magnitude.
func addFourFast(acc []int64, x *[4][]float32, w *[4]float64) uint32 {
	if !cpu.X86.HasAVX2 {
		return addFour(acc, x, w)
	}
	whole := len(acc) &^ 3
	if whole == 0 {
		return addFour(acc, x, w)
	}
	bits := addFourAVX2(&acc[0], whole, &[4]*float32{&x[0][0], &x[1][0], &x[2][0], &x[3][0]}, w)
	if whole < len(acc) {
		tail := addFour(acc[whole:], &[4][]float32{x[0][whole:], x[1][whole:], x[2][whole:], x[3][whole:]}, w)
		bits = max(bits, tail&^(1<<31))
	}
	return bits
}
