package coordinator

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// judgedJob is pumpJob with updates that are judged.
func judgedJob() job.Spec {
	spec := pumpJob("pump")
	spec.Quarantine = job.QuarantineSpec{}
	return spec
}

// rowsOf are the rows of a gateway in a round: the same each time, others in
// another round.
func rowsOf(gateway string, round uint64) [][]float64 {
	r := rand.New(rand.NewPCG(uint64(number(gateway)), round))
	rows := make([][]float64, 130+int(number(gateway)%100))
	for i := range rows {
		common := r.NormFloat64()
		rows[i] = []float64{common, 0.7*common + 0.5*r.NormFloat64()}
	}
	return rows
}

// sumsOf is what training on rows gives.
func sumsOf(t *testing.T, f *fixture, sets ...model.Set) model.Trained {
	t.Helper()
	family := f.c.job("pump").family
	trained, err := family.Train(t.Context(), family.Init(1), sets, model.TrainOptions{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return trained
}

// trains joins an agent that learns from its rows, after spoil if that is not nil.
func (f *fixture) trains(name string, spoil func(round uint64, rows [][]float64)) *agent {
	f.t.Helper()
	a := &agent{f: f, name: name}
	a.train = func(s rpc.RoundStart) {
		rows := rowsOf(name, s.Round)
		if spoil != nil {
			spoil(s.Round, rows)
		}
		_, _ = a.upload(s, a.learnedFrom(s, rows))
	}
	a.connect()
	a.ready()
	return a
}

func (a *agent) learnedFrom(s rpc.RoundStart, rows [][]float64) []byte {
	trained := sumsOf(a.f.t, a.f, model.Set{Machine: "pump-1", Rows: rows})
	return encoded(a.f.t, &fedavg.Update{
		Job: s.Job, Round: s.Round, Attempt: s.Attempt, Agent: a.name, Base: s.Model.SHA256,
		Weight: trained.Weight, Vectors: trained.Vectors, Metrics: trained.Metrics,
	})
}

func times(by float64) func(uint64, [][]float64) {
	return func(_ uint64, rows [][]float64) {
		for _, z := range rows {
			for i := range z {
				z[i] *= by
			}
		}
	}
}

// checkFit says that a version is the fit over the rows of those gateways, each as
// of the round given, to 1e-9.
func checkFit(t *testing.T, f *fixture, version uint64, rounds map[string]uint64) {
	t.Helper()
	var sets []model.Set
	for name, round := range rounds {
		sets = append(sets, model.Set{Machine: name, Rows: rowsOf(name, round)})
	}
	g := f.model("pump", version)
	if g.Participants != len(rounds) {
		t.Errorf("version %d is of %d participants, want %d", version, g.Participants, len(rounds))
	}
	want := sumsOf(t, f, sets...)
	if g.Weight != want.Weight {
		t.Errorf("version %d learned from %v rows, want %v", version, g.Weight, want.Weight)
	}
	for v, vector := range g.Vectors {
		for i, x := range vector.F64 {
			if w := want.Vectors[v].F64[i]; math.Abs(x-w) > 1e-9*max(1, math.Abs(w)) {
				t.Errorf("version %d: %s[%d] = %v, want %v", version, vector.Name, i, x, w)
			}
		}
	}
	fit, err := f.c.job("pump").family.Load(want.Vectors)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.c.job("pump").family.Load(g.Vectors)
	if err != nil {
		t.Fatal(err)
	}
	for _, z := range [][]float64{{0, 0}, {1, -1}, {5, 2}, {-3, 40}} {
		if x, w := got.Score(z), fit.Score(z); math.Abs(x-w) > 1e-9*max(1, w) {
			t.Errorf("version %d scores %v as %v, want %v", version, z, x, w)
		}
	}
}

func partOf(r fleet.Round, gateway string) fleet.Participant {
	for _, p := range r.Participants {
		if p.Gateway == gateway {
			return p
		}
	}
	return fleet.Participant{}
}

func at(names string, round uint64) map[string]uint64 {
	m := map[string]uint64{}
	for _, name := range strings.Fields(names) {
		m[name] = round
	}
	return m
}

func TestQuarantine_OffenderIsSetAsideShownAndTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startFixtureLater(t, testConfig(judgedJob()), memstore.New(), time.Second)
		defer f.stop()
		for _, name := range strings.Fields("a b c d") {
			f.trains(name, nil)
		}
		f.trains("liar", func(round uint64, rows [][]float64) {
			if round <= 2 {
				times(1000)(round, rows)
			}
		})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		checkFit(t, f, 1, at("a b c d", 1))
		p := partOf(f.rounds("pump")[0], "liar")
		if p.State != "quarantined" || !strings.Contains(p.Reason, "times the fleet's usual") {
			t.Errorf("participant %+v", p)
		}
		var liar fleet.Gateway
		for _, g := range f.c.Snapshot().Gateways {
			if g.Name == "liar" {
				liar = g
			} else if len(g.Quarantine) > 0 {
				t.Errorf("gateway %s is accused: %+v", g.Name, g.Quarantine)
			}
		}
		if q := liar.Quarantine; len(q) != 1 || q[0].Job != "pump" || q[0].Round != 1 || q[0].Check != "norm" || q[0].ReleaseAfter != 5 {
			t.Errorf("quarantine %+v", q)
		}
		if err := testutil.GatherAndCompare(f.c.metrics.registry, strings.NewReader(
			"# HELP millwright_coordinator_quarantined 1 for each gateway whose updates to the job do not count.\n"+
				"# TYPE millwright_coordinator_quarantined gauge\n"+
				"millwright_coordinator_quarantined{gateway=\"liar\",job=\"pump\"} 1\n"), "millwright_coordinator_quarantined"); err != nil {
			t.Error(err)
		}

		time.Sleep(7 * time.Minute) // rounds 2 (an offence again) to 8 (five clean ones behind it)
		synctest.Wait()
		checkFit(t, f, 7, at("a b c d", 7))
		checkFit(t, f, 8, at("a b c d liar", 8))
		rounds := f.rounds("pump")
		if p := partOf(rounds[4], "liar"); p.State != "quarantined" || p.Reason != "in quarantine since round 1; clean for 3 of 5 rounds" {
			t.Errorf("round 5: %+v", p)
		}
		if p := partOf(rounds[7], "liar"); p.State != "received" {
			t.Errorf("round 8: %+v", p)
		}
		if list := f.c.QuarantineList(); len(list) != 0 {
			t.Errorf("still in quarantine: %+v", list)
		}
	})
}

