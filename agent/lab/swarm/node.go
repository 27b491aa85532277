package swarm

import (
	"context"
	"math/rand/v2"
	"sync"

	"github.com/millwright-iot/millwright/agent/internal/uplink"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// node is an agent without sensors: it answers a round with small random
// deltas, the same for the same seed.
type node struct {
	name   string
	digest string
	job    string
	layout fedavg.Layout
	seed   uint64

	mu        sync.Mutex
	installed uint64
	never     chan struct{} // Status is worth sending once
}

func newNode(name string, spec job.Spec, layout fedavg.Layout, seed uint64) *node {
	return &node{name: name, digest: spec.Digest(), job: spec.Name, layout: layout, seed: seed, never: make(chan struct{})}
}

func (n *node) Machines() []uplink.Machine {
	return []uplink.Machine{{Name: n.name + "-machine", Class: "light"}}
}

func (n *node) Status() uplink.Status {
	return uplink.Status{
		Machines: []uplink.MachineStatus{{Name: n.name + "-machine", Class: "light", State: "running"}},
		Jobs:     []uplink.JobReadiness{{Job: n.job, Digest: n.digest, Ready: true, Samples: 100}},
	}
}

func (n *node) Changed() <-chan struct{} { return n.never }

func (n *node) SetJobs([]job.Spec) error { return nil }

func (n *node) Train(_ context.Context, _ string, from uplink.Start) (uplink.Learned, error) {
	rng := rand.New(rand.NewPCG(from.Seed, n.seed))
	vectors := n.layout.New()
	for _, v := range vectors {
		for i := range v.F32 {
			v.F32[i] = 0.01 * (rng.Float32() - 0.5)
		}
	}
	return uplink.Learned{Update: fedavg.Update{Weight: 100, Vectors: vectors, Metrics: map[string]float64{"loss": 1}}}, nil
}

func (n *node) Install(_ string, version uint64, _ []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.installed = version
	return nil
}

func (n *node) Installed(string) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.installed
}

func (n *node) Alarms() []uplink.AlarmEvent { return nil }

func (n *node) AckAlarm(string, uint32) {}
