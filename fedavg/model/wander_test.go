package model

import (
	"math"
	"math/rand/v2"
	"testing"
)

func column(x ...float64) [][]float64 {
	rows := make([][]float64, len(x))
	for i := range x {
		rows[i] = []float64{x[i]}
	}
	return rows
}

// numpy, x = sin(1.7t) + 0.02t, B = x.reshape(5, 30):
//
//	B.mean(1).std(ddof=1) / sqrt(B.var(1, ddof=1).mean()/30) = 7.127010595508785
//
// and for overlap 5, with v = Σ_{|h|<30} (30−|h|)·max(0, 5−|h|)/25/900:
//
//	B.mean(1).std(ddof=1) / sqrt(12.5*(diff(B, axis=1)**2).mean()*v) = 1.4340148490219378
func TestWander_AgainstNumpy(t *testing.T) {
	x := make([]float64, 150)
	for i := range x {
		x[i] = math.Sin(1.7*float64(i)) + 0.02*float64(i)
	}
	wantNear(t, "wander", Wander(column(x...), 1)[0], 7.127010595508785, 1e-12)
	wantNear(t, "wander of overlapping rows", Wander(column(x...), 5)[0], 1.4340148490219378, 1e-12)
	// What does not fill a block is not looked at.
	wantNear(t, "wander", Wander(append(column(x...), []float64{1e5}), 1)[0], 7.127010595508785, 1e-12)
}

// White noise has 1, smoothed by a moving mean too.
func TestWander_NoiseIsOne(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	noise := make([]float64, 60_000)
	for i := range noise {
		noise[i] = r.NormFloat64()
	}
	for _, k := range []int{1, 2, 15, 40} {
		smooth := make([]float64, len(noise)-k+1)
		for i := range smooth {
			for _, x := range noise[i : i+k] {
				smooth[i] += x / float64(k)
			}
		}
		if got := Wander(column(smooth...), k)[0]; math.Abs(got-1) > 0.1 {
			t.Errorf("overlap %d: %v", k, got)
		}
	}
}

func TestWander_Degenerate(t *testing.T) {
	if got := Wander(column(make([]float64, 119)...), 1); got != nil {
		t.Errorf("119 rows: %v", got)
	}
	constant, step := make([]float64, 150), make([]float64, 150)
	for i := range constant {
		constant[i] = 0.1
		if i >= 90 {
			step[i] = 1
		}
	}
	for _, overlap := range []int{1, 4} {
		if got := Wander(column(constant...), overlap)[0]; got != 1 {
			t.Errorf("constant: %v", got)
		}
		if got := Wander(column(step...), overlap)[0]; got != wanderMost {
			t.Errorf("step between blocks: %v", got)
		}
	}
}
