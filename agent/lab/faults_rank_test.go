package lab

import (
	"math"
	"strings"
	"testing"
)

// Three classes, one against the rest; areas by sklearn 1.9.1's roc_auc_score and
// average_precision_score on the same eight windows.
func TestFaultLine_RankScikitLearn(t *testing.T) {
	p := [][]float64{{.7, .2, .1}, {.4, .4, .2}, {.1, .8, .1}, {.3, .3, .4}, {.2, .1, .7}, {.5, .2, .3}, {.4, .3, .3}, {.1, .1, .8}}
	classes := []int{0, 0, 1, 1, 2, 2, 0, 2}
	rows := make([]faultRow, len(p))
	var answers []answer
	for i := range p {
		rows[i] = faultRow{class: classes[i], machine: "m"}
		answers = append(answers, answer{row: &rows[i], probabilities: p[i], said: mostLikely(p[i])})
	}
	line := judgeFaults(FaultLine{}, []string{"a", "b", "c"}, answers, nil)
	for name, want := range map[string][2]float64{"a": {0.8666666666666667, 0.8333333333333333}, "b": {0.875, 0.75}, "c": {0.8999999999999999, 0.8666666666666667}} {
		r := line.Rankings[name]
		if math.Abs(r.AUROC-want[0]) > 1e-12 || math.Abs(r.AUPRC-want[1]) > 1e-12 {
			t.Errorf("%s: %.16g, %.16g, want %v", name, r.AUROC, r.AUPRC, want)
		}
	}
	// Likeliest classes: a a b c c a a c.
	if at := line.at["a"]; *at != (Confusion{TP: 3, FP: 1, TN: 4}) {
		t.Errorf("a works at %+v", *at)
	}
	// Scores of their own rank instead of the probabilities.
	for i := range answers {
		answers[i].scores = []float64{float64(i), 0, 0}
		if classes[i] == 0 {
			answers[i].scores[0] = 100
		}
	}
	if r := judgeFaults(FaultLine{}, []string{"a", "b", "c"}, answers, nil).Rankings; r["a"].AUROC != 1 || r["b"].AUROC != 0.5 {
		t.Errorf("by scores: a %v, b %v, want 1, 0.5", r["a"].AUROC, r["b"].AUROC)
	}
}

// A class that nobody has cannot be ranked: it is left out, and charts of nothing are not
// drawn.
func TestFaultLine_RankMissingClass(t *testing.T) {
	rows := []faultRow{{class: 0, machine: "m"}, {class: 0, machine: "m"}}
	answers := []answer{{row: &rows[0], probabilities: []float64{.9, .1}}, {row: &rows[1], probabilities: []float64{.8, .2}}}
	line := judgeFaults(FaultLine{Learning: Federated}, []string{"healthy", "broken"}, answers, nil)
	if len(line.Rankings) != 0 {
		t.Errorf("ranked %v", line.Rankings)
	}
	r := &FaultReport{Dataset: "x", Classes: []string{"healthy", "broken"}, Machines: "machines", Lines: []FaultLine{line}}
	if charts := r.rankingCharts(); charts != nil {
		t.Errorf("%d charts", len(charts))
	}
	var page strings.Builder
	if err := r.Page().Write(&page); err != nil || strings.Contains(page.String(), "NaN") {
		t.Errorf("page: %v", err)
	}
}