// Sums that nobody can have need nobody to compare with; who is left too few for
// a commit is left for another attempt, and told why.
func TestQuarantine_TooFewLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startFixtureLater(t, testConfig(judgedJob()), memstore.New(), time.Second)
		defer f.stop()
		f.trains("a", nil)
		f.join("liar") // sends made-up sums
		time.Sleep(2 * time.Second)
		synctest.Wait()
		r := f.rounds("pump")[0]
		if r.State != "abandoned" || !strings.Contains(r.Reason, "1 of at least 2 count, 1 set aside") {
			t.Errorf("round %+v", r)
		}
		if p := partOf(r, "liar"); p.State != "quarantined" || !strings.Contains(p.Reason, "no rows can have these sums") {
			t.Errorf("participant %+v", p)
		}
		f.trains("b", nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if v := f.c.Snapshot().Jobs[0].Version; v == 0 {
			t.Errorf("no version although two honest gateways take part: %+v", f.rounds("pump"))
		}
		checkFit(t, f, 1, at("a b", 1))
	})
}

func TestQuarantine_NaNAtTheDoorAndReleaseByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startFixtureLater(t, testConfig(judgedJob()), memstore.New(), time.Second)
		defer f.stop()
		f.trains("a", nil)
		f.trains("b", nil)
		sick := &agent{f: f, name: "sick"}
		sick.train = func(s rpc.RoundStart) {
			data := sick.learnedFrom(s, rowsOf("sick", s.Round))
			if s.Round == 1 {
				data = withNaN(data)
			}
			_, err := sick.upload(s, data)
			if s.Round == 1 {
				wantRefusal(t, err, rpc.UnusableNumber)
			}
		}
		sick.connect()
		sick.ready()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		checkFit(t, f, 1, at("a b", 1))
		list := f.c.QuarantineList()
		if len(list) != 1 || list[0].Gateway != "sick" || list[0].Check != "usable" || !strings.Contains(list[0].Reason, "NaN") {
			t.Fatalf("quarantine %+v", list)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		checkFit(t, f, 2, at("a b", 2))

		if jobs, err := f.c.QuarantineRelease(t.Context(), "sick", ""); err != nil || !slices.Equal(jobs, []string{"pump"}) {
			t.Errorf("released in %v, %v", jobs, err)
		}
		if jobs, err := f.c.QuarantineRelease(t.Context(), "sick", ""); err != nil || len(jobs) != 0 {
			t.Errorf("released again in %v, %v", jobs, err)
		}
		if _, err := f.c.QuarantineRelease(t.Context(), "sick", "pmup"); err == nil || !strings.Contains(err.Error(), "jobs are pump") {
			t.Errorf("released in a job that is not there: %v", err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		checkFit(t, f, 3, at("a b sick", 3))
	})
}

