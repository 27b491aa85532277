package coordinator

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
	"github.com/millwright-iot/millwright/fedavg/job"
)

func names(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("hall-%02d", i)
	}
	return list
}

func TestSample_FollowsFromSeedAndWhoIsReady(t *testing.T) {
	newState := func(seed uint64) *jobState {
		spec := pumpJob("pump")
		spec.Seed = seed
		c, err := newCoordinator(testConfig(spec), memstore.New(), discard)
		if err != nil {
			t.Fatal(err)
		}
		return c.jobs[0]
	}
	j, ready := newState(1), names(20)
	first := j.sample(ready, 5)
	if again := newState(1).sample(ready, 5); !slices.Equal(first, again) || len(first) != 5 || !slices.IsSorted(first) {
		t.Errorf("chose %v, then %v", first, again)
	}
	// Whoever was not chosen makes no difference by going.
	without := slices.DeleteFunc(slices.Clone(ready), func(n string) bool { return n == "hall-19" || n == "hall-18" })
	if !slices.Contains(first, "hall-19") && !slices.Contains(first, "hall-18") && !slices.Equal(j.sample(without, 5), first) {
		t.Errorf("chose %v of fewer, %v of all", j.sample(without, 5), first)
	}
	if slices.Equal(newState(2).sample(ready, 5), first) {
		t.Error("another seed chooses the same")
	}
	// Over many rounds everyone is chosen about as often: 400 draws of 5 in 20 are
	// binomial with mean 100 and standard deviation 8.7.
	times := map[string]int{}
	for round := range 400 {
		j.head.Version = uint64(round)
		for _, name := range j.sample(ready, 5) {
			times[name]++
		}
	}
	for _, name := range ready {
		if n := times[name]; n < 60 || n > 140 {
			t.Errorf("%s was chosen %d times of 400, expected about 100", name, n)
		}
	}
}

func TestRound_SamplesAndOverSelects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := pumpJob("pump")
		spec.Rounds.Participants, spec.Rounds.OverSelect = 4, 1.5
		f := startFixtureLater(t, testConfig(spec), memstore.New(), time.Second)
		defer f.stop()
		agents := map[string]*agent{}
		slow := 0
		for _, name := range names(10) {
			a := &agent{f: f, name: name}
			a.train = func(s rpc.RoundStart) {
				f.c.mu.Lock()
				slow++
				late := slow > 4 // of the six asked, two take longer than the round
				f.c.mu.Unlock()
				if late {
					time.Sleep(10 * time.Second)
				}
				receipt, err := a.deliver(s)
				if err != nil || receipt.Late != late {
					t.Errorf("%s: %+v, %v; late is %t", name, receipt, err, late)
				}
			}
			a.connect()
			a.ready()
			agents[name] = a
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		r := f.rounds("pump")[0]
		if r.State != "committed" || len(r.Participants) != 6 || countReceived(r) != 4 || r.Seconds > 1 {
			t.Fatalf("round = %+v", r)
		}
		asked := 0
		for _, a := range agents {
			asked += len(messagesOf[rpc.RoundStart](a))
		}
		if asked != 6 {
			t.Errorf("%d were asked, want 6", asked)
		}
		var counted []string
		for _, p := range r.Participants {
			if p.State == received {
				counted = append(counted, p.Gateway)
			}
		}
		checkSum(t, f, "pump", 1, counted...)
	})
}

