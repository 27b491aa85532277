package uplink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/compress"
	"github.com/millwright-iot/millwright/fedavg/failpoint"
	"github.com/millwright-iot/millwright/fedavg/fedpb"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// training is a round this gateway takes part in.
type training struct {
	task
	model    *fedpb.Blob
	state    *fedpb.Blob // of the strategy, nil if it is of no use here
	deadline time.Time   // by our clock
	seed     uint64
	keep     bool                    // give way to an earlier round of the job that is here already
	cancel   context.CancelCauseFunc // set while it runs
	ended    bool                    // it runs, but for nobody
}

func (n *training) end(why error) {
	n.ended = true
	n.cancel(why)
}

// trainer holds the rounds to train for: one runs, the others wait. It outlives
// sessions, since a lost connection is no reason to lose work.
type trainer struct {
	mu      sync.Mutex
	waiting []*training
	running *training
	session *session      // to answer through, if there is one
	wake    chan struct{} // one slot: something waits
}

var (
	errRoundEnded = errors.New("round ended")
	errSuperseded = errors.New("round was announced anew")
	errDeadline   = errors.New("training did not end before the round's deadline")
)

func newTrainer() *trainer { return &trainer{wake: make(chan struct{}, 1)} }

func (t *trainer) attach(s *session) { t.mu.Lock(); t.session = s; t.mu.Unlock() }
func (t *trainer) detach(s *session) { t.mu.Lock(); t.session = nil; t.mu.Unlock() }

// job returns the job that is being trained.
func (t *trainer) job() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running == nil {
		return ""
	}
	return t.running.Job
}

// busy says whether t is being trained for.
func (t *trainer) busy(k task) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.running != nil && t.running.task == k
}

