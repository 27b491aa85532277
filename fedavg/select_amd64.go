package fedavg

import "golang.org/x/sys/cpu"

// selectFrom is from how many rows on finding two ranks takes less than sorting: bisection
// passes over the rows 34 times, a network some log²(rows)/4 times, but mostly in the first cache.
const selectFrom = 768

//go:noescape
func countBelowAVX2(keys *int32, rows int, bounds, counts *[lanes]int32)

//go:noescape
func leastAboveAVX2(keys *int32, rows int, bounds, least *[lanes]int32)

// middleFast finds the numbers of ranks low and high (the same, or the next) of each
// lane without sorting, or returns false if sorting is faster here. It takes as long for
// any data.
func middleFast(keys []int32, low, high int, atLow, atHigh *[lanes]int32) bool {
	rows := len(keys) / lanes
	if rows < selectFrom || !cpu.X86.HasAVX2 {
		return false
	}
	// The number of rank r is the largest bound that at most r keys are below. Its
	// bits are found from the top, as those of an unsigned number of the same order.
	const sign = 1 << 31
	var found [lanes]uint32
	var bounds, counts [lanes]int32
	for bit := uint32(sign); bit != 0; bit >>= 1 {
		for i, f := range found {
			bounds[i] = int32(f | bit ^ sign)
		}
		countBelowAVX2(&keys[0], rows, &bounds, &counts)
		for i, n := range counts {
			if int(n) <= low {
				found[i] |= bit
			}
		}
	}
	for i, f := range found {
		atLow[i] = int32(f ^ sign)
		bounds[i] = atLow[i] + 1 // no finite number has the largest key
	}
	*atHigh = *atLow
	if high == low {
		return true
	}
	countBelowAVX2(&keys[0], rows, &bounds, &counts)
	var next [lanes]int32
	leastAboveAVX2(&keys[0], rows, atLow, &next)
	for i, n := range counts {
		if int(n) <= high { // no other of the same size
			atHigh[i] = next[i]
		}
	}
	return true
}
