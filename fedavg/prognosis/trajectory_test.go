package prognosis

import (
	"math"
	"testing"
)

// Expected numbers: numpy 2.4 on h(t) = sin(t/7) + 0.01t: slices' mean and std, polyfit's slope times
// the length, and sums with weights exp(−age/τ).
func TestTrajectory_AgainstNumpy(t *testing.T) {
	want := map[int][]float64{
		1: {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.01},
		30: {-0.372721563482, 0.48950858824, -0.956451818442, 0.518253351592, 0.48950858824, -0.956451818442, 0.518253351592,
			0.48950858824, -0.956451818442, 0.518253351592, -0.108299998354, 0.341435263168, 0.3},
		130: {0.633848436376, 0.783036851502, 0.578210177518, 0.725578811726, 0.695705635428, 0.83736804699, 0.756573315162,
			0.648121701461, 0.664213253237, 0.714030170029, 0.57202172845, 0.766297018014, 1.3},
	}
	tr := NewTrajectory(2)
	names := TrajectoryNames(2)
	for i := range 130 {
		h := math.Sin(float64(i)/7) + 0.01*float64(i)
		tr.Push([]float64{h, -2 * h})
		w := want[i+1]
		if w == nil {
			continue
		}
		got := tr.Features(nil)
		if len(got) != len(names) || len(got) != TrajectoryLen(2) {
			t.Fatalf("%d features, %d names", len(got), len(names))
		}
		for k, name := range names {
			x := w[k%perIndex]
			switch {
			case k == len(names)-1:
				x = w[perIndex]
			case k >= perIndex && (k%perIndex == 3 || k%perIndex == 6 || k%perIndex == 9):
				x *= 2 // a standard deviation
			case k >= perIndex:
				x *= -2
			}
			if math.Abs(got[k]-x) > 1e-10 {
				t.Errorf("after %d cycles, %s: got %v, want %v", i+1, name, got[k], x)
			}
		}
	}
}

func TestTrajectory_BeforeTheFirstCycle(t *testing.T) {
	for i, x := range NewTrajectory(1).Features(nil) {
		if x != 0 {
			t.Errorf("feature %d is %v", i, x)
		}
	}
}
