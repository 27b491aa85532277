package fedavg

import (
	"cmp"
	"slices"
)

// Bulyan picks n−2f updates, one after the other as Krum would of those left,
// and adds the mean of the n−4f numbers of each parameter nearest to their median.
// Unlike Krum's choice, none of its parameters can be far off by itself. Of n ≥ 4f+3
// updates f may hold anything (El Mhamdi et al. 2018, arXiv 1802.07927, section 4).
// Weights do not count.
type Bulyan struct {
	Byzantine int // f ≥ 0
}

// UpdateLayout implements Strategy.
func (Bulyan) UpdateLayout(params Layout) Layout { return params }

// StateLayout implements Strategy.
func (Bulyan) StateLayout(Layout) Layout { return nil }

// Aggregate implements Strategy. All vectors must be Float32. Too few updates are
// a *TooFewError.
func (s Bulyan) Aggregate(global, _ []Vector, updates Updates) (Result, error) {
	c, err := newColumns(global, updates, "Bulyan compares")
	if err != nil {
		return Result{}, err
	}
	f := s.Byzantine
	if least := 4*f + 3; f < 0 || c.n < least {
		return Result{}, &TooFewError{Strategy: "Bulyan", Got: c.n, Want: least}
	}
	d, err := c.distances()
	if err != nil {
		return Result{}, err
	}
	picked := c.pick(d, f, c.n-2*f)
	next, err := c.sortColumns(global, picked, 0, len(picked), func(out *[lanes]float64, keys []int32) {
		nearest(out, keys, len(picked), len(picked)-2*f)
	})
	if err != nil {
		return Result{}, err
	}
	return c.finish(next, nil)
}

// nearest writes the mean of the keep numbers nearest to the median of each of the
// sorted columns; of two as near it keeps the smaller. They are neighbours, so
// dropping the farther end, over and over, leaves them.
func nearest(out *[lanes]float64, keys []int32, n, keep int) {
	at := func(row, i int) float64 { return float64(floatOf(keys[row*lanes+i])) }
	for i := range out {
		median := (at((n-1)/2, i) + at(n/2, i)) / 2
		from, to := 0, n
		for to-from > keep {
			if median-at(from, i) > at(to-1, i)-median {
				from++
			} else {
				to--
			}
		}
		sum := 0.0
		for row := from; row < to; row++ {
			sum += at(row, i)
		}
		out[i] = sum / float64(keep)
	}
}

// neighbour is another update and how far it is.
type neighbour struct {
	square float64
	update int
}

// pick chooses count updates, each the one that Krum scores best of those left.
func (c *columns) pick(d []float64, f, count int) []int {
	near := make([][]neighbour, c.n) // of those left, nearest first
	left := make([]int, c.n)         // by agent, so that the first of equals is always the same
	for i := range near {
		left[i] = i
		for j, x := range d[i*c.n : (i+1)*c.n] {
			if i != j {
				near[i] = append(near[i], neighbour{x, j})
			}
		}
		slices.SortFunc(near[i], func(a, b neighbour) int { return cmp.Compare(a.square, b.square) })
	}
	slices.SortStableFunc(left, func(i, j int) int { return cmp.Compare(c.agents[i], c.agents[j]) })
	var picked []int
	for len(picked) < count {
		best, bestScore := -1, 0.0
		for at, i := range left {
			score := 0.0
			for _, other := range near[i][:min(max(len(left)-f-2, 1), len(near[i]))] {
				score += other.square
			}
			if best < 0 || score < bestScore {
				best, bestScore = at, score
			}
		}
		gone := left[best]
		picked = append(picked, gone)
		left = slices.Delete(left, best, best+1)
		for _, i := range left {
			at := slices.IndexFunc(near[i], func(other neighbour) bool { return other.update == gone })
			near[i] = slices.Delete(near[i], at, at+1)
		}
	}
	return picked
}
