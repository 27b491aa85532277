package lab

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/millwright-iot/millwright/agent/lab/plot"
)

// Where a line of a report comes from.
const (
	Ours      = "millwright" // computed here, by the gateway's code
	Null      = "null"       // computed here, by a rule that knows nothing
	Published = "published"  // from the literature, on the full set
)

// Report is the result of an evaluation.
type Report struct {
	Dataset       string   `json:"dataset"`
	Recordings    int      `json:"recordings"`
	Groups        []string `json:"groups"`
	ScoredRows    int      `json:"scored_rows"`
	AnomalousRows int      `json:"anomalous_rows"`
	Protocol      []string `json:"protocol"`
	Lines         []Line   `json:"lines"`
}

// Line is one row of the table. Fractions are from 0 to 1.
type Line struct {
	Source   string `json:"source"` // Ours, Null or Published
	Name     string `json:"name"`
	Learning string `json:"learning,omitempty"`
	// Compression of the updates and what one then takes; federated lines only.
	Compression    string   `json:"compression,omitempty"`
	BytesPerUpdate int      `json:"bytes_per_update,omitempty"`
	F1             float64  `json:"f1"`
	FAR            *float64 `json:"far,omitempty"` // absent where it was not published
	MAR            *float64 `json:"mar,omitempty"`
	// The rest is absent for published lines.
	Confusion    *Confusion `json:"confusion,omitempty"`
	Precision    float64    `json:"precision,omitempty"`
	Recall       float64    `json:"recall,omitempty"`
	Events       int        `json:"events,omitempty"`
	Detected     int        `json:"detected,omitempty"`
	MedianDelayS float64    `json:"median_delay_s"`
	FalsePerHour float64    `json:"false_episodes_per_hour"`
	Note         string     `json:"note,omitempty"`

	events Events
}

// Add judges what a detector said of a file; the head is not scored.
func (l *Line) Add(f SKABFile, said []bool) {
	if l.Confusion == nil {
		l.Confusion = new(Confusion)
	}
	l.Confusion.Add(f.Truth[SKABHead:], said[SKABHead:])
	l.events.Add(f.Times[SKABHead:], f.Truth[SKABHead:], said[SKABHead:])
}

// Done returns l with its figures worked out.
func (l Line) Done() Line {
	c := l.Confusion
	l.F1, l.Precision, l.Recall = c.F1(), c.Precision(), c.Recall()
	l.FAR, l.MAR = new(c.FAR()), new(c.MAR())
	l.Events, l.Detected = l.events.Total, l.events.Detected
	l.MedianDelayS, l.FalsePerHour = l.events.MedianDelay().Seconds(), l.events.FalsePerHour()
	return l
}

// skabPublished are results of the benchmark's leaderboard on the full set of 34
// files, as fractions.
var skabPublished = []Line{
	{Name: "Conv-AE", F1: .78, FAR: new(.136), MAR: new(.280), Note: "looks ahead"},
	{Name: "MSET", F1: .78, FAR: new(.397), MAR: new(.141), Note: "centred mean"},
	{Name: "T²+Q (PCA)", F1: .76, FAR: new(.266), MAR: new(.249)},
	{Name: "LSTM-AE", F1: .74},
	{Name: "T²", F1: .66},
}

