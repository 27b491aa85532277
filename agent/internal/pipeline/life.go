package pipeline

import (
	"fmt"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/life"
	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// lifeTrack is one job to prognose on one machine. It needs no baseline.
type lifeTrack struct {
	spec     job.Spec // with defaults
	digest   string
	key      samples.Key // of its cycles
	front    *front
	follower *life.Follower
	at       time.Time // local clock, monotonic, of the newest window
}

// setLives replaces the jobs to prognose. One that stays, by digest, goes on.
func (m *Machine) setLives(specs []job.Spec, releases map[string]Release) {
	before := m.lives
	m.lives, m.prognosing = nil, nil
	for _, spec := range specs {
		live := spec.Role == job.Live
		if live && m.prognosing != nil {
			m.unserved[spec.Name] = fmt.Sprintf("machine %s already serves live job %q of its class to %s", m.cfg.Name, m.prognosing.spec.Name, job.Prognose)
			continue
		}
		digest := spec.Digest()
		at := slices.IndexFunc(before, func(t *lifeTrack) bool { return t.digest == digest })
		var t *lifeTrack
		if at >= 0 {
			t = before[at]
		} else {
			var err error
			if t, err = m.newLife(spec, digest, releases[spec.Name]); err != nil {
				m.unserved[spec.Name] = err.Error()
				m.log.Error("job cannot be served", "job", spec.Name, "error", err)
				continue
			}
		}
		m.lives = append(m.lives, t)
		if live {
			m.prognosing = t
		}
	}
	for _, f := range m.fronts {
		f.lives = nil
	}
	for _, t := range m.lives {
		t.front.lives = append(t.front.lives, t)
	}
}

// newLife begins a job, with the cycles that an earlier run left of it.
func (m *Machine) newLife(spec job.Spec, digest string, r Release) (*lifeTrack, error) {
	f, err := life.New(spec)
	if err != nil {
		return nil, err
	}
	t := &lifeTrack{spec: f.Spec(), digest: digest, follower: f}
	features := m.featuresDigest(spec.Features)
	t.key = samples.Key{Machine: m.cfg.Name, Features: features + "-" + t.spec.Model.RUL.Cycle.String()}
	if known := slices.IndexFunc(m.fronts, func(f *front) bool { return f.key.Features == features }); known >= 0 {
		t.front = m.fronts[known]
	} else if t.front, err = m.newFront(spec.Features); err != nil {
		return nil, err
	} else {
		m.fronts = append(m.fronts, t.front)
	}
	if p, err := f.Load(r.Params); err != nil {
		m.log.Error("released model cannot be used; no remaining life is predicted", "job", spec.Name, "version", r.Version, "error", err)
	} else {
		f.Use(p, r.Version)
	}
	cycles, err := m.cycles(t)
	if err != nil {
		m.log.Error("stored cycles cannot be read; the machine counts as new", "job", spec.Name, "error", err)
	}
	f.Restart(cycles, m.ends)
	return t, nil
}

func (m *Machine) cycles(t *lifeTrack) ([]life.Cycle, error) {
	rows, err := m.memory.Rows(t.key, samples.Cycle)
	return life.Cycles(rows, t.spec.Features.Len()), err
}

// live takes a window of front f. Called with mu held.
func (m *Machine) live(f *front, end time.Time, vector []float64) {
	for _, t := range f.lives {
		t.at = time.Now()
		cycle, err := t.follower.Observe(end, vector, m.serving.out.State == infer.Off)
		if err != nil {
			m.refuse("vector", err)
		}
		if cycle != nil {
			m.memory.Add(t.key, samples.Cycle, end, cycle)
		}
	}
}

// remaining is the newest prediction of the machine's remaining life; nil if there is none.
func (m *Machine) remaining() *infer.Life {
	if m.prognosing == nil {
		return nil
	}
	return m.prognosing.follower.Life()
}

// SetEnds tells when lives of the machine ended, in the order of time.
func (m *Machine) SetEnds(ends []life.End) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.EqualFunc(m.ends, ends, func(a, b life.End) bool { return a.Failed == b.Failed && a.At.Equal(b.At) }) {
		return nil
	}
	m.ends = ends
	var err error
	for _, t := range m.lives {
		if e := m.restart(t); e != nil {
			err = e
		}
	}
	return err
}

// restart goes through the stored cycles of t anew. It is called with mu held, which it
// gives up while it reads: prediction does not wait for the disk.
func (m *Machine) restart(t *lifeTrack) error {
	for {
		newest := t.follower.Newest()
		m.mu.Unlock()
		cycles, err := m.cycles(t)
		m.mu.Lock()
		if err != nil {
			return fmt.Errorf("machine %s: read cycles of job %q: %w", m.cfg.Name, t.spec.Name, err)
		}
		if t.follower.Newest() == newest { // else read again: a cycle is rare
			t.follower.Restart(cycles, m.ends)
			return nil
		}
	}
}

// installLife swaps a released model in, if the machine serves the job. It is called with
// mu held, which it gives up while it loads the model.
func (m *Machine) installLife(digest string, r Release) error {
	for _, t := range m.lives {
		if t.digest != digest {
			continue
		}
		m.mu.Unlock()
		p, err := t.follower.Load(r.Params)
		m.mu.Lock()
		if err != nil {
			return fmt.Errorf("machine %s: version %d: %w", m.cfg.Name, r.Version, err)
		}
		t.follower.Use(p, r.Version)
		return m.restart(t)
	}
	return nil
}

// Lives returns what the machine can learn a job to prognose from: its lives, of at most so
// many cycles, the newest. ok is false while there is no cycle, or for another job.
func (m *Machine) Lives(digest string, most int) (lives []model.Set, ok bool, err error) {
	m.mu.Lock()
	at := slices.IndexFunc(m.lives, func(t *lifeTrack) bool { return t.digest == digest })
	if at < 0 {
		m.mu.Unlock()
		return nil, false, nil
	}
	t, ends := m.lives[at], m.ends
	m.mu.Unlock()
	cycles, err := m.cycles(t)
	if err != nil {
		return nil, false, err
	}
	lives = life.Lives(m.cfg.Name, cycles, ends, t.spec.Model.RUL.Cap, most)
	return lives, len(lives) > 0, nil
}

// lifeStatus says how far a job to prognose is.
func (m *Machine) lifeStatus(t *lifeTrack) JobStatus {
	j := JobStatus{
		Job: t.spec.Name, Digest: t.digest, Role: t.spec.Role, State: infer.Baseline,
		Cycles: t.follower.Age(), Samples: min(int64(t.follower.Newest()), samples.MaxCycles), Version: t.follower.Version(),
	}
	j.Trained = j.Samples > 0
	switch {
	case t.at.IsZero():
		j.State = infer.Waiting
	case m.stale(t.at, t.spec.Features):
		j.State = infer.Stale
	case t.follower.Life() != nil:
		j.State = infer.Running
	}
	return j
}
