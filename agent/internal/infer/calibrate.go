package infer

import (
	"context"
	"errors"
	"fmt"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// complete learns the machine's own normal from the collected rows and starts
// scoring: with the global model if one arrived already, else with a local one.
func (d *Detector) complete(ctx context.Context) error {
	b := model.NewBaseline(len(d.z))
	for _, row := range d.rows {
		if err := b.Add(row); err != nil {
			return err
		}
	}
	d.baseline = b
	d.invStd = make([]float64, len(d.z))
	for i := range d.invStd {
		d.invStd[i] = 1 / b.Std(i)
	}
	trained, err := d.own.Train(ctx, d.own.Init(d.spec.Seed), []model.Set{{Rows: d.BaselineZ(len(d.rows))}}, model.TrainOptions{Seed: d.spec.Seed})
	if err != nil {
		d.baseline = nil
		return fmt.Errorf("fit local model: %w", err)
	}
	d.local = trained.Vectors
	if d.global != nil {
		if err := d.use(d.global, d.pending); err == nil {
			return nil
		}
		// The global model cannot be used with this machine; its own can.
		d.global, d.pending = nil, 0
	}
	if err := d.use(nil, 0); err != nil {
		d.baseline = nil
		return fmt.Errorf("fit local model: %w", err)
	}
	return nil
}

// SetModel makes version of the global parameters the model in use, and takes
// the threshold anew from the stored baseline. Before the baseline is complete
// the parameters are kept for that moment; so at start SetModel comes before
// Restore. On an error the model in use stays.
// global is kept, not modified. A nil global returns to the local model.
func (d *Detector) SetModel(global []fedavg.Vector, version uint64) error {
	if global != nil {
		if err := d.family.ParamLayout().Check(global); err != nil {
			return fmt.Errorf("use version %d of job %q: %w", version, d.spec.Name, err)
		}
	}
	if d.model == nil {
		d.global, d.pending = global, version
		return nil
	}
	return d.use(global, version)
}

// Restore gives a new Detector the baseline rows and alarm state of an earlier
// life. Rows that do not fit are an error and are not used; with fewer rows than
// the job asks for, collecting goes on where it stopped.
func (d *Detector) Restore(rows [][]float64, state alarm.State) error {
	if d.model != nil || len(d.rows) > 0 {
		return errors.New("restore detector: it has rows already")
	}
	for i, row := range rows[:min(len(rows), d.spec.Alarm.Baseline)] {
		if err := d.check(row); err != nil {
			d.rows = d.rows[:0]
			return fmt.Errorf("restore baseline window %d: %w", i, err)
		}
		d.keep(row)
	}
	if len(d.rows) < d.spec.Alarm.Baseline || d.dropOff() {
		return nil
	}
	if err := d.complete(context.Background()); err != nil {
		d.rows = d.rows[:0]
		return fmt.Errorf("restore baseline of %d windows: %w", len(rows), err)
	}
	return d.tracker.Restore(state)
}

// RestoreAlarm makes the alarm go on from a state that another Detector of the same
// machine left.
func (d *Detector) RestoreAlarm(st alarm.State) error { return d.tracker.Restore(st) }

// Spec returns the job with its defaults filled in.
func (d *Detector) Spec() job.Spec { return d.spec }

// State returns how far the machine is, without regard to time.
func (d *Detector) State() State {
	switch {
	case d.model != nil:
		return Running
	case len(d.rows) > 0:
		return Baseline
	default:
		return Waiting
	}
}

// Progress returns how many baseline windows there are and how many it takes.
func (d *Detector) Progress() (have, want int) { return len(d.rows), d.spec.Alarm.Baseline }

// Version returns the version of the global model in use, 0 for the local one.
func (d *Detector) Version() uint64 { return d.version }

// Threshold returns the model score that is a relative score of 1; 0 until Running.
func (d *Detector) Threshold() float64 { return d.threshold }

// AlarmState returns what the alarm tracker remembers, for Restore.
func (d *Detector) AlarmState() alarm.State { return d.tracker.State() }

// Standardize writes x, standardised by the machine's baseline, into dst (nil
// allocates). It returns false until Running or when x does not fit.
func (d *Detector) Standardize(dst, x []float64) ([]float64, bool) {
	if d.baseline == nil || d.check(x) != nil {
		return dst, false
	}
	if dst == nil {
		dst = make([]float64, len(x))
	}
	d.standardize(dst, x)
	return dst, true
}

// BaselineZ returns the first n baseline rows at most, standardised; nil until Running.
func (d *Detector) BaselineZ(n int) [][]float64 {
	if d.baseline == nil {
		return nil
	}
	rows := make([][]float64, max(0, min(n, len(d.rows))))
	slab := make([]float64, len(rows)*len(d.z))
	for i, row := range d.rows[:len(rows)] {
		rows[i] = slab[i*len(d.z):][:len(d.z):len(d.z)]
		d.standardize(rows[i], row)
	}
	return rows
}
