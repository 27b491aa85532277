package fedavg

import (
	"fmt"
	"math"
)

// FedBuff adds the updates of a buffer of K, each discounted by how old the
// version is that it started from: x ← x + η/K Σ s(τ_k)Δ_k, s = StalenessWeight
// (Nguyen et al. 2022, arXiv 2106.06639, algorithm 1). Every update counts alike,
// whatever its weight; K is the number of updates it is given.
type FedBuff struct {
	Rate float64 // η > 0
}

// StalenessWeight is what an update counts that started from a version which so
// many others have followed: 1/√(1+staleness).
func StalenessWeight(staleness int) float64 { return 1 / math.Sqrt(1+float64(staleness)) }

// UpdateLayout implements Strategy.
func (FedBuff) UpdateLayout(params Layout) Layout { return params }

// StateLayout implements Strategy.
func (FedBuff) StateLayout(Layout) Layout { return nil }

// Aggregate implements Strategy. All vectors must be Float32; it looks at
// Update.Staleness.
func (s FedBuff) Aggregate(global, _ []Vector, updates Updates) (Result, error) {
	layout, err := layoutFor(global, Float32, "FedBuff averages")
	if err != nil {
		return Result{}, err
	}
	a, t, err := accumulateAs(layout, updates, func(u *Update) (float64, error) {
		if u.Staleness < 0 {
			return 0, fmt.Errorf("its staleness is %d", u.Staleness)
		}
		return equalWeight * StalenessWeight(u.Staleness), nil
	})
	if err != nil {
		return Result{}, err
	}
	scale := s.Rate / (equalWeight * unit32 * float64(t.count))
	next := layout.New()
	a.eachSum(func(k, from int, sums []int64) {
		x, dst := global[k].F32[from:], next[k].F32[from:]
		for i, sum := range sums {
			dst[i] = float32(float64(x[i]) + float64(scale*float64(sum)))
		}
	})
	return t.finish(next, nil)
}
