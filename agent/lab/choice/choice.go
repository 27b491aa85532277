// Package choice compares models on machines that they have not seen, and says which
// to take and why: the cheapest of those that cannot be told from the best.
package choice

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// mostFolds bounds the work: with more machines than that, several are left out together.
const mostFolds = 8

// Task is what candidates are compared at.
type Task struct {
	Measure    string   // what a loss is, for people: "RMSE of a machine, cycles"
	Machines   []string // at least 2
	Candidates []string // names, the simplest first
	// Fit learns a candidate from some of the machines; both are numbered as above.
	// An error, other than the context's, puts the candidate out of the comparison.
	Fit func(ctx context.Context, candidate int, machines []int) (Fitted, error)
}

// Fitted is a candidate that has learned.
type Fitted struct {
	// Loss says how wrong the model is about a machine it has not learned from: ≥ 0
	// and finite. ErrSilent stands for a machine on which it cannot be judged.
	Loss func(ctx context.Context, machine int) (float64, error)
	Cost Cost
}

// ErrSilent says that a machine has nothing to judge a model by: no labels, for example.
var ErrSilent = errors.New("the machine has nothing to judge a model by")

// Cost is what a candidate takes. Times are of the computer that ran the comparison.
type Cost struct {
	PredictionMicroseconds float64 `json:"prediction_us"`        // one prediction
	TrainingCPUSeconds     float64 `json:"training_cpu_seconds"` // all rounds on all machines
	ModelBytes             int     `json:"model_bytes"`          // as a release carries it
	UpdateBytes            int     `json:"update_bytes"`         // one participant's, one round
	Rounds                 int     `json:"rounds"`
}

// Traffic is how many bytes a gateway sends and receives until the model is learned.
// It is what the choice goes by, since it does not depend on who measures.
func (c Cost) Traffic() int64 { return int64(c.Rounds) * (int64(c.ModelBytes) + int64(c.UpdateBytes)) }

// Line is what was found of one candidate.
type Line struct {
	Name string `json:"name"`
	// Loss is the mean over machines left out, StdErr its standard error.
	Loss   float64 `json:"loss"`
	StdErr float64 `json:"standard_error"`
	// Behind is by how much the loss exceeds the best candidate's, machine by machine,
	// and BehindErr the standard error of that.
	Behind    float64 `json:"behind_best"`
	BehindErr float64 `json:"behind_best_standard_error"`
	Cost      Cost    `json:"cost"`
	Failed    string  `json:"failed,omitempty"` // why there is nothing else
}

// Result is the comparison and the choice.
type Result struct {
	Measure  string `json:"measure"`
	Machines int    `json:"machines"` // that could be judged
	Folds    int    `json:"folds"`
	Lines    []Line `json:"candidates"`
	Chosen   string `json:"chosen"`
	Reason   string `json:"reason"`
	// Nested is what choosing in this way reaches: for each fold the choice is made, and
	// the model learned, without it. Nil with fewer than 3 folds.
	Nested *Nested  `json:"nested,omitempty"`
	Notes  []string `json:"notes,omitempty"`
}

// Nested judges the choice itself.
type Nested struct {
	Loss   float64        `json:"loss"`
	StdErr float64        `json:"standard_error"`
	Chosen map[string]int `json:"chosen"` // in how many folds
}

// Compare leaves machines out, fold by fold, and chooses.
func Compare(ctx context.Context, task Task) (*Result, error) {
	if len(task.Machines) < 2 {
		return nil, fmt.Errorf("compare candidates: %d machines; at least 2 are needed, to learn from some and judge by others", len(task.Machines))
	}
	if len(task.Candidates) == 0 {
		return nil, errors.New("compare candidates: there are none")
	}
	c := newComparison(task)
	if err := c.run(ctx); err != nil {
		return nil, err
	}
	return c.result()
}

// loss of one machine under a model; ok is false for a machine that says nothing.
type loss struct {
	x  float64
	ok bool
}

// mean and standard error of those losses that are there.
func mean(losses []loss) (m, stdErr float64, n int) {
	for _, l := range losses {
		if l.ok {
			m += l.x
			n++
		}
	}
	if n == 0 {
		return math.Inf(1), 0, 0
	}
	m /= float64(n)
	if n == 1 {
		return m, 0, 1
	}
	square := 0.0
	for _, l := range losses {
		if l.ok {
			square += float64((l.x - m) * (l.x - m))
		}
	}
	return m, math.Sqrt(square / float64(n-1) / float64(n)), n
}

// less the losses of another candidate, machine by machine.
func less(a, b []loss) []loss {
	d := make([]loss, len(a))
	for i := range a {
		d[i] = loss{a[i].x - b[i].x, a[i].ok && b[i].ok}
	}
	return d
}

// choose returns the best candidate and the one to take: the cheapest that is behind
// the best by no more than one standard error of the difference over machines (Breiman
// et al., Classification and Regression Trees, 1984, section 3.4.3, with the difference
// in place of the best's own error, since all are judged on the same machines).
// Candidates without losses are nil.
func choose(losses [][]loss, costs []Cost) (best, chosen int) {
	best = -1
	for i, l := range losses {
		if l == nil {
			continue
		}
		m, _, n := mean(l)
		if n == 0 {
			continue
		}
		if best < 0 {
			best = i
		} else if b, _, _ := mean(losses[best]); m < b {
			best = i
		}
	}
	if best < 0 {
		return -1, -1
	}
	var close []int
	for i, l := range losses {
		if l == nil {
			continue
		}
		if behind, stdErr, n := mean(less(l, losses[best])); n > 0 && behind <= stdErr {
			close = append(close, i)
		}
	}
	return best, slices.MinFunc(close, func(i, j int) int {
		switch a, b := costs[i], costs[j]; {
		case a.Traffic() != b.Traffic():
			return int(min(max(a.Traffic()-b.Traffic(), -1), 1))
		case a.ModelBytes != b.ModelBytes:
			return a.ModelBytes - b.ModelBytes
		}
		return i - j
	})
}
