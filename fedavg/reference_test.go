package fedavg

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// referenceUpdates are 11 updates of 5 parameters, k of weight k+1, split into two vectors. Two are a
// thousand times too large, one of them with the sign turned, and two are nearly
// equal. Expected values in this package marked "numpy" were computed from them
// in float64 by straightforward numpy (sort, median, argsort, broadcasting), not by this code:
//
//	k = arange(11)[:,None]; i = arange(5)
//	X = float32(((k*7919 + i*104729 + 13*k*i*i) % 2003)/1000 − 1)
//	X[3] *= 1000; X[7] *= −1000; X[9] = X[2] + float32(1e-3)
func referenceUpdates(scale float32) Slice {
	x := make([][]float32, 11)
	for k := range x {
		x[k] = make([]float32, 5)
		for i := range x[k] {
			x[k][i] = float32(float64((k*7919+i*104729+13*k*i*i)%2003)/1000 - 1)
		}
	}
	us := make(Slice, len(x))
	for k, row := range x {
		for i := range row {
			switch k {
			case 3:
				row[i] *= 1000
			case 7:
				row[i] *= -1000
			case 9:
				row[i] = x[2][i] + 1e-3
			}
		}
	}
	for k, row := range x {
		for i := range row {
			row[i] *= scale
		}
		us[k] = &Update{Agent: fmt.Sprintf("agent-%02d", k), Weight: float64(k + 1), Vectors: []Vector{{Name: "a", F32: row[:3]}, {Name: "b", F32: row[3:]}}}
	}
	return us
}

// flatten joins the vectors.
func flatten(vs []Vector) []float64 {
	var flat []float64
	for _, v := range vs {
		for _, x := range v.F32 {
			flat = append(flat, float64(x))
		}
		flat = append(flat, v.F64...)
	}
	return flat
}

func nearAll(t *testing.T, name string, got, want []float64, relative float64) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(relative, relative*1e-2)); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

func mustAggregate(t *testing.T, s Strategy, global, state []Vector, us Updates) Result {
	t.Helper()
	r, err := s.Aggregate(global, state, us)
	if err != nil {
		t.Fatalf("%T: %v", s, err)
	}
	return r
}

// numpy, see referenceUpdates; the geometric median by 100,000 Weiszfeld steps and,
// to 7 digits the same, scipy.optimize.minimize(method="Nelder-Mead").
func TestRobust_Reference(t *testing.T) {
	for _, tt := range []struct {
		strategy Strategy
		want     []float64
	}{
		{FedAvg{}, []float64{1.57701514, 79.1038182, 18.4168485, -58.8775152, -33.6311212}},
		{Median{}, []float64{0.537999988, -0.586000025, 0.064000003, 0.814999998, -0.480000019}},
		{TrimmedMean{0.2}, []float64{0.511571414, -0.415000004, 0.0290000002, 0.815142853, -0.382285723}},
		{TrimmedMean{2.0 / 11}, []float64{0.511571414, -0.415000004, 0.0290000002, 0.815142853, -0.382285723}},
		{Krum{2}, []float64{0.630999982, -0.746999979, -0.0179999992, 0.814999998, -0.250999987}},
		{MultiKrum{2, 0}, []float64{0.38788888, -0.319555561, -0.0269999993, 0.820444438, -0.225333338}},
		{MultiKrum{2, 4}, []float64{0.700999975, -0.68675001, 0.0130000021, 0.797250003, -0.337000005}},
		{Bulyan{1}, []float64{0.631142846, -0.65542858, 0.0290000002, 0.787714277, -0.382285723}},
		{Bulyan{2}, []float64{0.537999988, -0.560000022, -0.0590000004, 0.80733333, -0.289000005}},
		{GeometricMedian{}, []float64{0.603709796, -0.469630906, -0.0167161244, 0.792994711, -0.245396564}},
	} {
		us := referenceUpdates(1)
		global := LayoutOf(us[0].Vectors).New()
		name := fmt.Sprintf("%T%+v", tt.strategy, tt.strategy)
		tolerance := 1e-6
		if _, ok := tt.strategy.(GeometricMedian); ok {
			tolerance = 1e-4 // it stops when the last step is that small
		}
		got := mustAggregate(t, tt.strategy, global, nil, us)
		nearAll(t, name, flatten(got.Vectors), tt.want, tolerance)
		if got.Participants != 11 || got.Weight != 66 || got.State != nil {
			t.Errorf("%s: %d participants of weight %v, state %v", name, got.Participants, got.Weight, got.State)
		}
		// From elsewhere than 0 the step is the same.
		for _, v := range global {
			for i := range v.F32 {
				v.F32[i] = 10
			}
		}
		moved := flatten(mustAggregate(t, tt.strategy, global, nil, us).Vectors)
		for i := range moved {
			moved[i] -= 10
		}
		nearAll(t, name+" from 10", moved, tt.want, 1e-4)
	}
	even := referenceUpdates(1)[:10]
	got := mustAggregate(t, Median{}, LayoutOf(even[0].Vectors).New(), nil, even)
	nearAll(t, "median of 10", flatten(got.Vectors), []float64{0.584499985, -0.586500019, 0.0645000041, 0.791500002, -0.480500013}, 1e-6)
}

