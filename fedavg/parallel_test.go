package fedavg

import (
	"bytes"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
)

// largeUpdates mixes values of every magnitude, so that all three ways of
// summing a segment are taken: bits alone, exact magnitudes, number by number.
func largeUpdates(n int) (Layout, []*Update) {
	layout := Layout{{Name: "a", DType: Float32, Len: 3*segmentLen + 17}, {Name: "s", DType: Float64, Len: segmentLen + 1}, {Name: "b", DType: Float32, Len: 2*parallelLen + 3}}
	r := rand.New(rand.NewPCG(3, 4))
	us := make([]*Update, n)
	for k := range us {
		u := &Update{Weight: 1 + 100*r.Float64(), Vectors: layout.New()}
		for _, v := range u.Vectors {
			for i := range v.F32 {
				v.F32[i] = float32(math.Ldexp(r.NormFloat64(), r.IntN(60)-50))
			}
			for i := range v.F64 {
				v.F64[i] = math.Ldexp(r.NormFloat64(), r.IntN(80)-40)
			}
		}
		// Two neighbours whose sums come near the limit and go back.
		u.Vectors[2].F32[7] = float32(math.Copysign((1<<31-4096)/u.Weight, float64(k%2)-0.5))
		us[k] = u
	}
	return layout, us
}

// The reference is the definition, one number at a time.
func naiveSums(v int, us []*Update) []int64 {
	sums := make([]int64, us[0].Vectors[v].Len())
	for _, u := range us {
		for i, x := range u.Vectors[v].F32 {
			sums[i] += int64(math.Trunc(math.Ldexp(float64(float64(x)*u.Weight), 32)))
		}
	}
	return sums
}

func TestAccumulator_GoroutinesAndBatches(t *testing.T) {
	layout, us := largeUpdates(11)
	one := newAccumulator(t, layout)
	for _, u := range us {
		if err := one.Add(u); err != nil {
			t.Fatal(err)
		}
	}
	for v := range layout {
		if layout[v].DType != Float32 {
			continue
		}
		for i, want := range naiveSums(v, us) {
			if got := one.sums[v].f32[i]; got != want {
				t.Fatalf("%s[%d] sums to %d, want %d", layout[v].Name, i, got, want)
			}
		}
	}
	want := marshal(t, one)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, procs := range []int{1, 2, 5} {
		runtime.GOMAXPROCS(procs)
		all := newAccumulator(t, layout)
		if err := all.AddAll(us...); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, marshal(t, all)) {
			t.Errorf("%d goroutines sum differently", procs)
		}
		for _, u := range us {
			if err := all.Sub(u); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(marshal(t, newAccumulator(t, layout)), marshal(t, all)) {
			t.Errorf("%d goroutines do not subtract to nothing", procs)
		}
	}
}
