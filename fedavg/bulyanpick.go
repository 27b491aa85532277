package fedavg

import (
	"cmp"
	"math/bits"
	"slices"
)

// pick chooses count updates, each the one that Krum scores best of those left; of
// equals the agent first in alphabetical order. d are the squared distances of all
// from all. For each choice it looks at n/64 + 64 numbers of every update left, not at
// all n, and it holds n² numbers beside d.
func (c *columns) pick(d []float64, f, count int) []int {
	left := make([]int, c.n) // by agent, so that it does not matter in which order updates came
	for i := range left {
		left[i] = i
	}
	slices.SortStableFunc(left, func(i, j int) int { return cmp.Compare(c.agents[i], c.agents[j]) })
	lists := make([]nearList, c.n)
	for _, i := range left {
		lists[i] = newNearList(i, d[i*c.n:(i+1)*c.n], left)
	}
	var picked []int
	for len(picked) < count {
		best, bestScore := -1, 0.0
		for at, i := range left {
			if score := lists[i].sum(max(len(left)-f-2, 1)); best < 0 || score < bestScore {
				best, bestScore = at, score
			}
		}
		gone := left[best]
		picked = append(picked, gone)
		left = slices.Delete(left, best, best+1)
		for _, i := range left {
			lists[i].remove(gone)
		}
	}
	return picked
}

// nearList are the squared distances of one update from others, smallest first, in
// blocks of 64 of which it keeps count and sum. Sums are added up anew when something is
// removed, never subtracted from: one huge distance would take the digits of all others
// with it.
type nearList struct {
	squares []float64
	at      []int32   // where in squares an update's is
	left    []uint64  // a bit for each that is left, by block
	sums    []float64 // of those, by block
}

// newNearList makes the list of update own, given its squared distances and all
// updates in the order that decides between equals.
func newNearList(own int, squares []float64, order []int) nearList {
	others := make([]int32, 0, len(order)-1)
	for _, j := range order {
		if j != own {
			others = append(others, int32(j))
		}
	}
	slices.SortStableFunc(others, func(a, b int32) int { return cmp.Compare(squares[a], squares[b]) })
	blocks := (len(others) + 63) / 64
	l := nearList{make([]float64, len(others)), make([]int32, len(order)), make([]uint64, blocks), make([]float64, blocks)}
	for at, j := range others {
		l.squares[at], l.at[j] = squares[j], int32(at)
		l.left[at/64] |= 1 << (at % 64)
	}
	for b := range l.sums {
		l.sums[b] = l.firstOf(b, 64)
	}
	return l
}

// firstOf adds up the first k of block b that are left.
func (l *nearList) firstOf(b, k int) float64 {
	sum := 0.0
	for m := l.left[b]; m != 0 && k > 0; m, k = m&(m-1), k-1 {
		sum += l.squares[b*64+bits.TrailingZeros64(m)]
	}
	return sum
}

// sum adds up the k smallest that are left, or all if they are fewer.
func (l *nearList) sum(k int) float64 {
	sum := 0.0
	for b, m := range l.left {
		n := bits.OnesCount64(m)
		if n > k {
			return sum + l.firstOf(b, k)
		}
		sum, k = sum+l.sums[b], k-n
	}
	return sum
}

// remove takes out the distance from an update.
func (l *nearList) remove(update int) {
	at := l.at[update]
	b := int(at / 64)
	l.left[b] &^= 1 << (at % 64)
	l.sums[b] = l.firstOf(b, 64)
}
