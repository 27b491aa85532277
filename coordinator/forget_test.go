package coordinator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

func forgets(t *testing.T, f *fixture, gateway string) Forgotten {
	t.Helper()
	results, err := f.c.Forget(t.Context(), gateway, "pump")
	if err != nil || len(results) != 1 {
		t.Fatalf("forget %s: %+v, %v", gateway, results, err)
	}
	synctest.Wait()
	return results[0]
}

// A gateway that is away stays in with what it sent last; one that comes back
// replaces it; one that is forgotten is out to the last digit, also after
// restarts, and in again when it takes part again.
func TestForget_EqualsAFitWithout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		cfg := testConfig(judgedJob())
		f := startFixtureLater(t, cfg, st, time.Second)
		for _, name := range strings.Fields("a b") {
			f.trains(name, nil)
		}
		rare := f.trains("rare", nil)
		leaver := f.trains("leaver", nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		checkFit(t, f, 1, at("a b rare leaver", 1))

		f.c.Leave("rare", rare)
		time.Sleep(time.Minute)
		synctest.Wait()
		both := at("a b leaver", 2)
		both["rare"] = 1
		checkFit(t, f, 2, both)

		f.c.Leave("leaver", leaver)
		if r := forgets(t, f, "leaver"); r != (Forgotten{Job: "pump", Exact: true, Removed: true, Version: 3, Contributors: 3}) {
			t.Errorf("forgot %+v", r)
		}
		left := at("a b", 2)
		left["rare"] = 1
		checkFit(t, f, 3, left)
		if r := f.rounds("pump")[2]; r.State != "committed" || r.Round != 3 || !strings.Contains(r.Reason, "without leaver, to forget it") {
			t.Errorf("history %+v", r)
		}
		if r := forgets(t, f, "leaver"); r != (Forgotten{Job: "pump", Exact: true}) {
			t.Errorf("forgot again %+v", r)
		}
		f.stop()

		f = startFixture(t, cfg, st) // a restart brings nothing back
		defer f.stop()
		checkFit(t, f, 3, left)
		if blobs := blobsBeside(t, st); len(blobs) != 3 {
			t.Errorf("%d blobs beside the contributions, want 3 versions", len(blobs))
		}
		for _, name := range strings.Fields("a rare") {
			f.trains(name, nil)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		now := at("a rare", 4)
		now["b"] = 2
		checkFit(t, f, 4, now)
		starts, releases := 0, 0
		for _, m := range f.trains("leaver", nil).messages() { // it is told the newest version as anyone is
			switch m.(type) {
			case rpc.RoundStart:
				starts++
			case rpc.Release:
				releases++
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		now = at("a rare leaver", 5)
		now["b"] = 2
		checkFit(t, f, 5, now)
		if releases != 1 {
			t.Errorf("%d releases, %d starts", releases, starts)
		}
	})
}

// While a round is open it is given up, since an update of the gateway may be in
// it, and tried again at once.
func TestForget_WithAnOpenRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		f := startFixtureLater(t, testConfig(judgedJob()), st, time.Second)
		defer f.stop()
		f.trains("a", nil)
		leaver := f.trains("leaver", nil)
		hung := false
		slow := &agent{f: f, name: "slow"}
		slow.train = func(s rpc.RoundStart) {
			if s.Round == 2 && s.Attempt == 1 {
				hung = true
				return
			}
			_, _ = slow.upload(s, slow.learnedFrom(s, rowsOf("slow", s.Round)))
		}
		slow.connect()
		slow.ready()
		time.Sleep(time.Minute + 2*time.Second)
		synctest.Wait()
		if !hung || f.rounds("pump")[1].State != "open" {
			t.Fatalf("round 2 is not open: %+v", f.rounds("pump"))
		}
		f.c.Leave("leaver", leaver)
		if r := forgets(t, f, "leaver"); r.Version != 2 || r.Contributors != 2 {
			t.Errorf("forgot %+v", r)
		}
		checkFit(t, f, 2, at("a slow", 1))
		time.Sleep(time.Minute)
		synctest.Wait()
		checkFit(t, f, 3, at("a slow", 3))
		if r := f.rounds("pump")[1]; r.State != "abandoned" || !strings.Contains(r.Reason, "gateway leaver is being forgotten") {
			t.Errorf("round %+v", r)
		}
	})
}

// The last contribution leaves an untrained model, from which the next round goes
// on; the job may have had all its rounds.
func TestForget_TheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := judgedJob()
		spec.Rounds.MinParticipants, spec.Rounds.Count = 1, 1
		f := startFixture(t, testConfig(spec), memstore.New())
		defer f.stop()
		f.trains("only", nil)
		synctest.Wait()
		checkFit(t, f, 1, at("only", 1))
		if r := forgets(t, f, "only"); r.Version != 2 || r.Contributors != 0 {
			t.Errorf("forgot %+v", r)
		}
		if _, err := f.c.job("pump").family.Load(f.model("pump", 2).Vectors); !errors.Is(err, model.ErrUntrained) {
			t.Errorf("model of nobody: %v", err)
		}
		if _, err := f.c.Forget(t.Context(), "only", "pmup"); err == nil || !strings.Contains(err.Error(), "jobs are pump") {
			t.Errorf("forgot in a job that is not there: %v", err)
		}
	})
}

