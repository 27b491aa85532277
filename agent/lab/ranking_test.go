package lab

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Figures of sklearn 1.9.1: roc_auc_score(truth, scores) and
// average_precision_score(truth, scores).
func TestRank_ScikitLearn(t *testing.T) {
	b := func(s string) (truth []bool) {
		for _, c := range s {
			truth = append(truth, c == '1')
		}
		return truth
	}
	for _, c := range []struct {
		name         string
		scores       []float64
		truth        []bool
		auroc, auprc float64
	}{
		{"perfect", []float64{4.0, 3.0, 2.0, 1.0}, b("1100"), 1.0, 1.0},
		{"turned", []float64{1.0, 2.0, 3.0, 4.0}, b("1100"), 0.0, 0.41666666666666663},
		{"all tied", []float64{5.0, 5.0, 5.0, 5.0, 5.0}, b("10010"), 0.5, 0.4},
		{"ties across", []float64{0.9, 0.8, 0.8, 0.8, 0.5, 0.5, 0.2}, b("1101010"), 0.7916666666666666, 0.7916666666666666},
		{"mixed", []float64{0.1, 0.4, 0.35, 0.8, 0.65, 0.9, 0.3, 0.55}, b("00110110"), 0.625, 0.7678571428571428},
		{"infinite", []float64{math.Inf(1), 3.0, 3.0, math.Inf(-1), 0.0}, b("10110"), 0.5833333333333333, 0.7555555555555555},
		{"forty with ties", []float64{0.0, 0.3, -0.3, -0.9, -0.5, -1.0, 0.1, 1.3, -0.5, -0.6, 0.5, 0.4, 0.1, -0.9, 0.0, 0.7, -1.3, -0.5, -1.9, -1.3, -1.8, -0.2, -1.3, 0.3, 0.2, -0.2, -2.5, -0.5, 0.0, 0.1, -1.5, -0.5, -1.0, -0.8, 1.1, -0.8, 0.0, 0.9, -0.6, -0.1}, b("0000010000011010000000111010100001000011"), 0.5119047619047619, 0.3133604184736707},
	} {
		r := rank(c.scores, c.truth)
		if r == nil {
			t.Fatalf("%s: no ranking", c.name)
		}
		if math.Abs(r.AUROC-c.auroc) > 1e-12 || math.Abs(r.AUPRC-c.auprc) > 1e-12 {
			t.Errorf("%s: AUROC %.16g, AUPRC %.16g, want %.16g, %.16g", c.name, r.AUROC, r.AUPRC, c.auroc, c.auprc)
		}
		// The areas of what is drawn are the figures.
		area := 0.0
		for i := 1; i < len(r.falseRate); i++ {
			area += (r.falseRate[i] - r.falseRate[i-1]) * (r.trueRate[i] + r.trueRate[i-1]) / 2
		}
		x, y := staircase(r.trueRate, r.precision)
		below := 0.0
		for i := 1; i < len(x); i++ {
			below += (x[i] - x[i-1]) * (y[i] + y[i-1]) / 2
		}
		if math.Abs(area-c.auroc) > 1e-12 || math.Abs(below-c.auprc) > 1e-12 {
			t.Errorf("%s: drawn areas %.16g, %.16g", c.name, area, below)
		}
	}
}

func TestRank_OneKindOrNaN(t *testing.T) {
	for name, r := range map[string]*Ranking{
		"nothing": rank(nil, nil), "all true": rank([]float64{1, 2}, []bool{true, true}), "none true": rank([]float64{1, 2}, []bool{false, false}),
		"NaN": rank([]float64{1, math.NaN()}, []bool{true, false}),
	} {
		if r != nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// Any order of the rows, and any rising map of the scores, ranks alike; turning the
// scores round turns the area round.
func TestRank_Invariant(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		n := 2 + r.IntN(60)
		scores, truth := make([]float64, n), make([]bool, n)
		for i := range scores {
			scores[i], truth[i] = float64(r.IntN(8)), r.IntN(3) == 0
		}
		truth[0], truth[1] = true, false
		want := rank(scores, truth)
		shuffled, mapped, turned, other := make([]float64, n), make([]float64, n), make([]float64, n), make([]bool, n)
		for i, k := range r.Perm(n) {
			shuffled[i], other[i] = scores[k], truth[k]
			mapped[i], turned[i] = math.Exp(scores[i]), -scores[i]
		}
		for name, got := range map[string]*Ranking{"shuffled": rank(shuffled, other), "mapped": rank(mapped, truth)} {
			if math.Abs(got.AUROC-want.AUROC) > 1e-12 || math.Abs(got.AUPRC-want.AUPRC) > 1e-12 {
				t.Errorf("%s: %v, %v, want %v, %v", name, got.AUROC, got.AUPRC, want.AUROC, want.AUPRC)
			}
		}
		if got := rank(turned, truth); math.Abs(got.AUROC-(1-want.AUROC)) > 1e-12 {
			t.Errorf("turned: %v, want %v", got.AUROC, 1-want.AUROC)
		}
	}
}
