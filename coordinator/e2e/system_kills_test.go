//go:build system

package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/fedavg/failpoint"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// Coordinator and agents are killed at 200 random instants while rounds go on
// without end. No round hangs, and every model has the bytes of an undisturbed run.
func TestSystem_KilledAtRandomInstants(t *testing.T) {
	const kills = 200
	f := prepared(t, bothWays(job.RoundPolicy{Every: 100 * time.Millisecond, MinParticipants: 3, Deadline: 5 * time.Minute}))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	w := f.again(t)
	w.start()
	for i := range w.gateways {
		w.victim(i).start("")
	}
	killed := map[string]int{}
	began := time.Now()
	for n := 0; n < kills && time.Since(began) < 6*time.Minute; n++ {
		time.Sleep(time.Duration(rng.IntN(1200)) * time.Millisecond)
		if i := rng.IntN(5); i < len(w.victims) {
			w.victims[i].kill()
			w.victims[i].start("")
			killed[w.victims[i].cfg.Gateway]++
		} else {
			w.kill()
			w.start()
			killed["coordinator"]++
		}
	}
	if got := killed["coordinator"] + killed["hall-1"] + killed["hall-2"] + killed["hall-3"]; got < kills {
		t.Errorf("only %d kills in %v", got, time.Since(began))
	}
	before := versions(w.snapshot())
	s := w.waitFor("both jobs to go on", func(s fleet.Snapshot) bool {
		now := versions(s)
		return now["pump-gaussian"] > before["pump-gaussian"] && now["pump-autoencoder"] > before["pump-autoencoder"]
	})
	w.verify()
	reached := versions(s)
	got := w.models(reached)
	w.rest()
	t.Logf("killed %v in %v; committed %v", killed, time.Since(began).Round(time.Second), reached)

	u := f.again(t)
	u.start()
	for _, g := range u.gateways {
		g.start()
	}
	for job, version := range reached {
		for now := uint64(0); now < version; {
			before := now
			eventually(t, "the undisturbed world to go on with "+job, func() bool {
				now = versions(u.snapshot())[job]
				return now > before
			})
		}
	}
	w.same(u.models(reached), got)
	u.rest()
}

// models reads every version up to the given ones.
func (w *world) models(upTo map[string]uint64) map[string][]byte {
	w.t.Helper()
	all := map[string][]byte{}
	for job, newest := range upTo {
		for v := range newest {
			all[fmt.Sprint(job, " ", v+1)] = w.model(job, v+1)
		}
	}
	return all
}

// The coordinator is killed at every single transaction of two rounds, before and
// after it is durable, and the agent each time it reaches one of its points.
func TestSystem_KilledAtEveryTransaction(t *testing.T) {
	f := prepared(t, bothWays(eachRoundNeedsAll))
	want := undisturbed(t, f)
	deaths := make(chan death)
	go func() {
		defer close(deaths)
		for n := 1; n <= transactions; n++ {
			deaths <- death{failpoint.StoreCommits, n, true}
			deaths <- death{failpoint.StoreCommitted, n, true}
		}
		for _, p := range agentPoints {
			for n := 2; n <= 4; n++ { // two rounds of two jobs; the first is tried elsewhere
				deaths <- death{p, n, false}
			}
		}
	}()
	each(4, deaths, func(d death) {
		t.Run(d.name(), func(t *testing.T) { dieOnce(t, f, want, d) })
	})
}

// transactions is a number that a coordinator certainly commits in two rounds of
// two jobs with three participants: in each a start, three blobs and three records
// of updates, the closing, a model, the head, two records of history and tidying,
// some of which share a transaction.
const transactions = 32
