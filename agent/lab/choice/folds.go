package choice

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// comparison is the work under way.
type comparison struct {
	task   Task
	folds  int
	cost   []Cost    // of each candidate, from all machines
	failed []error   // of each candidate
	out    [][]loss  // candidate, machine: by the model without the machine's fold
	pair   []pairing // candidate
}

// pairing holds, for two folds i and j, the losses on the machines of i by the model
// that has seen neither: [i][j] by machine. The same model serves [j][i].
type pairing [][][]loss

func newComparison(task Task) *comparison {
	c := &comparison{task: task, folds: min(len(task.Machines), mostFolds)}
	n := len(task.Candidates)
	c.cost, c.failed, c.out, c.pair = make([]Cost, n), make([]error, n), make([][]loss, n), make([]pairing, n)
	return c
}

// of says in which fold a machine is left out.
func (c *comparison) of(machine int) int { return machine % c.folds }

// run fits every candidate without each fold, and without each two.
func (c *comparison) run(ctx context.Context) error {
	for k := range c.task.Candidates {
		if c.failed[k] = c.candidate(ctx, k); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (c *comparison) candidate(ctx context.Context, k int) error {
	all, err := c.task.Fit(ctx, k, c.without(-1, -1))
	if err != nil {
		return err
	}
	c.cost[k] = all.Cost
	n := len(c.task.Machines)
	out, pair := make([]loss, n), make(pairing, c.folds)
	for i := range pair {
		pair[i] = make([][]loss, c.folds)
		for j := range pair[i] {
			pair[i][j] = make([]loss, n)
		}
	}
	for i := range c.folds {
		fitted, err := c.task.Fit(ctx, k, c.without(i, i))
		if err != nil {
			return err
		}
		if err := c.judge(ctx, fitted, i, out); err != nil {
			return err
		}
		if c.folds < 3 {
			continue
		}
		for j := range i {
			fitted, err := c.task.Fit(ctx, k, c.without(i, j))
			if err != nil {
				return err
			}
			if err := errors.Join(c.judge(ctx, fitted, i, pair[i][j]), c.judge(ctx, fitted, j, pair[j][i])); err != nil {
				return err
			}
		}
	}
	c.out[k], c.pair[k] = out, pair
	return nil
}

// without lists the machines of all folds but two.
func (c *comparison) without(i, j int) []int {
	var machines []int
	for m := range c.task.Machines {
		if f := c.of(m); f != i && f != j {
			machines = append(machines, m)
		}
	}
	return machines
}

// judge writes the losses of a fold's machines.
func (c *comparison) judge(ctx context.Context, fitted Fitted, fold int, losses []loss) error {
	for m, name := range c.task.Machines {
		if c.of(m) != fold {
			continue
		}
		x, err := fitted.Loss(ctx, m)
		if errors.Is(err, ErrSilent) {
			continue
		}
		if err != nil {
			return fmt.Errorf("judge by %s: %w", name, err)
		}
		if !(x >= 0) || math.IsInf(x, 0) {
			return fmt.Errorf("judge by %s: loss is %v", name, x)
		}
		losses[m] = loss{x, true}
	}
	return nil
}

func (c *comparison) result() (*Result, error) {
	best, chosen := choose(c.out, c.cost)
	if best < 0 {
		err := errors.Join(c.failed...)
		if err == nil {
			err = errors.New("no machine has anything to judge by; label some")
		}
		return nil, fmt.Errorf("compare candidates: none could be judged: %w", err)
	}
	r := &Result{Measure: c.task.Measure, Folds: c.folds}
	for k, name := range c.task.Candidates {
		l := Line{Name: name, Cost: c.cost[k]}
		if c.failed[k] != nil {
			l.Failed = c.failed[k].Error()
		} else {
			l.Loss, l.StdErr, r.Machines = mean(c.out[k])
			l.Behind, l.BehindErr, _ = mean(less(c.out[k], c.out[best]))
		}
		r.Lines = append(r.Lines, l)
	}
	r.Chosen, r.Reason = c.task.Candidates[chosen], reason(r.Lines, best, chosen)
	if c.folds >= 3 {
		r.Nested = c.nested()
	}
	return r, nil
}

// nested makes the choice anew for each fold, by what models that have not seen it say
// of the other folds, and judges it on the fold.
func (c *comparison) nested() *Nested {
	n := &Nested{Chosen: map[string]int{}}
	judged := make([]loss, len(c.task.Machines))
	for i := range c.folds {
		inner := make([][]loss, len(c.pair))
		for k, pair := range c.pair {
			if pair == nil {
				continue
			}
			inner[k] = make([]loss, len(judged))
			for m := range judged {
				if j := c.of(m); j != i {
					inner[k][m] = pair[j][i][m]
				}
			}
		}
		_, chosen := choose(inner, c.cost)
		if chosen < 0 {
			continue
		}
		n.Chosen[c.task.Candidates[chosen]]++
		for m := range judged {
			if c.of(m) == i {
				judged[m] = c.out[chosen][m]
			}
		}
	}
	n.Loss, n.StdErr, _ = mean(judged)
	if math.IsInf(n.Loss, 0) {
		return nil
	}
	return n
}

func reason(lines []Line, best, chosen int) string {
	b, c := lines[best], lines[chosen]
	judged := 0
	for _, l := range lines {
		if l.Failed == "" {
			judged++
		}
	}
	switch {
	case judged == 1:
		return fmt.Sprintf("%s is the only candidate that could be judged", c.Name)
	case best == chosen && b.BehindErr == 0 && b.Behind == 0:
		return fmt.Sprintf("%s has the least loss on machines left out, and no cheaper candidate is within one standard error of it", b.Name)
	}
	return fmt.Sprintf("%s is the cheapest within one standard error of the best, %s: behind it by %.3g ± %.2g, for %s of traffic a gateway instead of %s",
		c.Name, b.Name, c.Behind, c.BehindErr, bytesText(c.Cost.Traffic()), bytesText(b.Cost.Traffic()))
}
