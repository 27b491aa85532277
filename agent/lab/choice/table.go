package choice

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/millwright-iot/millwright/agent/lab/plot"
)

// Head names the cells of a line.
func Head() []string {
	return []string{"candidate", "loss", "± s.e.", "behind best", "± s.e.", "µs/prediction", "training CPU", "model", "a round", "rounds", ""}
}

// Cells are the texts of a line.
func (r *Result) Cells(l Line) []string {
	if l.Failed != "" {
		return []string{l.Name, "–", "–", "–", "–", "–", "–", "–", "–", "–", "failed: " + l.Failed}
	}
	mark := ""
	if l.Name == r.Chosen {
		mark = "← chosen"
	}
	return []string{
		l.Name, fmt.Sprintf("%.4g", l.Loss), fmt.Sprintf("%.2g", l.StdErr), fmt.Sprintf("%.3g", l.Behind), fmt.Sprintf("%.2g", l.BehindErr),
		fmt.Sprintf("%.3g", l.Cost.PredictionMicroseconds), fmt.Sprintf("%.2g s", l.Cost.TrainingCPUSeconds),
		bytesText(int64(l.Cost.ModelBytes)), bytesText(int64(l.Cost.UpdateBytes)), fmt.Sprint(l.Cost.Rounds), mark,
	}
}

// Texts are what there is to say beside the table.
func (r *Result) Texts() []string {
	texts := []string{
		fmt.Sprintf("loss: %s; mean over %d machines, each judged by models that have not seen it (%d folds of machines)", r.Measure, r.Machines, r.Folds),
		"chosen: " + r.Chosen + ". " + r.Reason,
	}
	if r.Nested != nil {
		var in []string
		for _, name := range slices.Sorted(maps.Keys(r.Nested.Chosen)) {
			in = append(in, fmt.Sprintf("%s in %d", name, r.Nested.Chosen[name]))
		}
		texts = append(texts, fmt.Sprintf("choosing in this way, itself judged on machines that the choice has not seen: loss %.4g ± %.2g; of %d folds it takes %s",
			r.Nested.Loss, r.Nested.StdErr, r.Folds, strings.Join(in, ", ")))
	}
	return append(texts, r.Notes...)
}

// WriteTable prints r for people.
func (r *Result) WriteTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(Head(), "\t"))
	for _, l := range r.Lines {
		fmt.Fprintln(w, strings.Join(r.Cells(l), "\t"))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print choice: %w", err)
	}
	for _, t := range r.Texts() {
		if _, err := fmt.Fprintln(out, "  "+t); err != nil {
			return fmt.Errorf("print choice: %w", err)
		}
	}
	return nil
}

// Section is r as a part of a page.
func (r *Result) Section(title string) plot.Section {
	t := &plot.Table{Head: Head()}
	for _, l := range r.Lines {
		t.Rows = append(t.Rows, plot.Row{Cells: r.Cells(l), Strong: l.Name == r.Chosen})
	}
	return plot.Section{Title: title, Notes: r.Texts(), Table: t}
}

// bytesText is n for people.
func bytesText(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d B", n)
	case n < 10_000_000:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
