package fedavg

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// gradientStrategies are all that merge gradients; f lying agents are withstood
// where any are.
func gradientStrategies(f int) []Strategy {
	return []Strategy{
		FedAvg{}, FedAvgM{.7, .9}, FedAdagrad{.1, 1e-3}, FedAdam{.1, .9, .99, 1e-3}, FedYogi{.01, .9, .99, 1e-3}, FedNova{}, FedBuff{.5},
		Median{}, TrimmedMean{.2}, Krum{f}, MultiKrum{f, 0}, Bulyan{f}, GeometricMedian{},
	}
}

func drawGradients(t *rapid.T, least int) Slice {
	layout := Layout{{Name: "w", DType: Float32, Len: rapid.IntRange(1, 70).Draw(t, "len_w")}, {Name: "b", DType: Float32, Len: rapid.IntRange(1, 3).Draw(t, "len_b")}}
	us := make(Slice, rapid.IntRange(least, least+9).Draw(t, "updates"))
	size := rapid.SampledFrom([]float32{1, 1e-6, 100}).Draw(t, "size")
	for k := range us {
		us[k] = &Update{
			Agent: fmt.Sprintf("agent-%02d", k), Weight: float64(rapid.IntRange(1, 1000).Draw(t, "weight")), Vectors: layout.New(),
			Steps: float64(rapid.IntRange(1, 50).Draw(t, "steps")), Staleness: rapid.IntRange(0, 9).Draw(t, "staleness"),
		}
		for _, v := range us[k].Vectors {
			for i := range v.F32 {
				// Few different numbers, so that there are ties.
				v.F32[i] = size * float32(rapid.IntRange(-8, 8).Draw(t, "x")) / 8
			}
		}
	}
	return us
}

// The order in which updates come, and whether they are in memory, changes no bit.
func TestStrategies_Permutation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		us := drawGradients(t, 7)
		global := us[0].Vectors
		shuffled := Slice(rapid.Permutation([]*Update(us)).Draw(t, "order"))
		for _, s := range gradientStrategies(1) {
			a, err := s.Aggregate(global, nil, us)
			if err != nil {
				t.Fatal(err)
			}
			for _, other := range []Updates{shuffled, stream{us: shuffled}} {
				b, err := s.Aggregate(global, nil, other)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(a, b); diff != "" {
					t.Fatalf("%T depends on the order: %s", s, diff)
				}
			}
		}
	})
}

// Twice the deltas make exactly twice the step, up to where the geometric median
// stops.
func TestRobust_Scaling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		us := drawGradients(t, 7)
		zero := LayoutOf(us[0].Vectors).New()
		var twice Slice
		for _, u := range us {
			c := *u
			c.Vectors = LayoutOf(u.Vectors).New()
			for k, v := range u.Vectors {
				for i, x := range v.F32 {
					c.Vectors[k].F32[i] = 2 * x
				}
			}
			twice = append(twice, &c)
		}
		for _, s := range []Strategy{FedNova{}, Median{}, TrimmedMean{.2}, Krum{1}, MultiKrum{1, 0}, Bulyan{1}, FedAvg{}, FedBuff{1}} {
			a, err := s.Aggregate(zero, nil, us)
			if err != nil {
				t.Fatal(err)
			}
			b, err := s.Aggregate(zero, nil, twice)
			if err != nil {
				t.Fatal(err)
			}
			x, y := flatten(a.Vectors), flatten(b.Vectors)
			for i := range x {
				if tolerance := 1e-6*math.Abs(y[i]) + 1e-7; math.Abs(2*x[i]-y[i]) > tolerance {
					t.Fatalf("%T: %v doubles to %v", s, x[i], y[i])
				}
			}
		}
	})
}

// Agents that agree get their way.
func TestStrategies_IdenticalUpdates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		us := drawGradients(t, 7)
		zero := LayoutOf(us[0].Vectors).New()
		for _, u := range us {
			u.Vectors, u.Steps, u.Staleness = us[0].Vectors, 3, 0
		}
		want := flatten(us[0].Vectors)
		for _, s := range gradientStrategies(1) {
			switch s.(type) {
			case FedAvgM, FedAdagrad, FedAdam, FedYogi, FedBuff:
				continue // their step has a length of its own
			}
			r, err := s.Aggregate(zero, nil, us)
			if err != nil {
				t.Fatal(err)
			}
			for i, got := range flatten(r.Vectors) {
				if tolerance := 1e-6*math.Abs(want[i]) + 1e-9; math.Abs(got-want[i]) > tolerance {
					t.Fatalf("%T makes %v of %v", s, got, want[i])
				}
			}
		}
	})
}

