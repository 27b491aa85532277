package lab

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/millwright-iot/millwright/agent/lab/choice"
	"github.com/millwright-iot/millwright/agent/lab/plot"
)

// FaultReport is the result for a dataset of known fault classes.
type FaultReport struct {
	Dataset    string      `json:"dataset"`
	Recordings int         `json:"recordings"`
	Windows    int         `json:"windows"`
	Machines   string      `json:"machines"` // what verdicts are about: "bearings"
	Classes    []string    `json:"classes"`
	Protocol   []string    `json:"protocol"`
	Notes      []string    `json:"notes"`
	Lines      []FaultLine `json:"lines"`
	// Choice compares the federated models and takes one; nil where there is none to make.
	Choice *choice.Result `json:"choice,omitempty"`
	Gaps   []FaultGap     `json:"federated_central_gaps,omitempty"`

	said   map[string][]answer // by model: what the federated ones said
	charts []plot.Chart
	losses []plot.Series // of federated models, for a learning curve
}

// FaultLine is one row of the table. What is absent was not published or has no meaning.
type FaultLine struct {
	Source   string `json:"source"`
	Name     string `json:"name"`
	Learning string `json:"learning,omitempty"`
	// Leaky says that the same machines are in training and test, so that the figures
	// say nothing about another machine.
	Leaky bool `json:"leaky,omitempty"`
	// Windows is the share of windows whose likeliest class is the true one, "unknown"
	// not being an answer.
	Windows float64 `json:"window_accuracy"`
	// Machines is the same of machines, each judged by all its windows together.
	Machines *float64           `json:"machine_accuracy,omitempty"`
	Right    int                `json:"machines_right,omitempty"`
	Of       int                `json:"machines_of,omitempty"`
	Recall   map[string]float64 `json:"recall,omitempty"` // windows right, by class
	// With "unknown" as an answer: the share of windows answered, and of these the
	// share that is right.
	Answered      *float64 `json:"answered,omitempty"`
	AnsweredRight *float64 `json:"answered_right,omitempty"`
	// Confusion counts windows: rows are true classes, columns answers, the last
	// being "unknown".
	Confusion [][]int `json:"confusion,omitempty"`
	// Rankings of windows by each class's score against the rest; of two classes, the
	// second only.
	Rankings map[string]*Ranking `json:"rankings,omitempty"`
	Note     string              `json:"note,omitempty"`

	coverage plot.Series
	at       map[string]*Confusion // of the likeliest class against the rest
}

// judgeFaults works the figures out. Machines are judged by mean probabilities,
// or by verdict, if it is not nil.
func judgeFaults(line FaultLine, classes []string, answers []answer, verdict func(machine string) int) FaultLine {
	line.Source, line.Recall = Ours, map[string]float64{}
	line.Confusion = make([][]int, len(classes))
	for i := range classes {
		line.Confusion[i] = make([]int, len(classes)+1)
	}
	n, answered, right := make([]float64, len(classes)), 0.0, 0.0
	mean, truth := map[string][]float64{}, map[string]int{}
	for _, a := range answers {
		class := a.row.class
		n[class]++
		if mostLikely(a.probabilities) == class {
			line.Windows += 1 / float64(len(answers))
			line.Recall[classes[class]]++
		}
		if a.said >= 0 {
			answered++
			if a.said == class {
				right++
			}
			line.Confusion[class][a.said]++
		} else {
			line.Confusion[class][len(classes)]++
		}
		truth[a.row.machine] = class
		if mean[a.row.machine] == nil {
			mean[a.row.machine] = make([]float64, len(classes))
		}
		for i, p := range a.probabilities {
			mean[a.row.machine][i] += p
		}
	}
	for i, c := range classes {
		if n[i] > 0 {
			line.Recall[c] /= n[i]
		}
	}
	for machine, class := range truth {
		said := mostLikely(mean[machine])
		if verdict != nil {
			said = verdict(machine)
		}
		line.Of++
		if said == class {
			line.Right++
		}
	}
	line.Machines = new(float64(line.Right) / float64(line.Of))
	line.Answered = new(answered / float64(len(answers)))
	if answered > 0 {
		line.AnsweredRight = new(right / answered)
	}
	line.coverage = coverageCurve(answers)
	line.rank(classes, answers)
	return line
}

// mostLikely is the index of the largest element, the first of equal ones.
func mostLikely(p []float64) int {
	best := 0
	for i, x := range p {
		if x > p[best] {
			best = i
		}
	}
	return best
}

