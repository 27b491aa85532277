package model

import (
	"errors"
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/fedavg"
)

// ConditionAxis is the grid of one operating setting, such as altitude or speed.
// Cells are Step wide, the first is centred on From, the last on or beyond To;
// values outside count to the nearest. Step should be wider than a setting
// scatters within one operating condition, and less than half of what lies
// between two conditions.
type ConditionAxis struct {
	From float64 `yaml:"from" json:"from"`
	To   float64 `yaml:"to" json:"to"`
	Step float64 `yaml:"step" json:"step"`
}

// ConditionGrid gathers, per cell of a grid over the operating settings, the sums
// from which a fleet's mean and standard deviation of each channel follow. No
// machine needs to know how many operating conditions there are: they are found
// in the merged sums. It is immutable and safe for concurrent use.
type ConditionGrid struct {
	axes     []ConditionAxis
	cells    []int // along each axis
	total    int
	channels int
	layout   fedavg.Layout
}

// The vectors of a grid's sums; sums and squares have one for each of digits.
const (
	conditionCount  = 0 // cells: rows
	conditionSum    = 1 // cells×channels: Σx
	conditionSquare = 4 // cells×channels: Σx²
)

const (
	maxCells = 1 << 14 // bounds a grid; a cell takes 48 bytes a channel
	// maxMeasurement bounds a measurement whose square is summed.
	maxMeasurement = 1e7
)

// NewConditionGrid returns the grid over axes for so many channels. Without axes
// there is one condition.
func NewConditionGrid(axes []ConditionAxis, channels int) (*ConditionGrid, error) {
	g := &ConditionGrid{axes: append([]ConditionAxis(nil), axes...), total: 1, channels: channels}
	if channels < 1 {
		return nil, fmt.Errorf("make condition grid: %d channels; at least one is needed", channels)
	}
	for i, a := range axes {
		steps := (a.To - a.From) / a.Step
		if !(a.Step > 0) || !(steps >= 0 && steps < maxCells) || math.IsInf(a.From, 0) {
			return nil, fmt.Errorf("make condition grid: setting %d from %v to %v by %v; these must be finite, ascending and at most %d steps", i, a.From, a.To, a.Step, maxCells)
		}
		n := 1 + int(math.Ceil(steps))
		g.cells = append(g.cells, n)
		if g.total *= n; g.total > maxCells {
			return nil, fmt.Errorf("make condition grid: more than %d cells; take wider steps", maxCells)
		}
	}
	vector := func(name string, n int) fedavg.VectorSpec {
		return fedavg.VectorSpec{Name: name, DType: fedavg.Float64, Len: n}
	}
	g.layout = fedavg.Layout{vector("count", g.total)}
	for _, name := range []string{"sum", "sum_middle", "sum_low", "square", "square_middle", "square_low"} {
		g.layout = append(g.layout, vector(name, g.total*channels))
	}
	return g, nil
}

// Layout is the layout of the sums.
func (g *ConditionGrid) Layout() fedavg.Layout { return append(fedavg.Layout(nil), g.layout...) }

// Add adds one row, the channels x measured under settings, to sums, which are of
// Layout. A row that does not fit, or holds NaN, Inf or a value beyond ±10⁷, changes
// nothing.
func (g *ConditionGrid) Add(sums []fedavg.Vector, settings, x []float64) error {
	if err := g.check(settings, x); err != nil {
		return fmt.Errorf("add to condition sums: %w", err)
	}
	c := g.cell(settings)
	sums[conditionCount].F64[c]++
	for i, v := range x {
		at := c*g.channels + i
		addDigits(sums[conditionSum:], at, double{v, 0})
		addDigits(sums[conditionSquare:], at, twoProduct(v, v))
	}
	return nil
}

func addDigits(sums []fedavg.Vector, at int, d double) {
	g := digitsAt(sums, at)
	g.add(d)
	for i, x := range g {
		sums[i].F64[at] = x
	}
}

// digitsAt reads element at of the three vectors that sums begins with.
func digitsAt(sums []fedavg.Vector, at int) (g digits) {
	for i := range g {
		g[i] = sums[i].F64[at]
	}
	return g
}

func (g *ConditionGrid) check(settings, x []float64) error {
	if len(settings) != len(g.axes) || len(x) != g.channels {
		return fmt.Errorf("row has %d settings and %d channels, want %d and %d", len(settings), len(x), len(g.axes), g.channels)
	}
	for i, v := range settings {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("setting %d is %v", i, v)
		}
	}
	for i, v := range x {
		if !(math.Abs(v) <= maxMeasurement) {
			return fmt.Errorf("channel %d is %v, outside ±%g; measure it in a larger unit", i, v, maxMeasurement)
		}
	}
	return nil
}

// cell returns the cell of settings, the last axis running fastest.
func (g *ConditionGrid) cell(settings []float64) int {
	c := 0
	for i, a := range g.axes {
		k := math.Round((settings[i] - a.From) / a.Step)
		c = c*g.cells[i] + int(min(max(k, 0), float64(g.cells[i]-1)))
	}
	return c
}

// ErrNoRows says that sums are over no rows.
var ErrNoRows = errors.New("sums count no rows")
