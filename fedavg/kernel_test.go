package fedavg

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Both loops must give the same sums for all numbers that the fast one is used
// for: |weight·x| below fastLimit units, of any length and alignment.
func TestAddFour_FastIsPortable(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for n := range 70 {
		var x [4][]float32
		var w [4]float64
		for k := range x {
			w[k] = math.Exp(8*r.Float64()) * unit32
			x[k] = make([]float32, n+k)[k:]
			for i := range x[k] {
				x[k][i] = float32(r.NormFloat64() * math.Ldexp(1, r.IntN(40)-40))
				if i%7 == k {
					x[k][i] = float32(math.Copysign((1<<51-1<<28)/w[k], r.Float64()-0.5))
				}
			}
		}
		fast := make([]int64, n)
		for i := range fast {
			fast[i] = int64(r.Uint64())
		}
		portable := slices.Clone(fast)
		coarse, exact := addFour(portable, &x, &w), addFourFast(fast, &x, &w)
		if !slices.Equal(portable, fast) {
			t.Fatalf("%d sums differ", n)
		}
		largest := uint32(0)
		for k := range x {
			for _, v := range x[k] {
				largest = max(largest, math.Float32bits(v)&^(1<<31))
			}
		}
		if coarse&^(1<<31) < largest || exact&^(1<<31) < largest {
			t.Fatalf("%d sums: largest magnitude is %x, portable says %x, fast %x", n, largest, coarse, exact)
		}
	}
}

// Numbers that only the portable loop can add are not left to the fast one.
func TestAccumulator_BeyondFastLimit(t *testing.T) {
	layout := Layout{{Name: "w", DType: Float32, Len: 9}}
	us := make([]*Update, 8)
	for k := range us {
		us[k] = &Update{Weight: 1e6, Vectors: layout.New()}
		for i := range us[k].Vectors[0].F32 {
			us[k].Vectors[0].F32[i] = float32(k*i) * 1.7
		}
	}
	a := newAccumulator(t, layout)
	if err := a.AddAll(us...); err != nil {
		t.Fatal(err)
	}
	if want := naiveSums(0, us); !slices.Equal(a.sums[0].f32, want) {
		t.Errorf("got  %v\nwant %v", a.sums[0].f32, want)
	}
}

// BenchmarkKernel is the innermost loop alone, in bytes of updates per second on
// one core.
func BenchmarkKernel(b *testing.B) {
	us := benchUpdates(4, segmentLen)
	acc := make([]int64, segmentLen)
	var x [4][]float32
	var w [4]float64
	for k, u := range us {
		x[k], w[k] = u.Vectors[0].F32, u.Weight*unit32
	}
	for name, four := range map[string]func([]int64, *[4][]float32, *[4]float64) uint32{"portable": addFour, "fast": addFourFast} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(4 * 4 * segmentLen)
			for b.Loop() {
				sink += uint64(four(acc, &x, &w))
			}
		})
	}
}
