package condition

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func TestLearnOff_SeenAndUnseen(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var both, running []float64
	for range 200 {
		running = append(running, 2+0.3*rng.NormFloat64())
	}
	both = append(both, running...)
	for range 20 {
		both = append(both, 0.02+0.002*rng.NormFloat64())
	}
	rng.Shuffle(len(both), func(i, j int) { both[i], both[j] = both[j], both[i] })
	r, err := LearnOff(both)
	if err != nil || !r.Seen || r.Below < 0.03 || r.Below > 1 {
		t.Errorf("off and running: %+v, %v", r, err)
	}
	r, err = LearnOff(running)
	if err != nil || r.Seen || r.Off(1) || !r.Off(0.1) || !r.Off(0) || r.Off(math.NaN()) {
		t.Errorf("running only: %+v, %v", r, err)
	}
	// A switched-off channel that reads exactly zero.
	r, err = LearnOff([]float64{0, 0, 5, 5.1, 4.9, 5, 0})
	if err != nil || !r.Seen || !r.Off(0) || r.Off(4) {
		t.Errorf("zeros: %+v, %v", r, err)
	}
	// One outlier in a hundred is no state.
	r, err = LearnOff(append([]float64{1e-6}, running...))
	if err != nil || r.Seen {
		t.Errorf("one quiet window: %+v, %v", r, err)
	}
	for _, bad := range [][]float64{nil, {1, 2}, {0, 0, 0, 0, 0, 0}, {1, 2, 3, 4, math.NaN()}, {1, 2, 3, 4, math.Inf(1)}} {
		if _, err := LearnOff(bad); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}

// The rule depends neither on the order of the levels nor on their unit.
func TestLearnOff_BlindToPositionAndUnit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		levels := rapid.SliceOfN(rapid.Float64Range(0.001, 100), 5, 60).Draw(t, "levels")
		a, err := LearnOff(levels)
		if err != nil {
			t.Fatal(err)
		}
		turned := make([]float64, len(levels))
		for i, x := range levels {
			turned[len(levels)-1-i] = 8 * x
		}
		b, err := LearnOff(turned)
		if err != nil || b.Seen != a.Seen || math.Abs(b.Below-8*a.Below) > 1e-9*b.Below {
			t.Fatalf("%+v, turned and times 8 %+v, %v", a, b, err)
		}
	})
}