// withNaN puts a NaN into the last number of an encoded update.
func withNaN(data []byte) []byte {
	out := slices.Clone(data)
	copy(out[len(out)-8:], []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x7f})
	return out
}

// Killed at any write, the coordinator sets the same gateway aside and commits
// the same bytes, here with an offender and one that takes part now and then.
func TestCrash_QuarantineAndLedgerAtEveryWrite(t *testing.T) {
	want, died := twoJudgedRounds(t, 1<<30, false)
	if died {
		t.Fatal("the store died in the reference run")
	}
	deaths := 0
	for ; ; deaths++ {
		anyDied := false
		for _, applyLast := range []bool{false, true} {
			t.Run(fmt.Sprintf("change=%d,applied=%t", deaths, applyLast), func(t *testing.T) {
				got, died := twoJudgedRounds(t, deaths, applyLast)
				anyDied = anyDied || died
				for i := range want {
					if !bytes.Equal(got[i], want[i]) {
						t.Errorf("version %d differs after a crash", i+1)
					}
				}
			})
		}
		if !anyDied {
			break
		}
	}
	if deaths < 40 { // those of TestCrash_AtEveryWrite and two books and seven contributions
		t.Errorf("only %d crash points tried", deaths)
	}
}

func twoJudgedRounds(t *testing.T, dieAt int, applyLast bool) (models [2][]byte, died bool) {
	synctest.Test(t, func(t *testing.T) {
		spec := judgedJob()
		spec.Rounds.MinParticipants = 4
		spec.Rounds.Count = 2
		disk := memstore.New()
		dying := newMortal(disk, dieAt, applyLast)
		run := func(st store.Store, alive func() bool) *fixture {
			ctx, cancel := context.WithCancel(t.Context())
			c, err := newCoordinator(testConfig(spec), st, discard)
			if err != nil {
				t.Fatal(err)
			}
			f := &fixture{t: t, c: c, cancel: cancel}
			if err := c.load(ctx); err != nil {
				return f
			}
			for _, name := range strings.Fields("a b c d liar") { // all, before a round starts without some
				f.persists(name, alive)
			}
			for _, j := range c.jobs {
				f.ended.Go(func() { _ = j.run(ctx) })
			}
			return f
		}
		first := run(dying, func() bool { return !dying.isDead() })
		select {
		case <-dying.died:
		case <-time.After(10 * time.Minute):
		}
		died = dying.isDead()
		first.stop()
		synctest.Wait()

		second := run(disk, func() bool { return true })
		defer second.stop()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		checkFit(t, second, 1, at("a b c d", 1))
		checkFit(t, second, 2, at("a b c d", 2))
		for i := range models {
			models[i] = second.modelBytes("pump", uint64(i+1))
		}
		if list := second.c.QuarantineList(); len(list) != 1 || list[0].Round != 1 || list[0].Gateway != "liar" {
			t.Errorf("quarantine %+v", list)
		}
		checkNothingLeft(t, second, disk)
	})
	return models, died
}

// persists joins an agent that offers its update until it is acknowledged. The
// one named liar sends rows a thousand times too large.
func (f *fixture) persists(name string, alive func() bool) {
	a := &agent{f: f, name: name}
	a.train = func(s rpc.RoundStart) {
		rows := rowsOf(name, s.Round)
		if name == "liar" {
			times(1000)(s.Round, rows)
		}
		for data := a.learnedFrom(s, rows); alive(); time.Sleep(time.Second) {
			if _, err := a.upload(s, data); err == nil {
				return
			}
		}
	}
	a.connect()
	a.ready()
}
