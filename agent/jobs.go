package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/pipeline"
	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/failpoint"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// machinesOf returns the machines of a class, in the order of the configuration.
func (a *Agent) machinesOf(class string) []*pipeline.Machine {
	var list []*pipeline.Machine
	for _, m := range a.machines {
		if m.Class() == class {
			list = append(list, m)
		}
	}
	return list
}

// served is a job of the coordinator and what the agent has of it.
type served struct {
	spec    job.Spec // with defaults
	digest  string
	family  model.Family // nil when broken
	broken  string       // why no machine can serve it
	release pipeline.Release
}

// setJobs replaces the jobs and keeps them. The error says only that they could
// not be kept: they are served in any case.
func (a *Agent) setJobs(specs []job.Spec) error {
	a.jobsMu.Lock()
	defer a.jobsMu.Unlock()
	known := len(specs) == len(a.jobs) && !a.unsaved
	for _, spec := range specs {
		s := a.jobs[spec.Name]
		known = known && s != nil && s.digest == spec.Digest()
	}
	if known {
		return nil // as after every reconnection: nothing to change, nothing to write
	}
	a.apply(specs, false)
	a.changed.notify()
	err := a.models.SaveJobs(specs)
	a.unsaved = err != nil
	return err
}

// apply hands the jobs to the machines of their class, with the newest stored model
// of each, and deletes what is no longer needed. At start the machines also get the
// alarms of the last run. Called with jobsMu held.
func (a *Agent) apply(specs []job.Spec, start bool) {
	jobs := map[string]*served{}
	digests := map[string]string{}
	for _, spec := range specs {
		s := a.serve(spec)
		if was := a.jobs[s.spec.Name]; was != nil && was.digest == s.digest {
			s = was
		}
		jobs[s.spec.Name] = s
		digests[s.spec.Name] = s.digest
	}
	a.jobs = jobs
	for _, m := range a.machines {
		var list []job.Spec
		releases := map[string]pipeline.Release{}
		for _, s := range a.sortedJobs() {
			if s.spec.Class == m.Class() && s.broken == "" {
				list = append(list, s.spec)
				releases[s.spec.Name] = s.release
			}
		}
		states := map[string]alarm.State{}
		if start {
			digest, st := a.journal.State(m.Name())
			states[digest] = st
		}
		m.SetJobs(list, releases, states)
		if start {
			a.resume(m)
		}
	}
	if err := a.models.Keep(digests); err != nil {
		a.log.Error("models of former jobs cannot be deleted", "error", err)
	}
	var keys []samples.Key
	for _, m := range a.machines {
		keys = append(keys, m.Keys()...)
	}
	if err := a.store.Keep(keys); err != nil {
		a.log.Error("samples of former jobs cannot be deleted", "error", err)
	}
}

// serve checks a job and loads its newest stored model.
func (a *Agent) serve(spec job.Spec) *served {
	s := &served{spec: spec.WithDefaults(), digest: spec.Digest()}
	err := s.spec.Check()
	if err == nil {
		s.family, err = s.spec.Family()
	}
	if err != nil {
		s.broken = err.Error()
		a.log.Error("job from the coordinator cannot be served", "job", spec.Name, "error", err)
		return s
	}
	a.models.Load(s.spec.Name, s.digest, func(version uint64, blob []byte) error {
		r, err := s.decode(version, blob)
		if err == nil {
			s.release = r
		}
		return err
	})
	return s
}

// decode reads a released model and makes sure that it can score.
func (s *served) decode(version uint64, blob []byte) (pipeline.Release, error) {
	g, err := fedavg.DecodeGlobal(blob, s.family.ParamLayout())
	if err != nil {
		return pipeline.Release{}, err
	}
	if g.Job != s.spec.Name || g.SpecDigest != s.digest {
		return pipeline.Release{}, fmt.Errorf("model is of job %q with digest %.12s…, not %q with %.12s…", g.Job, g.SpecDigest, s.spec.Name, s.digest)
	}
	if _, err := s.family.Load(g.Vectors); err != nil && !errors.Is(err, model.ErrUntrained) {
		return pipeline.Release{}, err
	}
	return pipeline.Release{Version: version, Params: g.Vectors}, nil
}

// resume settles the episode that lasted when the agent stopped: it goes on if the
// machine's alarm does, else it ends now.
func (a *Agent) resume(m *pipeline.Machine) {
	e, lasting := a.journal.Lasting(m.Name())
	digest, st := m.AlarmState()
	if !lasting || st.Active {
		return
	}
	e.Active, e.Cleared = false, a.started.UTC()
	a.record(e, digest, st)
}

// install makes a released model the one in use.
func (a *Agent) install(name string, version uint64, blob []byte) error {
	a.jobsMu.Lock()
	defer a.jobsMu.Unlock()
	s := a.jobs[name]
	if s == nil || s.family == nil {
		return fmt.Errorf("install model: this agent serves no job %q", name)
	}
	r, err := s.decode(version, blob)
	if err != nil {
		return fmt.Errorf("install version %d of job %q: %w", version, name, err)
	}
	if err := a.models.Save(name, s.digest, version, blob); err != nil {
		// It serves from memory; the coordinator sends it again after a restart.
		a.log.Error("model cannot be stored", "job", name, "version", version, "error", err)
	}
	failpoint.Here(failpoint.ReleaseSaved)
	s.release = r
	for _, m := range a.machines {
		err = errors.Join(err, m.Install(s.digest, r))
	}
	if err == nil {
		a.log.Info("model installed", "job", name, "version", version)
	}
	a.changed.notify()
	return err
}

// sortedJobs returns the jobs by name. Called with jobsMu held.
func (a *Agent) sortedJobs() []*served {
	var list []*served
	for _, s := range a.jobs {
		list = append(list, s)
	}
	slices.SortFunc(list, func(x, y *served) int { return strings.Compare(x.spec.Name, y.spec.Name) })
	return list
}
