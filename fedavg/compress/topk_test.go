package compress

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/millwright-iot/millwright/fedavg"
)

// What is sent and what is left make up exactly what there was, and what is sent
// are the largest.
func TestTopK_NothingIsLost(t *testing.T) {
	u := normal(5000, 3)
	residual := normal(5000, 4).Vectors
	data, left := encodeT(t, u, TopK, Options{Residual: residual, Share: 0.02})
	got := decodeT(t, data, u)
	sent, smallest, largestLeft := 0, math.Inf(1), 0.0
	for k, v := range got.Vectors {
		for i, x := range v.F32 {
			all := float64(u.Vectors[k].F32[i] + residual[k].F32[i])
			if d := math.Abs(float64(x)+float64(left[k].F32[i])-all) / (math.Abs(all) + 1e-30); d > 1e-6 {
				t.Fatalf("%s[%d]: %v sent and %v left of %v", v.Name, i, x, left[k].F32[i], all)
			}
			if x != 0 {
				sent++
				smallest = min(smallest, math.Abs(all))
			} else {
				largestLeft = max(largestLeft, math.Abs(all))
			}
		}
	}
	if sent != 111 || largestLeft > smallest { // ⌈0.02·5501⌉
		t.Errorf("%d sent, the smallest %v; the largest left is %v", sent, smallest, largestLeft)
	}
	if perSent := float64(len(data)-300) / 111; perSent > 4 {
		t.Errorf("each number sent takes %.1f bytes", perSent)
	}
}

func TestThreshold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Uint32Range(0, 30), 1, 60).Draw(t, "x")
		k := rapid.IntRange(1, len(x)).Draw(t, "k")
		sorted := slices.Sorted(slices.Values(x))
		if got := threshold(slices.Clone(x), k); got != sorted[len(x)-k] {
			t.Fatalf("%d-th largest of %v is %d", k, x, got)
		}
	})
}

// Four agents pull two ways at one parameter, harder than at the others, where
// they agree. One number a round is all they may send: it is always
// that one, unless what was not sent is remembered.
func TestTopK_ErrorFeedbackConverges(t *testing.T) {
	target := []float32{0, 1, -2, 3, 0.5, -1, 2, -3, 1.5, 0.25}
	distance := func(remember bool) float64 {
		x := []fedavg.Vector{{Name: "w", F32: make([]float32, len(target))}}
		residuals := make([][]fedavg.Vector, 4)
		for round := range uint64(200) {
			var us fedavg.Slice
			for k := range residuals {
				delta := make([]float32, len(target)) // a gradient step of ½|x − target|², rate 0.05
				for i := range delta {
					delta[i] = 0.05 * (target[i] - x[0].F32[i])
				}
				delta[0] += float32(k%2*2-1) / 2
				u := &fedavg.Update{Agent: string(rune('a' + k)), Round: round, Weight: 1, Vectors: []fedavg.Vector{{Name: "w", F32: delta}}}
				o := Options{Share: 0.1}
				if remember {
					o.Residual = residuals[k]
				}
				data, residual := encodeT(t, u, TopK, o)
				residuals[k] = residual
				us = append(us, decodeT(t, data, u))
			}
			r, err := fedavg.FedAvg{}.Aggregate(x, nil, us)
			if err != nil {
				t.Fatal(err)
			}
			x = r.Vectors
		}
		s := 0.0
		for i := 1; i < len(target); i++ {
			s += math.Pow(float64(x[0].F32[i]-target[i]), 2)
		}
		return math.Sqrt(s)
	}
	if d := distance(false); d < 5 {
		t.Errorf("without a residual it comes as near as %v: the problem is too easy", d)
	}
	if d := distance(true); d > 1 {
		t.Errorf("with a residual it stays %v away", d)
	}
}
