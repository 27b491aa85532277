package infer

import (
	"github.com/millwright-iot/millwright/sensors/condition"
)

// level is a feature that is small when the machine is off.
type level struct {
	feature int
	rule    condition.OffRule // Below is 0 until learned: never off
}

// SetLevels names the features, by index, that are small when the machine is off, such
// as the RMS of a vibration. It is off when all of them are. What counts as small is
// learned with the baseline. Before the first window and before Restore.
func (d *Detector) SetLevels(features []int) {
	d.levels = nil
	for _, i := range features {
		d.levels = append(d.levels, level{feature: i})
	}
}

// off says whether the machine is off at x.
func (d *Detector) off(x []float64) bool {
	for _, l := range d.levels {
		if !l.rule.Off(x[l.feature]) {
			return false
		}
	}
	return len(d.levels) > 0
}

// dropOff learns when the machine is off from the collected rows, and drops those in
// which it was: off is no part of what is normal for a machine that runs. It returns whether
// there were any. Where nothing can be learned, as from a machine at rest, it is never off.
func (d *Detector) dropOff() bool {
	column := make([]float64, len(d.rows))
	for i := range d.levels {
		l := &d.levels[i]
		if l.rule.Seen {
			continue
		}
		for r, row := range d.rows {
			column[r] = row[l.feature]
		}
		if rule, err := condition.LearnOff(column); err == nil {
			l.rule = rule
		}
	}
	kept := 0
	for _, row := range d.rows {
		if !d.off(row) {
			copy(d.rows[kept], row) // rows keep their places in the slab
			kept++
		}
	}
	dropped := kept < len(d.rows)
	d.rows = d.rows[:kept]
	return dropped
}

// BaselineRows returns copies of the collected rows, oldest first.
func (d *Detector) BaselineRows() [][]float64 {
	rows := make([][]float64, len(d.rows))
	for i, row := range d.rows {
		rows[i] = append([]float64(nil), row...)
	}
	return rows
}

// resting is the output of a window in which the machine is off: an alarm that lasts
// goes on lasting, nothing is scored and nothing learned.
func (d *Detector) resting(out Output) Output {
	out.State = Off
	st := d.tracker.State()
	out.Active, out.Version = st.Active, d.version
	if d.tail != nil {
		d.tail.interrupt()
	}
	return out
}