// add lets n wait for its turn. A round that is here already stays as it is;
// what is here of another round of the same job gives way.
func (t *trainer) add(n *training) {
	t.mu.Lock()
	defer t.mu.Unlock()
	same := func(o *training) bool { return o.task == n.task && o.model.GetSha256() == n.model.GetSha256() }
	if slices.ContainsFunc(t.waiting, same) {
		return
	}
	busy := func(o *training) bool { return o.Job == n.Job && !o.ended && n.after(o.task) }
	if n.keep && (t.running != nil && busy(t.running) || slices.ContainsFunc(t.waiting, busy)) {
		return
	}
	if t.running != nil && t.running.Job == n.Job {
		if same(t.running) && !t.running.ended {
			return
		}
		t.running.end(errSuperseded)
	}
	t.waiting = slices.DeleteFunc(t.waiting, func(o *training) bool { return o.Job == n.Job })
	t.waiting = append(t.waiting, n)
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// end stops work on a round that is over.
func (t *trainer) end(k task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = slices.DeleteFunc(t.waiting, func(o *training) bool { return o.task == k })
	if t.running != nil && t.running.task == k {
		t.running.end(errRoundEnded)
	}
}

// next takes the next round to train for, with the context to do it in, or nil.
func (t *trainer) next(ctx context.Context) (*training, context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running = nil
	if len(t.waiting) == 0 {
		return nil, nil
	}
	n := t.waiting[0]
	t.waiting = t.waiting[1:]
	ctx, n.cancel = context.WithCancelCause(ctx)
	t.running = n
	return n, ctx
}

// answer tells the coordinator, if it can be told now. If not, it will announce
// the round again to the next session.
func (t *trainer) answer(a *fedpb.RoundAnswer) {
	t.mu.Lock()
	s := t.session
	t.mu.Unlock()
	if s != nil {
		s.answer(a)
	}
}

func answerOf(k task, declined string) *fedpb.RoundAnswer {
	return &fedpb.RoundAnswer{Job: k.Job, Round: k.Round, Attempt: k.Attempt, Accepted: declined == "", Reason: clean(declined)}
}

// announced takes in a RoundStart and returns the answer to it.
func (u *Uplink) announced(r *fedpb.RoundStart, offset time.Duration) *fedpb.RoundAnswer {
	k := task{r.GetJob(), r.GetRound(), r.GetAttempt()}
	switch digest := u.digestOf(k.Job); {
	case digest == "":
		return answerOf(k, "this gateway has no such job")
	case digest != r.GetDigest():
		return answerOf(k, "this gateway has another definition of the job, with digest "+digest)
	case r.GetModel() == nil || r.GetDeadline().CheckValid() != nil:
		return answerOf(k, "the announcement names no model or no deadline")
	}
	if u.box.Load().claim(k, r.GetModel().GetSha256()) {
		return answerOf(k, "")
	}
	deadline := r.GetDeadline().AsTime().Add(-offset)
	if !time.Now().Before(deadline) {
		return answerOf(k, "the deadline has passed")
	}
	u.trainer.add(&training{task: k, model: r.GetModel(), state: r.GetState(), deadline: deadline, seed: r.GetSeed(), keep: r.GetKeepEarlier()})
	return answerOf(k, "")
}

func (u *Uplink) roundEnded(r *fedpb.RoundEnd) {
	u.trainer.end(task{r.GetJob(), r.GetRound(), r.GetAttempt()})
	u.log.Info("round ended", "job", r.GetJob(), "round", r.GetRound(), "attempt", r.GetAttempt(), "committed", r.GetCommitted(), "reason", r.GetReason())
}

// train works off the rounds until ctx ends.
func (u *Uplink) train(ctx context.Context) {
	for {
		n, tctx := u.trainer.next(ctx)
		if n == nil {
			select {
			case <-u.trainer.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		tctx, stop := context.WithDeadlineCause(tctx, n.deadline, errDeadline)
		err := u.learn(tctx, n)
		cause := context.Cause(tctx)
		stop()
		n.cancel(nil)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
		case errors.Is(cause, errRoundEnded) || errors.Is(cause, errSuperseded):
			// Nobody waits for an answer.
		default:
			if errors.Is(cause, errDeadline) {
				err = fmt.Errorf("%w: %w", cause, err)
			}
			u.log.Warn("round declined", "job", n.Job, "round", n.Round, "attempt", n.Attempt, "reason", err)
			u.trainer.answer(answerOf(n.task, err.Error()))
		}
	}
}

// learn trains for one round and puts the update into the outbox.
func (u *Uplink) learn(ctx context.Context, n *training) error {
	model, err := u.fetch(ctx, n.model)
	if err != nil {
		return err
	}
	blob, err := model.bytes()
	if err != nil {
		return err
	}
	failpoint.Here(failpoint.ModelFetched)
	global, err := fedavg.DecodeGlobal(blob, nil)
	if err != nil {
		return fmt.Errorf("model to start from: %w", err)
	}
	if global.Job != n.Job {
		return fmt.Errorf("model to start from is of job %q", global.Job)
	}
	layout := fedavg.LayoutOf(global.Vectors)
	began := time.Now()
	spec, ok := u.specOf(n.Job)
	if !ok {
		return errors.New("this gateway has no such job any more")
	}
	strategy, err := spec.NewStrategy()
	if err != nil {
		return err
	}
	from := Start{Global: global.Vectors, Version: global.Version, Seed: n.seed}
	if err := u.controls(ctx, n, spec, strategy.StateLayout(layout), &from); err != nil {
		return err
	}
	learned, err := u.node.Train(ctx, n.Job, from)
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	update := learned.Update
	update.Job, update.Round, update.Attempt = n.Job, n.Round, n.Attempt
	update.Agent, update.Base = u.cfg.Gateway, n.model.GetSha256()
	sends := strategy.UpdateLayout(layout)
	if err := update.Verify(sends); err != nil {
		return err
	}
	data, left, err := u.encode(&update, n, spec, sends)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // the round is over: nobody would take it
	}
	failpoint.Here(failpoint.Trained)
	if err := errors.Join(u.memory.stage(n.task, ownControl, learned.OwnControl), u.memory.stage(n.task, residual, left)); err != nil {
		return err
	}
	if err := u.box.Load().put(n.task, update.Base, data); err != nil {
		return err
	}
	failpoint.Here(failpoint.OutboxPut)
	u.log.Info("trained for a round", "job", n.Job, "round", n.Round, "attempt", n.Attempt, "weight", update.Weight,
		"size_bytes", len(data), "training_ms", time.Since(began).Milliseconds())
	return nil
}

// controls adds the control variates to what training begins with, if the job's
// strategy has them; those of a first round are zero.
func (u *Uplink) controls(ctx context.Context, n *training, spec job.Spec, layout fedavg.Layout, from *Start) error {
	if !spec.Strategy.SharesState() {
		return nil
	}
	from.ServerControl = layout.New()
	if n.state != nil {
		blob, err := u.fetch(ctx, n.state)
		if err != nil {
			return fmt.Errorf("state of the strategy: %w", err)
		}
		data, err := blob.bytes()
		if err != nil {
			return err
		}
		if from.ServerControl, err = fedavg.DecodeState(data, layout); err != nil {
			return err
		}
	}
	from.OwnControl = u.memory.load(n.Job, ownControl, u.digestOf(n.Job), layout)
	return nil
}

// encode makes the bytes of an update, by the first method of the job that this
// agent knows, and returns what compression left out.
func (u *Uplink) encode(update *fedavg.Update, n *training, spec job.Spec, layout fedavg.Layout) (data []byte, left []fedavg.Vector, err error) {
	family, err := spec.Family()
	if err != nil {
		return nil, nil, err
	}
	method := compress.Choose(spec.Compression, family.Learning())
	options := compress.Options{Seed: n.seed}
	if method == compress.TopK {
		options.Residual = u.memory.load(n.Job, residual, u.digestOf(n.Job), layout)
	}
	return compress.Encode(update, method, options)
}
