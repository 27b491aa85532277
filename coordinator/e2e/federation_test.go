package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// federation is a coordinator, a broker and three gateways with two machines each.
type federation struct {
	*headquarters
	plant    *plant
	gateways []*gateway
	machines map[string]*history
}

func newFederation(t *testing.T, jobs []job.Spec) *federation {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) }) // when all that is started below has stopped
	dir := t.TempDir()
	f := &federation{plant: newPlant(t), headquarters: newHeadquarters(t, dir, jobs), machines: map[string]*history{}}
	f.start()
	token := f.token(3)
	for _, g := range [][]string{{"hall-1", "pump-1", "pump-2"}, {"hall-2", "pump-3", "pump-4"}, {"hall-3", "pump-5", "pump-6"}} {
		f.gateways = append(f.gateways, newGateway(t, f.plant, g[0], dir, f.relay.address(), token, g[1:]...))
		for _, m := range g[1:] {
			f.machines[m] = f.plant.machine(m)
		}
	}
	return f
}

// joined waits until a gateway is connected, reads its sensors and knows the jobs.
func (f *federation) joined(g *gateway) {
	f.t.Helper()
	f.waitFor("gateway "+g.cfg.Gateway+" to know its jobs", func(s fleet.Snapshot) bool {
		for _, j := range s.Jobs {
			if why := j.Waiting[g.cfg.Gateway]; !strings.Contains(why, "baseline") {
				return false
			}
		}
		return true
	})
	eventually(f.t, "gateway "+g.cfg.Gateway+" to hear the broker", func() bool { return g.status().Broker.Reading })
}

// newest returns the newest committed round of a job.
func newest(s fleet.Snapshot, job string) fleet.Round {
	for _, r := range s.Rounds {
		if r.Job == job && r.State == "committed" {
			return r
		}
	}
	return fleet.Round{}
}

// receivedFrom lists whose updates a round has.
func receivedFrom(r fleet.Round) (names []string) {
	for _, p := range r.Participants {
		if p.State == "received" {
			names = append(names, p.Gateway)
		}
	}
	slices.Sort(names)
	return names
}

var everyone = []string{"hall-1", "hall-2", "hall-3"}

// everyJob says whether cond holds for the newest committed round of both jobs.
func everyJob(s fleet.Snapshot, cond func(fleet.Round) bool) bool {
	return cond(newest(s, "pump-gaussian")) && cond(newest(s, "pump-autoencoder"))
}

func TestFederation_RoundsOverMQTT(t *testing.T) {
	f := newFederation(t, jobs(job.RoundPolicy{Every: 300 * time.Millisecond, MinParticipants: 2, Deadline: 20 * time.Second}))
	for _, g := range f.gateways {
		g.start()
		f.joined(g)
	}
	// Enough for the baseline; a window is complete when the next begins.
	const seconds = windowSeconds*(baseline+5) + 1
	for _, m := range f.machines {
		m.publish(seconds, 0)
	}
	s := f.waitFor("a round of all three", func(s fleet.Snapshot) bool {
		return everyJob(s, func(r fleet.Round) bool { return slices.Equal(receivedFrom(r), everyone) })
	})
	for _, job := range []string{"pump-gaussian", "pump-autoencoder"} {
		r := newest(s, job)
		// Nobody but the two machines' healthy windows weighs anything.
		for _, p := range r.Participants {
			if p.Weight < 2*baseline || p.Weight > 2*(baseline+5) {
				t.Errorf("%s: gateway %s weighs %v, want two machines with %d to %d windows", job, p.Gateway, p.Weight, baseline, baseline+5)
			}
		}
		if loss, ok := r.Metrics["loss"]; !ok || loss < 0 {
			t.Errorf("%s: metrics are %v", job, r.Metrics)
		}
	}

	// One gateway goes, and the others go on without it.
	f.gateways[2].stop()
	f.waitFor("a round of the other two", func(s fleet.Snapshot) bool {
		return everyJob(s, func(r fleet.Round) bool { return slices.Equal(receivedFrom(r), everyone[:2]) })
	})
	f.gateways[2].start()
	s = f.waitFor("a round with the one that returned", func(s fleet.Snapshot) bool {
		return everyJob(s, func(r fleet.Round) bool { return slices.Equal(receivedFrom(r), everyone) })
	})
	if n := len(s.Gateways); n != 3 {
		t.Errorf("%d gateways are enrolled; the one that returned must be the same", n)
	}

	// What was learned together is in use everywhere, as the next windows show.
	for _, m := range f.machines {
		m.publish(3*windowSeconds, 0)
	}
	s = f.waitFor("global models on all machines", func(s fleet.Snapshot) bool {
		n := 0
		for _, g := range s.Gateways {
			for _, m := range g.Machines {
				if m.Job == "pump-gaussian" && m.ModelVersion > 0 {
					n++
				}
			}
		}
		return n == len(f.machines)
	})
	version := newest(s, "pump-gaussian").Round
	g, err := fedavg.DecodeGlobal(f.model("pump-gaussian", version), nil)
	if err != nil || g.Version != version || g.Participants != 3 && g.Participants != 2 {
		t.Errorf("model %d is %+v, %v", version, g, err)
	}

	// A fault on one machine, and only there: its pressure falls.
	f.machines["pump-4"].publish(10*windowSeconds, -1.5)
	f.machines["pump-5"].publish(10*windowSeconds, 0)
	s = f.waitFor("the alarm", func(s fleet.Snapshot) bool { return len(s.Alarms) > 0 })
	a := s.Alarms[0]
	if len(s.Alarms) != 1 || a.Gateway != "hall-2" || a.Machine != "pump-4" || a.Job != "pump-gaussian" || a.Peak < 1 ||
		len(a.Reasons) == 0 || a.Reasons[0].Feature != "pressure.mean" {
		t.Errorf("alarms are %+v", s.Alarms)
	}
	eventually(t, "the alarm over MQTT", func() bool {
		f.plant.mu.Lock()
		defer f.plant.mu.Unlock()
		return slices.ContainsFunc(f.plant.alarms, func(a string) bool { return strings.HasPrefix(a, "millwright/hall-2/pump-4/alarm ") })
	})

	// received = used + stored + dropped. Nothing was dropped but, at a restart, the
	// window it interrupted, and the first one after it, which may have begun before.
	for i, g := range f.gateways {
		st := g.status()
		var dropped int64
		for _, n := range st.Samples.Dropped {
			dropped += n
		}
		if st.Samples.Received == 0 || st.Samples.Received != st.Samples.Used+st.Samples.Stored+dropped {
			t.Errorf("gateway %s counts %+v", g.cfg.Gateway, st.Samples)
		}
		if restarted := i == 2; dropped != 0 && !restarted || dropped != st.Samples.Dropped["incomplete"]+st.Samples.Dropped["restart"] {
			t.Errorf("gateway %s dropped samples: %v", g.cfg.Gateway, st.Samples.Dropped)
		}
	}
}
