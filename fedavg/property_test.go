package fedavg

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// drawUpdates draws a layout and updates that fit it, small enough to sum.
func drawUpdates(t *rapid.T) (Layout, []*Update) {
	layout := Layout{
		{Name: "w", DType: Float32, Len: rapid.IntRange(1, 40).Draw(t, "len_w")},
		{Name: "s", DType: Float64, Len: rapid.IntRange(1, 10).Draw(t, "len_s")},
	}
	us := make([]*Update, rapid.IntRange(1, 12).Draw(t, "updates"))
	for k := range us {
		u := &Update{Agent: fmt.Sprint(k), Weight: rapid.Float64Range(1e-3, 1e5).Draw(t, "weight"), Vectors: layout.New()}
		for i := range u.Vectors[0].F32 {
			u.Vectors[0].F32[i] = rapid.Float32Range(-1000, 1000).Draw(t, "w")
		}
		for i := range u.Vectors[1].F64 {
			u.Vectors[1].F64[i] = rapid.Float64Range(-1e15, 1e15).Draw(t, "s")
		}
		if rapid.Bool().Draw(t, "reports") {
			u.Metrics = map[string]float64{"loss": rapid.Float64Range(-1e6, 1e6).Draw(t, "loss")}
		}
		us[k] = u
	}
	return layout, us
}

func sumOf(t *rapid.T, layout Layout, us ...*Update) *Accumulator {
	a, err := NewAccumulator(layout)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range us {
		if err := a.Add(u); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func bytesOf(t *rapid.T, a *Accumulator) []byte {
	b, err := a.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every sum against exact rational arithmetic: each addend is the float64
// product truncated to units, and nothing else is ever lost.
func TestAccumulator_ExactSums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layout, us := drawUpdates(t)
		a := sumOf(t, layout, us...)
		for i := range a.sums[0].f32 {
			want := new(big.Int)
			for _, u := range us {
				wx, _ := new(big.Float).SetPrec(53).Mul(big.NewFloat(u.Weight), big.NewFloat(float64(u.Vectors[0].F32[i]))).Float64()
				units, _ := new(big.Float).SetMantExp(big.NewFloat(wx), 32).Int(nil)
				want.Add(want, units)
			}
			if want.Cmp(big.NewInt(a.sums[0].f32[i])) != 0 {
				t.Fatalf("w[%d] sums to %d units, want %v", i, a.sums[0].f32[i], want)
			}
		}
		for i, got := range a.sums[1].f64 {
			want := new(big.Float).SetPrec(200)
			for _, u := range us {
				want.Add(want, bigOf(toFixed(u.Vectors[1].F64[i])))
			}
			if want.Cmp(bigOf(got)) != 0 {
				t.Fatalf("s[%d] sums to %v, want %v", i, bigOf(got), want)
			}
		}
	})
}

func TestAccumulator_Permutation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layout, us := drawUpdates(t)
		a, b := sumOf(t, layout, us...), sumOf(t, layout, rapid.Permutation(us).Draw(t, "order")...)
		if !bytes.Equal(bytesOf(t, a), bytesOf(t, b)) {
			t.Fatal("sums depend on the order")
		}
	})
}

func TestAccumulator_AddAllIsAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layout, us := drawUpdates(t)
		b := sumOf(t, layout)
		if err := b.AddAll(us...); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytesOf(t, sumOf(t, layout, us...)), bytesOf(t, b)) {
			t.Fatal("adding all at once differs from one by one")
		}
	})
}

func TestAccumulator_SplitAndMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layout, us := drawUpdates(t)
		cut := rapid.IntRange(0, len(us)).Draw(t, "cut")
		left, right := sumOf(t, layout, us[:cut]...), sumOf(t, layout, us[cut:]...)
		// One part travels.
		var arrived Accumulator
		if err := arrived.UnmarshalBinary(bytesOf(t, right)); err != nil {
			t.Fatal(err)
		}
		if err := arrived.Merge(left); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytesOf(t, sumOf(t, layout, us...)), bytesOf(t, &arrived)) {
			t.Fatal("sums depend on the grouping")
		}
		// The merged accumulator goes on as any other.
		more := us[rapid.IntRange(0, len(us)-1).Draw(t, "more")]
		if err := arrived.Add(more); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytesOf(t, sumOf(t, layout, append(us, more)...)), bytesOf(t, &arrived)) {
			t.Fatal("a merged accumulator sums differently")
		}
	})
}

func TestAccumulator_SubInvertsAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		layout, us := drawUpdates(t)
		i := rapid.IntRange(0, len(us)-1).Draw(t, "forgotten")
		a := sumOf(t, layout, us...)
		if err := a.Sub(us[i]); err != nil {
			t.Fatal(err)
		}
		kept := append(append([]*Update{}, us[:i]...), us[i+1:]...)
		if !bytes.Equal(bytesOf(t, sumOf(t, layout, kept...)), bytesOf(t, a)) {
			t.Fatal("a forgotten update left a trace")
		}
	})
}

// Halving every weight leaves the mean, to the resolution.
func TestFedAvg_ScaleOfWeights(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "updates")
		layout := Layout{{Name: "w", DType: Float32, Len: 3}}
		var us, halves Slice
		for range n {
			u := &Update{Weight: float64(rapid.IntRange(1, 1000).Draw(t, "weight")), Vectors: layout.New()}
			for i := range u.Vectors[0].F32 {
				u.Vectors[0].F32[i] = rapid.Float32Range(-10, 10).Draw(t, "w")
			}
			h := *u
			h.Weight /= 2
			us, halves = append(us, u), append(halves, &h)
		}
		a, err := FedAvg{}.Aggregate(layout.New(), nil, us)
		if err != nil {
			t.Fatal(err)
		}
		b, err := FedAvg{}.Aggregate(layout.New(), nil, halves)
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range a.Vectors[0].F32 {
			y := b.Vectors[0].F32[i]
			if tolerance := 2*0x1p-32*float64(n) + 1e-7*math.Abs(float64(x)); math.Abs(float64(x-y)) > tolerance {
				t.Fatalf("w[%d] is %v, with half the weights %v", i, x, y)
			}
		}
	})
}
