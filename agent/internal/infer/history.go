package infer

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// History is what a Detector learned from scores: where they are going, and how high
// those of a machine in order reach. It is written as JSON and shares no memory with
// the Detector.
type History struct {
	Trend []trendLevel `json:"trend,omitempty"`
	Tail  *tailState   `json:"tail,omitempty"` // of a job with a false-alarm budget
	Mean  []float64    `json:"mean,omitempty"` // of a job that smooths
	Sum   float64      `json:"sum,omitempty"`  // of a job with CUSUM
	// Reference is the largest score of the baseline, and Threshold the one at which
	// the relative score is 1, under the model of the time.
	Reference float64 `json:"reference"`
	Threshold float64 `json:"threshold"`
}

// History returns what d knows; false until Running.
func (d *Detector) History() (History, bool) {
	if d.model == nil {
		return History{}, false
	}
	h := History{Trend: d.trend.state(), Sum: d.stat.sum, Reference: d.reference, Threshold: d.threshold}
	if d.tail != nil {
		s := d.tail.state()
		h.Tail = &s
	}
	if d.stat.weight < 1 {
		h.Mean = slices.Clone(d.stat.mean)
	}
	return h, true
}

// Remember gives a restored Detector, which must be Running, the history of an earlier
// life under the same job. What was scored by another model is rescaled by what the baseline's
// largest score became. A history that cannot be one is an error and changes nothing.
func (d *Detector) Remember(h History) error {
	if d.model == nil {
		return errors.New("restore history: the baseline is not complete")
	}
	if !(h.Reference > 0) || !(h.Threshold > 0) || math.IsInf(h.Reference, 0) || math.IsInf(h.Threshold, 0) || !(h.Sum >= 0) || math.IsInf(h.Sum, 0) {
		return fmt.Errorf("restore history: reference %v, threshold %v, sum %v", h.Reference, h.Threshold, h.Sum)
	}
	if h.Mean != nil {
		if err := d.check(h.Mean); err != nil {
			return fmt.Errorf("restore history: mean: %w", err)
		}
	}
	fresh := newTrend()
	if err := fresh.restore(h.Trend); err != nil {
		return err
	}
	threshold := d.threshold
	if d.tail != nil && h.Tail != nil {
		if err := d.tail.restore(*h.Tail); err != nil {
			return err
		}
		d.tail.rescale(d.reference / h.Reference)
		d.retuneAt = d.nextRetune()
		threshold = h.Threshold * (d.reference / h.Reference)
	}
	if d.stat.weight < 1 && h.Mean != nil {
		copy(d.stat.mean, h.Mean)
	}
	if d.spec.Alarm.Cusum > 0 {
		d.stat.sum = min(h.Sum*threshold/h.Threshold, cusumCeiling*threshold)
	}
	d.moveThreshold(threshold, 1)
	fresh.rescale((h.Threshold / h.Reference) / (threshold / d.reference))
	d.trend = fresh
	return nil
}
