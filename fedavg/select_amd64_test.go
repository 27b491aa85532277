package fedavg

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/cpu"
)

// The ranks found are those of sorting, whatever the numbers: many equal ones, both
// zeros, the smallest and the largest.
func TestMiddleFast(t *testing.T) {
	if !cpu.X86.HasAVX2 {
		t.Skip("needs AVX2")
	}
	r := rand.New(rand.NewPCG(7, 8))
	special := []float32{0, float32(math.Copysign(0, -1)), math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, -1, 1}
	for _, n := range []int{selectFrom, selectFrom + 1, 1777} {
		keys := make([]int32, n*lanes)
		for i := range keys {
			x := float32(r.NormFloat64()) * 0.01
			if lane := i % lanes; r.IntN(lanes) < lane { // more of them from lane to lane
				x = special[r.IntN(1+lane%len(special))]
			}
			keys[i] = toKey(math.Float32bits(x))
		}
		for _, low := range []int{0, (n - 1) / 2, n - 2, n - 1} {
			for high := low; high < min(low+2, n); high++ {
				var atLow, atHigh [lanes]int32
				if !middleFast(keys, low, high, &atLow, &atHigh) {
					t.Fatal("it does not select")
				}
				for lane := range lanes {
					var column []int32
					for row := range n {
						column = append(column, keys[row*lanes+lane])
					}
					slices.Sort(column)
					if atLow[lane] != column[low] || atHigh[lane] != column[high] {
						t.Fatalf("%d rows, lane %d, ranks %d and %d: %d and %d, want %d and %d",
							n, lane, low, high, atLow[lane], atHigh[lane], column[low], column[high])
					}
				}
			}
		}
	}
	if middleFast(make([]int32, (selectFrom-1)*lanes), 0, 0, new([lanes]int32), new([lanes]int32)) {
		t.Error("it selects of so few that sorting is faster")
	}
}
