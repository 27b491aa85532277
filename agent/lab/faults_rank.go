package lab

import (
	"fmt"

	"github.com/millwright-iot/millwright/agent/lab/plot"
)

// rank fills in how windows rank by each class against the rest. Two classes are each
// other's rest, so the second alone says it all.
func (l *FaultLine) rank(classes []string, answers []answer) {
	l.Rankings, l.at = map[string]*Ranking{}, map[string]*Confusion{}
	for _, class := range rankedClasses(len(classes)) {
		scores, truth, said := make([]float64, len(answers)), make([]bool, len(answers)), make([]bool, len(answers))
		for i, a := range answers {
			from := a.scores
			if from == nil {
				from = a.probabilities
			}
			scores[i], truth[i], said[i] = from[class], a.row.class == class, mostLikely(a.probabilities) == class
		}
		if r := rank(scores, truth); r != nil {
			l.Rankings[classes[class]] = r
			l.at[classes[class]] = new(Confusion)
			l.at[classes[class]].Add(truth, said)
		}
	}
}

func rankedClasses(classes int) []int {
	if classes == 2 {
		return []int{1}
	}
	all := make([]int, classes)
	for i := range all {
		all[i] = i
	}
	return all
}

// meanAreas are the areas as texts, mean over the classes.
func (l FaultLine) meanAreas() (auroc, auprc string) {
	if len(l.Rankings) == 0 {
		return "–", "–"
	}
	var roc, pr float64
	for _, r := range l.Rankings {
		roc, pr = roc+r.AUROC, pr+r.AUPRC
	}
	n := float64(len(l.Rankings))
	return fmt.Sprintf("%.3f", roc/n), fmt.Sprintf("%.3f", pr/n)
}

// rankingCharts are of federated models: of two classes all models in one pair of
// charts, of more the first three models, each with a curve a class.
func (r *FaultReport) rankingCharts() []plot.Chart {
	var together []curve
	var charts []plot.Chart
	for _, l := range r.Lines {
		if l.Learning != Federated || len(l.Rankings) == 0 {
			continue
		}
		var own []curve
		for _, class := range r.Classes {
			if l.Rankings[class] != nil {
				own = append(own, curve{class, l.Rankings[class], l.at[class]})
			}
		}
		switch {
		case len(r.Classes) == 2:
			own[0].name = l.Name
			together = append(together, own...)
		case len(charts) < 6:
			charts = append(charts, rankingCharts(l.Name, own)...)
		}
	}
	if len(together) > 0 {
		charts = rankingCharts(r.Classes[1], together)
	}
	return charts
}

// lossCurve averages the losses of several fits, one a fold, into one series.
func lossCurve(name string, colour plot.Colour, fits [][]float64) plot.Series {
	s := plot.Series{Name: name, Colour: colour}
	for _, losses := range fits {
		for i, loss := range losses {
			if i == len(s.X) {
				s.X, s.Y = append(s.X, float64(i)), append(s.Y, 0)
			}
			s.Y[i] += loss / float64(len(fits))
		}
	}
	return s
}
