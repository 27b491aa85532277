package fedavg

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