// The vectors of a peer's published tests, each scalar a model of four equal
// numbers, except where the rows are given.
func TestRobust_PeerVectors(t *testing.T) {
	models := func(xs ...float32) Slice {
		var us Slice
		for k, x := range xs {
			us = append(us, &Update{Agent: fmt.Sprint(k), Weight: 1, Vectors: []Vector{{Name: "w", F32: []float32{x, x, x, x}}}})
		}
		return us
	}
	all := func(x float64) []float64 { return []float64{x, x, x, x} }
	for _, tt := range []struct {
		strategy Strategy
		us       Slice
		want     float64
	}{
		{MultiKrum{0, 2}, models(.2, .5, 1), .35},
		{TrimmedMean{.25}, models(.5, 1, 2, 100), 1.5},
		{Bulyan{0}, models(.2, .5, .7, 12, .1, .1), 13.6 / 6},
	} {
		got := mustAggregate(t, tt.strategy, LayoutOf(tt.us[0].Vectors).New(), nil, tt.us)
		nearAll(t, fmt.Sprintf("%T", tt.strategy), flatten(got.Vectors), all(tt.want), 1e-6)
	}
	// Krum with f = 1 of 3 keeps no promise, so Aggregate refuses; its choice is
	// the peer's all the same.
	us := models(.2, .7, 1)
	c, err := newColumns(LayoutOf(us[0].Vectors).New(), us, "")
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.distances()
	if err != nil {
		t.Fatal(err)
	}
	if best := c.byScore(d, 1)[0]; best != 1 {
		t.Errorf("Krum chooses %v", us[best].Vectors[0].F32)
	}
	rows := Slice{}
	for k, x := range [][]float32{{1, .2, .5, 1}, {.2, .5, 1, .2}, {.5, 1, .2, .5}} {
		rows = append(rows, &Update{Agent: fmt.Sprint(k), Weight: 1, Vectors: []Vector{{Name: "w", F32: x}}})
	}
	nearAll(t, "median", flatten(mustAggregate(t, Median{}, LayoutOf(rows[0].Vectors).New(), nil, rows).Vectors), all(.5), 1e-6)
}

// Nearly equal models far from 0: what is left of |a|² + |b|² − 2ab in float32 is
// noise. Exact: the models are c, c+1 and c+3 units apart in the last place.
func TestKrum_NearlyEqualModels(t *testing.T) {
	unit := float64(math.Nextafter32(1000, 2000) - 1000)
	var us Slice
	for k, steps := range []int{7, 0, 1, 3} {
		x := make([]float32, 37)
		for i := range x {
			x[i] = float32(1000 + float64(steps)*unit)
		}
		us = append(us, &Update{Agent: fmt.Sprint(k), Weight: 1, Vectors: []Vector{{Name: "w", F32: x}}})
	}
	c, err := newColumns(LayoutOf(us[0].Vectors).New(), us, "")
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.distances()
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][3]int{{0, 1, 49}, {0, 2, 36}, {0, 3, 16}, {1, 2, 1}, {1, 3, 9}, {2, 3, 4}} {
		want := 37 * float64(pair[2]) * unit * unit
		if got := d[pair[0]*4+pair[1]]; got != want || d[pair[1]*4+pair[0]] != want {
			t.Errorf("squared distance of %d and %d is %v, want %v", pair[0], pair[1], got, want)
		}
	}
}
