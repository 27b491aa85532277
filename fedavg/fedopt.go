package fedavg

import (
	"fmt"
	"math"
	"strings"
)

// FedAvgM is FedAvg with momentum on the server: v ← βv + Δ, x ← x + ηv, where Δ
// is the mean delta by weight (Hsu et al. 2019, arXiv 1909.06335, section 4.3).
// Its state is v.
type FedAvgM struct { //nolint:revive // the name it has everywhere
	Rate     float64 // η > 0
	Momentum float64 // 0 ≤ β < 1
}

// FedAdagrad takes (as FedAdam and FedYogi do) the mean delta by weight, Δ, for a
// gradient: m ← β₁m + (1−β₁)Δ, x ← x + ηm/(√v + τ), from m = 0 and v = τ², without bias
// correction (Reddi et al. 2021, arXiv 2003.00295, algorithm 2). The three differ in v;
// their state is m and v.
//
// Here v ← v + Δ², and β₁ = 0, so that m is Δ and the state is v alone.
type FedAdagrad struct {
	Rate float64 // η > 0
	Tau  float64 // τ > 0: bounds how much a parameter that hardly moves is sped up
}

// FedAdam is FedAdagrad with v ← β₂v + (1−β₂)Δ².
type FedAdam struct {
	Rate         float64 // η > 0
	Beta1, Beta2 float64 // 0 ≤ β < 1
	Tau          float64 // τ > 0
}

// FedYogi is FedAdagrad with v ← v − (1−β₂)Δ² sign(v − Δ²).
type FedYogi struct {
	Rate         float64 // η > 0
	Beta1, Beta2 float64 // 0 ≤ β < 1
	Tau          float64 // τ > 0
}

// The names of state vectors are those of the parameters behind these.
const (
	momentumPrefix = "momentum."
	variancePrefix = "variance."
)

// UpdateLayout implements Strategy.
func (FedAvgM) UpdateLayout(params Layout) Layout { return params }

// StateLayout implements Strategy: "momentum." for each vector.
func (FedAvgM) StateLayout(params Layout) Layout { return params.prefixed(momentumPrefix) }

// Aggregate implements Strategy. All vectors must be Float32.
func (s FedAvgM) Aggregate(global, state []Vector, updates Updates) (Result, error) {
	a, vs, err := optimise(global, state, s.StateLayout(LayoutOf(global)), updates, "FedAvgM averages", 0)
	if err != nil {
		return Result{}, err
	}
	next := a.layout.New()
	unit := a.Weight() * unit32
	a.eachSum(func(k, from int, sums []int64) {
		x, v, dst := global[k].F32[from:], vs[k].F32[from:], next[k].F32[from:]
		for i, sum := range sums {
			moment := float64(s.Momentum*float64(v[i])) + float64(sum)/unit
			v[i], dst[i] = float32(moment), float32(float64(x[i])+float64(s.Rate*moment))
		}
	})
	return a.finish(next, vs)
}

// UpdateLayout implements Strategy.
func (FedAdagrad) UpdateLayout(params Layout) Layout { return params }

// StateLayout implements Strategy: "variance." for each vector.
func (FedAdagrad) StateLayout(params Layout) Layout { return params.prefixed(variancePrefix) }

// Aggregate implements Strategy. All vectors must be Float32.
func (s FedAdagrad) Aggregate(global, state []Vector, updates Updates) (Result, error) {
	a, vs, err := optimise(global, state, s.StateLayout(LayoutOf(global)), updates, "FedAdagrad averages", s.Tau)
	if err != nil {
		return Result{}, err
	}
	next := a.layout.New()
	unit := a.Weight() * unit32
	a.eachSum(func(k, from int, sums []int64) {
		x, v, dst := global[k].F32[from:], vs[k].F32[from:], next[k].F32[from:]
		for i, sum := range sums {
			delta := float64(sum) / unit
			variance := float64(v[i]) + float64(delta*delta)
			v[i], dst[i] = float32(variance), float32(float64(x[i])+float64(s.Rate*delta)/(math.Sqrt(variance)+s.Tau))
		}
	})
	return a.finish(next, vs)
}

// UpdateLayout implements Strategy.
func (FedAdam) UpdateLayout(params Layout) Layout { return params }

// StateLayout implements Strategy: "momentum." for each vector, then "variance.".
func (FedAdam) StateLayout(params Layout) Layout { return momentsLayout(params) }

// Aggregate implements Strategy. All vectors must be Float32.
func (s FedAdam) Aggregate(global, state []Vector, updates Updates) (Result, error) {
	return adapt(global, state, updates, "FedAdam averages", s.Rate, s.Beta1, s.Tau, func(v, square float64) float64 {
		return float64(s.Beta2*v) + float64((1-s.Beta2)*square)
	})
}

// UpdateLayout implements Strategy.
func (FedYogi) UpdateLayout(params Layout) Layout { return params }

// StateLayout implements Strategy: "momentum." for each vector, then "variance.".
func (FedYogi) StateLayout(params Layout) Layout { return momentsLayout(params) }

// Aggregate implements Strategy. All vectors must be Float32.
func (s FedYogi) Aggregate(global, state []Vector, updates Updates) (Result, error) {
	return adapt(global, state, updates, "FedYogi averages", s.Rate, s.Beta1, s.Tau, func(v, square float64) float64 {
		step := float64((1 - s.Beta2) * square)
		switch {
		case v > square:
			return v - step
		case v < square:
			return v + step
		}
		return v
	})
}

func momentsLayout(params Layout) Layout {
	return append(params.prefixed(momentumPrefix), params.prefixed(variancePrefix)...)
}

// adapt is the step that FedAdam and FedYogi share.
func adapt(global, state []Vector, updates Updates, does string, rate, beta1, tau float64, next func(v, square float64) float64) (Result, error) {
	a, vs, err := optimise(global, state, momentsLayout(LayoutOf(global)), updates, does, tau)
	if err != nil {
		return Result{}, err
	}
	params := a.layout.New()
	unit := a.Weight() * unit32
	a.eachSum(func(k, from int, sums []int64) {
		x, dst := global[k].F32[from:], params[k].F32[from:]
		m, v := vs[k].F32[from:], vs[len(global)+k].F32[from:]
		for i, sum := range sums {
			delta := float64(sum) / unit
			moment := float64(beta1*float64(m[i])) + float64((1-beta1)*delta)
			variance := next(float64(v[i]), float64(delta*delta))
			m[i], v[i] = float32(moment), float32(variance)
			dst[i] = float32(float64(x[i]) + float64(rate*moment)/(math.Sqrt(variance)+tau))
		}
	})
	return a.finish(params, vs)
}

// optimise sums the updates and copies the state; where there is none yet,
// variances begin at τ² and everything else at 0.
func optimise(global, state []Vector, layout Layout, updates Updates, does string, tau float64) (*Accumulator, []Vector, error) {
	a, err := accumulate(global, updates, Float32, does)
	if err != nil {
		return nil, nil, err
	}
	if _, err := a.divisor(); err != nil {
		return nil, nil, err
	}
	vs, err := copyState(state, layout)
	if err != nil {
		return nil, nil, err
	}
	for k, spec := range layout {
		if !strings.HasPrefix(spec.Name, variancePrefix) {
			continue
		}
		for i := range vs[k].F32 {
			if state == nil {
				vs[k].F32[i] = float32(tau * tau)
			} else if x := vs[k].F32[i]; x < 0 {
				return nil, nil, fmt.Errorf("aggregate: state of the round before: %w", &ValueError{Vector: spec.Name, Index: i, Value: float64(x)})
			}
		}
	}
	return a, vs, nil
}
