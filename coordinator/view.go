package coordinator

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/enrol"
	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/release"
	"github.com/millwright-iot/millwright/coordinator/store"
)

var _ fleet.Viewer = (*Coordinator)(nil)

// Changed implements fleet.Viewer.
func (c *Coordinator) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Snapshot implements fleet.Viewer. Gateways that are enrolled but have not
// connected since the start are shown by their enrolment alone.
func (c *Coordinator) Snapshot() fleet.Snapshot {
	c.refreshEnrolled()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := fleet.Snapshot{
		At: time.Now(), Version: c.cfg.Version, Started: c.started,
		Gateways: c.gatewayViews(), Jobs: []fleet.Job{}, Rounds: []fleet.Round{}, Models: []fleet.Model{}, Alarms: c.alarms.newest(),
	}
	lasting(s.Alarms, s.Gateways)
	for _, j := range c.jobs {
		s.Jobs = append(s.Jobs, j.describe())
		if j.cur != nil {
			s.Rounds = append(s.Rounds, j.view())
		}
		for _, r := range j.rounds {
			r.Participants = slices.Clone(r.Participants)
			s.Rounds = append(s.Rounds, r)
		}
		s.Models = append(s.Models, j.models()...)
	}
	s.Drift = fleet.DriftOf(s.Gateways)
	quality := fleet.ByModel(s.Gateways)
	for i := range s.Models {
		if q, ok := quality[fleet.Version{Job: s.Models[i].Job, Version: s.Models[i].Version}]; ok {
			s.Models[i].Quality = &q
		}
	}
	slices.SortStableFunc(s.Rounds, func(a, b fleet.Round) int {
		return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(b.Round, a.Round), cmp.Compare(b.Attempt, a.Attempt))
	})
	slices.SortStableFunc(s.Models, func(a, b fleet.Model) int { return b.Committed.Compare(a.Committed) })
	return s
}

// lasting lets the peak of alarms that last include the machine's newest score: an agent
// tells of it with the alarm's next message, which may be its end.
func lasting(alarms []fleet.Alarm, gateways []fleet.Gateway) {
	type place struct{ gateway, machine string }
	newest := map[place]*fleet.Machine{}
	for i := range gateways {
		for k := range gateways[i].Machines {
			m := &gateways[i].Machines[k]
			newest[place{gateways[i].Name, m.Name}] = m
		}
	}
	for i := range alarms {
		a := &alarms[i]
		m := newest[place{a.Gateway, a.Machine}]
		if a.Cleared.IsZero() && m != nil && m.Alarm && !m.At.Before(a.Raised) {
			a.Peak = max(a.Peak, m.Score)
		}
	}
}

// refreshEnrolled reads who is enrolled. On failure the list read last goes on.
func (c *Coordinator) refreshEnrolled() {
	if c.authority == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list, err := c.authority.Gateways(ctx)
	if err != nil {
		if !errors.Is(err, store.ErrClosed) {
			c.log.Error("cannot list enrolled gateways", "error", err)
		}
		return
	}
	byName := map[string]enrol.Gateway{}
	for _, g := range list {
		byName[g.Name] = g
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enrolled = byName
}

// gatewayViews joins enrolments and sessions, by name. c.mu is held.
func (c *Coordinator) gatewayViews() []fleet.Gateway {
	views := map[string]fleet.Gateway{}
	for name, e := range c.enrolled {
		views[name] = fleet.Gateway{Name: name, Enrolled: e.Enrolled, CertExpires: e.CertExpires, Machines: []fleet.Machine{}}
	}
	for name, g := range c.gateways {
		v := g.cloneView()
		if e, ok := c.enrolled[name]; ok {
			v.Enrolled, v.CertExpires = e.Enrolled, e.CertExpires
		} else if c.authority != nil && !v.Connected {
			continue // removed
		}
		views[name] = v
	}
	inQuarantine := c.inQuarantine()
	out := make([]fleet.Gateway, 0, len(views))
	for _, name := range slices.Sorted(maps.Keys(views)) {
		v := views[name]
		v.Quarantine = inQuarantine[name]
		out = append(out, v)
	}
	return out
}

// describe is the job as the page shows it. c.mu is held.
func (j *jobState) describe() fleet.Job {
	d := fleet.Job{
		Name: j.spec.Name, Class: j.spec.Class, Model: j.spec.Model.Kind, Role: j.spec.Role, Digest: j.digest,
		Version: j.head.Version, Rounds: j.spec.Rounds.Count, Done: j.done(), Waiting: map[string]string{},
	}
	for name, g := range j.c.gateways {
		if g.peer == nil || !g.classes[j.spec.Class] {
			continue
		}
		if why := j.whyNot(g); why != "" {
			d.Waiting[name] = why
		} else {
			d.Ready++
		}
	}
	return d
}

// models lists the versions kept. c.mu is held.
func (j *jobState) models() []fleet.Model {
	if j.book == nil {
		return nil
	}
	live, hasLive := j.book.Live(j.lineage)
	var out []fleet.Model
	for _, v := range j.book.All() {
		m := fleet.Model{
			Job: v.Job, Version: v.Version, Digest: v.Blob.SHA256, SizeBytes: v.Blob.Size, Parameters: v.Parameters,
			Committed: v.Committed, Participants: v.Participants, Weight: v.Weight,
			Release: release.Superseded, Metrics: maps.Clone(v.Metrics),
		}
		if hasLive && v.Version == live.Version {
			m.Release = release.Live
		}
		for _, g := range j.c.gateways {
			if g.peer != nil && g.installed[j.spec.Name][v.Version] {
				m.Gateways++
			}
		}
		out = append(out, m)
	}
	return out
}

// ModelBlob implements fleet.Viewer.
func (c *Coordinator) ModelBlob(job string, version uint64) (blob []byte, ok bool, err error) {
	j := c.job(job)
	if j == nil {
		return nil, false, nil
	}
	c.mu.Lock()
	book := j.book
	c.mu.Unlock()
	if book == nil {
		return nil, false, nil
	}
	v, ok := book.Find(version)
	if !ok {
		return nil, false, nil
	}
	blob, err = c.readBlob(context.Background(), v.Blob.SHA256)
	if errors.Is(err, store.ErrNotFound) { // forgotten a moment ago
		return nil, false, nil
	}
	return blob, err == nil, err
}
