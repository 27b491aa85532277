package fedavg

import "fmt"

// batch is how many updates a strategy holds at a time: enough to spend most of
// the memory's bandwidth on them, few enough to stay O(parameters).
const batch = 8

// Aggregate implements Strategy. All vectors must be Float32.
func (FedAvg) Aggregate(global []Vector, updates Updates) (Result, error) {
	a, err := accumulate(global, updates, Float32, "FedAvg averages")
	if err != nil {
		return Result{}, err
	}
	vectors, err := a.addMean(nil, global)
	if err != nil {
		return Result{}, err
	}
	return a.result(vectors), nil
}

// Aggregate implements Strategy. All vectors must be Float64.
func (Sum) Aggregate(global []Vector, updates Updates) (Result, error) {
	a, err := accumulate(global, updates, Float64, "Sum adds")
	if err != nil {
		return Result{}, err
	}
	vectors, err := a.Sum(nil)
	if err != nil {
		return Result{}, err
	}
	return a.result(vectors), nil
}

func (a *Accumulator) result(vectors []Vector) Result {
	return Result{Vectors: vectors, Weight: a.Weight(), Participants: a.count, Metrics: a.Metrics()}
}

// accumulate sums updates, a batch at a time.
func accumulate(global []Vector, updates Updates, want DType, does string) (*Accumulator, error) {
	layout := LayoutOf(global)
	for _, s := range layout {
		if s.DType != want {
			return nil, fmt.Errorf("aggregate: %s %v vectors, but %q is %v", does, want, s.Name, s.DType)
		}
	}
	a, err := NewAccumulator(layout)
	if err != nil {
		return nil, fmt.Errorf("aggregate: %w", err)
	}
	if all, ok := updates.(Slice); ok { // in memory anyway
		if len(all) == 0 {
			return nil, ErrNoUpdates
		}
		return a, a.AddAll(all...)
	}
	held := make([]*Update, 0, batch)
	err = updates.Each(func(u *Update) error {
		if held = append(held, u); len(held) < batch {
			return nil
		}
		err := a.AddAll(held...)
		clear(held)
		held = held[:0]
		return err
	})
	if err == nil {
		err = a.AddAll(held...)
	}
	if err == nil && a.count == 0 {
		err = ErrNoUpdates
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}
