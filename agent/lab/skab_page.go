package lab

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/millwright-iot/millwright/agent/lab/plot"
)

// Page implements Result.
func (r *Report) Page() plot.Page {
	t := &plot.Table{Head: skabHead()}
	for _, l := range r.Lines {
		t.Rows = append(t.Rows, plot.Row{Cells: l.cells(), Strong: l.Source == Ours && l.Learning == Federated})
	}
	notes := append([]string{fmt.Sprintf("%d recordings (%s), %d scored rows, %d anomalous", r.Recordings, strings.Join(r.Groups, ", "), r.ScoredRows, r.AnomalousRows)}, r.Notes...)
	p := plot.Page{Title: "SKAB: anomalies of a water pump",
		Lead: "All models are those of the gateway, causal and blind to position. Highlighted lines are federated.",
		Sections: []plot.Section{
			{Title: "Detectors", Table: t, Notes: notes},
			{Title: "Scores", Charts: append(rankingCharts("scored rows", r.curves()), r.learningChart()...), Notes: []string{
				"rows are ranked by score before hysteresis; rings are where the alarm works, hysteresis included, so they may lie off their curve",
			}},
		}}
	courses := plot.Section{Title: "The first machine of each group", Notes: []string{fmt.Sprintf("Scores above %d lie at the edge.", traceTop)}}
	for _, tr := range r.traces {
		courses.Charts = append(courses.Charts, tr.chart())
	}
	if len(courses.Charts) > 0 {
		p.Sections = append(p.Sections, courses)
	}
	p.Sections = append(p.Sections, plot.Section{Title: "Protocol", Notes: r.Protocol})
	return p
}

// curves are those of the uncompressed federated models and of the rules that know
// nothing.
func (r *Report) curves() []curve {
	var all []curve
	for _, l := range r.Lines {
		switch {
		case l.Source == Null:
			all = append(all, curve{name: l.Name, at: l.Confusion})
		case l.Source == Ours && l.Learning == Federated && l.Compression == "":
			all = append(all, curve{name: l.Name, ranking: l.Ranking, at: l.Confusion})
		}
	}
	return all
}

// learningChart shows the loss of the federated gradient model over the rounds, by how
// its updates are compressed; nothing when none was trained.
func (r *Report) learningChart() []plot.Chart {
	c := plot.Chart{Title: "Learning curve of the federated autoencoder", XLabel: "round", YLabel: "mean squared error on all heads"}
	colours := []plot.Colour{plot.Blue, plot.Orange, plot.Green, plot.Red, plot.Purple, plot.Grey}
	most := 0.0
	for _, l := range r.Lines {
		if len(l.Losses) == 0 {
			continue
		}
		s := plot.Series{Name: orElse(l.Compression, "as it is"), Colour: colours[len(c.Series)%len(colours)]}
		for i, loss := range l.Losses {
			s.X, s.Y = append(s.X, float64(i)), append(s.Y, loss)
		}
		most = max(most, slices.Max(s.Y))
		c.Series = append(c.Series, s)
	}
	if len(c.Series) == 0 {
		return nil
	}
	c.Y = plot.Range{Min: 0, Max: 1.05 * most}
	return []plot.Chart{c}
}

// traceTop is the highest score that a course shows.
const traceTop = 5

func (t trace) chart() plot.Chart {
	top := min(max(2, math.Ceil(slices.Max(t.told.score[SKABHead:]))), traceTop)
	score := plot.Series{Name: "score", Colour: plot.Blue}
	truth := plot.Series{Name: "labelled anomalous", Style: plot.Band, Colour: plot.Grey}
	alarm := plot.Series{Name: "in alarm", Colour: plot.Red}
	start := t.file.Times[0]
	missing := func(show bool, at float64) float64 {
		if show {
			return at
		}
		return math.NaN()
	}
	for i := SKABHead; i < len(t.file.Times); i++ {
		x := t.file.Times[i].Sub(start).Seconds()
		score.X, score.Y = append(score.X, x), append(score.Y, t.told.score[i])
		truth.X, truth.Low, truth.High = append(truth.X, x), append(truth.Low, missing(t.file.Truth[i], 0)), append(truth.High, top)
		alarm.X, alarm.Y = append(alarm.X, x), append(alarm.Y, missing(t.told.alarm[i], 0.01*top))
	}
	first, last := score.X[0], score.X[len(score.X)-1]
	return plot.Chart{Title: t.file.Name + ": score after the head", XLabel: "time, s", YLabel: "score over threshold",
		X: plot.Range{Min: first, Max: last}, Y: plot.Range{Min: 0, Max: top}, Series: []plot.Series{
			truth, score, alarm, {Name: "threshold", Colour: plot.Orange, X: []float64{first, last}, Y: []float64{1, 1}},
		}}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
