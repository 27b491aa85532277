package fedavg

import (
	"errors"
	"fmt"
	"maps"
	"math"
)

// totals is the sum of everything but the vectors.
type totals struct {
	count   int
	weight  fixed
	data    dataSum
	metrics map[string]metricSum
}

// metricSum adds up what the updates say of one metric.
type metricSum struct {
	reports  int
	weighted fixed // Σ weight·metric
	weight   fixed // of the updates that report it
}

// Count is the number of updates that were added.
func (t *totals) Count() int { return t.count }

// Weight is the sum of the weights of the updates that were added.
func (t *totals) Weight() float64 { return t.weight.float() }

// Metrics returns the mean of each metric over the updates that report it,
// weighted by their weight.
func (t *totals) Metrics() map[string]float64 {
	means := make(map[string]float64, len(t.metrics))
	for name, m := range t.metrics {
		if w := m.weight.float(); w > 0 {
			means[name] = m.weighted.float() / w
		}
	}
	return means
}

// Data is the sum modulo 2²⁵⁶ of the data digests of the updates that were added;
// empty if none told any.
func (t *totals) Data() string { return t.data.String() }

func (t *totals) clone() totals {
	return totals{count: t.count, weight: t.weight, data: t.data, metrics: maps.Clone(t.metrics)}
}

// apply verifies everything but the elements of us and adds or subtracts it. On
// an error, which names the agent, t is of no use.
func (t *totals) apply(us []*Update, layout Layout, s sign) error {
	for _, u := range us {
		err := u.verifyScalars(layout)
		if err == nil && s == minus {
			err = t.sub(u)
		} else if err == nil {
			err = t.add(u)
		}
		if err != nil {
			return &UpdateError{Agent: u.Agent, Err: err}
		}
	}
	return nil
}

func (t *totals) add(u *Update) error {
	if u.Weight >= fixedLimit {
		return &RangeError{Vector: "weight", Value: u.Weight}
	}
	weight := toFixed(u.Weight)
	var over bool
	if t.weight, over = t.weight.add(weight); over {
		return &RangeError{Vector: "weight", Value: u.Weight}
	}
	for name, x := range u.Metrics {
		wx := float64(u.Weight * x)
		if math.Abs(wx) >= fixedLimit {
			return &RangeError{Vector: "metric " + name, Value: wx}
		}
		m := t.metrics[name]
		m.reports++
		if m.weighted, over = m.weighted.add(toFixed(wx)); over {
			return &RangeError{Vector: "metric " + name, Value: wx}
		}
		m.weight, _ = m.weight.add(weight) // no more than t.weight
		t.metrics[name] = m
	}
	data, err := parseData(u.Data)
	if err != nil {
		return err
	}
	t.data = t.data.add(data)
	t.count++
	return nil
}

// merge adds what u holds. On an error t is of no use.
func (t *totals) merge(u *totals) error {
	var over bool
	t.count += u.count
	if t.weight, over = t.weight.add(u.weight); over || t.count < 0 {
		return &RangeError{Vector: "weight", Value: u.Weight()}
	}
	t.data = t.data.add(u.data)
	for name, n := range u.metrics {
		m := t.metrics[name]
		m.reports += n.reports
		m.weight, _ = m.weight.add(n.weight) // no more than t.weight
		if m.weighted, over = m.weighted.add(n.weighted); over {
			return &RangeError{Vector: "metric " + name, Value: n.weighted.float()}
		}
		t.metrics[name] = m
	}
	return nil
}

// divisor is the weight that a mean divides by.
func (t *totals) divisor() (float64, error) {
	if t.count == 0 {
		return 0, ErrNoUpdates
	}
	weight := t.Weight()
	if !(weight > 0) {
		return 0, errors.New("aggregate: the updates' weights add up to nothing; weights are counts of rows")
	}
	return weight, nil
}

var errNeverAdded = errors.New("it cannot be subtracted: it was never added")

func (t *totals) sub(u *Update) error {
	if t.count == 0 || u.Weight >= fixedLimit {
		return errNeverAdded
	}
	weight := toFixed(u.Weight)
	t.weight, _ = t.weight.sub(weight)
	data, err := parseData(u.Data)
	if err != nil {
		return err
	}
	t.data = t.data.sub(data)
	for name, x := range u.Metrics {
		wx := float64(u.Weight * x)
		m, ok := t.metrics[name]
		if !ok || math.Abs(wx) >= fixedLimit {
			return errNeverAdded
		}
		m.reports--
		m.weighted, _ = m.weighted.sub(toFixed(wx))
		m.weight, _ = m.weight.sub(weight)
		if t.metrics[name] = m; m.reports == 0 {
			delete(t.metrics, name)
		}
	}
	if t.count--; t.weight.hi < 0 {
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
