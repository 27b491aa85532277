package agent

import (
	"context"
	"fmt"
	"strings"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/journal"
	"github.com/millwright-iot/millwright/agent/internal/uplink"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// node is what the uplink sees of the agent.
type node struct{ a *Agent }

var _ uplink.Node = node{}

// Machines implements uplink.Node.
func (n node) Machines() []uplink.Machine {
	list := make([]uplink.Machine, len(n.a.machines))
	for i, m := range n.a.machines {
		list[i] = uplink.Machine{Name: m.Name(), Class: m.Class()}
	}
	return list
}

// Status implements uplink.Node.
func (n node) Status() uplink.Status {
	counts := n.a.counts()
	s := uplink.Status{ReceivedSamples: uint64(counts.Received), DroppedSamples: map[string]uint64{}}
	for reason, dropped := range counts.Dropped {
		if dropped > 0 {
			s.DroppedSamples[reason] = uint64(dropped)
		}
	}
	for _, m := range n.a.machines {
		st := m.Status()
		out := uplink.MachineStatus{
			Name: st.Name, Class: st.Class, State: string(st.State), At: st.Output.At, Job: st.Job,
			ModelVersion: st.Output.Version, JobVersions: map[string]uint64{}, Alarm: st.Alarm.Active, Advice: st.Output.Advice,
		}
		if st.Output.State == infer.Running {
			out.Zone, out.Score = string(st.Output.Zone), st.Output.Score
			out.Reasons = contributions(reasons(st.Output.Reasons))
		}
		for _, j := range st.Jobs {
			out.JobVersions[j.Job] = j.Version
		}
		drift, quality := n.a.watches.of(st.Name)
		out.Drift = driftOf(drift)
		out.Quality, out.Versions = qualityOf(quality)
		s.Machines = append(s.Machines, out)
	}
	n.a.jobsMu.Lock()
	list := n.a.sortedJobs()
	n.a.jobsMu.Unlock()
	for _, j := range list {
		s.Jobs = append(s.Jobs, n.a.readiness(j))
	}
	return s
}

// Changed implements uplink.Node.
func (n node) Changed() <-chan struct{} { return n.a.changed.wait() }

// SetJobs implements uplink.Node.
func (n node) SetJobs(specs []job.Spec) error { return n.a.setJobs(specs) }

// Train implements uplink.Node.
func (n node) Train(ctx context.Context, name string, from uplink.Start) (uplink.Learned, error) {
	return n.a.train(ctx, name, from)
}

// Install implements uplink.Node.
func (n node) Install(name string, version uint64, blob []byte) error {
	return n.a.install(name, version, blob)
}

// Installed implements uplink.Node.
func (n node) Installed(name string) uint64 {
	n.a.jobsMu.Lock()
	defer n.a.jobsMu.Unlock()
	if s := n.a.jobs[name]; s != nil {
		return s.release.Version
	}
	return 0
}

// Alarms implements uplink.Node.
func (n node) Alarms() []uplink.AlarmEvent {
	var list []uplink.AlarmEvent
	for _, e := range n.a.journal.Unacked() {
		list = append(list, uplink.AlarmEvent{
			ID: e.ID, Revision: e.Revision, Machine: e.Machine, Class: e.Class, Zone: string(e.Zone), PeakScore: e.PeakScore,
			Raised: e.Raised, Cleared: e.Cleared, Reasons: contributions(e.Reasons), Job: e.Job, ModelVersion: e.ModelVersion, Advice: e.Advice, Verdict: e.Verdict,
		})
	}
	return list
}

// AckAlarm implements uplink.Node.
func (n node) AckAlarm(id string, revision uint32) { n.a.journal.Ack(id, revision) }

func contributions(list []journal.Reason) []uplink.Contribution {
	out := make([]uplink.Contribution, len(list))
	for i, r := range list {
		out[i] = uplink.Contribution(r)
	}
	return out
}

// readiness says whether the agent could train a job now, and if not, why. One
// machine with its baseline is enough.
func (a *Agent) readiness(s *served) uplink.JobReadiness {
	r := uplink.JobReadiness{Job: s.spec.Name, Digest: s.digest}
	if s.broken != "" {
		r.Reason = s.broken
		return r
	}
	if s.spec.Purpose() == job.Prognose {
		return a.lifeReadiness(s)
	}
	collecting, have, want := 0, 0, 0
	var unserved []string
	machines := a.machinesOf(s.spec.Class)
	for _, m := range machines {
		st := m.Status()
		if why := st.Unserved[s.spec.Name]; why != "" {
			unserved = append(unserved, why)
		}
		for _, j := range st.Jobs {
			switch {
			case j.Digest != s.digest:
			case j.Trained:
				r.Ready = true
				r.Samples += uint64(j.Samples)
			default:
				collecting++
				have, want = max(have, j.Have), j.Want
			}
		}
	}
	if r.Ready && s.spec.Purpose() == job.Diagnose {
		l := a.lessons(s)
		r.Samples, r.Reason = l.total(), l.lack(s.spec.Model.Softmax)
		r.Ready = r.Reason == ""
		return r
	}
	switch {
	case r.Ready:
	case len(machines) == 0:
		r.Reason = fmt.Sprintf("no machine of class %q on this gateway", s.spec.Class)
	case collecting > 0:
		r.Reason = fmt.Sprintf("%d of %d machines are still in baseline: %d of %d windows", collecting, len(machines), have, want)
	case len(unserved) > 0:
		r.Reason = strings.Join(unserved, "; ")
	default:
		r.Reason = "no machine serves the job yet"
	}
	return r
}
