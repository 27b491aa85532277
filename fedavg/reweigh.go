package fedavg

// equalWeight is the weight of updates that count alike, whatever their rows:
// the larger, the finer the grid their sum is rounded to (see Accumulator).
const equalWeight = 1 << 10

// accumulateAs sums updates of layout under other weights than their own, a
// batch at a time. The totals are those of the updates as they are.
func accumulateAs(layout Layout, updates Updates, weigh func(*Update) (float64, error)) (*Accumulator, *totals, error) {
	a, err := NewAccumulator(layout)
	if err != nil {
		return nil, nil, err
	}
	t := &totals{metrics: map[string]metricSum{}}
	held := make([]*Update, 0, batch)
	flush := func() error {
		err := a.AddAll(held...)
		clear(held)
		held = held[:0]
		return err
	}
	err = updates.Each(func(u *Update) error {
		if err := t.apply([]*Update{u}, layout, plus); err != nil {
			return err
		}
		w, err := weigh(u)
		if err != nil {
			return &UpdateError{Agent: u.Agent, Err: err}
		}
		held = append(held, &Update{Agent: u.Agent, Weight: w, Vectors: u.Vectors})
		if len(held) == batch {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err == nil && t.count == 0 {
		err = ErrNoUpdates
	}
	if err != nil {
		return nil, nil, err
	}
	return a, t, nil
}

// alike weighs every update the same.
func alike(*Update) (float64, error) { return equalWeight, nil }

// eachSum calls fn for every run of Float32 sums, in units of 1/unit32, with
// several goroutines if there are many. Runs do not overlap.
func (a *Accumulator) eachSum(fn func(vector, from int, sums []int64)) {
	// Neither callback fails, so there is no error to return.
	_ = eachSegment(a.segments, 1, &a.scratch, func(seg *segment, _ *scratch) error {
		fn(seg.vector, seg.from, a.sums[seg.vector].f32[seg.from:seg.to])
		return nil
	}, func(*segment) {})
}

// finish is t's result, if its numbers are finite.
func (t *totals) finish(vectors, state []Vector) (Result, error) {
	for _, vs := range [][]Vector{vectors, state} {
		if err := checkFinite(nil, vs); err != nil {
			return Result{}, &StepError{Err: err}
		}
	}
	r := t.result(vectors)
	r.State = state
	return r, nil
}

// StepError says that the next parameters or state would not be finite.
type StepError struct{ Err error }

func (e *StepError) Error() string {
	return "aggregate: the step leads out of the numbers: " + e.Err.Error() + "; lower server_rate"
}

// Unwrap returns the reason.
func (e *StepError) Unwrap() error { return e.Err }
