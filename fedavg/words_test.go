package fedavg

import "unsafe"

// words views an even number of float32 as half as many 64-bit words.
func words(x []float32) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(&x[0])), len(x)/2)
}
