package fedavg

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Accumulator sums updates of one layout. Its memory is O(parameters), however
// many updates it is given.
//
// Sums are integers, so that they are the same, bit for bit, in any order and
// any grouping of updates, on every processor:
//
//   - Float32 vectors are summed times the update's weight, in 64 bits, in units
//     of 2^−32: weight·x is rounded to float64 and then toward zero. A mean is
//     therefore off by at most 2^−32·(updates/weight), less than the resolution
//     of a float32 parameter above 0.004 even when every weight is 1.
//     |Σ weight·x| must stay below 2^31; what could exceed it is refused.
//   - Float64 vectors (statistics) are summed as they are, without the weight,
//     in 128 bits, in units of 2^−64: exact for magnitudes from 2^−12 to 2^62,
//     the limit; smaller ones are rounded toward zero.
//   - The weight, and each metric times the weight, likewise in 128 bits.
//
// Weights are meant to be counts. Much smaller ones cost precision.
//
// An Accumulator is for one goroutine at a time; inside, large updates use
// GOMAXPROCS of them.
type Accumulator struct {
	layout   Layout
	sums     []vectorSum
	segments []segment
	count    int
	weight   fixed
	metrics  map[string]metricSum
	scratch  scratch // of the calling goroutine
}

// vectorSum is the sum of one vector; one of the slices is set.
type vectorSum struct {
	f32 []int64
	f64 []fixed
}

// metricSum adds up what the updates say of one metric.
type metricSum struct {
	reports  int
	weighted fixed // Σ weight·metric
	weight   fixed // of the updates that report it
}

// NewAccumulator returns an empty accumulator, or an error if layout is none
// (see Layout.Validate).
func NewAccumulator(layout Layout) (*Accumulator, error) {
	if err := layout.Validate(); err != nil {
		return nil, fmt.Errorf("make accumulator: %w", err)
	}
	a := &Accumulator{layout: slices.Clone(layout), sums: make([]vectorSum, len(layout)), metrics: map[string]metricSum{}}
	for i, s := range layout {
		if s.DType == Float64 {
			a.sums[i].f64 = make([]fixed, s.Len)
		} else {
			a.sums[i].f32 = make([]int64, s.Len)
		}
		for from := 0; from < s.Len; from += segmentLen {
			a.segments = append(a.segments, segment{vector: i, from: from, to: min(from+segmentLen, s.Len)})
		}
	}
	return a, nil
}

// Layout returns the layout of the updates that a sums.
func (a *Accumulator) Layout() Layout { return slices.Clone(a.layout) }

// Count is the number of updates in a.
func (a *Accumulator) Count() int { return a.count }

// Weight is the sum of the weights of the updates in a.
func (a *Accumulator) Weight() float64 { return a.weight.float() }

// Metrics returns the mean of each metric over the updates that report it,
// weighted by their weight.
func (a *Accumulator) Metrics() map[string]float64 {
	means := make(map[string]float64, len(a.metrics))
	for name, m := range a.metrics {
		if w := m.weight.float(); w > 0 {
			means[name] = m.weighted.float() / w
		}
	}
	return means
}

// Add adds u, or leaves a as it was and returns an error: one of Update.Verify,
// or a *RangeError. It verifies u itself.
func (a *Accumulator) Add(u *Update) error {
	err := a.AddAll(u)
	if named := (*UpdateError)(nil); errors.As(err, &named) {
		return named.Err
	}
	return err
}

// AddAll adds all updates, or leaves a as it was and returns an *UpdateError
// that names the first offender. It is faster than one Add after the other: sums
// are read and written once per call, so that memory bandwidth goes to the
// updates.
func (a *Accumulator) AddAll(us ...*Update) error {
	return a.apply(us, (*Accumulator).addScalars, plus)
}

// Sub takes u, which must have been added, out again: the result is the same
// as if it never had been. Errors are those of Add, and a stays as it was.
func (a *Accumulator) Sub(u *Update) error {
	err := a.apply([]*Update{u}, (*Accumulator).subScalars, minus)
	if named := (*UpdateError)(nil); errors.As(err, &named) {
		return named.Err
	}
	return err
}

// sign says whether updates go in or out.
type sign bool

const (
	plus  sign = false
	minus sign = true
)

func (a *Accumulator) apply(us []*Update, scalars func(*Accumulator, *Update) error, s sign) error {
	after := Accumulator{count: a.count, weight: a.weight, metrics: maps.Clone(a.metrics)}
	for _, u := range us {
		if err := u.verifyScalars(a.layout); err != nil {
			return &UpdateError{Agent: u.Agent, Err: err}
		}
		if err := scalars(&after, u); err != nil {
			return &UpdateError{Agent: u.Agent, Err: err}
		}
	}
	if err := a.applyVectors(us, s); err != nil {
		return err
	}
	a.count, a.weight, a.metrics = after.count, after.weight, after.metrics
	return nil
}

func (a *Accumulator) addScalars(u *Update) error {
	if u.Weight >= fixedLimit {
		return &RangeError{Vector: "weight", Value: u.Weight}
	}
	weight := toFixed(u.Weight)
	var over bool
	if a.weight, over = a.weight.add(weight); over {
		return &RangeError{Vector: "weight", Value: u.Weight}
	}
	for name, x := range u.Metrics {
		wx := float64(u.Weight * x)
		if math.Abs(wx) >= fixedLimit {
			return &RangeError{Vector: "metric " + name, Value: wx}
		}
		m := a.metrics[name]
		m.reports++
		if m.weighted, over = m.weighted.add(toFixed(wx)); over {
			return &RangeError{Vector: "metric " + name, Value: wx}
		}
		m.weight, _ = m.weight.add(weight) // no more than a.weight
		a.metrics[name] = m
	}
	a.count++
	return nil
}

var errNeverAdded = errors.New("it cannot be subtracted: it was never added")

func (a *Accumulator) subScalars(u *Update) error {
	if a.count == 0 || u.Weight >= fixedLimit {
		return errNeverAdded
	}
	weight := toFixed(u.Weight)
	a.weight, _ = a.weight.sub(weight)
	for name, x := range u.Metrics {
		wx := float64(u.Weight * x)
		m, ok := a.metrics[name]
		if !ok || math.Abs(wx) >= fixedLimit {
			return errNeverAdded
		}
		m.reports--
		m.weighted, _ = m.weighted.sub(toFixed(wx))
		m.weight, _ = m.weight.sub(weight)
		if a.metrics[name] = m; m.reports == 0 {
			delete(a.metrics, name)
		}
	}
	if a.count--; a.weight.hi < 0 {
		return errNeverAdded
	}
	return nil
}

// RangeError says that a number, or a sum with it, exceeds what an Accumulator
// can hold.
type RangeError struct {
	Vector string
	Index  int
	Value  float64 // what was to be added: weight·element for Float32 vectors
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("number too large to sum: %s[%d] adds %v", e.Vector, e.Index, e.Value)
}
