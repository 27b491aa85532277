package uplink

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/fedpb"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// joined starts the rig with one job and returns its first session.
func joined(t *testing.T) (*rig, *talk) {
	r := newRig(t)
	r.addJob("pump")
	r.run()
	k := r.session()
	r.sendJobs(k)
	return r, k
}

func (r *rig) arrived(k task) *fedavg.Update {
	r.t.Helper()
	r.eventually("update", func() bool { return r.update(k) != nil })
	u, err := fedavg.DecodeUpdate(r.update(k), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return u
}

func (r *rig) outboxEmpty() {
	r.t.Helper()
	r.eventually("empty outbox", func() bool { return r.up.State().OutboxUpdates == 0 })
}

func TestRound_Flow(t *testing.T) {
	r, k := joined(t)
	base := r.globalModel("pump", 3, 5, 2)
	r.startRound(k, task{"pump", 4, 1}, base, time.Minute)
	a := expect(t, k, answers)
	if !a.GetAccepted() || a.GetJob() != "pump" || a.GetRound() != 4 || a.GetAttempt() != 1 {
		t.Errorf("answer is %v", a)
	}
	// The node learned 2+1 in every element and weighs as much as the seed says.
	want := &fedavg.Update{
		Job: "pump", Round: 4, Attempt: 1, Agent: "hall-3", Base: base.GetSha256(), Weight: 7,
		Vectors: []fedavg.Vector{{Name: "w", F32: []float32{3, 3, 3, 3, 3}}}, Metrics: map[string]float64{"loss": 0.5},
	}
	if d := cmp.Diff(want, r.arrived(task{"pump", 4, 1})); d != "" {
		t.Errorf("update differs (-want +got):\n%s", d)
	}
	r.outboxEmpty()
	if d := cmp.Diff([]job.Spec{r.specs["pump"]}, r.node.jobs); d != "" {
		t.Errorf("jobs differ:\n%s", d)
	}
	if s := r.up.State(); s.UpdatesDelivered != 1 || s.Training != "" {
		t.Errorf("state is %+v", s)
	}
}

func TestRound_AnnouncedTwiceWhileTraining(t *testing.T) {
	r, k := joined(t)
	training, proceed := make(chan struct{}, 8), make(chan struct{})
	r.node.train = func(ctx context.Context, j string, g []fedavg.Vector, seed uint64) (fedavg.Update, error) {
		training <- struct{}{}
		<-proceed
		return answerWith(1)(ctx, j, g, seed)
	}
	base := r.globalModel("pump", 1, 3, 0)
	id := task{"pump", 2, 1}
	r.startRound(k, id, base, time.Minute)
	<-training
	r.startRound(k, id, base, time.Minute)
	for range 2 {
		if a := expect(t, k, answers); !a.GetAccepted() {
			t.Errorf("answer is %v", a)
		}
	}
	// The session goes on during training: a change is still told.
	r.node.change(func() { r.node.status.ReceivedSamples = 42 })
	expect(t, k, func(m *fedpb.FromAgent) (bool, bool) { return true, m.GetStatus().GetReceivedSamplesTotal() == 42 })
	if s := r.up.State(); s.Training != "pump" {
		t.Errorf("state names %q as training", s.Training)
	}
	close(proceed)
	r.arrived(id)
	r.outboxEmpty()
	// Announced once more, the same update answers, without training.
	r.startRound(k, id, base, time.Minute)
	r.eventually("second receipt", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.receipts) == 2 })
	if !r.receipts[1].GetDuplicate() || r.node.trainings() != 1 {
		t.Errorf("receipts %v after %d trainings", r.receipts, r.node.trainings())
	}
}

func TestRound_SameAnswerAfterRestart(t *testing.T) {
	r, k := joined(t)
	base := r.globalModel("pump", 1, 3, 0)
	id := task{"pump", 2, 1}
	r.startRound(k, id, base, time.Minute)
	r.arrived(id)
	r.outboxEmpty()
	r.stop()
	r.node.train = answerWith(5) // local data moved on
	r.run()
	k = r.session()
	r.sendJobs(k)
	r.startRound(k, id, base, time.Minute)
	r.eventually("second receipt", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return len(r.receipts) == 2 })
	if r.node.trainings() != 1 {
		t.Error("trained again for a round already answered")
	}
	// The same round from another model is another history: it is trained for.
	r.set(func() { delete(r.updates, id) })
	r.startRound(k, id, r.globalModel("pump", 1, 3, 9), time.Minute)
	if u := r.arrived(id); u.Vectors[0].F32[0] != 14 {
		t.Errorf("update holds %v, want 9+5", u.Vectors[0].F32[0])
	}
}

func TestRound_UpdateRefused(t *testing.T) {
	r, k := joined(t)
	r.set(func() {
		r.upload = func(task, []byte) error { return status.Error(codes.InvalidArgument, "wrong shape") }
	})
	r.startRound(k, task{"pump", 1, 1}, r.globalModel("pump", 0, 3, 0), time.Minute)
	r.eventually("dropped update", func() bool { return r.up.State().UpdatesDropped[dropRefused] == 1 })
	r.outboxEmpty()
	if !strings.Contains(r.log.String(), "wrong shape") {
		t.Errorf("log does not say why:\n%s", r.log)
	}
}

