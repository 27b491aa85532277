package pipeline

import (
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// Training returns what the machine can learn a job from: at most so many of its
// healthy feature vectors, the newest, oldest first, standardised by its own baseline. Its
// baseline, which does not age, gets half of the places at least. ok is false while the
// machine has no baseline for the job.
func (m *Machine) Training(digest string, most int) (set model.Set, ok bool, err error) {
	m.mu.Lock()
	t := m.find(digest)
	m.mu.Unlock()
	if t == nil {
		return set, false, nil
	}
	have, _ := t.detector.Progress()
	recent, err := m.memory.Newest(t.front.key, samples.Recent, most-min(have, (most+1)/2))
	if err != nil {
		return set, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.detector.State() != infer.Running {
		return set, false, nil
	}
	set = model.Set{Machine: m.cfg.Name, Rows: t.detector.BaselineZ(most - len(recent))}
	for _, row := range recent {
		if z, ok := t.detector.Standardize(row.Vector, row.Vector); ok {
			set.Rows = append(set.Rows, z)
		}
	}
	return set, true, nil
}
