package uplink

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millwright-iot/millwright/fedavg"
)

func TestRound_CoordinatorKilledWhileTraining(t *testing.T) {
	r, k := joined(t)
	training, proceed := make(chan struct{}, 8), make(chan struct{})
	r.node.train = func(ctx context.Context, j string, g []fedavg.Vector, seed uint64) (fedavg.Update, error) {
		training <- struct{}{}
		<-proceed
		return answerWith(1)(ctx, j, g, seed)
	}
	id := task{"pump", 1, 1}
	base := r.globalModel("pump", 0, 3, 0)
	r.startRound(k, id, base, time.Minute)
	<-training
	r.kill()
	r.eventually("loss of the connection", func() bool { return !r.up.State().Connected })
	r.start()
	k = r.session()
	r.sendJobs(k)
	r.startRound(k, id, base, time.Minute) // it is still open
	if a := expect(t, k, answers); !a.GetAccepted() {
		t.Errorf("answer is %v", a)
	}
	close(proceed)
	r.arrived(id)
	r.outboxEmpty()
	if r.node.trainings() != 1 {
		t.Errorf("trained %d times", r.node.trainings())
	}
}

func TestRound_TrainedWhileCoordinatorIsAway(t *testing.T) {
	r, k := joined(t)
	proceed := make(chan struct{})
	r.node.train = func(ctx context.Context, j string, g []fedavg.Vector, seed uint64) (fedavg.Update, error) {
		<-proceed
		return answerWith(1)(ctx, j, g, seed)
	}
	id := task{"pump", 1, 1}
	r.startRound(k, id, r.globalModel("pump", 0, 3, 0), time.Minute)
	r.eventually("training", func() bool { return r.node.trainings() == 1 })
	r.kill()
	close(proceed)
	r.eventually("update in the outbox", func() bool { return r.up.State().OutboxUpdates == 1 })
	r.start()
	r.session()
	r.arrived(id) // offered before anything was announced again
}

func TestRound_CoordinatorKilledDuringUpload(t *testing.T) {
	r, k := joined(t)
	killed := make(chan struct{})
	r.set(func() {
		r.upload = func(task, []byte) error {
			select {
			case <-killed:
				return nil
			default:
				close(killed)
				return status.Error(codes.Unavailable, "killed after the first chunk")
			}
		}
	})
	id := task{"pump", 1, 1}
	// 1.2 MB: five chunks.
	r.startRound(k, id, r.globalModel("pump", 0, 300_000, 0), time.Minute)
	<-killed
	r.kill()
	if r.up.State().OutboxUpdates != 1 {
		t.Error("the outbox lost an update that was not acknowledged")
	}
	r.start()
	if u := r.arrived(id); len(u.Vectors[0].F32) != 300_000 {
		t.Errorf("update has %d elements", len(u.Vectors[0].F32))
	}
	r.outboxEmpty()
	if r.node.trainings() != 1 || len(r.receipts) != 1 {
		t.Errorf("%d trainings, %d receipts", r.node.trainings(), len(r.receipts))
	}
}

func TestRound_ReceiptLost(t *testing.T) {
	r, k := joined(t)
	var once sync.Once
	r.set(func() {
		r.receipt = func(task) (err error) {
			once.Do(func() { err = status.Error(codes.Unavailable, "killed before the receipt") })
			return err
		}
	})
	id := task{"pump", 1, 1}
	r.startRound(k, id, r.globalModel("pump", 0, 3, 0), time.Minute)
	r.arrived(id)
	r.outboxEmpty()
	if len(r.receipts) != 1 || !r.receipts[0].GetDuplicate() {
		t.Errorf("receipts %v, want one that says duplicate", r.receipts)
	}
}

func TestRound_AgentRestartsWithUpdateInOutbox(t *testing.T) {
	r, k := joined(t)
	r.set(func() {
		r.upload = func(task, []byte) error { return status.Error(codes.ResourceExhausted, "disk full") }
	})
	id := task{"pump", 1, 1}
	base := r.globalModel("pump", 0, 3, 0)
	r.startRound(k, id, base, time.Minute)
	r.eventually("update in the outbox", func() bool { return r.up.State().OutboxUpdates == 1 })
	r.stop()
	r.set(func() { r.upload = nil })
	r.node.train = answerWith(5)
	r.run()
	k = r.session()
	r.sendJobs(k)
	r.startRound(k, id, base, time.Minute)
	if u := r.arrived(id); u.Vectors[0].F32[0] != 1 {
		t.Errorf("update holds %v, want what was learned before the restart", u.Vectors[0].F32[0])
	}
	if r.node.trainings() != 1 {
		t.Errorf("trained %d times", r.node.trainings())
	}
}
