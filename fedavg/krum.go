package fedavg

import (
	"cmp"
	"slices"
)

// Krum takes over the one update that is nearest to its neighbours: the smallest
// sum of the n−f−2 smallest squared distances to others, whatever their weights. Of n ≥
// 2f+3 updates f may hold anything (Blanchard et al. 2017, arXiv 1703.02757,
// section 4). Of equals it takes the agent first in alphabetical order.
type Krum struct {
	Byzantine int // f ≥ 0
}

// MultiKrum adds the mean of the Select updates that Krum scores best, whatever
// their weights (arXiv 1703.02757, section 4).
type MultiKrum struct {
	Byzantine int // f ≥ 0
	Select    int // m; 0 stands for n−f
}

// UpdateLayout implements Strategy.
func (Krum) UpdateLayout(params Layout) Layout { return params }

// StateLayout implements Strategy.
func (Krum) StateLayout(Layout) Layout { return nil }

// Aggregate implements Strategy. All vectors must be Float32. Too few updates are
// a *TooFewError.
func (s Krum) Aggregate(global, _ []Vector, updates Updates) (Result, error) {
	return multiKrum(global, updates, "Krum", s.Byzantine, 1)
}

// UpdateLayout implements Strategy.
func (MultiKrum) UpdateLayout(params Layout) Layout { return params }

// StateLayout implements Strategy.
func (MultiKrum) StateLayout(Layout) Layout { return nil }

// Aggregate implements Strategy. All vectors must be Float32. Too few updates are
// a *TooFewError.
func (s MultiKrum) Aggregate(global, _ []Vector, updates Updates) (Result, error) {
	return multiKrum(global, updates, "MultiKrum", s.Byzantine, s.Select)
}

func multiKrum(global []Vector, updates Updates, name string, f, m int) (Result, error) {
	c, err := newColumns(global, updates, name+" compares")
	if err != nil {
		return Result{}, err
	}
	if least := 2*f + 3; f < 0 || c.n < least {
		return Result{}, &TooFewError{Strategy: name, Got: c.n, Want: least}
	}
	if m <= 0 {
		m = c.n - f
	}
	d, err := c.distances()
	if err != nil {
		return Result{}, err
	}
	best := c.byScore(d, f)[:min(m, c.n)]
	next, err := c.meanOf(global, best)
	if err != nil {
		return Result{}, err
	}
	return c.finish(next, nil)
}

// byScore returns the updates, best first, given their squared distances.
func (c *columns) byScore(d []float64, f int) []int {
	scores := make([]float64, c.n)
	near := make([]float64, 0, c.n)
	for i := range scores {
		near = append(append(near[:0], d[i*c.n:i*c.n+i]...), d[i*c.n+i+1:(i+1)*c.n]...)
		slices.Sort(near) // so that they are added in the same order always
		scores[i] = total(near[:min(max(c.n-f-2, 1), len(near))])
	}
	order := make([]int, c.n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		return cmp.Or(cmp.Compare(scores[i], scores[j]), cmp.Compare(c.agents[i], c.agents[j]))
	})
	return order
}

func total(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v
	}
	return s
}

// meanOf adds the mean of the picked updates to global.
func (c *columns) meanOf(global []Vector, picked []int) ([]Vector, error) {
	weights := make([]float64, c.n)
	for _, i := range picked {
		weights[i] = 1
	}
	b, err := c.blend(weights)
	if err != nil {
		return nil, err
	}
	return b.step(global), nil
}