// newSKABReport starts a report with the lines that need no detector.
func newSKABReport(files []SKABFile) *Report {
	r := &Report{Dataset: "skab", Recordings: len(files), Protocol: []string{
		fmt.Sprintf("one machine a file; its first %d rows are its healthy head, only the rest is scored", SKABHead),
		"causal (a row is judged by windows that ended with it) and blind to position; no setting chosen on these labels",
		"federated: each machine sends one update a round, learned from its standardised head; baseline and threshold stay with it",
		"TP, FP, FN, TN summed over files; F1 = TP/(TP+(FP+FN)/2), FAR = FP/(FP+TN), MAR = FN/(FN+TP)",
		"an event is a run of anomalous rows; it is detected by an alarm during it; an alarm without one anomalous row is a false episode",
		"published lines are of the full set of 34 files and, as noted, not all causal",
	}}
	always, never, middle := Line{Source: Null, Name: "always alarm"}, Line{Source: Null, Name: "never alarm"},
		Line{Source: Null, Name: "flag rows 570–970", Note: "knows the position: shows how easily the set is fooled"}
	for _, f := range files {
		r.ScoredRows += len(f.Truth) - SKABHead
		for _, bad := range f.Truth[SKABHead:] {
			if bad {
				r.AnomalousRows++
			}
		}
		if !slices.Contains(r.Groups, f.Group) {
			r.Groups = append(r.Groups, f.Group)
		}
		always.Add(f, rowsWhere(f, func(int) bool { return true }))
		never.Add(f, rowsWhere(f, func(int) bool { return false }))
		middle.Add(f, rowsWhere(f, func(i int) bool { return i >= 570 && i <= 970 }))
	}
	for _, l := range skabPublished {
		l.Source = Published
		r.Lines = append(r.Lines, l)
	}
	r.Lines = append(r.Lines, always.Done(), never.Done(), middle.Done())
	return r
}

func rowsWhere(f SKABFile, said func(i int) bool) []bool {
	s := make([]bool, len(f.Truth))
	for i := range s {
		s[i] = said(i)
	}
	return s
}

// WriteTable prints r for people.
func (r *Report) WriteTable(out io.Writer) error {
	fmt.Fprintf(out, "%s: %d recordings (%s), %d scored rows, %d anomalous\n\n",
		strings.ToUpper(r.Dataset), r.Recordings, strings.Join(r.Groups, ", "), r.ScoredRows, r.AnomalousRows)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, strings.Join(skabHead(), "\t")+"\t")
	for _, l := range r.Lines {
		fmt.Fprintln(w, strings.Join(l.cells(), "\t")+"\t")
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return writeProtocol(out, r.Protocol)
}

func writeProtocol(out io.Writer, lines []string) error {
	fmt.Fprintln(out, "Protocol")
	for _, p := range lines {
		if _, err := fmt.Fprintln(out, "  -", p); err != nil {
			return err
		}
	}
	return nil
}

// cells of a line, as texts.
func (l Line) cells() []string {
	events, delay, falseRate := "–", "–", "–"
	if l.Confusion != nil {
		events = fmt.Sprintf("%d/%d", l.Detected, l.Events)
		falseRate = fmt.Sprintf("%.1f", l.FalsePerHour)
		if l.Detected > 0 {
			delay = fmt.Sprintf("%.0f s", l.MedianDelayS)
		}
	}
	size := "–"
	if l.BytesPerUpdate > 0 {
		size = fmt.Sprint(l.BytesPerUpdate)
	}
	return []string{l.Source, l.Name, orDash(strings.TrimSpace(l.Learning + " " + l.Compression)), size, fmt.Sprintf("%.3f", l.F1), percent(l.FAR), percent(l.MAR), events, delay, falseRate, l.Note}
}

func skabHead() []string {
	return []string{"from", "detector", "learning", "bytes/update", "F1", "FAR %", "MAR %", "events", "median delay", "false/h", ""}
}

// Page implements Result.
func (r *Report) Page() plot.Page {
	t := &plot.Table{Head: skabHead()}
	for _, l := range r.Lines {
		t.Rows = append(t.Rows, plot.Row{Cells: l.cells(), Strong: l.Source == Ours && l.Learning == Federated})
	}
	return plot.Page{Title: "SKAB: anomalies of a water pump", Sections: []plot.Section{
		{Title: "Detectors", Table: t, Notes: []string{fmt.Sprintf("%d recordings (%s), %d scored rows, %d anomalous",
			r.Recordings, strings.Join(r.Groups, ", "), r.ScoredRows, r.AnomalousRows)}},
		{Title: "Protocol", Notes: r.Protocol},
	}}
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func percent(x *float64) string {
	if x == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f", 100**x)
}
