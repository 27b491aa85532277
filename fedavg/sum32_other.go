//go:build !amd64

package fedavg

// fastLimit bounds the magnitude, in units, of what addFourFast adds exactly.
const fastLimit = doubt32

func addFourFast(acc []int64, x *[4][]float32, w *[4]float64) uint32 { return addFour(acc, x, w) }
