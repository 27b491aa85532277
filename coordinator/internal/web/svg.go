package web

import (
	"math"
	"strconv"
	"strings"
)

// Charts are drawn on a canvas of 100 × 100 percent, so that they stretch to any
// width while lines and text keep their size: the paths sit in an inner <svg>
// with preserveAspectRatio="none", labels and dots are placed by percentage.

// point is one value of a curve.
type point struct {
	X uint64 // round
	Y float64
}

// chart is a curve ready to be written as SVG.
type chart struct {
	Label   string // what it shows, for those who do not see it
	Line    string // path data; empty for a single point
	Area    string // the same, closed down to the lower edge
	Dots    []dot
	YTicks  []tick
	XTicks  []tick
	LogNote string // says so when the axis is logarithmic
}

type dot struct{ X, Y, Title string }

// tick is a labelled place on an axis, in percent.
type tick struct{ At, Text string }

const (
	maxDots   = 60 // beyond, dots would touch on a phone
	logFrom   = 30 // largest over smallest value above which a linear axis hides the small ones
	maxXTicks = 7
)

// newChart draws finite points, in order of X, named by what is measured; the
// axis of an amount starts at zero. It returns nil without any point.
func newChart(name string, points []point, amount bool) *chart {
	points = finitePoints(points)
	if len(points) == 0 {
		return nil
	}
	lo, hi := points[0].Y, points[0].Y
	for _, p := range points {
		lo, hi = math.Min(lo, p.Y), math.Max(hi, p.Y)
	}
	first, last := points[0], points[len(points)-1]
	c := &chart{Label: name + ": " + formatNumber(first.Y) + " in round " + strconv.FormatUint(first.X, 10)}
	if len(points) > 1 {
		c.Label = name + " over rounds: from " + formatNumber(first.Y) + " in round " + strconv.FormatUint(first.X, 10) +
			" to " + formatNumber(last.Y) + " in round " + strconv.FormatUint(last.X, 10)
	}
	if amount {
		lo = math.Min(lo, 0)
	}
	scale, ticks := linearAxis(lo, hi)
	if lo > 0 && hi/lo > logFrom {
		scale, ticks = logAxis(lo, hi)
		c.LogNote = "logarithmic"
	}
	for _, t := range ticks {
		c.YTicks = append(c.YTicks, tick{At: coord(100 - 100*scale(t)), Text: formatNumber(t)})
	}
	span := float64(last.X - first.X)
	across := func(x uint64) float64 {
		if span == 0 {
			return 50
		}
		return 100 * float64(x-first.X) / span
	}
	var line strings.Builder
	for i, p := range points {
		x, y := coord(across(p.X)), coord(100-100*scale(p.Y))
		line.WriteString(map[bool]string{true: "M", false: "L"}[i == 0] + x + " " + y)
		if len(points) <= maxDots {
			c.Dots = append(c.Dots, dot{X: x, Y: y, Title: "round " + strconv.FormatUint(p.X, 10) + ": " + formatNumber(p.Y)})
		}
	}
	if len(points) > 1 {
		c.Line = line.String()
		c.Area = c.Line + "L100 100L0 100Z"
	}
	for _, x := range roundTicks(first.X, last.X) {
		c.XTicks = append(c.XTicks, tick{At: coord(across(x)), Text: strconv.FormatUint(x, 10)})
	}
	return c
}

// finitePoints leaves out what cannot be drawn: numbers that are not finite or so
// large that an axis around them would not be. What is as small counts as zero.
func finitePoints(points []point) []point {
	const drawable = 1e150
	var kept []point
	for _, p := range points {
		if math.Abs(p.Y) < 1/drawable {
			p.Y = 0
		}
		// The X of a curve must grow; a repeated round would draw a vertical.
		if math.Abs(p.Y) <= drawable && (len(kept) == 0 || p.X > kept[len(kept)-1].X) {
			kept = append(kept, p)
		}
	}
	return kept
}

// linearAxis returns a map of values to 0..1 and at most seven round tick values.
func linearAxis(lo, hi float64) (func(float64) float64, []float64) {
	if lo > 0 && lo < hi/2 {
		lo = 0 // a curve that falls far is honest only above zero
	}
	if hi-lo < 1e-12*math.Max(math.Abs(hi), math.Abs(lo)) || hi == lo {
		pad := math.Abs(hi) / 2
		if pad == 0 {
			pad = 1
		}
		lo, hi = lo-pad, hi+pad
	}
	step := niceStep((hi - lo) / 5)
	from, to := math.Floor(lo/step), math.Ceil(hi/step)
	var ticks []float64
	for k := from; k <= to && len(ticks) < 7; k++ {
		ticks = append(ticks, k*step)
	}
	bottom, height := from*step, (to-from)*step
	return func(y float64) float64 { return (y - bottom) / height }, ticks
}

// logAxis is linearAxis with whole decades, thinned to at most six ticks.
func logAxis(lo, hi float64) (func(float64) float64, []float64) {
	from, to := math.Floor(math.Log10(lo)), math.Ceil(math.Log10(hi))
	every := math.Ceil((to - from) / 5)
	var ticks []float64
	for k := from; k <= to; k += every {
		ticks = append(ticks, math.Pow(10, k))
	}
	return func(y float64) float64 { return (math.Log10(y) - from) / (to - from) }, ticks
}

// niceStep rounds a step up to 1, 2 or 5 times a power of ten.
func niceStep(raw float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if raw <= m*power*(1+1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// roundTicks picks at most maxXTicks round numbers from first to last.
func roundTicks(first, last uint64) []uint64 {
	step := uint64(math.Max(1, niceStep(float64(last-first)/(maxXTicks-1))))
	if last == first {
		return []uint64{first}
	}
	ticks := []uint64{first}
	for x := (first/step + 1) * step; x < last; x += step {
		// Keep the ends readable: nothing closer to them than half a step.
		if 2*(x-first) > step && 2*(last-x) > step {
			ticks = append(ticks, x)
		}
	}
	return append(ticks, last)
}

// scorePosition places a score on a bar whose quarters are the zones: linear
// through A (below 0.5), a doubling a quarter from there; 4 and above is full.
func scorePosition(score float64) float64 {
	switch {
	case !(score > 0):
		return 0
	case score < 0.5:
		return 50 * score
	case score >= 4:
		return 100
	}
	return 25 * (2 + math.Log2(score))
}

// share is one part of a stacked bar.
type share struct {
	Class, X, Width string
}

// stack lays counts side by side over 100 percent, leaving out empty ones.
func stack(classes []string, counts []int) []share {
	total := 0
	for _, n := range counts {
		total += n
	}
	var shares []share
	x := 0.0
	for i, n := range counts {
		if n > 0 {
			width := 100 * float64(n) / float64(total)
			shares = append(shares, share{Class: classes[i], X: coord(x), Width: coord(width)})
			x += width
		}
	}
	return shares
}

// coord writes a coordinate with the precision a screen can show.
func coord(x float64) string {
	s := strconv.FormatFloat(x, 'f', 2, 64)
	s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	if s == "-0" {
		return "0"
	}
	return s
}