// What is learned too late for its round counts once in the next one, discounted
// by its age; also over a restart, and when it is offered again.
func TestRound_LateCountsInTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := gradientJob("pump")
		spec.Rounds.Late = job.LateNext
		spec.Rounds.Deadline = 20 * time.Second
		st := memstore.New()
		f := startFixtureLater(t, testConfig(spec), st, time.Second)
		var slowStart rpc.RoundStart
		slow := &agent{f: f, name: "slow", train: func(s rpc.RoundStart) { slowStart = s }}
		slow.connect()
		slow.ready()
		f.join("a")
		f.join("b")
		time.Sleep(30 * time.Second) // the deadline ends round 1; round 2 begins 60 s later
		synctest.Wait()
		if r := f.rounds("pump")[0]; r.State != "committed" || countReceived(r) != 2 {
			t.Fatalf("round = %+v", r)
		}
		if receipt, err := slow.deliver(slowStart); err != nil || receipt != (rpc.Receipt{}) {
			t.Errorf("the late update: %+v, %v", receipt, err)
		}
		if receipt, err := slow.deliver(slowStart); err != nil || !receipt.Duplicate {
			t.Errorf("the late update again: %+v, %v", receipt, err)
		}
		f.stop()

		f = startFixture(t, testConfig(spec), st)
		defer f.stop()
		slow.f = f
		if receipt, err := slow.deliver(slowStart); err != nil || !receipt.Duplicate {
			t.Errorf("the late update after a restart: %+v, %v", receipt, err)
		}
		a, b := f.join("a"), f.join("b")
		time.Sleep(80 * time.Second)
		synctest.Wait()
		r := f.rounds("pump")[1]
		if r.State != "committed" || countReceived(r) != 3 || len(r.Participants) != 3 {
			t.Fatalf("round = %+v", r)
		}
		if p := r.Participants[2]; p.Gateway != "slow" || p.Staleness != 1 {
			t.Errorf("the late participant = %+v", p)
		}
		if receipt, err := slow.deliver(slowStart); err != nil || !receipt.Duplicate {
			t.Errorf("the late update after it was counted: %+v, %v", receipt, err)
		}

		// x₂ = x₁ + Σ n_k Δ_k / Σ n_k with the late one's n divided by √2, in float64.
		weights := []float64{}
		for _, name := range []string{"a", "b", "slow"} {
			weights = append(weights, float64(10*(1+number(name)%3)))
		}
		weights[2] /= math.Sqrt2
		total := weights[0] + weights[1] + weights[2]
		before, after := f.model("pump", 1), f.model("pump", 2)
		for v := range after.Vectors {
			for i, got := range after.Vectors[v].F32 {
				delta := weights[0]*value("a", 2, v, i) + weights[1]*value("b", 2, v, i) + weights[2]*value("slow", 1, v, i)
				if want := float64(before.Vectors[v].F32[i]) + delta/total; math.Abs(float64(got)-want) > 1e-4 {
					t.Fatalf("vector %d[%d] = %v, want %v", v, i, got, want)
				}
			}
		}
		_, _ = a, b
		if left, err := st.List(t.Context(), "update/"); err != nil || len(left) != 0 {
			t.Errorf("%d updates left, %v", len(left), err)
		}
	})
}

func TestRound_StateOfTheStrategySurvivesRestarts(t *testing.T) {
	spec := gradientJob("pump")
	spec.Strategy.Name = job.NameFedAvgM
	run := func(t *testing.T, restart bool) (model []byte) {
		synctest.Test(t, func(t *testing.T) {
			st := memstore.New()
			f := startFixture(t, testConfig(spec), st)
			f.join("a")
			f.join("b")
			time.Sleep(10 * time.Second)
			if restart {
				f.stop()
				f = startFixture(t, testConfig(spec), st)
				f.join("a")
				f.join("b")
			}
			defer func() { f.stop() }()
			time.Sleep(80 * time.Second)
			synctest.Wait()
			model = f.modelBytes("pump", 2)
			if f.c.jobs[0].head.State == (store.Blob{}) {
				t.Error("there is no state")
			}
		})
		return model
	}
	want := run(t, false)
	if !bytes.Equal(run(t, true), want) {
		t.Error("the restart changed the second version")
	}
}

// Two fast gateways make versions while a slow one trains; its update counts when
// it comes, once, and by its age.
func TestAsync_NobodyWaitsForTheSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := gradientJob("pump")
		spec.Strategy = job.StrategySpec{Name: job.NameFedBuff, Buffer: 2}
		spec.Rounds.MinParticipants = 1
		spec.Rounds.Every = 10 * time.Second
		spec.Rounds.Deadline = 10 * time.Minute
		st := memstore.New()
		f := startFixture(t, testConfig(spec), st)
		defer func() { f.stop() }()
		asked := 0
		slow := &agent{f: f, name: "slow"}
		slow.train = func(s rpc.RoundStart) {
			if asked++; asked > 1 {
				slow.deliver(s)
				return
			}
			time.Sleep(35 * time.Second)
			if receipt, err := slow.deliver(s); err != nil || receipt != (rpc.Receipt{}) {
				t.Errorf("the slow one's update: %+v, %v", receipt, err)
			}
			if receipt, err := slow.deliver(s); err != nil || !receipt.Duplicate {
				t.Errorf("the slow one's update again: %+v, %v", receipt, err)
			}
			time.Sleep(time.Minute)
			if receipt, err := slow.deliver(s); err != nil || !receipt.Duplicate {
				t.Errorf("the slow one's update after it was counted: %+v, %v", receipt, err)
			}
		}
		slow.connect()
		slow.ready()
		f.join("a")
		f.join("b")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		rounds := f.rounds("pump")
		if len(rounds) < 10 {
			t.Fatalf("%d rounds in two minutes", len(rounds))
		}
		times := 0
		for _, r := range rounds[:len(rounds)-1] {
			if r.State != "committed" || r.Attempt != 1 || countReceived(r) < 2 {
				t.Errorf("round = %+v", r)
			}
			for _, p := range r.Participants {
				if p.Gateway == "slow" && p.Staleness > 0 {
					times++
					if p.State != received || p.Staleness != int(r.Round)-1 {
						t.Errorf("in round %d the slow one is %+v", r.Round, p)
					}
				}
			}
		}
		if times != 1 {
			t.Errorf("the slow one's first update was counted %d times", times)
		}
		for _, a := range []*agent{slow} {
			for _, s := range messagesOf[rpc.RoundStart](a)[1:] {
				if s.Round < 4 {
					t.Errorf("the slow one was asked for round %d while it trained", s.Round)
				}
			}
		}
	})
}

