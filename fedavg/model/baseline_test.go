package model

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func baselineOf(t *testing.T, rows ...[]float64) *Baseline {
	t.Helper()
	b := NewBaseline(len(rows[0]))
	for _, row := range rows {
		if err := b.Add(row); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// numpy: [10,12,11,15].mean() = 12, .std(ddof=1) = 2.160246899469287, (14-12)/std = 0.9258200997725514.
func TestBaseline_Standardize(t *testing.T) {
	b := baselineOf(t, []float64{10, 5}, []float64{12, 5}, []float64{11, 5}, []float64{15, 5})
	x := []float64{14, 5.001}
	z := b.Standardize(nil, x)
	if math.Abs(z[0]-0.9258200997725514) > 1e-15 {
		t.Errorf("z = %v", z[0])
	}
	// The second feature stood still at 5: its floor is 1e-4·5.
	if math.Abs(z[1]-2) > 1e-9 {
		t.Errorf("constant feature: z = %v", z[1])
	}
	if got := b.Standardize(x, x); &got[0] != &x[0] || x[0] != z[0] {
		t.Errorf("in place: %v", x)
	}
}

func TestBaseline_Floors(t *testing.T) {
	b := baselineOf(t, []float64{0, -2, 1e-13, 1e150}, []float64{0, -2, 3e-13, -1e150})
	for i, want := range []float64{1, 2e-4, math.Sqrt2 * 1e-13} {
		if got := b.Std(i); math.Abs(got/want-1) > 1e-12 {
			t.Errorf("std[%d] = %v, want %v", i, got, want)
		}
	}
	z := b.Standardize(nil, []float64{math.MaxFloat64, -math.MaxFloat64, 1, math.MaxFloat64})
	for i, x := range z {
		if !(math.Abs(x) <= ZLimit) {
			t.Errorf("z[%d] = %v", i, x)
		}
	}
	if z[0] != ZLimit || z[1] != -ZLimit {
		t.Errorf("z = %v", z)
	}
	empty := NewBaseline(1)
	if z := empty.Standardize(nil, []float64{3}); z[0] != 3 {
		t.Errorf("empty baseline: %v", z)
	}
}

func TestBaseline_RefusesRows(t *testing.T) {
	b := baselineOf(t, []float64{1, 2})
	before := *b
	before.Mean, before.M2 = append([]float64(nil), b.Mean...), append([]float64(nil), b.M2...)
	for _, row := range [][]float64{{1}, {1, 2, 3}, {1, math.NaN()}, {math.Inf(1), 1}, {1, 1e151}} {
		if err := b.Add(row); err == nil {
			t.Errorf("accepts %v", row)
		}
	}
	if diff := cmp.Diff(&before, b); diff != "" {
		t.Error(diff)
	}
}

func TestBaseline_JSON(t *testing.T) {
	b := baselineOf(t, []float64{1, 0.1}, []float64{2, 0.3})
	data, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	var got Baseline
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, &got); diff != "" || got.Validate(2) != nil {
		t.Error(diff, got.Validate(2))
	}
	for _, text := range []string{`{}`, `{"count":1,"mean":[1],"m2":[1]}`, `{"count":-1,"mean":[1,2],"m2":[1,2]}`, `{"count":3,"mean":[1,2],"m2":[1,-2]}`} {
		var bad Baseline
		if err := json.Unmarshal([]byte(text), &bad); err != nil || bad.Validate(2) == nil {
			t.Errorf("accepts %s (%v)", text, err)
		}
	}
}
