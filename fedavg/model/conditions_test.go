package model

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/fedavg"
)

func testGrid(t *testing.T) *ConditionGrid {
	t.Helper()
	g, err := NewConditionGrid([]ConditionAxis{{0, 10, 1}, {0, 1, 0.5}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// twoConditions scatters over neighbouring cells around (2.5, 0) and (8, 1); the
// second channel is a large number that hardly moves.
func twoConditions(n int) (settings, rows [][]float64) {
	r := rand.New(rand.NewPCG(4, 2))
	for i := range n {
		at, level := []float64{2.5 + 0.4*r.NormFloat64(), 0}, 10.0
		if i%3 == 0 {
			at, level = []float64{8 + 0.1*r.NormFloat64(), 1}, -5
		}
		settings = append(settings, at)
		rows = append(rows, []float64{level + r.NormFloat64(), 9e3 + 0.05*r.NormFloat64()})
	}
	return settings, rows
}

func addAll(t *testing.T, g *ConditionGrid, settings, rows [][]float64) []fedavg.Vector {
	t.Helper()
	sums := g.Layout().New()
	for i := range rows {
		if err := g.Add(sums, settings[i], rows[i]); err != nil {
			t.Fatal(err)
		}
	}
	return sums
}

func TestConditions_MeanAndStd(t *testing.T) {
	g := testGrid(t)
	settings, rows := twoConditions(3000)
	c, err := g.Fit(addAll(t, g, settings, rows))
	if err != nil {
		t.Fatal(err)
	}
	if c.Len() != 2 {
		t.Fatalf("found %d conditions, want 2", c.Len())
	}
	for k, first := range []int{1, 0} { // cells are found in ascending order
		for ch := range 2 {
			// Two passes, which do not cancel.
			var n, mean, m2 float64
			for i := range rows {
				if (i%3 == 0) == (first == 0) {
					n++
					mean += rows[i][ch]
				}
			}
			mean /= n
			for i := range rows {
				if (i%3 == 0) == (first == 0) {
					m2 += (rows[i][ch] - mean) * (rows[i][ch] - mean)
				}
			}
			want := math.Sqrt(m2 / n)
			if got := c.Std(k, ch); math.Abs(got-want) > 1e-9*want || math.Abs(c.Mean(k, ch)-mean) > 1e-12*math.Abs(mean) {
				t.Errorf("condition %d, channel %d: %v ± %v, want %v ± %v", k, ch, c.Mean(k, ch), got, mean, want)
			}
		}
	}
}

// One machine's sums after the other, merged in another order, give the same
// conditions as all rows at one place.
func TestConditions_FederatedEqualsCentral(t *testing.T) {
	g := testGrid(t)
	settings, rows := twoConditions(900)
	central, err := g.Fit(addAll(t, g, settings, rows))
	if err != nil {
		t.Fatal(err)
	}
	var updates fedavg.Slice
	for _, part := range [][2]int{{500, 900}, {0, 10}, {10, 500}} {
		sums := addAll(t, g, settings[part[0]:part[1]], rows[part[0]:part[1]])
		updates = append(updates, &fedavg.Update{Agent: "a", Weight: 1, Vectors: sums})
	}
	merged, err := fedavg.Sum{}.Aggregate(g.Layout().New(), nil, updates)
	if err != nil {
		t.Fatal(err)
	}
	federated, err := g.Fit(merged.Vectors)
	if err != nil {
		t.Fatal(err)
	}
	for k := range central.Len() {
		for ch := range 2 {
			if a, b := central.Std(k, ch), federated.Std(k, ch); math.Abs(a-b) > 1e-12*a {
				t.Errorf("condition %d, channel %d: std %v centrally, %v federated", k, ch, a, b)
			}
		}
	}
}

func TestConditions_Normalize(t *testing.T) {
	g := testGrid(t)
	sums := addAll(t, g, [][]float64{{0, 0}, {0, 0}, {9, 1}, {9, 1}}, [][]float64{{1, 7}, {3, 7}, {100, 7}, {104, 7}})
	c, err := g.Fit(sums)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		at, row   []float64
		z         float64
		condition int
	}{
		{[]float64{0, 0}, []float64{3, 7}, 1, 0},
		{[]float64{2, 0.5}, []float64{3, 8}, 1, 0}, // never seen: the nearest
		{[]float64{99, 1}, []float64{100, 7}, -1, 1},
		{[]float64{9, 1}, []float64{1e6, 7}, 8, 1}, // limited
	} {
		z, k, err := c.Normalize(nil, x.at, x.row)
		if err != nil || z[0] != x.z || z[1] != 0 || k != x.condition {
			t.Errorf("%v at %v: %v in condition %d (%v), want %v in %d; the second channel is constant", x.row, x.at, z, k, err, x.z, x.condition)
		}
	}
	if v := c.Varies(); !v[0] || v[1] {
		t.Errorf("varies: %v", v)
	}
}

func TestConditions_BadInput(t *testing.T) {
	g := testGrid(t)
	sums := g.Layout().New()
	for _, c := range []struct{ settings, row []float64 }{
		{[]float64{1}, []float64{1, 2}}, {[]float64{1, 2}, []float64{1}}, {[]float64{math.NaN(), 2}, []float64{1, 2}},
		{[]float64{1, 2}, []float64{1, math.Inf(1)}}, {[]float64{1, 2}, []float64{1, 1e8}},
	} {
		if err := g.Add(sums, c.settings, c.row); err == nil {
			t.Errorf("takes %v", c)
		}
	}
	if _, err := g.Fit(sums); !errors.Is(err, ErrNoRows) {
		t.Errorf("fit of nothing: %v", err)
	}
	for _, axes := range [][]ConditionAxis{{{0, 1, 0}}, {{1, 0, 1}}, {{0, 1e9, 1}}, {{0, math.NaN(), 1}}, {{0, 200, 1}, {0, 200, 1}}} {
		if _, err := NewConditionGrid(axes, 1); err == nil {
			t.Errorf("makes a grid of %v", axes)
		}
	}
	if _, err := NewConditionGrid(nil, 0); err == nil {
		t.Error("makes a grid without channels")
	}
}

// Expected numbers: numpy 2.4, cov(bias=True), linalg.eigh and linalg.solve.
func TestHealth_AgainstNumpy(t *testing.T) {
	h, err := NewHealthSums(3, 125)
	if err != nil {
		t.Fatal(err)
	}
	z := [][]float64{{0.5, -1.25, 2}, {1.5, 0.25, -0.5}, {-0.75, 1, 0.25}, {2.25, -0.5, 1.75}, {-1, 0.75, -2}, {0.25, 0.5, 1}}
	s := [][]float64{{0.5, -1.25, 2}, {1, -0.5, 0.75}, {0.25, 0.25, 0.5}, {1.25, -0.25, 1}, {0.25, 0.25, -0.5}, {0.25, 0.5, 0.25}}
	sums := h.Layout().New()
	for i, y := range []float64{100, 80, 60, 130, 20, 0} {
		if err := h.Add(sums, z[i], s[i], y); err != nil {
			t.Fatal(err)
		}
	}
	health, err := h.Fit(sums, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]float64{{0.2192414, -0.61885429, 0.82409357}, {-0.50349171, 0.72707696, 0.01503383}}
	for i, w := range want {
		for ch, x := range w {
			basis := make([]float64, 3)
			basis[ch] = 1
			if got := health.Indices(nil, basis)[i]; math.Abs(got-x) > 1e-8 {
				t.Errorf("index %d, channel %d: weight %v, want %v", i, ch, got, x)
			}
		}
	}
}

func TestHealth_BadInput(t *testing.T) {
	h, err := NewHealthSums(2, 125)
	if err != nil {
		t.Fatal(err)
	}
	sums := h.Layout().New()
	if _, err := h.Fit(sums, 1); !errors.Is(err, ErrNoRows) {
		t.Errorf("fit of nothing: %v", err)
	}
	ok := []float64{0, 0}
	for range 3 {
		if err := h.Add(sums, ok, ok, 5); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Fit(sums, 1); err == nil || !strings.Contains(err.Error(), "no channel varies") {
		t.Errorf("constant channels: %v", err)
	}
	if h.Add(sums, []float64{math.NaN(), 0}, ok, 1) == nil || h.Add(sums, ok, ok[:1], 1) == nil || h.Add(sums, ok, ok, math.NaN()) == nil {
		t.Error("takes what is no row")
	}
	if _, err := h.Fit(sums, 3); err == nil {
		t.Error("makes more components than channels")
	}
}

func TestScale_MeanAndStd(t *testing.T) {
	s := NewScaleSums(2)
	sums := s.Layout().New()
	for _, row := range [][]float64{{1, 5}, {2, 5}, {6, 5}} {
		if err := s.Add(sums, row); err != nil {
			t.Fatal(err)
		}
	}
	b, err := s.Fit(sums)
	if err != nil {
		t.Fatal(err)
	}
	if b.Count != 3 || b.Mean[0] != 3 || b.M2[0] != 14 || b.M2[1] != 0 {
		t.Errorf("got %+v, want mean 3, squared deviations 14 and 0", b)
	}
	if s.Add(sums, []float64{1}) == nil || s.Add(sums, []float64{1, math.Inf(1)}) == nil {
		t.Error("takes what is no row")
	}
	if _, err := s.Fit(s.Layout().New()); err == nil {
		t.Error("fits nothing")
	}
}
