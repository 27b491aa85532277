package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/agent/internal/life"
	"github.com/millwright-iot/millwright/agent/internal/uplink"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// ends is when lives of a machine ended, by its labels.
func (a *Agent) ends(machine string) []life.End {
	var ends []life.End
	for _, l := range a.labels.Of(machine) {
		if l.Kind == labels.Failure || l.Kind == labels.Maintenance {
			ends = append(ends, life.End{At: l.At, Failed: l.Kind == labels.Failure})
		}
	}
	return ends
}

// followLabels tells the machines of lives that ended, whenever labels change.
func (a *Agent) followLabels(ctx context.Context) error {
	told := uint64(0)
	for {
		changed := a.changed.wait()
		if revision := a.labels.Revision(); revision != told {
			told = revision
			for _, m := range a.machines {
				if err := m.SetEnds(a.ends(m.Name())); err != nil {
					a.log.Error("ends of lives cannot be taken in; remaining life is predicted without until the next label", "machine", m.Name(), "error", err)
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// lives gathers what there is to learn a job to prognose from, at most so many cycles,
// shared out among the machines.
func (a *Agent) lives(s *served, most int) ([]model.Set, error) {
	machines := a.machinesOf(s.spec.Class)
	var all []model.Set
	for i, m := range machines {
		lives, ok, err := m.Lives(s.digest, most/(len(machines)-i))
		if err != nil {
			a.log.Error("cycles of a machine cannot be read", "machine", m.Name(), "error", err)
		}
		if !ok {
			continue
		}
		for _, l := range lives {
			// Machines of different gateways may have the same name.
			l.Machine = a.cfg.Gateway + "/" + l.Machine
			most -= len(l.Rows)
			all = append(all, l)
		}
	}
	if len(all) == 0 {
		return nil, errors.New(a.lifeReadiness(s).Reason)
	}
	return all, nil
}

// lifeReadiness is readiness of a job to prognose: one cycle is enough, for the earlier
// stages learn from machines that have not failed yet.
func (a *Agent) lifeReadiness(s *served) uplink.JobReadiness {
	r := uplink.JobReadiness{Job: s.spec.Name, Digest: s.digest}
	machines, reason := a.machinesOf(s.spec.Class), ""
	for _, m := range machines {
		st := m.Status()
		if why := st.Unserved[s.spec.Name]; why != "" {
			reason = why
		}
		for _, j := range st.Jobs {
			if j.Digest == s.digest {
				r.Samples += uint64(j.Samples)
			}
		}
	}
	switch {
	case r.Samples > 0:
		r.Ready = true
	case len(machines) == 0:
		r.Reason = fmt.Sprintf("no machine of class %q on this gateway", s.spec.Class)
	case reason != "":
		r.Reason = reason
	default:
		r.Reason = fmt.Sprintf("none of %d machines has been in operation for a whole cycle of %v yet", len(machines), s.spec.Model.RUL.Cycle)
	}
	return r
}
