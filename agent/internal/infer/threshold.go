package infer

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// leastThreshold keeps the relative score finite for a baseline whose every
// score is zero, as a machine at rest has.
const leastThreshold = 1e-9

// use loads a model, calibrates it and only then swaps it in.
func (d *Detector) use(global []fedavg.Vector, version uint64) error {
	m, version, err := d.load(global, version, d.local)
	if err != nil {
		return err
	}
	stat, reference, err := d.calibrate(m)
	if err != nil {
		return fmt.Errorf("calibrate version %d of job %q: %w", version, d.spec.Name, err)
	}
	t := d.tail
	switch {
	case d.spec.Alarm.Budget == 0:
	case t == nil:
		if t, err = d.firstTail(global, stat); err != nil {
			return fmt.Errorf("calibrate version %d of job %q: %w", version, d.spec.Name, err)
		}
	default:
		t.rescale(reference / d.reference)
	}
	factor := 1.0
	threshold := d.thresholdOf(m, reference, t)
	if d.model != nil {
		if d.spec.Alarm.Cusum > 0 {
			stat.sum *= threshold / d.threshold // goes on where it was, relative to the threshold
		} else if before := d.model.Score(d.stat.mean) / d.threshold; before > 0 {
			factor = m.Score(d.stat.mean) / threshold / before
		}
	}
	d.model, d.version, d.global, d.stat, d.reference, d.tail = m, version, global, stat, reference, t
	d.moveThreshold(threshold, factor)
	d.retuneAt = d.nextRetune()
	return nil
}

// calibrate scores the baseline with m as it will score windows. It returns the
// statistic, with what it has of the windows so far, and its largest value.
func (d *Detector) calibrate(m model.Model) (statistic, float64, error) {
	stat := d.stat.blank()
	scores, z := make([]float64, len(d.rows)), make([]float64, len(d.z))
	for i, row := range d.rows {
		d.standardize(z, row)
		scores[i] = m.Score(stat.vector(z))
		if math.IsNaN(scores[i]) || math.IsInf(scores[i], 0) {
			return stat, 0, fmt.Errorf("score of a baseline window is %v", scores[i])
		}
	}
	stat.centreOn(scores)
	reference := leastThreshold
	for _, s := range scores {
		reference = max(reference, stat.value(s))
	}
	stat.mean, stat.sum = d.stat.mean, d.stat.sum
	return stat, reference, nil
}

// thresholdOf is where the job wants m to alarm: at the probability that costs make,
// at the false-alarm budget, or at so many times the baseline's largest score. That
// is also the least while too little was seen to keep the budget.
func (d *Detector) thresholdOf(m model.Model, reference float64, t *tail) float64 {
	a := d.spec.Alarm
	if p := a.Probability(); p > 0 {
		if _, ok := m.(model.Classifier); ok {
			return p
		}
	}
	usual := max(leastThreshold, a.Threshold*reference)
	if t == nil {
		return usual
	}
	threshold, ok := t.threshold(a.Budget)
	if !ok || math.IsInf(threshold, 0) {
		return usual
	}
	if held := t.held(); held == 0 || held > a.Budget {
		threshold = max(threshold, usual)
	}
	return max(leastThreshold, threshold)
}

// moveThreshold sets the threshold, after which everything measured in relative
// scores is factor times what it was.
func (d *Detector) moveThreshold(threshold, factor float64) {
	d.threshold = threshold
	if d.spec.Alarm.Cusum > 0 {
		d.stat.ceiling = cusumCeiling * threshold
	}
	d.tracker.Rescale(factor)
	d.tracker.SetBaseline(d.reference / threshold)
	if factor > 0 && factor < math.MaxFloat64 {
		d.trend.rescale(factor)
	}
}

// heldOutParts is into how many parts a baseline is cut to see how its windows score
// under models that have not learned from them.
const heldOutParts = 5

