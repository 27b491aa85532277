package fedavg

import "errors"

// FedNova averages what a local step achieved, rather than what an agent's many
// or few steps did, so that agents with more steps do not pull the model their
// way: x ← x + (Σ p_k a_k) Σ p_k Δ_k/a_k, where p_k is the share of the weight and
// a_k is Update.Steps, for plain gradient descent the number of local steps (Wang et
// al. 2020, arXiv 2007.07481, equation 6).
type FedNova struct{}

// UpdateLayout implements Strategy.
func (FedNova) UpdateLayout(params Layout) Layout { return params }

// StateLayout implements Strategy.
func (FedNova) StateLayout(Layout) Layout { return nil }

// stepScale keeps weights divided by steps on a fine grid.
const stepScale = 1 << 6

// Aggregate implements Strategy. All vectors must be Float32; an update without
// Steps is an *UpdateError.
func (FedNova) Aggregate(global, _ []Vector, updates Updates) (Result, error) {
	layout, err := layoutFor(global, Float32, "FedNova averages")
	if err != nil {
		return Result{}, err
	}
	steps := fixed{} // Σ n_k a_k
	a, t, err := accumulateAs(layout, updates, func(u *Update) (float64, error) {
		if u.Steps == 0 {
			return 0, errors.New("it does not say of how many local steps it is; train with plain gradient descent")
		}
		x := float64(u.Weight * u.Steps)
		if x >= fixedLimit {
			return 0, &RangeError{Vector: "steps", Value: x}
		}
		var over bool
		if steps, over = steps.add(toFixed(x)); over {
			return 0, &RangeError{Vector: "steps", Value: x}
		}
		return float64(u.Weight * stepScale / u.Steps), nil
	})
	if err != nil {
		return Result{}, err
	}
	weight, err := t.divisor()
	if err != nil {
		return Result{}, err
	}
	scale := steps.float() / weight / (weight * stepScale * unit32)
	next := layout.New()
	a.eachSum(func(k, from int, sums []int64) {
		x, dst := global[k].F32[from:], next[k].F32[from:]
		for i, sum := range sums {
			dst[i] = float32(float64(x[i]) + float64(scale*float64(sum)))
		}
	})
	return t.finish(next, nil)
}
