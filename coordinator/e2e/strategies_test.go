package e2e

import (
	"testing"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/fedavg/compress"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// Real agents serve every strategy that asks more of them than parameters, and
// every compression, through restarts of an agent and of the coordinator.
func TestFederation_StrategiesThatAskMore(t *testing.T) {
	f := newFederation(t, jobs(eachRoundNeedsAll)[:0])
	f.stop()
	policy := job.RoundPolicy{Every: 200 * time.Millisecond, MinParticipants: 3, Deadline: time.Minute}
	gaussian := jobs(policy)[0]
	gaussian.Compression = []string{string(compress.Zstd)}
	f.jobs = []job.Spec{gaussian}
	for _, c := range []struct {
		name        string
		strategy    job.StrategySpec
		compression compress.Method
	}{
		{"scaffold", job.StrategySpec{Name: job.NameScaffold}, compress.Float16},
		{"fednova", job.StrategySpec{Name: job.NameFedNova}, compress.Int8},
		{"fedprox", job.StrategySpec{Name: job.NameFedProx}, compress.Int4},
		{"fedyogi", job.StrategySpec{Name: job.NameFedYogi}, compress.TopK},
		{"fedbuff", job.StrategySpec{Name: job.NameFedBuff, Buffer: 3}, compress.Zstd},
	} {
		spec := jobs(policy)[1]
		spec.Name, spec.Strategy, spec.Compression = c.name, c.strategy, []string{string(c.compression)}
		f.jobs = append(f.jobs, spec.WithDefaults())
	}
	f.start()
	for _, g := range f.gateways {
		g.start()
		f.joined(g)
	}
	for _, m := range f.machines {
		m.publish(windowSeconds*(baseline+5)+1, 0)
	}
	all := func(least uint64) func(fleet.Snapshot) bool {
		return func(s fleet.Snapshot) bool {
			for _, j := range s.Jobs {
				if j.Version < least {
					return false
				}
			}
			return len(s.Jobs) == 6
		}
	}
	f.waitFor("two versions of every job", all(2))
	f.gateways[1].stop()
	f.kill()
	f.start()
	f.gateways[1].start()
	before := uint64(0)
	for _, v := range versions(f.snapshot()) {
		before = max(before, v)
	}
	s := f.waitFor("every job to go on", all(before+2))
	for _, r := range s.Rounds {
		if r.State == "abandoned" {
			t.Errorf("round %d of %s was abandoned: %s", r.Round, r.Job, r.Reason)
		}
		for _, p := range r.Participants {
			if p.State == "rejected" {
				t.Errorf("round %d of %s: %s was rejected: %s", r.Round, r.Job, p.Gateway, p.Reason)
			}
		}
	}
}
