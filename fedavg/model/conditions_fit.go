package model

import (
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/fedavg"
)

// Conditions are the operating conditions of a fleet, with the mean and standard
// deviation of each channel in each. It is immutable and safe for concurrent use.
type Conditions struct {
	grid *ConditionGrid
	of   []int     // cell → condition, the nearest one for cells that were empty
	rows []float64 // of each condition
	mean []float64 // condition×channel
	std  []float64 // condition×channel; 0 where the channel is constant
}

const (
	// sparseCell is the share of all rows below which a cell neither makes nor
	// joins conditions: a machine passes through it on its way between two.
	sparseCell = 0.001
	// constantChannel is the standard deviation, relative to the mean, below which
	// a channel counts as constant.
	constantChannel = 1e-6
	// conditionLimit bounds a normalised value.
	conditionLimit = 8
)

// Fit finds the conditions in merged sums: cells that touch, corners included,
// belong to one.
func (g *ConditionGrid) Fit(sums []fedavg.Vector) (*Conditions, error) {
	if err := g.layout.Check(sums); err != nil {
		return nil, fmt.Errorf("find operating conditions: %w", err)
	}
	total := 0.0
	for c, n := range sums[conditionCount].F64 {
		if !(n >= 0) || math.IsInf(n, 0) {
			return nil, fmt.Errorf("find operating conditions: cell %d counts %v rows", c, n)
		}
		total += n
	}
	if total == 0 {
		return nil, fmt.Errorf("find operating conditions: %w", ErrNoRows)
	}
	c := &Conditions{grid: g, of: make([]int, g.total)}
	for i := range c.of {
		c.of[i] = -1
	}
	var members [][]int
	dense := func(cell int) bool { return sums[conditionCount].F64[cell] > sparseCell*total }
	for cell := range c.of {
		if c.of[cell] < 0 && dense(cell) {
			members = append(members, c.flood(cell, len(members), dense))
		}
	}
	c.rows = make([]float64, len(members))
	c.mean = make([]float64, len(members)*g.channels)
	c.std = make([]float64, len(members)*g.channels)
	for k, cells := range members {
		if err := c.moments(k, cells, sums); err != nil {
			return nil, fmt.Errorf("find operating conditions: %w", err)
		}
	}
	c.claimEmpty(members)
	return c, nil
}

// flood gives from and all dense cells connected to it to condition k.
func (c *Conditions) flood(from, k int, dense func(int) bool) []int {
	c.of[from] = k
	cells := []int{from}
	for i := 0; i < len(cells); i++ {
		at := c.grid.coordinates(cells[i])
		for other := range c.of {
			if c.of[other] < 0 && dense(other) && chebyshev(at, c.grid.coordinates(other)) <= 1 {
				c.of[other] = k
				cells = append(cells, other)
			}
		}
	}
	return cells
}

// moments computes mean and standard deviation (divided by n) of condition k.
func (c *Conditions) moments(k int, cells []int, sums []fedavg.Vector) error {
	for _, cell := range cells {
		c.rows[k] += sums[conditionCount].F64[cell]
	}
	n := c.rows[k]
	for ch := range c.grid.channels {
		var sum, square double
		for _, cell := range cells {
			at := cell*c.grid.channels + ch
			sum = sum.plus(digitsAt(sums[conditionSum:], at).double())
			square = square.plus(digitsAt(sums[conditionSquare:], at).double())
		}
		mean := sum.over(n)
		negative := mean.times(mean)
		negative.hi, negative.lo = -negative.hi, -negative.lo
		variance := square.over(n).plus(negative).hi
		if math.IsNaN(variance) || math.IsInf(variance, 0) {
			return fmt.Errorf("condition %d: variance of channel %d is %v", k, ch, variance)
		}
		std := math.Sqrt(max(variance, 0))
		if std <= constantChannel*math.Abs(mean.hi) {
			std = 0
		}
		c.mean[k*c.grid.channels+ch], c.std[k*c.grid.channels+ch] = mean.hi, std
	}
	return nil
}

// claimEmpty gives each cell without a condition to the nearest one, of equally
// near ones to the first.
func (c *Conditions) claimEmpty(members [][]int) {
	for cell := range c.of {
		if c.of[cell] >= 0 {
			continue
		}
		best, nearest := 0, math.MaxInt
		at := c.grid.coordinates(cell)
		for k, cells := range members {
			for _, other := range cells {
				if d := chebyshev(at, c.grid.coordinates(other)); d < nearest {
					best, nearest = k, d
				}
			}
		}
		c.of[cell] = best
	}
}

func (g *ConditionGrid) coordinates(cell int) []int {
	at := make([]int, len(g.cells))
	for i := len(at) - 1; i >= 0; i-- {
		at[i] = cell % g.cells[i]
		cell /= g.cells[i]
	}
	return at
}

func chebyshev(a, b []int) int {
	d := 0
	for i := range a {
		d = max(d, a[i]-b[i], b[i]-a[i])
	}
	return d
}

// Channels is the number of channels of a row.
func (c *Conditions) Channels() int { return c.grid.channels }

// Len is the number of conditions.
func (c *Conditions) Len() int { return len(c.rows) }

// Rows returns how many rows condition k was seen for.
func (c *Conditions) Rows(k int) float64 { return c.rows[k] }

// Mean and Std of channel ch in condition k; Std is 0 if the channel is constant there.
func (c *Conditions) Mean(k, ch int) float64 { return c.mean[k*c.grid.channels+ch] }

// Std is described at Mean.
func (c *Conditions) Std(k, ch int) float64 { return c.std[k*c.grid.channels+ch] }

// Varies reports for each channel whether it varies within any condition.
func (c *Conditions) Varies() []bool {
	varies := make([]bool, c.grid.channels)
	for i, s := range c.std {
		varies[i%c.grid.channels] = varies[i%c.grid.channels] || s > 0
	}
	return varies
}

// Normalize writes (x − mean)/std of the condition that settings belong to into
// dst (nil allocates; may be x), limited to ±8 and rounded to 1/4096, so that
// later sums are exact; constant channels become 0. It returns the condition.
// Rows that Add would refuse are an error.
func (c *Conditions) Normalize(dst, settings, x []float64) ([]float64, int, error) {
	if err := c.grid.check(settings, x); err != nil {
		return nil, 0, fmt.Errorf("normalise by condition: %w", err)
	}
	if dst == nil {
		dst = make([]float64, len(x))
	}
	k := c.of[c.grid.cell(settings)]
	for i, v := range x {
		z := 0.0
		if s := c.Std(k, i); s > 0 {
			z = min(max((v-c.Mean(k, i))/s, -conditionLimit), conditionLimit)
		}
		dst[i] = snap(z)
	}
	return dst, k, nil
}
