package fedavg

// Scaffold keeps agents whose data differ from drifting apart: each corrects its
// local steps by the difference of the fleet's control variate c, the state of
// this strategy, and its own, c_k (Karimireddy et al. 2020, arXiv 1910.06378,
// algorithm 1). An agent sends its delta and by how much its own control variate changed:
//
//	x ← x + η/|S| Σ Δ_k      c ← c + 1/N Σ (c_k⁺ − c_k)
//
// Every update counts alike, whatever its weight. The local part is in
// model.TrainOptions.
type Scaffold struct {
	Rate float64 // η > 0
	// Population is N, how many agents there are; 0, or fewer than the round has,
	// stands for those of the round.
	Population int
}

// controlPrefix begins the names of control variates.
const controlPrefix = "control."

// UpdateLayout implements Strategy: the deltas, then "control." for each vector.
func (s Scaffold) UpdateLayout(params Layout) Layout {
	return append(params.prefixed(""), s.StateLayout(params)...)
}

// StateLayout implements Strategy: "control." for each vector.
func (Scaffold) StateLayout(params Layout) Layout { return params.prefixed(controlPrefix) }

// Aggregate implements Strategy. All vectors must be Float32.
func (s Scaffold) Aggregate(global, state []Vector, updates Updates) (Result, error) {
	layout, err := layoutFor(global, Float32, "SCAFFOLD averages")
	if err != nil {
		return Result{}, err
	}
	next := layout.New()
	control, err := copyState(state, s.StateLayout(layout))
	if err != nil {
		return Result{}, err
	}
	a, t, err := accumulateAs(s.UpdateLayout(layout), updates, alike)
	if err != nil {
		return Result{}, err
	}
	const one = float64(equalWeight * unit32)
	step, change := s.Rate/(one*float64(t.count)), 1/(one*float64(max(t.count, s.Population)))
	a.eachSum(func(k, from int, sums []int64) {
		if k < len(next) {
			x, dst := global[k].F32[from:], next[k].F32[from:]
			for i, sum := range sums {
				dst[i] = float32(float64(x[i]) + float64(step*float64(sum)))
			}
			return
		}
		c := control[k-len(next)].F32[from:]
		for i, sum := range sums {
			c[i] = float32(float64(c[i]) + float64(change*float64(sum)))
		}
	})
	return t.finish(next, control)
}
