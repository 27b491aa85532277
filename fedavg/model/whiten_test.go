package model

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millwright-iot/millwright/fedavg"
)

func whitener(t *testing.T, parts ...[][]float64) *Whitener {
	t.Helper()
	s := NewWhitenSums(len(parts[0][0]))
	merged := s.Layout().New()
	for _, rows := range parts {
		sums := s.Layout().New()
		for _, row := range rows {
			if err := s.Add(sums, row); err != nil {
				t.Fatal(err)
			}
		}
		for k, v := range sums {
			for i, x := range v.F64 {
				merged[k].F64[i] += x
			}
		}
	}
	w, err := s.Fit(merged)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Computed with numpy: m = X.mean(0); l, V = eigh(cov(X.T, bias=True) + 0.1 I);
// (X − m) V diag(l^−½) Vᵀ. The values are multiples of 1/4096, so nothing is rounded.
func TestWhitener_LikeNumpy(t *testing.T) {
	rows := [][]float64{{1, 2, .5}, {2, 3.5, -1}, {-1, -2, .25}, {.5, 1, 2}, {-2.5, -4.5, 1}}
	want := [][]float64{
		{0.11980023, 0.72507105, 0.15182107}, {0.62850165, 0.92595162, -1.23243186}, {-0.16803218, -0.73669299, -0.51858999},
		{0.26316333, 0.41151369, 1.62157955}, {-0.84343303, -1.32584337, -0.02237877},
	}
	w := whitener(t, rows[:2], rows[2:])
	for r, row := range rows {
		for i, x := range w.Whiten(nil, row) {
			if math.Abs(x-want[r][i]) > 1e-8 {
				t.Errorf("row %d, element %d: %v, want %v", r, i, x, want[r][i])
			}
		}
	}
}

// How rows are spread over participants changes nothing, not even the last bit; features
// that say the same do no harm.
func TestWhitener_FederatedIsCentral(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	var rows [][]float64
	for range 300 {
		x := r.NormFloat64()
		rows = append(rows, []float64{x, x, -x + 1e-3*r.NormFloat64(), r.NormFloat64(), 0})
	}
	central, federated := whitener(t, rows), whitener(t, rows[200:], rows[:7], rows[7:200])
	dst := make([]float64, 5)
	for _, row := range rows {
		want := central.Whiten(nil, row)
		for i, x := range federated.Whiten(dst, row) {
			if x != want[i] || math.IsNaN(x) || math.Abs(x) > 10 {
				t.Fatalf("federated %v, central %v", dst, want)
			}
		}
	}
	if n := testing.AllocsPerRun(10, func() { central.Whiten(dst, rows[0]) }); n != 0 {
		t.Errorf("%v allocations a row", n)
	}
}

func TestWhitenSums_Refuses(t *testing.T) {
	s := NewWhitenSums(2)
	sums := s.Layout().New()
	if s.Add(sums, []float64{1}) == nil || s.Add(sums, []float64{1, math.NaN()}) == nil || sums[0].F64[0] != 0 || sums[2].F64[0] != 0 {
		t.Errorf("a row that cannot be used was counted: %v", sums)
	}
	if _, err := s.Fit(sums); err == nil {
		t.Error("fitted without rows")
	}
	if err := s.Add(sums, []float64{math.Inf(1), -1e300}); err != nil {
		t.Error(err)
	}
	if w, err := s.Fit(sums); err != nil || math.IsNaN(w.Whiten(nil, []float64{1, 2})[0]) {
		t.Errorf("one row far out: %v", err)
	}
	sums[1].F64[1] = math.NaN()
	if _, err := s.Fit(sums); err == nil {
		t.Error("fitted with NaN")
	}
	if _, err := s.Fit([]fedavg.Vector{}); err == nil {
		t.Error("fitted sums of another shape")
	}
}

// A network behind the whitening says of a row what it says of the whitened row, and its
// contributions add up to the square of its score.
func TestWhitener_Regressor(t *testing.T) {
	f := family(t, Spec{Kind: KindMLP, MLP: &MLPSpec{Hidden: []int{3}, Cap: 10}}, 3)
	w := whitener(t, [][]float64{{1, 2, .5}, {2, 3.5, -1}, {-1, -2, .25}})
	vs := f.Init(3)
	vs[len(vs)-1].F32[0] = 1
	m, err := f.Load(vs)
	if err != nil {
		t.Fatal(err)
	}
	inner := m.(Regressor)
	outer := w.Regressor(inner, 10)
	z := []float64{0.3, -1, 2}
	if got, want := outer.Predict(z), inner.Predict(w.Whiten(nil, z)); got != want {
		t.Errorf("predicts %v, want %v", got, want)
	}
	sum := 0.0
	for _, x := range outer.Contributions(nil, z) {
		sum += x
	}
	if score := outer.Score(z); math.Abs(sum-score*score) > 1e-12 {
		t.Errorf("contributions sum to %v, score is %v", sum, score)
	}
}
