// Package plot draws charts as SVG and sets them, with tables, into one HTML page
// that needs nothing else: no script, no network, no other file.
package plot

import "math"

// Chart is one plot with linear axes.
type Chart struct {
	Title, XLabel, YLabel string
	// X and Y fix the axes; a zero Range fits the data.
	X, Y   Range
	Series []Series
	Marks  []Mark
	// Square makes the frame as high as it is wide, as suits two axes of one unit.
	Square bool
}

// Range is a closed interval of an axis.
type Range struct{ Min, Max float64 }

// Style says how a series is drawn.
type Style uint8

// The styles. Numbers that are not finite are left out; a line breaks there.
const (
	Line   Style = iota // through (X, Y)
	Points              // dots at (X, Y)
	Rings               // rings at (X, Y), to stand out from curves
	Whisks              // vertical strokes from (X, Low) to (X, High)
	Band                // the area between (X, Low) and (X, High)
)

// Series is one curve. Slices that the style uses are of the same length.
type Series struct {
	Name      string // in the legend; empty for none
	Style     Style
	Colour    Colour
	X, Y      []float64
	Low, High []float64
	Titles    []string // of points, shown by the pointer; may be nil
}

// Mark is a labelled vertical line, such as a fault frequency. Without a label it is
// drawn fainter, such as a sideband.
type Mark struct {
	X     float64
	Label string
}

// Colour is one of a palette that can be told apart by the colour-blind (Okabe &
// Ito 2008), on light and on dark ground.
type Colour uint8

// The palette.
const (
	Blue Colour = iota
	Orange
	Green
	Red
	Purple
	Grey
)

func (c Colour) hex() string {
	palette := [...]string{"#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#8a8f98"}
	return palette[int(c)%len(palette)]
}

// axis maps values to pixels.
type axis struct {
	from, to float64 // values
	at, end  float64 // pixels
	ticks    []float64
}

// newAxis chooses a range of round ticks around the values if fixed is zero.
func newAxis(fixed Range, values []float64, at, end float64) axis {
	a := axis{from: fixed.Min, to: fixed.Max, at: at, end: end}
	if fixed == (Range{}) {
		a.from, a.to = math.Inf(1), math.Inf(-1)
		for _, v := range values {
			if drawable(v) {
				a.from, a.to = min(a.from, v), max(a.to, v)
			}
		}
		if a.from > a.to {
			a.from, a.to = 0, 1
		}
	}
	if !(a.to-a.from > 1e-9*max(math.Abs(a.to), math.Abs(a.from))) {
		pad := max(math.Abs(a.to)/2, 1e-9)
		a.from, a.to = a.from-pad, a.to+pad
	}
	step := niceStep((a.to - a.from) / 6)
	if fixed == (Range{}) { // some air, but none beyond zero
		pad := (a.to - a.from) / 50
		if a.from != 0 {
			a.from -= pad
		}
		if a.to != 0 {
			a.to += pad
		}
	}
	for k := math.Ceil(a.from/step - 1e-9); k*step <= a.to+step*1e-9; k++ {
		a.ticks = append(a.ticks, k*step+0) // −0 becomes 0
	}
	return a
}

// niceStep is the least of 1, 2, 5 times a power of ten that is not below x.
func niceStep(x float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= x*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

func (a axis) pixel(v float64) float64 {
	p := a.at + (v-a.from)/(a.to-a.from)*(a.end-a.at)
	lo, hi := min(a.at, a.end), max(a.at, a.end)
	return min(max(p, lo-2), hi+2) // what lies outside a fixed range stays at its edge
}

// drawable leaves out what an axis could not be drawn around.
func drawable(v float64) bool { return math.Abs(v) < 1e100 }
