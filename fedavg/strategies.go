package fedavg

import "fmt"

// batch is how many updates a strategy holds at a time: enough to spend most of
// the memory's bandwidth on them, few enough to stay O(parameters).
const batch = 8

// UpdateLayout implements Strategy.
func (FedAvg) UpdateLayout(params Layout) Layout { return params }

// StateLayout implements Strategy.
func (FedAvg) StateLayout(Layout) Layout { return nil }

// Aggregate implements Strategy. All vectors must be Float32.
func (FedAvg) Aggregate(global, _ []Vector, updates Updates) (Result, error) {
	if all, ok := updates.(Slice); ok {
		return average(global, all)
	}
	a, err := accumulate(global, updates, Float32, averages)
	if err != nil {
		return Result{}, err
	}
	vectors, err := a.addMean(nil, global)
	if err != nil {
		return Result{}, err
	}
	return a.result(vectors), nil
}

// average is Aggregate for updates that are all in memory: each segment is summed
// in a core's own cache and divided at once, so that no sums pass through memory.
func average(global []Vector, us []*Update) (Result, error) {
	layout, err := layoutFor(global, Float32, averages)
	if err != nil {
		return Result{}, err
	}
	t := totals{metrics: map[string]metricSum{}}
	if err := t.apply(us, layout, plus); err != nil {
		return Result{}, err
	}
	weight, err := t.divisor()
	if err != nil {
		return Result{}, err
	}
	dst := layout.New()
	err = eachSegment(layout.segments(), len(us), new(scratch), func(seg *segment, scratch *scratch) error {
		sums := scratch.zero32(seg.to - seg.from)
		if err := apply32(sums, seg, us, plus, scratch); err != nil {
			return err
		}
		divide32(dst[seg.vector].F32[seg.from:seg.to], global[seg.vector].F32[seg.from:seg.to], sums, weight*unit32)
		return nil
	}, func(*segment) {})
	if err != nil {
		return Result{}, err
	}
	return t.result(dst), nil
}

// UpdateLayout implements Strategy.
func (Sum) UpdateLayout(params Layout) Layout { return params }

// StateLayout implements Strategy.
func (Sum) StateLayout(Layout) Layout { return nil }

// Aggregate implements Strategy. All vectors must be Float64.
func (Sum) Aggregate(global, _ []Vector, updates Updates) (Result, error) {
	a, err := accumulate(global, updates, Float64, adds)
	if err != nil {
		return Result{}, err
	}
	vectors, err := a.Sum(nil)
	if err != nil {
		return Result{}, err
	}
	return a.result(vectors), nil
}

func (t *totals) result(vectors []Vector) Result {
	return Result{Vectors: vectors, Weight: t.Weight(), Participants: t.count, Metrics: t.Metrics(), Data: t.Data()}
}

// What a strategy does with vectors, for messages.
const (
	averages = "FedAvg averages"
	adds     = "Sum adds"
)

// layoutFor returns the layout of global, whose vectors must be of type want.
func layoutFor(global []Vector, want DType, does string) (Layout, error) {
	layout := LayoutOf(global)
	if err := layout.Check(global); err != nil {
		return nil, fmt.Errorf("aggregate: global parameters: %w", err)
	}
	for _, s := range layout {
		if s.DType != want {
			return nil, fmt.Errorf("aggregate: %s %v vectors, but %q is %v", does, want, s.Name, s.DType)
		}
	}
	if err := layout.Validate(); err != nil {
		return nil, fmt.Errorf("aggregate: global parameters: %w", err)
	}
	return layout, nil
}

// accumulate sums updates, a batch at a time.
func accumulate(global []Vector, updates Updates, want DType, does string) (*Accumulator, error) {
	layout, err := layoutFor(global, want, does)
	if err != nil {
		return nil, err
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