func TestRound_Declined(t *testing.T) {
	r, k := joined(t)
	base := r.globalModel("pump", 0, 3, 0)
	r.specs["other"] = r.specs["pump"]
	r.startRound(k, task{"other", 1, 1}, base, time.Minute)
	if a := expect(t, k, answers); a.GetAccepted() || !strings.Contains(a.GetReason(), "no such job") {
		t.Errorf("unknown job: %v", a)
	}
	delete(r.specs, "other")
	changed := r.specs["pump"]
	changed.Seed++
	r.specs["pump"] = changed
	r.startRound(k, task{"pump", 1, 1}, base, time.Minute)
	if a := expect(t, k, answers); a.GetAccepted() || !strings.Contains(a.GetReason(), "another definition") {
		t.Errorf("other digest: %v", a)
	}
	r.sendJobs(k) // brings the changed definition
	r.startRound(k, task{"pump", 1, 1}, base, -time.Second)
	if a := expect(t, k, answers); a.GetAccepted() || !strings.Contains(a.GetReason(), "deadline") {
		t.Errorf("past deadline: %v", a)
	}
	r.node.mu.Lock()
	r.node.train = func(context.Context, string, []fedavg.Vector, uint64) (fedavg.Update, error) {
		return fedavg.Update{}, errors.New("too few samples \xff") // not even UTF-8 breaks the session
	}
	r.node.mu.Unlock()
	r.startRound(k, task{"pump", 1, 1}, base, time.Minute)
	if a := expect(t, k, answers); !a.GetAccepted() {
		t.Errorf("first answer: %v", a)
	}
	if a := expect(t, k, answers); a.GetAccepted() || !strings.Contains(a.GetReason(), "too few samples") {
		t.Errorf("second answer: %v", a)
	}
}

func TestRound_UnusableTraining(t *testing.T) {
	r, k := joined(t)
	base := r.globalModel("pump", 0, 3, 0)
	nan := float32(0)
	nan /= nan
	for i, u := range []fedavg.Update{
		{Weight: 1, Vectors: []fedavg.Vector{{Name: "w", F32: []float32{1, nan, 1}}}},
		{Weight: 1, Vectors: []fedavg.Vector{{Name: "w", F32: []float32{1}}}},
		{Weight: 0, Vectors: []fedavg.Vector{{Name: "w", F32: []float32{1, 1, 1}}}},
	} {
		r.node.mu.Lock()
		r.node.train = func(context.Context, string, []fedavg.Vector, uint64) (fedavg.Update, error) { return u, nil }
		r.node.mu.Unlock()
		r.startRound(k, task{"pump", uint64(i + 1), 1}, base, time.Minute)
		expect(t, k, answers)
		if a := expect(t, k, answers); a.GetAccepted() {
			t.Errorf("%d: %v", i, a)
		}
	}
	if len(r.updates) != 0 {
		t.Error("an unusable update was sent")
	}
}

// untilEnd trains until it is told to stop.
func untilEnd(ended chan<- error) func(context.Context, string, []fedavg.Vector, uint64) (fedavg.Update, error) {
	return func(ctx context.Context, _ string, _ []fedavg.Vector, _ uint64) (fedavg.Update, error) {
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return fedavg.Update{}, ctx.Err()
	}
}

func TestRound_EndStopsTraining(t *testing.T) {
	r, k := joined(t)
	ended := make(chan error, 1)
	r.node.train = untilEnd(ended)
	base := r.globalModel("pump", 0, 3, 0)
	r.startRound(k, task{"pump", 1, 1}, base, time.Minute)
	r.eventually("training", func() bool { return r.node.trainings() == 1 })
	r.say(k, &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_RoundEnd{RoundEnd: &fedpb.RoundEnd{Job: "pump", Round: 1, Attempt: 1}}})
	if err := <-ended; !errors.Is(err, errRoundEnded) {
		t.Errorf("training ended with %v", err)
	}
	// The next attempt takes the place of one that is not over yet.
	r.startRound(k, task{"pump", 1, 2}, base, time.Minute)
	r.eventually("training", func() bool { return r.node.trainings() == 2 })
	r.startRound(k, task{"pump", 1, 3}, base, time.Minute)
	if err := <-ended; !errors.Is(err, errSuperseded) {
		t.Errorf("training ended with %v", err)
	}
	r.eventually("training", func() bool { return r.node.trainings() == 3 })
}

func TestRound_DeadlineByTheCoordinatorsClock(t *testing.T) {
	r := newRig(t)
	r.addJob("pump")
	r.clock = -time.Hour // it lives an hour behind us
	r.run()
	k := r.session()
	r.sendJobs(k)
	ended := make(chan error, 1)
	r.node.train = untilEnd(ended)
	r.startRound(k, task{"pump", 1, 1}, r.globalModel("pump", 0, 3, 0), 300*time.Millisecond)
	if a := expect(t, k, answers); !a.GetAccepted() {
		t.Errorf("first answer: %v", a)
	}
	if err := <-ended; !errors.Is(err, errDeadline) {
		t.Errorf("training ended with %v", err)
	}
	if a := expect(t, k, answers); a.GetAccepted() || !strings.Contains(a.GetReason(), "deadline") {
		t.Errorf("second answer: %v", a)
	}
}

func TestRound_TrainingsTakeTurns(t *testing.T) {
	r := newRig(t)
	for _, j := range []string{"a", "b", "c"} {
		r.addJob(j)
	}
	r.run()
	k := r.session()
	r.sendJobs(k)
	var mu sync.Mutex
	busy := 0
	r.node.train = func(ctx context.Context, j string, g []fedavg.Vector, seed uint64) (fedavg.Update, error) {
		mu.Lock()
		if busy++; busy > 1 {
			t.Error("two trainings at once")
		}
		mu.Unlock()
		time.Sleep(10 * time.Millisecond)
		mu.Lock()
		busy--
		mu.Unlock()
		return answerWith(1)(ctx, j, g, seed)
	}
	for _, j := range []string{"a", "b", "c"} {
		r.startRound(k, task{j, 1, 1}, r.globalModel(j, 0, 3, 0), time.Minute)
	}
	for _, j := range []string{"a", "b", "c"} {
		r.arrived(task{j, 1, 1})
	}
}
