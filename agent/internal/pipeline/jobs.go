package pipeline

import (
	"fmt"
	"maps"
	"slices"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/sensors/features"
)

// LocalJob is the name of the job that a machine serves by itself until the
// coordinator sends one for its class.
const LocalJob = "local"

// Release is a version of a job's global model. The zero Release is none.
type Release struct {
	Version uint64
	Params  []fedavg.Vector
}

// localJob is made of nothing but the machine's own configuration.
func (m *Machine) localJob() job.Spec {
	spec := job.Spec{
		Name: LocalJob, Class: m.cfg.Class,
		Features: job.FeatureSpec{Window: m.cfg.Window},
		Model:    model.Spec{Kind: model.KindGaussian},
		Alarm:    job.AlarmSpec{Baseline: m.cfg.Baseline},
	}
	for _, name := range slices.Sorted(maps.Keys(m.cfg.Channels)) {
		if list := features.Default(m.cfg.Channels[name]); len(list) > 0 {
			spec.Features.Channels = append(spec.Features.Channels, job.ChannelFeatures{Channel: name, Features: list})
		}
	}
	return spec.WithDefaults()
}

// SetJobs replaces the jobs of the machine's class. A job that stays, by digest,
// keeps its baseline and its alarm. A new live job to detect first collects its
// baseline while the one before goes on predicting; with none the machine returns to its
// local one. states are the alarm states of an earlier life, by job digest.
func (m *Machine) SetJobs(specs []job.Spec, releases map[string]Release, states map[string]alarm.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unserved = map[string]string{}
	live := map[job.Purpose]*track{}
	var shadows []*track
	var lives []job.Spec
	for _, spec := range append(slices.Clone(specs), m.localJob()) {
		spec = spec.WithDefaults()
		purpose := spec.Purpose()
		if purpose == job.Prognose {
			lives = append(lives, spec)
			continue
		}
		if first := live[purpose]; spec.Role == job.Live && first != nil {
			if spec.Name != LocalJob {
				m.unserved[spec.Name] = fmt.Sprintf("machine %s already serves live job %q of its class to %s", m.cfg.Name, first.spec.Name, purpose)
			}
			continue
		}
		t, err := m.track(spec, releases[spec.Name], states)
		switch {
		case err != nil:
			m.unserved[spec.Name] = err.Error()
			m.log.Error("job cannot be served", "job", spec.Name, "error", err)
		case spec.Role == job.Live:
			live[purpose] = t
		default:
			shadows = append(shadows, t)
		}
	}
	m.shadows, m.next = shadows, nil
	m.setDiagnosing(live[job.Diagnose])
	m.setLives(lives, releases)
	if live := live[job.Detect]; live != nil && live != m.serving {
		m.next = live
		if m.serving.detector.State() != infer.Running || live.detector.State() == infer.Running {
			m.takeOver()
		}
	}
	m.prune()
}

// track returns the running track of spec, or a new one.
func (m *Machine) track(spec job.Spec, r Release, states map[string]alarm.State) (*track, error) {
	digest := spec.Digest()
	for _, f := range m.fronts {
		for _, t := range f.tracks {
			if t.digest == digest {
				return t, nil
			}
		}
	}
	return m.newTrack(spec, r, states[digest])
}

// newTrack begins a job, with what an earlier life left of it.
func (m *Machine) newTrack(spec job.Spec, r Release, st alarm.State) (*track, error) {
	d, err := infer.NewDetector(spec)
	if err != nil {
		return nil, err
	}
	spec = d.Spec()
	d.SetLevels(m.levels(spec.Features))
	t := &track{spec: spec, digest: spec.Digest(), detector: d}
	known := slices.IndexFunc(m.fronts, func(f *front) bool { return f.key.Features == m.featuresDigest(spec.Features) })
	if known >= 0 {
		t.front = m.fronts[known]
	} else if t.front, err = m.newFront(spec.Features); err != nil {
		return nil, err
	}
	if r.Params != nil {
		if err := t.setModel(r); err != nil {
			m.log.Error("released model cannot be used; the machine's own serves", "job", spec.Name, "version", r.Version, "error", err)
		}
	}
	rows, err := m.memory.Rows(t.front.key, samples.Baseline)
	if err != nil {
		m.log.Error("stored baseline cannot be read; it is collected anew", "job", spec.Name, "error", err)
	}
	vectors := make([][]float64, len(rows))
	for i, row := range rows {
		vectors[i] = row.Vector
	}
	if err := d.Restore(vectors, st); err != nil {
		m.log.Error("stored baseline cannot be used; it is collected anew", "job", spec.Name, "error", err)
		rows = nil
		_ = m.memory.Forget(t.front.key, samples.Baseline)
	}
	if known < 0 {
		m.fronts = append(m.fronts, t.front)
		t.front.stored, _ = d.Progress()
		if t.front.stored < min(len(rows), spec.Alarm.Baseline) {
			m.rewrite(t)
		}
		t.front.recent = m.memory.Count(t.front.key, samples.Recent)
	}
	t.front.tracks = append(t.front.tracks, t)
	return t, nil
}

func (t *track) setModel(r Release) error {
	if err := t.detector.SetModel(r.Params, r.Version); err != nil {
		return err
	}
	t.global, t.version = r.Params, r.Version
	return nil
}

// Install swaps a released model of the job with that digest in. A machine that does
// not serve the job ignores it.
func (m *Machine) Install(digest string, r Release) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.find(digest)
	if t == nil {
		return m.installLife(digest, r)
	}
	if err := t.setModel(r); err != nil {
		return fmt.Errorf("machine %s: %w", m.cfg.Name, err)
	}
	return nil
}

// takeOver makes next the live track. An alarm that lasts goes on in it: a new job
// must neither end nor repeat what a person was told.
func (m *Machine) takeOver() {
	old := m.serving
	m.serving, m.next = m.next, nil
	if st := old.detector.AlarmState(); st.Active && m.serving.detector.State() == infer.Running {
		if err := m.serving.detector.RestoreAlarm(st); err != nil {
			m.log.Error("alarm cannot be carried over to the new job", "job", m.serving.spec.Name, "error", err)
		}
	}
	if old.front != m.serving.front {
		was := old.front.counts()
		was.Dropped["job_changed"] += was.Stored
		was.Stored = 0
		m.before.add(was)
		// The new front counted the same samples; from here on it counts for real.
		m.serving.front.restart(m.cfg.Name, "job_changed")
		m.serving.front.before = Counts{Dropped: map[string]int64{}}
	}
	m.log.Info("live job changed", "job", m.serving.spec.Name, "job_before", old.spec.Name)
	m.prune()
}

// prune forgets tracks and fronts that nobody needs.
func (m *Machine) prune() {
	needed := func(t *track) bool {
		return t == m.serving || t == m.next || t == m.diagnosing || slices.Contains(m.shadows, t)
	}
	for _, f := range m.fronts {
		f.tracks = slices.DeleteFunc(f.tracks, func(t *track) bool { return !needed(t) })
	}
	m.fronts = slices.DeleteFunc(m.fronts, func(f *front) bool { return len(f.tracks)+len(f.lives) == 0 })
}

// Keys names the feature vectors the machine still needs.
func (m *Machine) Keys() []samples.Key {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := make([]samples.Key, len(m.fronts))
	for i, f := range m.fronts {
		keys[i] = f.key
	}
	for _, t := range m.lives {
		keys = append(keys, t.key)
	}
	return keys
}
