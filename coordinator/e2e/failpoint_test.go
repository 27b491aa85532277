package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/failpoint"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// The points at which a coordinator and an agent can die while rounds go on.
var (
	coordinatorPoints = []failpoint.Point{
		failpoint.StoreCommits, failpoint.StoreCommitted,
		failpoint.RoundStarts, failpoint.RoundStarted, failpoint.UploadReceived, failpoint.UploadRecorded, failpoint.UploadCounted,
		failpoint.RoundCloses, failpoint.RoundClosed, failpoint.RoundMerged, failpoint.RoundStored, failpoint.RoundCommitted,
		failpoint.RoundRecorded, failpoint.RoundWritten, failpoint.RoundTidied,
	}
	agentPoints = []failpoint.Point{
		failpoint.FileWritten, failpoint.FileRenamed, failpoint.FileSynced, failpoint.ModelFetched, failpoint.Trained,
		failpoint.OutboxPut, failpoint.UploadSent, failpoint.OutboxAcked, failpoint.OutboxMarked, failpoint.OutboxKept, failpoint.ReleaseSaved,
	}
	// Reached before any round, see below.
	otherPoints = []failpoint.Point{failpoint.JobInitial, failpoint.SamplesCommit, failpoint.SamplesCommitted, failpoint.StorePiece}
)

// eachRoundNeedsAll makes every committed byte follow from the local data alone.
var eachRoundNeedsAll = job.RoundPolicy{Every: 50 * time.Millisecond, MinParticipants: 3, Deadline: 5 * time.Minute, Count: killedRounds}

// bothWays are jobs of which one has rounds and a stateless sum, and the other makes
// versions of arrivals.
func bothWays(rounds job.RoundPolicy) []job.Spec {
	list := jobs(rounds)
	list[1].Strategy = job.StrategySpec{Name: job.NameFedBuff, Buffer: 3}
	return list
}

// A process killed at any durable step, and started again, changes nothing about
// what is committed.
func TestFailpoints_KilledAtEachCommitsTheSameModels(t *testing.T) {
	f := prepared(t, bothWays(eachRoundNeedsAll))
	want := undisturbed(t, f)
	deaths := make(chan death)
	go func() {
		defer close(deaths)
		for _, p := range coordinatorPoints {
			deaths <- death{p, 1, true}
		}
		for _, p := range agentPoints {
			deaths <- death{p, 1, false}
		}
	}()
	each(4, deaths, func(d death) {
		t.Run(d.name(), func(t *testing.T) { dieOnce(t, f, want, d) })
	})
}

// death is a point where a process dies, and how many times it gets past it first.
type death struct {
	point       failpoint.Point
	time        int
	coordinator bool
}

func (d death) String() string { return fmt.Sprintf("%s:%d", d.point, d.time) }

func (d death) name() string {
	if d.coordinator {
		return "coordinator/" + d.String()
	}
	return "agent/" + d.String()
}

// each does the work that comes in, several at a time: worlds mostly wait.
func each[T any](workers int, work <-chan T, do func(T)) {
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for w := range work {
				do(w)
			}
		})
	}
	group.Wait()
}

// undisturbed is what a copy of f commits when nothing happens.
func undisturbed(t *testing.T, f *federation) map[string][]byte {
	t.Helper()
	w := f.again(t)
	w.start()
	for _, g := range w.gateways {
		g.start()
	}
	want := w.committed()
	w.verify()
	w.rest()
	return want
}

// dieOnce runs a copy of f in which one process dies once.
func dieOnce(t *testing.T, f *federation, want map[string][]byte, d death) {
	w := f.again(t)
	if d.coordinator {
		w.failpoint = d.String()
	}
	alive := w.launch() == nil // some points are reached before it is ready
	middle := w.victim(1)
	for i, g := range w.gateways {
		if i != 1 {
			g.start()
		}
	}
	var died bool
	if d.coordinator {
		middle.start("")
		died = w.dies()
		w.failpoint = ""
		if died {
			w.start()
		}
	} else {
		middle.start(d.String())
		died = middle.dies()
		if died {
			middle.start("")
		}
	}
	if !died || !d.coordinator && !alive {
		t.FailNow()
	}
	w.same(want, w.committed())
	w.verify()
	w.rest()
}

// victim makes a gateway of the world one that runs in a process of its own.
func (w *world) victim(i int) *victim {
	w.t.Helper()
	v := newVictim(w.t, w.gateways[i].cfg)
	w.gateways[i].log = v.log
	w.gateways[i].stop = v.kill
	w.victims = append(w.victims, v)
	return v
}

// same compares what two worlds committed.
func (w *world) same(want, got map[string][]byte) {
	w.t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if !bytes.Equal(got[name], want[name]) {
			w.t.Errorf("model %s: other bytes were committed than in the undisturbed world: %d and %d", name, len(got[name]), len(want[name]))
		}
	}
}

func versions(s fleet.Snapshot) map[string]uint64 {
	v := map[string]uint64{}
	for _, j := range s.Jobs {
		v[j.Name] = j.Version
	}
	return v
}

var deliveredLine = regexp.MustCompile(`msg="update delivered" job=(\S+) round=(\d+) attempt=(\d+) `)