// Honest updates lie around a point. So many lying ones as a strategy withstands
// do not take it out of the honest range: not huge ones, not such as collude.
func TestRobust_Adversaries(t *testing.T) {
	lies := map[string]func(honest []float32, k int) []float32{
		"huge": func(h []float32, k int) []float32 {
			x := make([]float32, len(h))
			for i := range x {
				x[i] = float32(math.Copysign(1e30, float64(k%2*2-1)))
			}
			return x
		},
		"thousandfold": func(h []float32, _ int) []float32 { return times(h, 1000) },
		"flipped":      func(h []float32, _ int) []float32 { return times(h, -1) },
		"colluding":    func(h []float32, _ int) []float32 { return times(h, 5) },
		"zero":         func(h []float32, _ int) []float32 { return times(h, 0) },
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				f := rapid.IntRange(1, 3).Draw(t, "liars")
				const p = 40
				truth := make([]float32, p)
				for i := range truth {
					truth[i] = float32(rapid.IntRange(10, 20).Draw(t, "truth")) / 100
				}
				var us Slice
				honest := 3*f + 3
				low, high := times(truth, 2), times(truth, 0)
				for k := range honest + f {
					x := make([]float32, p)
					for i := range x {
						x[i] = truth[i] * (1 + float32(rapid.IntRange(-10, 10).Draw(t, "noise"))/100)
					}
					if k >= honest {
						x = lie(truth, k)
					} else {
						for i := range x {
							low[i], high[i] = min(low[i], x[i]), max(high[i], x[i])
						}
					}
					us = append(us, &Update{Agent: fmt.Sprint(k), Weight: 10, Vectors: []Vector{{Name: "w", F32: x}}})
				}
				zero := LayoutOf(us[0].Vectors).New()
				for _, s := range []Strategy{Median{}, TrimmedMean{float64(f) / float64(len(us))}, Krum{f}, MultiKrum{f, 0}, Bulyan{f}, GeometricMedian{}} {
					r, err := s.Aggregate(zero, nil, us)
					if err != nil {
						t.Fatalf("%T: %v", s, err)
					}
					// The geometric median gives way a little; none may leave the range by more than its width.
					slack := float32(1e-6)
					if _, ok := s.(GeometricMedian); ok {
						slack = 0.2 * 0.2
					}
					for i, x := range r.Vectors[0].F32 {
						if x < low[i]-slack || x > high[i]+slack {
							t.Fatalf("%T: parameter %d is %v, honest ones are from %v to %v", s, i, x, low[i], high[i])
						}
					}
				}
			})
		})
	}
}

func times(x []float32, by float32) []float32 {
	y := make([]float32, len(x))
	for i := range x {
		y[i] = by * x[i]
	}
	return y
}

func TestRobust_TooFew(t *testing.T) {
	us := referenceUpdates(1)[:6]
	zero := LayoutOf(us[0].Vectors).New()
	for s, want := range map[Strategy]int{Krum{2}: 7, MultiKrum{2, 1}: 7, Bulyan{1}: 7, TrimmedMean{.5}: 7, Krum{-1}: 1} {
		var few *TooFewError
		if _, err := s.Aggregate(zero, nil, us); !errors.Is(err, ErrNoUpdates) || !errors.As(err, &few) || few.Got != 6 || few.Want != want {
			t.Errorf("%T: %v", s, err)
		}
	}
}

// A number that is not finite is found whichever way the updates come, and its
// owner named.
func TestRobust_NotFinite(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		us := referenceUpdates(1)
		us[6].Vectors[1].F32[1] = float32(bad)
		zero := LayoutOf(us[0].Vectors).New()
		for _, s := range gradientStrategies(1) {
			for _, u := range us {
				u.Steps = 1
			}
			for _, updates := range []Updates{us, stream{us: us}} {
				var named *UpdateError
				var value *ValueError
				if _, err := s.Aggregate(zero, nil, updates); !errors.As(err, &named) || named.Agent != "agent-06" || !errors.As(err, &value) || value.Vector != "b" || value.Index != 1 {
					t.Errorf("%T, %v: %v", s, bad, err)
				}
			}
		}
	}
}

// Updates read in blocks far smaller than they are give the same bits.
func TestColumns_Blocks(t *testing.T) {
	us := Slice(benchUpdates(13, 3*segmentLen+5))
	for k, u := range us {
		u.Agent = fmt.Sprintf("agent-%02d", k)
	}
	global := LayoutOf(us[0].Vectors).New()
	whole, err := newColumns(global, us, "")
	if err != nil {
		t.Fatal(err)
	}
	pieces, err := newColumns(global, stream{us: us}, "")
	if err != nil {
		t.Fatal(err)
	}
	pieces.budget = 13 * 4 * 6000
	a, err := whole.distances()
	if err != nil {
		t.Fatal(err)
	}
	b, err := pieces.distances()
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(a, b) {
		t.Error("distances differ")
	}
	va, err := whole.medians(global)
	if err != nil {
		t.Fatal(err)
	}
	vb, err := pieces.medians(global)
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(va, vb) {
		t.Error("medians differ")
	}
	// What is read again must be the same.
	pieces.updates = stream{us: us[:12]}
	if _, err := pieces.medians(global); !errors.Is(err, errChanged) {
		t.Errorf("an update gone: %v", err)
	}
	other := append(Slice{us[1], us[0]}, us[2:]...)
	pieces.updates = stream{us: other}
	if _, err := pieces.distances(); !errors.Is(err, errChanged) {
		t.Errorf("another order: %v", err)
	}
}

// The median of very many updates, which are not sorted, is that of sorting them.
func TestMedian_Many(t *testing.T) {
	const params = 45
	r := rand.New(rand.NewPCG(9, 10))
	for _, n := range []int{799, 800} {
		us, columns := make(Slice, n), make([][]float64, params)
		for k := range us {
			x := make([]float32, params)
			for i := range x {
				x[i] = float32(r.NormFloat64() * math.Pow(10, float64(i%7-3)))
				columns[i] = append(columns[i], float64(x[i]))
			}
			us[k] = &Update{Agent: fmt.Sprint(k), Weight: 1, Vectors: []Vector{{Name: "w", F32: x}}}
		}
		got, err := Median{}.Aggregate([]Vector{{Name: "w", F32: make([]float32, params)}}, nil, us)
		if err != nil {
			t.Fatal(err)
		}
		for i, column := range columns {
			slices.Sort(column)
			if want := float32((column[(n-1)/2] + column[n/2]) / 2); got.Vectors[0].F32[i] != want {
				t.Errorf("%d updates, parameter %d: %v, want %v", n, i, got.Vectors[0].F32[i], want)
			}
		}
	}
}
