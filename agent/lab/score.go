package lab

import (
	"slices"
	"time"
)

// Confusion counts scored rows by what was true and what was said.
type Confusion struct {
	TP int `json:"tp"`
	FP int `json:"fp"`
	FN int `json:"fn"`
	TN int `json:"tn"`
}

// Add counts the rows of one recording; both slices are of the same length.
func (c *Confusion) Add(truth, said []bool) {
	for i := range truth {
		switch {
		case truth[i] && said[i]:
			c.TP++
		case truth[i]:
			c.FN++
		case said[i]:
			c.FP++
		default:
			c.TN++
		}
	}
}

// Said is how many rows were called anomalous.
func (c Confusion) Said() int { return c.TP + c.FP }

// F1 is TP/(TP + (FP+FN)/2), 0 when there is nothing to find and nothing said.
func (c Confusion) F1() float64 { return ratio(c.TP, float64(c.TP)+float64(c.FP+c.FN)/2) }

// FAR is the false alarm rate FP/(FP+TN).
func (c Confusion) FAR() float64 { return ratio(c.FP, float64(c.FP+c.TN)) }

// MAR is the missed alarm rate FN/(FN+TP).
func (c Confusion) MAR() float64 { return ratio(c.FN, float64(c.FN+c.TP)) }

// Precision is TP/(TP+FP).
func (c Confusion) Precision() float64 { return ratio(c.TP, float64(c.TP+c.FP)) }

// Recall is TP/(TP+FN).
func (c Confusion) Recall() float64 { return ratio(c.TP, float64(c.TP+c.FN)) }

func ratio(n int, d float64) float64 {
	if d == 0 {
		return 0
	}
	return float64(n) / d
}

// Events judges alarms as a person meets them: was the fault found, how late,
// and how often was there an alarm for nothing.
type Events struct {
	Total    int             // runs of anomalous rows
	Detected int             // with an alarm during the run
	Delays   []time.Duration // from a detected run's begin to its first alarmed row
	False    int             // alarm episodes without one anomalous row
	Span     time.Duration   // scored time
}

// Add judges one recording row by row.
func (e *Events) Add(times []time.Time, truth, said []bool) {
	for lo, hi := range runs(truth) {
		e.Total++
		if i := slices.Index(said[lo:hi], true); i >= 0 {
			e.Detected++
			e.Delays = append(e.Delays, times[lo+i].Sub(times[lo]))
		}
	}
	for lo, hi := range runs(said) {
		if !slices.Contains(truth[lo:hi], true) {
			e.False++
		}
	}
	e.Span += times[len(times)-1].Sub(times[0])
}

// MedianDelay of the detected events (the lower one of an even number); 0
// without any.
func (e *Events) MedianDelay() time.Duration {
	if len(e.Delays) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(e.Delays))
	return sorted[(len(sorted)-1)/2]
}

// FalsePerHour is the number of false episodes per scored hour.
func (e *Events) FalsePerHour() float64 { return ratio(e.False, e.Span.Hours()) }

// runs yields the bounds [lo, hi) of each unbroken run of true.
func runs(xs []bool) func(yield func(lo, hi int) bool) {
	return func(yield func(lo, hi int) bool) {
		for i := 0; i < len(xs); i++ {
			if !xs[i] {
				continue
			}
			lo := i
			for i < len(xs) && xs[i] {
				i++
			}
			if !yield(lo, i) {
				return
			}
		}
	}
}
