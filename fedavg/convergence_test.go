package fedavg

import (
	"math"
	"testing"
)

// Two agents, of 1 and 3 rows, minimise ½a(x−b)² by plain gradient descent of
// rate 0.05, many steps a round. Together they want the x that minimises the
// weighted sum, Σ n a b / Σ n a, which follows from setting its derivative to 0.
type quadratic struct {
	a, b, weight float64
	steps        int
}

const localRate = 0.05

func minimum(agents []quadratic, weighted bool) float64 {
	above, below := 0.0, 0.0
	for _, q := range agents {
		n := q.weight
		if !weighted {
			n = 1
		}
		above, below = above+n*q.a*q.b, below+n*q.a
	}
	return above / below
}

// descend returns where q.steps local steps with a correction lead from x.
func (q quadratic) descend(x, correction float64) float64 {
	for range q.steps {
		x -= localRate * (q.a*(x-q.b) + correction)
	}
	return x
}

// Agents that make more steps pull FedAvg their way; FedNova does not let them.
func TestFedNova_UnequalSteps(t *testing.T) {
	agents := []quadratic{{1, 4, 1, 1}, {1, -2, 3, 1}, {1, 10, 2, 8}}
	want := minimum(agents, true)
	run := func(s Strategy) float64 {
		x := []Vector{{Name: "w", F32: []float32{0}}}
		for range 300 {
			var us Slice
			for _, q := range agents {
				at := float64(x[0].F32[0])
				u := scalar("", q.weight, float32(q.descend(at, 0)-at))
				u.Steps = float64(q.steps)
				us = append(us, u)
			}
			x = mustAggregate(t, s, x, nil, us).Vectors
		}
		return float64(x[0].F32[0])
	}
	if got := run(FedAvg{}); math.Abs(got-want) < 2 {
		t.Errorf("FedAvg comes to %v, so near %v that the problem is too easy", got, want)
	}
	// What is left: later local steps see less of the slope.
	if got := run(FedNova{}); math.Abs(got-want) > 0.5 {
		t.Errorf("FedNova comes to %v, not %v", got, want)
	}
}

// Agents whose slopes differ drift apart over many local steps, and FedAvg
// comes to the wrong point; control variates lead to the right one.
func TestScaffold_CorrectsDrift(t *testing.T) {
	agents := []quadratic{{10, 1, 1, 30}, {0.5, -5, 1, 30}}
	want := minimum(agents, false)
	x := []Vector{{Name: "w", F32: []float32{0}}}
	for range 400 {
		at := float64(x[0].F32[0])
		x = mustAggregate(t, FedAvg{}, x, nil, Slice{
			scalar("a", 1, float32(agents[0].descend(at, 0)-at)), scalar("b", 1, float32(agents[1].descend(at, 0)-at)),
		}).Vectors
	}
	if got := float64(x[0].F32[0]); math.Abs(got-want) < 0.3 {
		t.Errorf("FedAvg comes to %v, so near %v that the problem is too easy", got, want)
	}
	for _, everyone := range []bool{true, false} {
		x := []Vector{{Name: "w", F32: []float32{0}}}
		var state []Vector
		own := make([]float64, len(agents))
		for round := range 800 {
			at, c := float64(x[0].F32[0]), 0.0
			if state != nil {
				c = float64(state[0].F32[0])
			}
			var us Slice
			for k, q := range agents {
				if !everyone && round%2 != k {
					continue
				}
				y := q.descend(at, c-own[k])
				next := own[k] - c + (at-y)/(float64(q.steps)*localRate)
				us = append(us, withControl(scalar("", 1, float32(y-at)), float32(next-own[k])))
				own[k] = next
			}
			r := mustAggregate(t, Scaffold{Rate: 0.5, Population: len(agents)}, x, state, us)
			x, state = r.Vectors, r.State
		}
		if got := float64(x[0].F32[0]); math.Abs(got-want) > 1e-3 {
			t.Errorf("SCAFFOLD comes to %v, not %v (everyone in every round: %v)", got, want, everyone)
		}
	}
}
