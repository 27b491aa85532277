package lab

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
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
	Notes         []string `json:"notes,omitempty"`
	Lines         []Line   `json:"lines"`

	traces []trace
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
	// Ranking of the scored rows by score relative to each machine's threshold.
	Ranking *Ranking `json:"ranking,omitempty"`
	// Losses of the global model before each round; gradient models, federated.
	Losses []float64 `json:"losses,omitempty"`
	Note   string    `json:"note,omitempty"`

	events Events
	scores []float64
	truth  []bool
}

// Add judges when a detector said that a file's machine was in alarm; the head is not
// scored.
func (l *Line) Add(f SKABFile, alarm []bool) {
	if l.Confusion == nil {
		l.Confusion = new(Confusion)
	}
	l.Confusion.Add(f.Truth[SKABHead:], alarm[SKABHead:])
	l.events.Add(f.Times[SKABHead:], f.Truth[SKABHead:], alarm[SKABHead:])
}

// add judges the alarm, and keeps the scores for their ranking.
func (l *Line) add(f SKABFile, said told) {
	l.Add(f, said.alarm)
	l.scores = append(l.scores, said.score[SKABHead:]...)
	l.truth = append(l.truth, f.Truth[SKABHead:]...)
}

// Done returns l with its figures worked out.
func (l Line) Done() Line {
	c := l.Confusion
	l.F1, l.Precision, l.Recall = c.F1(), c.Precision(), c.Recall()
	l.FAR, l.MAR = new(c.FAR()), new(c.MAR())
	l.Events, l.Detected = l.events.Total, l.events.Detected
	l.MedianDelayS, l.FalsePerHour = l.events.MedianDelay().Seconds(), l.events.FalsePerHour()
	l.Ranking = rank(l.scores, l.truth)
	l.scores, l.truth = nil, nil
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
		"causal (a row is judged by windows that ended with it) and blind to position; no setting chosen on these labels, but in the line that says so",
		"federated: each machine sends one update a round, learned from its standardised head; baseline and threshold stay with it",
		"TP, FP, FN, TN summed over files; F1 = TP/(TP+(FP+FN)/2), FAR = FP/(FP+TN), MAR = FN/(FN+TP)",
		"an event is a run of anomalous rows; it is detected by an alarm during it; an alarm without one anomalous row is a false episode",
		"settings chosen on other groups: of all candidates the one with the highest F1 on the groups that are not reported, among those with a FAR of at most 10 % there",
		"AUROC and AUPRC rank all scored rows by score over the machine's own threshold, before hysteresis",
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
	if len(r.Notes) > 0 {
		fmt.Fprintln(out, "Notes")
		for _, n := range r.Notes {
			fmt.Fprintln(out, "  -", n)
		}
		fmt.Fprintln(out)
	}
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
	auroc, auprc := "–", "–"
	if l.Ranking != nil {
		auroc, auprc = fmt.Sprintf("%.3f", l.Ranking.AUROC), fmt.Sprintf("%.3f", l.Ranking.AUPRC)
	}
	return []string{l.Source, l.Name, orDash(strings.TrimSpace(l.Learning + " " + l.Compression)), size, fmt.Sprintf("%.3f", l.F1), percent(l.FAR), percent(l.MAR), auroc, auprc, events, delay, falseRate, l.Note}
}

func skabHead() []string {
	return []string{"from", "detector", "learning", "bytes/update", "F1", "FAR %", "MAR %", "AUROC", "AUPRC", "events", "median delay", "false/h", ""}
}

func orDash(s string) string { return orElse(s, "–") }

func percent(x *float64) string {
	if x == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f", 100**x)
}
