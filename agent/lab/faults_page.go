package lab

import (
	"slices"
	"strings"

	"github.com/millwright-iot/millwright/agent/lab/plot"
)

// Page implements Result.
func (r *FaultReport) Page() plot.Page {
	head := r.head()
	t := &plot.Table{Head: head[:len(head)-1]}                                         // notes would make it too wide; they are listed
	notes, order, names := slices.Clone(r.Notes), []string(nil), map[string][]string{} // of lines, by their note
	curve := plot.Chart{Title: "Accuracy of the answers that are given", XLabel: "windows answered, %", YLabel: "of these right, %",
		X: plot.Range{Min: 0, Max: 100}, Y: plot.Range{Min: 0, Max: 105}}
	colours := []plot.Colour{plot.Blue, plot.Orange, plot.Green, plot.Red, plot.Purple, plot.Grey}
	confusions := plot.Section{Title: "What was answered", Notes: []string{"Windows of the federated models by true class (down) and answer (across)."}}
	for _, l := range r.Lines {
		cells := r.cells(l)
		t.Rows = append(t.Rows, plot.Row{Cells: cells[:len(cells)-1], Strong: l.Source == Ours && l.Learning == Federated})
		if l.Note != "" {
			if names[l.Note] == nil {
				order = append(order, l.Note)
			}
			names[l.Note] = append(names[l.Note], l.title())
		}
		if l.Confusion == nil || l.Learning != Federated {
			continue
		}
		title := l.title()
		small := r.confusion(l)
		small.Title = title
		confusions.Small = append(confusions.Small, *small)
		if len(curve.Series) < len(colours) {
			s := l.coverage
			s.Name, s.Colour = title, colours[len(curve.Series)]
			if len(s.X) < 5 {
				s.Style = plot.Points
			}
			curve.Series = append(curve.Series, s)
		}
	}
	p := plot.Page{Title: strings.ToUpper(r.Dataset) + ": fault class", Lead: "All models are those of the gateway. A row marked LEAKY has the same machines in training and test."}
	for _, note := range order {
		notes = append(notes, strings.Join(names[note], "; ")+": "+note)
	}
	learning := []plot.Chart{curve}
	if len(r.losses) > 0 {
		learning = append(learning, plot.Chart{Title: "Learning curves, federated, mean over what is left out", XLabel: "round", YLabel: "cross-entropy of training windows", Series: r.losses})
	}
	p.Sections = append(p.Sections,
		plot.Section{Title: "Results", Table: t})
	if len(notes) > 0 {
		p.Sections = append(p.Sections, plot.Section{Title: "Notes", Notes: notes})
	}
	if r.Choice != nil {
		p.Sections = append(p.Sections, r.Choice.Section("Choice among the models, federated"))
	}
	p.Sections = append(p.Sections,
		plot.Section{Title: "Rankings", Notes: []string{"Windows are ranked by each class's score against the rest; of two classes, by the second's. Rings are where the answers work: the likeliest class."}, Charts: r.rankingCharts()},
		plot.Section{Title: "Answers and learning", Charts: learning})
	if len(r.charts) > 0 {
		p.Sections = append(p.Sections, plot.Section{Title: "Envelope spectra", Charts: r.charts, Notes: []string{
			"Dashed: harmonics of the damaged part's frequency, without slip; faint: one turn of the shaft (inner race) or of the cage (ball) beside them.",
		}})
	}
	p.Sections = append(p.Sections, confusions)
	p.Sections = append(p.Sections, plot.Section{Title: "Protocol", Notes: r.Protocol})
	return p
}

func (l FaultLine) title() string {
	if l.Learning == "" {
		return l.Name
	}
	return l.Name + ", " + l.Learning
}
