package condition

import (
	"fmt"
	"math"
	"slices"
)

// Points are the operating points of a machine: places in the space of what is set from
// outside, such as speed and load, around which its healthy windows lie.
type Points struct {
	centres [][]float64
	scale   []float64 // of each variable: a distance of 1 is one radius
}

const (
	radiusPart    = 0.1 // of a variable's range
	maxPoints     = 16
	refinements   = 20
	strangeRadii  = 2
	leastVariable = 1e-9 // a range below that part of the size is none
)

// LearnPoints finds the operating points in rows of healthy data, one value for each
// variable. Rows that are within a tenth of each variable's range of a point belong to it
// (leader clustering: J. A. Hartigan, Clustering Algorithms, Wiley 1975, chapter 3), then
// the points move to the means of their rows until nothing changes. A variable that does
// not vary is ignored. Points are numbered by their variables, first the first, so that
// numbers do not depend on the order of rows when the points are apart.
//
// An error: no rows, rows of unequal length, a value that is not finite, or more than 16
// points, which means that the operation varies without steps: divide it by what it
// explains instead (see Load).
func LearnPoints(rows [][]float64) (*Points, error) {
	if len(rows) == 0 || len(rows[0]) == 0 {
		return nil, fmt.Errorf("learn operating points: no rows, or no variables")
	}
	d := len(rows[0])
	lo, hi := slices.Clone(rows[0]), slices.Clone(rows[0])
	for i, r := range rows {
		if len(r) != d {
			return nil, fmt.Errorf("learn operating points: row %d has %d variables, not %d", i, len(r), d)
		}
		for j, x := range r {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return nil, fmt.Errorf("learn operating points: variable %d of row %d is %g", j, i, x)
			}
			lo[j], hi[j] = min(lo[j], x), max(hi[j], x)
		}
	}
	p := &Points{scale: make([]float64, d)}
	for j := range d {
		if span := hi[j] - lo[j]; span > leastVariable*max(math.Abs(lo[j]), math.Abs(hi[j])) && !math.IsInf(span, 0) {
			p.scale[j] = 1 / (radiusPart * span)
		}
	}
	for _, r := range rows {
		if _, far := p.nearest(r); far > 1 {
			if len(p.centres) == maxPoints {
				return nil, fmt.Errorf("learn operating points: more than %d; the operation varies without steps", maxPoints)
			}
			p.centres = append(p.centres, slices.Clone(r))
		}
	}
	p.refine(rows)
	slices.SortFunc(p.centres, slices.Compare[[]float64])
	return p, nil
}

// refine moves the centres to the means of the rows nearest to them.
func (p *Points) refine(rows [][]float64) {
	sums, counts := make([][]float64, len(p.centres)), make([]float64, len(p.centres))
	for i := range sums {
		sums[i] = make([]float64, len(p.scale))
	}
	for range refinements {
		clear(counts)
		for i := range sums {
			clear(sums[i])
		}
		for _, r := range rows {
			i, _ := p.nearest(r)
			counts[i]++
			for j, x := range r {
				sums[i][j] += x
			}
		}
		moved := false
		for i, c := range p.centres {
			for j := range c {
				if counts[i] > 0 && c[j] != sums[i][j]/counts[i] {
					c[j], moved = sums[i][j]/counts[i], true
				}
			}
		}
		if !moved {
			return
		}
	}
}

// nearest returns the centre nearest to r and its distance in radii, which is that of the
// variable farthest off.
func (p *Points) nearest(r []float64) (best int, far float64) {
	best, far = -1, math.Inf(1)
	for i, c := range p.centres {
		d := 0.0
		for j, s := range p.scale {
			d = max(d, math.Abs(r[j]-c[j])*s)
		}
		if d < far {
			best, far = i, d
		}
	}
	return best, far
}

// Len returns how many operating points there are.
func (p *Points) Len() int { return len(p.centres) }

// Centre returns the values of point i. It is p's.
func (p *Points) Centre(i int) []float64 { return p.centres[i] }

// Of returns the operating point of one window. known is false when the window is more
// than two radii away from it, has another number of variables, or holds NaN: then the
// machine does something it was not seen to do, and what was learned does not apply.
func (p *Points) Of(row []float64) (i int, known bool) {
	if len(row) != len(p.scale) {
		return -1, false
	}
	for _, x := range row {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return -1, false
		}
	}
	i, far := p.nearest(row)
	return i, far <= strangeRadii
}
