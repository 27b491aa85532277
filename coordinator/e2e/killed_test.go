package e2e

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
)

const killedRounds = 2

// A coordinator killed in the middle of a round, with two of three updates in its
// store and the third on its way, commits what it would have committed.
func TestFederation_CoordinatorKilledMidRound(t *testing.T) {
	f := prepared(t, jobs(job.RoundPolicy{Every: 50 * time.Millisecond, MinParticipants: 3, Deadline: time.Minute, Count: killedRounds}))
	// Two copies of one world: in the first nothing happens.
	undisturbed := f.again(t)
	undisturbed.start()
	for _, g := range undisturbed.gateways {
		g.start()
	}
	want := undisturbed.committed()
	g, err := fedavg.DecodeGlobal(want["pump-gaussian 1"], nil)
	if err != nil {
		t.Fatal(err)
	}
	// Every machine's baseline weighs, and at most all windows there are.
	if g.Participants != 3 || g.Weight < 6*baseline || g.Weight > 6*baseline+2*(10+20+30) {
		t.Errorf("first model was learned by %d from %v windows", g.Participants, g.Weight)
	}
	undisturbed.rest()

	disturbed := f.again(t)
	disturbed.start()
	last := disturbed.gateways[2]
	last.cfg.Coordinator.Address = disturbed.slow.address()
	disturbed.slow.to(disturbed.relay.target)
	disturbed.gateways[0].start()
	last.start()
	disturbed.waitFor("two gateways ready", func(s fleet.Snapshot) bool {
		return len(s.Jobs) == 2 && s.Jobs[0].Ready == 2 && s.Jobs[1].Ready == 2
	})
	disturbed.slow.hold() // its updates will be on their way when the round has begun
	disturbed.gateways[1].start()
	disturbed.waitFor("two of three updates", func(s fleet.Snapshot) bool {
		open := 0
		for _, r := range s.Rounds {
			if r.State == "open" && slices.Equal(receivedFrom(r), everyone[:2]) {
				open++
			}
		}
		return open == 2
	})
	disturbed.kill()
	// Meanwhile one that has delivered is restarted, too.
	disturbed.gateways[0].stop()
	disturbed.start()
	disturbed.gateways[0].start()
	disturbed.slow.to(disturbed.relay.target)
	disturbed.slow.release()
	got := disturbed.committed()
	for name, model := range want {
		if !bytes.Equal(got[name], model) {
			t.Errorf("%s: the killed coordinator committed other bytes", name)
		}
	}
	s := disturbed.snapshot()
	for _, r := range s.Rounds {
		if r.State != "committed" || r.Attempt != 1 || !slices.Equal(receivedFrom(r), everyone) {
			t.Errorf("round %d of %s: state %s, attempt %d, updates of %v", r.Round, r.Job, r.State, r.Attempt, receivedFrom(r))
		}
	}
	disturbed.rest()
}

// prepared is a federation that has collected its data and was stopped before its
// first round: a world to make copies of. The policies must ask for all three
// gateways, so that no round begins while they collect one after the other.
func prepared(t *testing.T, jobs []job.Spec) *federation {
	t.Helper()
	f := newFederation(t, jobs)
	for i, g := range f.gateways {
		g.start()
		f.joined(g)
		seconds := windowSeconds*(baseline+10*(i+1)) + 1
		for _, m := range g.cfg.Machines {
			f.machines[m.Name].publish(seconds, 0)
		}
		eventually(t, "gateway "+g.cfg.Gateway+" to take in all samples", func() bool {
			st := g.status()
			return st.Samples.Received == int64(2*seconds*samplesPerSecond) && st.Samples.Used+st.Samples.Stored == st.Samples.Received
		}, func() string { return g.log.String() })
		g.stop()
	}
	f.stop()
	return f
}

// world is a federation on a copy of another's directories.
type world struct {
	*headquarters
	gateways []*gateway
	slow     *relay // a second way to the coordinator
	victims  []*victim
}

func (f *federation) again(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	copyTree(t, dir, filepath.Dir(f.dir))
	w := &world{headquarters: newHeadquarters(t, dir, f.jobs), slow: newRelay(t)}
	for _, g := range f.gateways {
		cfg := g.cfg
		cfg.DataDir = filepath.Join(dir, cfg.Gateway)
		coordinator := *cfg.Coordinator
		coordinator.Address, coordinator.TokenFile = w.relay.address(), ""
		cfg.Coordinator = &coordinator
		w.gateways = append(w.gateways, &gateway{t: t, cfg: cfg, log: &logBook{}})
	}
	return w
}

// committed waits for all rounds and returns the bytes of every model.
func (w *world) committed() map[string][]byte {
	w.t.Helper()
	s := w.waitFor("all rounds", func(s fleet.Snapshot) bool {
		return len(s.Jobs) == 2 && s.Jobs[0].Done && s.Jobs[1].Done
	})
	models := map[string][]byte{}
	for _, j := range s.Jobs {
		for version := range uint64(killedRounds) {
			models[j.Name+" "+string(rune('1'+version))] = w.model(j.Name, version+1)
		}
	}
	return models
}

func (w *world) rest() {
	w.t.Helper()
	for _, g := range w.gateways {
		g.stop()
	}
	w.stop()
}

// copyTree copies files with their modes: keys must stay private.
func copyTree(t *testing.T, to, from string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch target := filepath.Join(to, name); {
		case d.IsDir():
			return os.MkdirAll(target, info.Mode().Perm())
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(target, data, info.Mode().Perm())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
