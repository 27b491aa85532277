package model

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millwright-iot/millwright/fedavg"
)

func residuals(t *testing.T, edges ...float64) *ResidualSums {
	t.Helper()
	r, err := NewResidualSums(edges, 100)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// 19 machines with residuals −9…9: of n+1 = 20 a share of 0.95 is 19, so 90 %
// intervals reach to the last residual on either side, and half a bin (0.1) on.
func TestIntervals_Quantiles(t *testing.T) {
	r := residuals(t, 50)
	sums := r.Layout().New()
	for d := -9; d <= 9; d++ {
		if err := r.AddMachine(sums, []float64{30 + float64(d), 30 + float64(d)}, []float64{30, 30}); err != nil {
			t.Fatal(err)
		}
	}
	v, err := r.Fit(sums, 0.9)
	if err != nil {
		t.Fatal(err)
	}
	if low, high := v.Around(30); math.Abs(low-20.9) > 1e-9 || math.Abs(high-39.1) > 1e-9 {
		t.Errorf("got %v to %v, want 20.9 to 39.1", low, high)
	}
	if low, high := v.Around(95); math.Abs(low-85.9) > 1e-9 || high != 100 {
		t.Errorf("a class without machines takes the residuals of all: got %v to %v, want 85.9 to 100", low, high)
	}
	if n := v.Machines(); n[0] != 19 || n[1] != 0 {
		t.Errorf("rests on %v machines", n)
	}
}

func TestIntervals_CoverAndMerge(t *testing.T) {
	r := residuals(t, 30, 60)
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func() (truth, predicted float64) {
		predicted = 100 * rng.Float64()
		return predicted + (1+predicted/10)*rng.NormFloat64(), predicted
	}
	var updates fedavg.Slice
	for range 3 {
		sums := r.Layout().New()
		for range 1000 {
			y, p := draw()
			if err := r.AddMachine(sums, []float64{y}, []float64{p}); err != nil {
				t.Fatal(err)
			}
		}
		updates = append(updates, &fedavg.Update{Agent: "a", Weight: 1, Vectors: sums})
	}
	merged, err := fedavg.Sum{}.Aggregate(r.Layout().New(), nil, updates)
	if err != nil {
		t.Fatal(err)
	}
	v, err := r.Fit(merged.Vectors, 0.9)
	if err != nil {
		t.Fatal(err)
	}
	covered, n := make([]int, 3), make([]int, 3)
	for range 20000 {
		y, p := draw()
		y = min(max(y, 0), 100)
		k := r.class(p)
		n[k]++
		if low, high := v.Around(p); y >= low && y <= high {
			covered[k]++
		}
	}
	for k := range n {
		if share := float64(covered[k]) / float64(n[k]); share < 0.875 || share > 0.925 {
			t.Errorf("class %d: covers %.3f, want 0.9", k, share)
		}
	}
	narrow, _ := v.Around(10)
	wide, _ := v.Around(80)
	if 80-wide < 2*(10-narrow) {
		t.Error("intervals of large predictions should be wider")
	}
}

func TestResidualSums_BadInput(t *testing.T) {
	for _, edges := range [][]float64{{0}, {100}, {50, 40}, {math.NaN()}} {
		if _, err := NewResidualSums(edges, 100); err == nil {
			t.Errorf("takes edges %v", edges)
		}
	}
	r := residuals(t, 50)
	sums := r.Layout().New()
	if r.AddMachine(sums, []float64{1}, nil) == nil || r.AddMachine(sums, []float64{math.NaN()}, []float64{1}) == nil {
		t.Error("takes what is no residual")
	}
	if _, err := r.Fit(sums, 0.9); !errors.Is(err, ErrNoRows) {
		t.Errorf("fit of nothing: %v", err)
	}
	if _, err := r.Fit(sums, 1); err == nil {
		t.Error("covers all")
	}
	sums[0].F64[3] = -1
	if _, err := r.Fit(sums, 0.9); err == nil {
		t.Error("takes a negative count")
	}
	if err := r.AddMachine(sums, []float64{math.Inf(1)}, []float64{1e9}); err != nil {
		t.Errorf("absurd numbers are limited: %v", err)
	}
}