// verify checks that every update an agent holds for acknowledged stands in the
// history, once, and that every model is made of exactly those.
func (w *world) verify() {
	w.t.Helper()
	s := w.snapshot()
	counted := map[string]int{}
	for _, r := range s.Rounds {
		if r.State != "committed" {
			if r.State == "abandoned" {
				w.t.Errorf("round %d of %s, attempt %d was abandoned: %s", r.Round, r.Job, r.Attempt, r.Reason)
			}
			continue
		}
		weight := 0.0
		for _, p := range r.Participants {
			if p.State == "received" {
				counted[fmt.Sprint(p.Gateway, " ", r.Job, " ", r.Round, " ", r.Attempt)]++
				weight += p.Weight
			}
		}
		g, err := fedavg.DecodeGlobal(w.model(r.Job, r.Round), nil)
		if err != nil || g.Participants != len(receivedFrom(r)) || g.Weight != weight || g.Attempt != r.Attempt {
			w.t.Errorf("model %d of %s is of %d participants with weight %v, attempt %d; its round has %v with %v; %v",
				r.Round, r.Job, g.Participants, g.Weight, g.Attempt, receivedFrom(r), weight, err)
		}
	}
	for update, n := range counted {
		if n != 1 {
			w.t.Errorf("the update %s was counted %d times", update, n)
		}
	}
	newest := versions(s)
	for _, g := range w.gateways {
		for _, m := range deliveredLine.FindAllStringSubmatch(g.log.String(), -1) {
			var round uint64
			fmt.Sscan(m[2], &round)
			if round > newest[m[1]] {
				continue // of a round that is still open
			}
			if update := strings.Join([]string{g.cfg.Gateway, m[1], m[2], m[3]}, " "); counted[update] != 1 {
				w.t.Errorf("the update %s was acknowledged and counted %d times", update, counted[update])
			}
		}
	}
}

// A coordinator killed at any write of its very first starts comes up with what
// it needs, and one authority.
func TestFailpoints_FirstStart(t *testing.T) {
	points := []failpoint.Point{failpoint.JobInitial, failpoint.StoreCommits, failpoint.StoreCommitted, failpoint.StorePiece}
	for _, p := range points {
		t.Run(string(p), func(t *testing.T) {
			list := jobs(eachRoundNeedsAll)
			if p == failpoint.StorePiece { // a model of more than one piece: of 4·4096 + 4096·100 weights, there and back
				list[1].Model.Autoencoder = &model.AutoencoderSpec{Hidden: []int{4096, 100}}
			}
			h := newHeadquarters(t, t.TempDir(), list)
			deaths := 0
			for n := 1; ; n++ {
				h.failpoint = fmt.Sprintf("%s:%d", p, n)
				if h.launch() == nil {
					break
				}
				if !h.dies() {
					t.FailNow()
				}
				deaths++
			}
			if deaths == 0 {
				t.Error("it never died")
			}
			h.failpoint = ""
			h.kill()
			h.start()
			s := h.snapshot()
			if len(s.Jobs) != 2 || s.Jobs[0].Version != 0 || s.Jobs[1].Version != 0 {
				t.Errorf("jobs are %+v", s.Jobs)
			}
			h.token(1)
			h.stop()
		})
	}
}

// An agent killed while it commits what it learned of its machines goes on with
// what was committed.
func TestFailpoints_WhileSamplesAreStored(t *testing.T) {
	for _, p := range []failpoint.Point{failpoint.SamplesCommit, failpoint.SamplesCommitted} {
		t.Run(string(p), func(t *testing.T) {
			dir := t.TempDir()
			w := &world{headquarters: newHeadquarters(t, dir, jobs(job.RoundPolicy{MinParticipants: 1, Every: 50 * time.Millisecond, Deadline: time.Minute}))}
			w.start()
			plant := newPlant(t)
			g := newGateway(t, plant, "hall-1", dir, w.relay.address(), w.token(1), "pump-1")
			w.gateways = append(w.gateways, g)
			v := w.victim(0)
			v.start(fmt.Sprintf("%s:%d", p, 2))
			m := plant.machine("pump-1")
			for alive := true; alive; { // what it does not hear, or loses when it dies, is published again below
				m.publish(windowSeconds*100, 0) // 256 windows are committed at once
				select {
				case err := <-v.ended:
					v.ended <- err
					alive = false
				case <-time.After(100 * time.Millisecond):
				}
			}
			if !v.dies() {
				t.FailNow()
			}
			version := w.snapshot().Jobs[0].Version
			v.start("")
			eventually(t, "a round after the death", func() bool {
				m.publish(windowSeconds*5, 0)
				return w.snapshot().Jobs[0].Version > version
			})
			w.rest()
		})
	}
}

// Every point of the package is died at by a test, and stands in the code once.
func TestFailpoints_AreAllTried(t *testing.T) {
	root := filepath.Join("..", "..")
	source, err := os.ReadFile(filepath.Join(root, "fedavg", "failpoint", "failpoint.go"))
	if err != nil {
		t.Fatal(err)
	}
	tried := slices.Concat(coordinatorPoints, agentPoints, otherPoints)
	known := regexp.MustCompile(`(?m)^\t(\w+)\s+Point = "(.+?)"`).FindAllStringSubmatch(string(source), -1)
	if len(known) != len(tried) {
		t.Errorf("%d points are known, %d are tried", len(known), len(tried))
	}
	var code strings.Builder
	for _, dir := range []string{"agent", "coordinator"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			code.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range known {
		if !slices.Contains(tried, failpoint.Point(k[2])) {
			t.Errorf("no test dies at %s", k[2])
		}
		if n := strings.Count(code.String(), "failpoint.Here(failpoint."+k[1]+")"); n != 1 {
			t.Errorf("%s stands %d times in the code", k[1], n)
		}
	}
}
