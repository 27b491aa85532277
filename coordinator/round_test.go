package coordinator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
)

// checkSum compares a committed Gaussian model with the plain sum of what the
// named agents delivered in its round.
func checkSum(t *testing.T, f *fixture, job string, version uint64, agents ...string) {
	t.Helper()
	g := f.model(job, version)
	if g.Version != version || g.Round != version || g.Participants != len(agents) {
		t.Errorf("model is version %d of round %d by %d participants; want %d of %d by %d", g.Version, g.Round, g.Participants, version, version, len(agents))
	}
	for v, vector := range g.Vectors {
		for i, got := range vector.F64 {
			want := 0.0
			for _, name := range agents {
				want += value(name, version, v, i)
			}
			if got != want {
				t.Fatalf("version %d: %s[%d] = %v, want the sum %v", version, vector.Name, i, got, want)
			}
		}
	}
}

func TestRound_CommitsAndReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startFixture(t, testConfig(pumpJob("pump")), memstore.New())
		defer f.stop()
		a, b := f.join("a"), f.join("b")
		synctest.Wait()

		checkSum(t, f, "pump", 1, "a", "b")
		rounds := f.rounds("pump")
		if len(rounds) != 1 || rounds[0].State != "committed" || rounds[0].Round != 1 || rounds[0].Attempt != 1 {
			t.Fatalf("rounds = %+v", rounds)
		}
		// Mean loss by weight, by hand from what learned puts into the updates.
		wa, wb := float64(10*(1+number("a")%3)), float64(10*(1+number("b")%3))
		la, lb := float64(number("a")%5), float64(number("b")%5)
		if got, want := rounds[0].Metrics["loss"], (wa*la+wb*lb)/(wa+wb); got-want > 1e-9 || want-got > 1e-9 {
			t.Errorf("mean loss = %v, want %v", got, want)
		}
		for _, agent := range []*agent{a, b} {
			ends, releases := messagesOf[rpc.RoundEnd](agent), messagesOf[rpc.Release](agent)
			if len(ends) != 1 || !ends[0].Committed || len(releases) != 1 || releases[0].Version != 1 {
				t.Errorf("agent %s was told %+v and %+v", agent.name, ends, releases)
			}
		}
		s := f.c.Snapshot()
		if len(s.Models) != 1 || s.Models[0].Release != "live" || s.Jobs[0].Version != 1 {
			t.Errorf("models %+v, jobs %+v", s.Models, s.Jobs)
		}

		// The next round starts Every after the end of this one, no sooner.
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if n := len(f.rounds("pump")); n != 1 {
			t.Errorf("%d rounds after 59 s, want 1", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		checkSum(t, f, "pump", 2, "a", "b")
		if s := f.c.Snapshot(); s.Models[0].Version != 2 || s.Models[0].Release != "live" || s.Models[1].Release != "superseded" {
			t.Errorf("models = %+v", s.Models)
		}
	})
}

func TestRound_WaitsForEnoughReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startFixture(t, testConfig(pumpJob("pump")), memstore.New())
		defer f.stop()
		f.join("a")
		b := &agent{f: f, name: "b"}
		b.connect()
		synctest.Wait()
		f.c.Status("b", b.status(false, "needs 12 more windows"))
		other := b.status(true, "")
		other.Jobs[0].Digest = "of another spec"
		stale := &agent{f: f, name: "stale"}
		stale.connect()
		f.c.Status("stale", other)
		synctest.Wait()

		s := f.c.Snapshot()
		if len(s.Rounds) != 0 {
			t.Fatalf("a round began with one ready agent: %+v", s.Rounds)
		}
		if got := s.Jobs[0]; got.Ready != 1 || got.Waiting["b"] != "needs 12 more windows" || !strings.Contains(got.Waiting["stale"], "another version") {
			t.Errorf("job = %+v", got)
		}
		b.ready()
		synctest.Wait()
		checkSum(t, f, "pump", 1, "a", "b")
	})
}