// What gradient has learned stays learned: only the waiting update goes.
func TestForget_Gradient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := judgedJob()
		spec.Model = model.Spec{Kind: model.KindAutoencoder, Autoencoder: &model.AutoencoderSpec{Hidden: []int{1}}}
		f := startFixtureLater(t, testConfig(spec), memstore.New(), time.Second)
		defer f.stop()
		f.join("a")
		leaver := f.join("leaver")
		slow := &agent{f: f, name: "slow"}
		slow.train = func(s rpc.RoundStart) {
			if s.Attempt > 1 {
				_, _ = slow.deliver(s)
			}
		}
		slow.connect()
		slow.ready()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		f.c.Leave("leaver", leaver)
		if r := forgets(t, f, "leaver"); r != (Forgotten{Job: "pump", Removed: true}) {
			t.Errorf("forgot %+v", r)
		}
		if r := forgets(t, f, "leaver"); r != (Forgotten{Job: "pump"}) {
			t.Errorf("forgot again %+v", r)
		}
		synctest.Wait()
		if v := f.c.Snapshot().Jobs[0].Version; v != 1 || partOf(f.rounds("pump")[1], "leaver").Gateway != "" {
			t.Errorf("version %d, rounds %+v", v, f.rounds("pump"))
		}
	})
}

// An asynchronous job has no round to give up: the waiting update goes, the others
// go on waiting.
func TestForget_AnUpdateThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := judgedJob()
		spec.Model = model.Spec{Kind: model.KindAutoencoder, Autoencoder: &model.AutoencoderSpec{Hidden: []int{1}}}
		spec.Strategy = job.StrategySpec{Name: job.NameFedBuff, Buffer: 3}
		spec.Rounds.Deadline = time.Hour
		st := memstore.New()
		f := startFixtureLater(t, testConfig(spec), st, time.Second)
		defer f.stop()
		f.join("a")
		leaver := f.join("leaver")
		slow := &agent{f: f, name: "slow", train: func(rpc.RoundStart) {}}
		slow.connect()
		slow.ready()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if list, err := st.List(t.Context(), waitingPrefix("pump")); err != nil || len(list) != 2 {
			t.Fatalf("%d updates wait, %v", len(list), err)
		}
		f.c.Leave("leaver", leaver)
		if r := forgets(t, f, "leaver"); r != (Forgotten{Job: "pump", Removed: true}) {
			t.Errorf("forgot %+v", r)
		}
		list, err := st.List(t.Context(), waitingPrefix("pump"))
		if err != nil || len(list) != 1 || list[0].Key != waitingKey("pump", "a") {
			t.Errorf("%+v wait, %v", list, err)
		}
		if blobs := blobsBeside(t, st); len(blobs) != 2 { // the initial model and the update of a
			t.Errorf("%d blobs", len(blobs))
		}
		if r := f.rounds("pump"); len(r) != 1 || r[0].State != "open" || partOf(r[0], "leaver").State != "declined" {
			t.Errorf("rounds %+v", r)
		}
	})
}

func TestForget_ImpatientPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := newCoordinator(testConfig(judgedJob()), memstore.New(), discard) // whose jobs do not run
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Forget(ctx, "a", ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

// Killed at any write while it forgets, the coordinator ends with the same bytes
// when it is started again, or has not begun.
func TestCrash_ForgetAtEveryWrite(t *testing.T) {
	want, died := forgetOnce(t, 1<<30, false)
	if died || want == nil {
		t.Fatal("the reference run did not forget")
	}
	deaths, begun := 0, false
	for ; ; deaths++ {
		anyDied := false
		for _, applyLast := range []bool{false, true} {
			t.Run(fmt.Sprintf("change=%d,applied=%t", deaths, applyLast), func(t *testing.T) {
				got, died := forgetOnce(t, deaths, applyLast)
				anyDied = anyDied || died
				if got != nil && !bytes.Equal(got, want) {
					t.Error("the version without differs after a crash")
				}
				begun = begun || got != nil
				if got == nil && begun {
					t.Error("what had begun was not finished")
				}
			})
		}
		if !anyDied {
			break
		}
	}
	if deaths < 6 { // wish, contribution, its blob, model, commit, history (2)
		t.Errorf("only %d crash points tried", deaths)
	}
}

// forgetOnce has a store die at a change after it was told to forget, and returns
// the version without, nil if it was never made.
func forgetOnce(t *testing.T, dieAt int, applyLast bool) (forgotten []byte, died bool) {
	synctest.Test(t, func(t *testing.T) {
		spec := judgedJob()
		spec.Rounds.MinParticipants, spec.Rounds.Count = 3, 1
		cfg := testConfig(spec)
		disk := memstore.New()
		f := startFixture(t, cfg, disk)
		for _, name := range strings.Fields("a b leaver") {
			f.trains(name, nil)
		}
		synctest.Wait()
		f.stop()

		dying := newMortal(disk, dieAt, applyLast)
		var st store.Store = dying
		c, err := newCoordinator(cfg, st, discard)
		if err != nil {
			t.Fatal(err)
		}
		f = &fixture{t: t, c: c}
		runCtx, stop := context.WithCancel(t.Context())
		f.cancel = stop
		if err := c.load(runCtx); err == nil { // which may meet its death already
			f.ended.Go(func() { _ = c.jobs[0].run(runCtx) })
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			select {
			case <-dying.died:
			case <-time.After(time.Minute):
			}
			cancel()
		}()
		told, err := f.c.Forget(ctx, "leaver", "")
		if err == nil && told[0].Version != 2 {
			t.Errorf("told %+v", told)
		}
		synctest.Wait()
		f.stop()
		cancel()
		died = dying.isDead()

		f = startFixture(t, cfg, disk)
		defer f.stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		if f.c.Snapshot().Jobs[0].Version == 1 {
			checkFit(t, f, 1, at("a b leaver", 1))
			return
		}
		forgotten = f.modelBytes("pump", 2)
		checkFit(t, f, 2, at("a b", 1))
		checkNothingLeft(t, f, disk)
	})
	return forgotten, died
}
