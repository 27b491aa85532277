package fedavg

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// sortedRanks applies the network to columns of n rows and reports whether the
// ranks from ≤ rank < to are right in every lane.
func sortedRanks(n, from, to int, keys []int32) bool {
	got := slices.Clone(keys)
	exchangeAll(got, network(n, from, to))
	for lane := range lanes {
		column := make([]int32, n)
		for row := range column {
			column[row] = keys[row*lanes+lane]
		}
		slices.Sort(column)
		for row := from; row < to; row++ {
			if got[row*lanes+lane] != column[row] {
				return false
			}
		}
	}
	return true
}

// A network that sorts every sequence of 0 and 1 sorts everything (Knuth, The Art
// of Computer Programming 3, 5.3.4, theorem Z).
func TestNetwork_ZeroOne(t *testing.T) {
	for n := 1; n <= 13; n++ {
		for first := 0; first < 1<<n; first += lanes {
			keys := make([]int32, n*lanes)
			for lane := range lanes {
				for row := range n {
					keys[row*lanes+lane] = int32((first + lane) >> row & 1)
				}
			}
			for from := range n {
				if !sortedRanks(n, from, n-from/2, keys) {
					t.Fatalf("%d rows, ranks %d to %d: not sorted", n, from, n-from/2)
				}
			}
		}
	}
}

func TestNetwork_Large(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{31, 32, 33, 100, 257, 1000} {
		keys := make([]int32, n*lanes)
		for i := range keys {
			keys[i] = int32(r.Uint32()) >> (i % 30) // many equal ones in some lanes
		}
		if !sortedRanks(n, 0, n, keys) || !sortedRanks(n, n/2, n/2+1, keys) {
			t.Errorf("%d rows are not sorted", n)
		}
		if all, middle := len(network(n, 0, n)), len(network(n, (n-1)/2, n/2+1)); middle >= all {
			t.Errorf("%d rows: the median takes %d exchanges of %d", n, middle, all)
		}
	}
}

func TestKeys_Order(t *testing.T) {
	xs := []float32{-math.MaxFloat32, -1, -math.SmallestNonzeroFloat32, float32(math.Copysign(0, -1)), 0, math.SmallestNonzeroFloat32, 1, math.MaxFloat32}
	keys := make([]int32, len(xs))
	if top := toKeys(keys, xs); math.Float32frombits(top) != math.MaxFloat32 {
		t.Errorf("largest magnitude is %v", math.Float32frombits(top))
	}
	if !slices.IsSorted(keys) {
		t.Errorf("keys %v", keys)
	}
	for i, k := range keys {
		if fromKey(k) != math.Float32bits(xs[i]) {
			t.Errorf("%v comes back as %v", xs[i], floatOf(k))
		}
	}
}

// allExchanges are all ways to apply a network that this processor has; more in
// files for one architecture.
var allExchanges = map[string]func([]int32, []exchange){"fast": exchangeAllFast}

// The fast loops give the bits of the portable ones.
func TestFastLoops_Agree(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{1, 3, 8, 13, 100} {
		xs := make([]float32, n*lanes)
		for i := range xs {
			xs[i] = math.Float32frombits(r.Uint32())
		}
		for _, size := range []int{len(xs), 1, 7, 9, 31} {
			a, b := make([]int32, len(xs)), make([]int32, len(xs))
			topA, topB := toKeys(a, xs[:size]), toKeysFast(b, xs[:size])
			if topA != topB || !slices.Equal(a, b) {
				t.Fatalf("keys of %d numbers differ", size)
			}
		}
		for i := range xs {
			xs[i] = float32(r.NormFloat64() * math.Exp2(r.NormFloat64()*20))
		}
		a := make([]int32, len(xs))
		toKeys(a, xs)
		unsorted, b := slices.Clone(a), []int32(nil)
		net := network(n, 0, n)
		exchangeAll(a, net)
		for name, exchange := range allExchanges {
			b = slices.Clone(unsorted)
			exchange(b, net)
			if !slices.Equal(a, b) {
				t.Fatalf("%d rows are sorted differently (%s)", n, name)
			}
		}
		sums := [2][lanes]float64{{1, 2, 3}, {1, 2, 3}}
		sumKeys(&sums[0], a)
		sumKeysFast(&sums[1], b)
		if sums[0] != sums[1] {
			t.Fatalf("sums of %d rows differ", n)
		}
		for _, size := range []int{0, 4, 12, 100} {
			var rows [4][]float64
			for k := range rows {
				rows[k] = make([]float64, size)
				for i := range rows[k] {
					rows[k][i] = r.NormFloat64()
				}
			}
			var slow, fast [4]float64
			squares(rows[0], rows[1], rows[2], rows[3], &slow)
			squaresFast(rows[0], rows[1], rows[2], rows[3], &fast)
			if slow != fast {
				t.Fatalf("squares of %d numbers: %v and %v", size, slow, fast)
			}
		}
	}
}