// x ← x + η/K Σ Δ/√(1+τ), by hand, for one fresh update and one that is two
// versions old. What is older than the policy allows does not count.
func TestAsync_DiscountsByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := gradientJob("pump")
		spec.Strategy = job.StrategySpec{Name: job.NameFedBuff, Buffer: 2, MaxStaleness: 2}
		spec.Rounds.MinParticipants = 2
		spec.Rounds.Every = time.Second
		f := startFixture(t, testConfig(spec), memstore.New())
		defer f.stop()
		hand := func(name string) (*agent, func(uint64) rpc.RoundStart) {
			starts := map[uint64]rpc.RoundStart{}
			a := &agent{f: f, name: name, train: func(s rpc.RoundStart) { starts[s.Round] = s }}
			a.connect()
			a.ready()
			return a, func(round uint64) rpc.RoundStart {
				time.Sleep(3 * time.Second)
				synctest.Wait()
				s, ok := starts[round]
				if !ok {
					t.Fatalf("%s was not asked for round %d: %v", name, round, starts)
				}
				return s
			}
		}
		a, ofA := hand("a")
		b, ofB := hand("b")
		c, ofC := hand("c")
		d, ofD := hand("d")
		oldC, oldD := ofC(1), ofD(1)
		for round := uint64(1); round <= 2; round++ {
			a.deliver(ofA(round))
			b.deliver(ofB(round))
		}
		a.deliver(ofA(3))
		if receipt, err := c.deliver(oldC); err != nil || receipt != (rpc.Receipt{}) {
			t.Errorf("an update two versions old: %+v, %v", receipt, err)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if receipt, err := d.deliver(oldD); err != nil || !receipt.Late {
			t.Errorf("an update three versions old: %+v, %v", receipt, err)
		}
		before, after := f.model("pump", 2), f.model("pump", 3)
		for v := range after.Vectors {
			for i, got := range after.Vectors[v].F32 {
				want := float64(before.Vectors[v].F32[i]) + (value("a", 3, v, i)+value("c", 1, v, i)/math.Sqrt(3))/2
				if math.Abs(float64(got)-want) > 1e-4 {
					t.Fatalf("vector %d[%d] = %v, want %v", v, i, got, want)
				}
			}
		}
	})
}

// A gateway that vanishes with its task holds nobody up longer than the deadline,
// and a restarted coordinator asks again.
func TestAsync_VanishedAndRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := gradientJob("pump")
		spec.Strategy = job.StrategySpec{Name: job.NameFedBuff, Buffer: 3}
		spec.Rounds.Every, spec.Rounds.Deadline = time.Second, 30*time.Second
		st := memstore.New()
		f := startFixture(t, testConfig(spec), st)
		gone := &agent{f: f, name: "gone", train: func(rpc.RoundStart) {}}
		gone.connect()
		gone.ready()
		f.join("a")
		f.join("b")
		time.Sleep(10 * time.Second)
		f.c.Leave("gone", gone)
		if r := f.rounds("pump")[0]; r.State != "open" || countReceived(r) != 2 {
			t.Fatalf("round = %+v", r)
		}
		f.stop()
		f = startFixture(t, testConfig(spec), st)
		defer func() { f.stop() }()
		f.join("a")
		f.join("b")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if r := f.rounds("pump")[0]; r.State != "open" || countReceived(r) != 2 {
			t.Fatalf("after the restart, round = %+v", r)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if r := f.rounds("pump")[0]; r.State != "committed" || r.Attempt != 1 || countReceived(r) != 2 {
			t.Fatalf("after the deadline, round = %+v", r)
		}
		if n := len(slices.DeleteFunc(f.rounds("pump"), func(r fleet.Round) bool { return r.State != "committed" })); n < 10 {
			t.Errorf("%d versions by the two that are there", n)
		}
	})
}