// coverageCurve is the accuracy of the share of windows whose answers are surest.
func coverageCurve(answers []answer) (s plot.Series) {
	sorted := slices.Clone(answers)
	sure := func(a answer) float64 { return a.probabilities[mostLikely(a.probabilities)] }
	slices.SortStableFunc(sorted, func(a, b answer) int {
		switch {
		case sure(a) > sure(b):
			return -1
		case sure(a) < sure(b):
			return 1
		}
		return 0
	})
	right := 0.0
	for i, a := range sorted {
		if mostLikely(a.probabilities) == a.row.class {
			right++
		}
		// Answers that are equally sure are given or withheld together.
		if i+1 == len(sorted) || sure(sorted[i+1]) < sure(a) {
			s.X, s.Y = append(s.X, 100*float64(i+1)/float64(len(sorted))), append(s.Y, 100*right/float64(i+1))
		}
	}
	return s
}

// nullFaults always says the class that most training windows have.
func nullFaults(rows []faultRow, classes []string) FaultLine {
	answers, _ := acrossFolds(rows, func(train, test []faultRow) ([]answer, error) { // no errors
		count := make([]float64, len(classes))
		for _, r := range train {
			count[r.class]++
		}
		p := make([]float64, len(classes))
		p[mostLikely(count)] = 1
		var all []answer
		for i := range test {
			all = append(all, answer{row: &test[i], probabilities: p, said: mostLikely(count)})
		}
		return all, nil
	})
	line := judgeFaults(FaultLine{Name: "always the commonest class"}, classes, answers, nil)
	line.Source = Null
	return line
}

func (r *FaultReport) head() []string {
	head := []string{"from", "model", "learning", "windows %", r.Machines}
	for _, c := range r.Classes {
		head = append(head, c+" %")
	}
	return append(head, "AUROC", "AUPRC", "answered %", "of these right %", "")
}

func (r *FaultReport) cells(l FaultLine) []string {
	name, machines := l.Name, "–"
	if l.Leaky {
		name = "LEAKY: " + name
	}
	if l.Of > 0 {
		machines = fmt.Sprintf("%d/%d", l.Right, l.Of)
	}
	cells := []string{l.Source, name, orDash(l.Learning), percent(&l.Windows), machines}
	for _, c := range r.Classes {
		if x, ok := l.Recall[c]; ok {
			cells = append(cells, percent(&x))
		} else {
			cells = append(cells, "–")
		}
	}
	auroc, auprc := l.meanAreas()
	return append(cells, auroc, auprc, percent(l.Answered), percent(l.AnsweredRight), l.Note)
}

// WriteTable implements Result.
func (r *FaultReport) WriteTable(out io.Writer) error {
	fmt.Fprintf(out, "%s: %d recordings, %d windows\n\n", strings.ToUpper(r.Dataset), r.Recordings, r.Windows)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, strings.Join(r.head(), "\t")+"\t")
	for _, l := range r.Lines {
		fmt.Fprintln(w, strings.Join(r.cells(l), "\t")+"\t")
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, l := range r.Lines {
		if l.Confusion == nil || l.Learning != Federated {
			continue
		}
		fmt.Fprintf(out, "\n%s, %s: windows by true class (down) and answer (across)\n", l.Name, orDash(l.Learning))
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
		t := r.confusion(l)
		fmt.Fprintln(w, strings.Join(t.Head, "\t")+"\t")
		for _, row := range t.Rows {
			fmt.Fprintln(w, strings.Join(row.Cells, "\t")+"\t")
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if err := r.writeChoice(out); err != nil {
		return err
	}
	if len(r.Notes) > 0 {
		fmt.Fprintln(out, "\nNotes")
	}
	for _, n := range r.Notes {
		fmt.Fprintln(out, "  -", n)
	}
	fmt.Fprintln(out)
	return writeProtocol(out, r.Protocol)
}

func (r *FaultReport) confusion(l FaultLine) *plot.Table {
	t := &plot.Table{Head: append(append([]string{""}, r.Classes...), "unknown")}
	for i, counts := range l.Confusion {
		cells := []string{r.Classes[i]}
		for _, n := range counts {
			cells = append(cells, fmt.Sprint(n))
		}
		t.Rows = append(t.Rows, plot.Row{Cells: cells})
	}
	return t
}
