package pipeline

import (
	"slices"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// observe keeps the window of front f that ended at end, if it was scored, for labels
// that come late: every one where a job learns from labels; else one that is not learned
// from, which a verdict may turn out to have been healthy. Called with mu held.
func (m *Machine) observe(f *front, end time.Time, vector []float64, learned, quiet bool) {
	supervised, scored := false, false
	for _, t := range f.tracks {
		supervised = supervised || t.spec.Purpose() == job.Diagnose
		scored = scored || (t.out.State == infer.Running && t.out.At.Equal(end))
	}
	if !scored || learned && !supervised {
		return
	}
	p := samples.Prediction{Version: m.serving.detector.Version(), Quiet: quiet}
	if m.serving.out.State == infer.Running {
		p.Score = m.serving.out.Score
	}
	m.memory.Observe(f.key, end, vector, p)
}

// Training returns what the machine can learn a job from, at most so many feature
// vectors, oldest first, standardised by its own baseline: its healthy ones, or for a
// job that diagnoses those of which truth tells the class, their Targets. A nil truth
// says nothing. ok is false while the machine has no baseline for the job.
func (m *Machine) Training(digest string, most int, truth *labels.Truth) (set model.Set, ok bool, err error) {
	t, have := m.ready(digest)
	if t == nil {
		return set, false, nil
	}
	if truth == nil {
		truth = &labels.Truth{}
	}
	var rows []samples.Row
	var classes []int
	if t.spec.Purpose() == job.Diagnose {
		rows, classes, err = m.lessons(t, most, truth)
	} else {
		rows, err = m.healthy(t, most-min(have, (most+1)/2), truth)
	}
	if err != nil {
		return set, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.detector.State() != infer.Running {
		return set, false, nil // it lost its baseline meanwhile
	}
	set.Machine = m.cfg.Name
	if t.spec.Purpose() != job.Diagnose {
		set.Rows = t.detector.BaselineZ(most - len(rows))
	}
	for i, row := range rows {
		z, ok := t.detector.Standardize(row.Vector, row.Vector)
		if !ok {
			continue
		}
		set.Rows = append(set.Rows, z)
		if classes != nil {
			set.Targets = append(set.Targets, float64(classes[i]))
		}
	}
	return set, true, nil
}

// ready returns the track of a job and the size of its baseline; nil while it has none.
func (m *Machine) ready(digest string) (t *track, baseline int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t = m.find(digest); t == nil || t.detector.State() != infer.Running {
		return nil, 0
	}
	baseline, _ = t.detector.Progress()
	return t, baseline
}

// healthy gathers the newest vectors since the baseline, at most so many, that no label
// says were not healthy, and of alarms that were wrong: these up to a quarter.
func (m *Machine) healthy(t *track, most int, truth *labels.Truth) ([]samples.Row, error) {
	var rows []samples.Row
	length := t.spec.Features.Window
	if truth.Says(labels.InOrder) {
		err := m.memory.Each(t.front.key, samples.Observed, func(row samples.Row) bool {
			if row.Quiet { // is among those below
				return true
			}
			if said, _ := truth.Of(row.At.Add(-length), row.At, row.Score >= 1); said == labels.InOrder {
				row.Vector = slices.Clone(row.Vector)
				rows = append(rows, row)
				rows = rows[max(0, len(rows)-most/4):]
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	recent, err := m.memory.Newest(t.front.key, samples.Recent, most-len(rows))
	if err != nil {
		return nil, err
	}
	recent = slices.DeleteFunc(recent, func(row samples.Row) bool {
		said, _ := truth.Of(row.At.Add(-length), row.At, row.Score >= 1)
		return said == labels.Faulty || said == labels.Unclear
	})
	rows = append(rows, recent...)
	slices.SortStableFunc(rows, func(a, b samples.Row) int { return a.At.Compare(b.At) })
	return rows, nil
}
