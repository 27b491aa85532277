package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/pipeline"
	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/agent/internal/uplink"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/failpoint"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

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

// train learns a job from the healthy feature vectors of this gateway's machines.
func (a *Agent) train(ctx context.Context, name string, from uplink.Start) (uplink.Learned, error) {
	a.jobsMu.Lock()
	s := a.jobs[name]
	a.jobsMu.Unlock()
	if s == nil || s.family == nil {
		return uplink.Learned{}, fmt.Errorf("this agent serves no job %q", name)
	}
	select {
	case a.training <- struct{}{}: // one at a time: prediction needs the rest of the box
		defer func() { <-a.training }()
	case <-ctx.Done():
		return uplink.Learned{}, ctx.Err()
	}
	var sets []model.Set
	for _, m := range a.machines {
		set, ok, err := m.Training(s.digest)
		if err != nil {
			a.log.Error("healthy samples of a machine cannot be read", "machine", m.Name(), "error", err)
		}
		if ok {
			sets = append(sets, set)
		}
	}
	if len(sets) == 0 {
		return uplink.Learned{}, errors.New(a.readiness(s).Reason)
	}
	options := s.spec.TrainOptions(from.Seed)
	options.ServerControl, options.OwnControl = from.ServerControl, from.OwnControl
	t, err := trainAside(ctx, s.family, from.Global, sets, options)
	if err != nil {
		return uplink.Learned{}, err
	}
	return uplink.Learned{
		Update:     fedavg.Update{Job: name, Weight: t.Weight, Steps: t.Steps, Vectors: t.Vectors, Metrics: t.Metrics},
		OwnControl: t.OwnControl,
	}, nil
}

// trainAside trains on a thread of low priority. A panic in it ends the round, not
// the agent.
func trainAside(ctx context.Context, f model.Family, global []fedavg.Vector, sets []model.Set, options model.TrainOptions) (t model.Trained, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("train: %v", p)
			}
		}()
		// Never unlocked: the thread, with its priority, ends with the goroutine.
		runtime.LockOSThread()
		lowerPriority()
		t, err = f.Train(ctx, global, sets, options)
	}()
	<-done
	return t, err
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