// firstTail makes the tail of the baseline. Its windows score lower under a model
// that was fitted to them than windows to come will, so each part is scored under what the
// others teach.
func (d *Detector) firstTail(global []fedavg.Vector, stat statistic) (*tail, error) {
	var runs [][]float64
	n, z := len(d.rows), make([]float64, len(d.z))
	for k := range heldOutParts {
		from, to := n*k/heldOutParts, n*(k+1)/heldOutParts
		b := model.NewBaseline(len(z))
		var rest [][]float64
		for i, row := range d.rows {
			if i < from || i >= to {
				if err := b.Add(row); err != nil {
					return nil, err
				}
				rest = append(rest, row)
			}
		}
		if len(rest) < 2 || from == to {
			continue
		}
		for i, row := range rest {
			rest[i] = b.Standardize(nil, row)
		}
		trained, err := d.own.Train(context.Background(), d.own.Init(d.spec.Seed), []model.Set{{Rows: rest}}, model.TrainOptions{Seed: d.spec.Seed})
		if err != nil {
			return nil, err
		}
		m, _, err := d.load(global, 0, trained.Vectors)
		if err != nil {
			return nil, err
		}
		part, scores := stat.blank(), make([]float64, 0, to-from)
		for _, row := range d.rows[from:to] {
			s := part.observe(m, b.Standardize(z, row))
			if math.IsNaN(s) || math.IsInf(s, 0) {
				return nil, fmt.Errorf("score of a baseline window is %v", s)
			}
			scores = append(scores, s)
		}
		runs = append(runs, scores)
	}
	return newTail(d.spec.Alarm.OnDelay, d.spec.Features.Hop, runs), nil
}

// load makes a model of what there is: global and local blended where the
// family can, the global one alone, or the local one.
func (d *Detector) load(global []fedavg.Vector, version uint64, local []fedavg.Vector) (model.Model, uint64, error) {
	if global == nil {
		m, err := d.own.Load(local)
		return m, 0, err
	}
	if f, ok := d.family.(model.LocalBlender); ok {
		m, err := f.LoadBlended(global, local)
		return m, version, err
	}
	m, err := d.family.Load(global)
	if errors.Is(err, model.ErrUntrained) {
		m, err = d.own.Load(local)
		version = 0
	}
	return m, version, err
}

// learnTail learns from a window in order how high scores reach, and moves the
// threshold each time twice as many windows were seen. While scores rise it learns
// nothing: what wears must not become normal.
func (d *Detector) learnTail(value float64, quiet bool) {
	switch {
	case d.tail == nil || d.tail.enough(d.spec.Alarm.Budget):
		return
	case !quiet || d.trend.line.slope > 0:
		d.tail.interrupt()
		return
	}
	d.tail.add(value)
	if d.tail.Windows < d.retuneAt {
		return
	}
	d.retuneAt = d.nextRetune()
	threshold := d.thresholdOf(d.model, d.reference, d.tail)
	d.moveThreshold(threshold, d.threshold/threshold)
}

// nextRetune is the next number of windows that is twice, four times … the baseline.
func (d *Detector) nextRetune() int64 {
	n := int64(len(d.rows))
	for d.tail != nil && n <= d.tail.Windows {
		n *= 2
	}
	return n
}

// Budget is how a machine stands with the false-alarm budget of its job.
type Budget struct {
	Asked float64 `json:"asked"` // alarms in 30 days of operation
	// Held is the least that Windows of healthy operation allow to promise: it takes
	// one tenth of the time in which one alarm is allowed. 0: nothing can be
	// promised yet. Until Held is at most Asked, the threshold is at least the usual one.
	Held    float64 `json:"held"`
	Windows int64   `json:"windows"`
	Needs   int64   `json:"needs"` // windows for Asked
}

// Budget returns how d stands with its budget, false if the job has none or d is not Running.
func (d *Detector) Budget() (Budget, bool) {
	if d.model == nil || d.tail == nil {
		return Budget{}, false
	}
	asked := d.spec.Alarm.Budget
	needs := math.Ceil(month.Seconds() / d.spec.Features.Hop.Seconds() / asked / lookAhead)
	return Budget{
		Asked: asked, Held: d.tail.held(), Windows: d.tail.Windows,
		Needs: int64(min(needs, math.MaxInt32)),
	}, true
}
