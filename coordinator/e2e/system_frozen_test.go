//go:build system

package e2e

import (
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// A peer that neither answers nor closes its connection is noticed by its silence, at
// both ends; rounds go on without it meanwhile, and with it when it is back. Only
// the pings of an idle connection can tell (fedrpc.KeepaliveTime), so this takes as long
// as those do.
func TestSystem_SilentPeers(t *testing.T) {
	f := prepared(t, jobs(eachRoundNeedsAll))
	faults := make(chan fault, 3)
	faults <- fault{"frozen agent", frozenAgent}
	faults <- fault{"swallowed connection", swallowedConnection}
	faults <- fault{"frozen coordinator", frozenCoordinator}
	close(faults)
	each(3, faults, func(x fault) {
		t.Run(x.name, func(t *testing.T) {
			w := f.again(t)
			// Two are enough, after a while.
			w.jobs = jobs(job.RoundPolicy{Every: 200 * time.Millisecond, MinParticipants: 2, Deadline: 5 * time.Second})
			w.start()
			x.happens(t, w)
			w.rest()
		})
	})
}

// frozenAgent is one that the kernel keeps connected while it does nothing.
func frozenAgent(t *testing.T, w *world) {
	v := w.victim(1)
	v.start("")
	w.gateways[0].start()
	w.gateways[2].start()
	w.commits("all three", everyone)
	send(t, v.process, syscall.SIGSTOP)
	w.commits("the others", []string{"hall-1", "hall-3"})
	w.waitFor("the coordinator to notice", away("hall-2"))
	send(t, v.process, syscall.SIGCONT)
	w.commits("all three again", everyone)
}

// swallowedConnection is one that a router forgot about.
func swallowedConnection(t *testing.T, w *world) {
	w.slow.to(w.relay.target)
	lost := w.gateways[1]
	lost.cfg.Coordinator.Address = w.slow.address()
	for _, g := range w.gateways {
		g.start()
	}
	w.commits("all three", everyone)
	w.slow.swallow()
	w.commits("the others", []string{"hall-1", "hall-3"})
	w.waitFor("the coordinator to notice", away("hall-2"))
	eventually(t, "the agent to notice", func() bool { return !lost.status().Coordinator.Connected })
	w.slow.restore()
	w.commits("all three again", everyone)
}

// frozenCoordinator is one whose host accepts connections and bytes while it does nothing.
func frozenCoordinator(t *testing.T, w *world) {
	for _, g := range w.gateways {
		g.start()
	}
	w.commits("all three", everyone)
	send(t, w.process, syscall.SIGSTOP)
	for _, g := range w.gateways {
		eventually(t, "agent "+g.cfg.Gateway+" to notice", func() bool { return !g.status().Coordinator.Connected })
	}
	send(t, w.process, syscall.SIGCONT)
	w.commits("all three again", everyone)
}

// commits waits for a round of each job that has not begun yet and that exactly these
// gateways' updates make.
func (w *world) commits(what string, gateways []string) {
	w.t.Helper()
	began := time.Now()
	w.waitFor("rounds of "+what, func(s fleet.Snapshot) bool {
		done := map[string]bool{}
		for _, r := range s.Rounds {
			if r.State == "committed" && r.Started.After(began) && slices.Equal(receivedFrom(r), gateways) {
				done[r.Job] = true
			}
		}
		return len(done) == len(w.jobs)
	})
}

// away says that a gateway is known not to be connected.
func away(name string) func(fleet.Snapshot) bool {
	return func(s fleet.Snapshot) bool {
		return slices.ContainsFunc(s.Gateways, func(g fleet.Gateway) bool { return g.Name == name && !g.Connected })
	}
}

func send(t *testing.T, to *exec.Cmd, s syscall.Signal) {
	t.Helper()
	if err := to.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}