func TestRound_DeadlineLeavesOutTheVanished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := pumpJob("pump")
		spec.Rounds.MinParticipants = 3
		f := startFixture(t, testConfig(spec), memstore.New())
		defer f.stop()
		f.join("a")
		gone := &agent{f: f, name: "gone", train: func(rpc.RoundStart) {}}
		gone.connect()
		gone.ready()
		// With three ready a round begins; with two updates it fails.
		f.join("b")
		synctest.Wait()
		f.c.Leave("gone", gone)
		time.Sleep(31 * time.Second)
		synctest.Wait()
		rounds := f.rounds("pump")
		if rounds[0].State != "abandoned" || !strings.Contains(rounds[0].Reason, "2 of at least 3") || !strings.Contains(rounds[0].Reason, "1 not delivered") {
			t.Fatalf("first attempt = %+v", rounds[0])
		}
		if len(f.c.Snapshot().Models) != 0 {
			t.Error("an abandoned round made a model")
		}

		// The next attempt, with another agent in place of the vanished one.
		f.join("c")
		time.Sleep(time.Minute)
		synctest.Wait()
		rounds = f.rounds("pump")
		if len(rounds) != 2 || rounds[1].State != "committed" || rounds[1].Round != 1 || rounds[1].Attempt != 2 {
			t.Fatalf("rounds = %+v", rounds)
		}
		checkSum(t, f, "pump", 1, "a", "b", "c")
	})
}

func TestRound_SlowAgentDoesNotHoldTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := pumpJob("pump")
		spec.Rounds.Every = time.Hour
		f := startFixtureLater(t, testConfig(spec), memstore.New(), time.Second)
		defer f.stop()
		var receipt rpc.Receipt
		var err error
		slow := &agent{f: f, name: "slow"}
		slow.train = func(start rpc.RoundStart) {
			time.Sleep(40 * time.Second) // the deadline is at 30 s
			receipt, err = slow.deliver(start)
		}
		slow.connect()
		slow.ready()
		f.join("a")
		f.join("b")
		time.Sleep(32 * time.Second)
		synctest.Wait()
		checkSum(t, f, "pump", 1, "a", "b")
		slow.wg.Wait()
		if err != nil || !receipt.Late {
			t.Errorf("late update got %+v, %v; want Late", receipt, err)
		}
		if p := f.rounds("pump")[0].Participants; p[2].Gateway != "slow" || p[2].State != "training" {
			t.Errorf("participants = %+v", p)
		}
		if blobs := blobsBeside(t, f.c.st); len(blobs) != 1 { // version 1 is all there is to keep
			t.Errorf("blobs = %v", blobs)
		}
	})
}

func TestRound_DeclinedByAllIsRetriedWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startFixture(t, testConfig(pumpJob("pump")), memstore.New())
		defer f.stop()
		var starts []time.Duration
		began := time.Now()
		for _, name := range []string{"a", "b"} {
			a := &agent{f: f, name: name}
			a.train = func(s rpc.RoundStart) {
				if name == "a" {
					starts = append(starts, time.Since(began))
				}
				f.c.Answer(name, rpc.RoundAnswer{Job: s.Job, Round: s.Round, Attempt: s.Attempt, Reason: "disk full"})
			}
			a.connect()
			a.ready()
		}
		time.Sleep(40 * time.Second)
		synctest.Wait()
		// Pauses of 5 s, 10 s, 20 s after attempts that fail at once.
		want := []time.Duration{0, 5 * time.Second, 15 * time.Second, 35 * time.Second}
		if !slices.Equal(starts, want) {
			t.Errorf("attempts began at %v, want %v", starts, want)
		}
		last := f.rounds("pump")[3]
		declined := slices.IndexFunc(last.Participants, func(p fleet.Participant) bool { return p.State == "declined" })
		if last.Attempt != 4 || last.State != "abandoned" || declined < 0 || last.Participants[declined].Reason != "disk full" {
			t.Errorf("last round = %+v", last)
		}
	})
}

func TestRetryPause_Bounds(t *testing.T) {
	for _, tt := range []struct {
		first    time.Duration
		failures int
		want     time.Duration
	}{
		{5 * time.Second, 0, 5 * time.Second},
		{5 * time.Second, 3, 40 * time.Second},
		{5 * time.Second, 1000, maxRetryPause},
		{0, 5, 0},
		{time.Hour, 5, time.Hour},
	} {
		if got := retryPause(tt.first, tt.failures); got != tt.want {
			t.Errorf("retryPause(%v, %d) = %v, want %v", tt.first, tt.failures, got, tt.want)
		}
	}
}

func TestRound_OneDeclinesOthersCommitAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startFixtureLater(t, testConfig(pumpJob("pump")), memstore.New(), time.Second)
		defer f.stop()
		no := &agent{f: f, name: "no"}
		no.train = func(s rpc.RoundStart) {
			f.c.Answer("no", rpc.RoundAnswer{Job: s.Job, Round: s.Round, Attempt: s.Attempt, Reason: "too few windows"})
		}
		no.connect()
		no.ready()
		f.join("a")
		f.join("b")
		time.Sleep(2 * time.Second) // far from the deadline
		synctest.Wait()
		checkSum(t, f, "pump", 1, "a", "b")
	})
}

func TestRound_CountEndsTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := pumpJob("pump")
		spec.Rounds.Count = 3
		st := memstore.New()
		f := startFixture(t, testConfig(spec), st)
		f.join("a")
		f.join("b")
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(f.rounds("pump")); n != 3 || !f.c.Snapshot().Jobs[0].Done {
			t.Errorf("%d rounds, done %t; want 3, true", n, f.c.Snapshot().Jobs[0].Done)
		}
		f.stop()

		// More rounds are a change of policy: the model goes on at version 3.
		spec.Rounds.Count = 4
		f = startFixture(t, testConfig(spec), st)
		defer f.stop()
		f.join("a")
		f.join("b")
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(f.rounds("pump")); n != 4 {
			t.Errorf("%d rounds after a fourth was asked for", n)
		}
		checkSum(t, f, "pump", 4, "a", "b")
	})
}

func TestRound_TwoJobsDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		live, shadow := pumpJob("live"), pumpJob("shadow")
		shadow.Role = "shadow"
		shadow.Features.Channels[0].Features = []string{"rms", "kurtosis", "crest"}
		f := startFixture(t, testConfig(live, shadow), memstore.New())
		defer f.stop()
		f.join("a")
		f.join("b")
		synctest.Wait()
		checkSum(t, f, "live", 1, "a", "b")
		checkSum(t, f, "shadow", 1, "a", "b")
		if x, y := len(f.model("live", 1).Vectors[1].F64), len(f.model("shadow", 1).Vectors[1].F64); x == y {
			t.Errorf("both models have %d features", x)
		}
	})
}

func TestJob_ChangedFeaturesBeginANewLineage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		spec := pumpJob("pump")
		f := startFixture(t, testConfig(spec), st)
		f.join("a")
		f.join("b")
		synctest.Wait()
		f.stop()

		spec.Features.Channels[0].Features = []string{"rms"}
		f = startFixture(t, testConfig(spec), st)
		defer f.stop()
		a := f.join("a")
		synctest.Wait()
		if got := messagesOf[rpc.Release](a); len(got) != 0 {
			t.Errorf("a model of the old features was released: %+v", got)
		}
		if s := f.c.Snapshot(); s.Models[0].Release != "superseded" {
			t.Errorf("models = %+v", s.Models)
		}
		f.join("b")
		synctest.Wait()
		checkSum(t, f, "pump", 2, "a", "b") // versions go on counting
	})
}

func TestJob_ChangedPolicyKeepsTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		spec := pumpJob("pump")
		f := startFixture(t, testConfig(spec), st)
		f.join("a")
		f.join("b")
		synctest.Wait()
		before := f.model("pump", 1)
		f.stop()

		spec.Alarm.Threshold, spec.Labels.Lead = 2, 48*time.Hour
		f = startFixture(t, testConfig(spec), st)
		defer f.stop()
		a := &agent{f: f, name: "a"}
		a.connect()
		releases := messagesOf[rpc.Release](a)
		if len(releases) != 1 || releases[0].Version != 1 || releases[0].Digest != spec.Digest() {
			t.Fatalf("released %+v", releases)
		}
		after := f.model("pump", 1)
		if after.SpecDigest != spec.Digest() || fmt.Sprint(after.Vectors) != fmt.Sprint(before.Vectors) {
			t.Error("the model did not go on under the new spec")
		}
	})
}
