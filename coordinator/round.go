package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/release"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/fedavg/failpoint"
)

// The life of a round, one state machine a job:
//
//	waiting ──enough ready, Every over──▶ open ──all delivered, or deadline──▶ closed ──▶ committed
//	   ▲                                    │ too few updates                             │
//	   └──────────── abandoned ◀────────────┘                                             │
//	   └──────────────────────────────────────────────────────────────────────────────────┘
//
// Each arrow is one compare-and-set of the job's head. What an arrow needs is in
// the head or durable before it, so that a crash between two arrows repeats the
// second and changes nothing.

// storePause is the wait after the store refused a write, e.g. on a full disk.
const storePause = 5 * time.Second

// maxRetryPause bounds the growing wait between attempts at a round.
const maxRetryPause = 5 * time.Minute

// run drives the job until ctx ends. It returns an error only when another
// process changed the job's head, for then there are two coordinators.
func (j *jobState) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		pause, err := j.step(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case isConflict(err):
			return fmt.Errorf("run job %q: %w; stop the other coordinator on this store", j.spec.Name, err)
		case err != nil:
			j.c.metrics.storeErrors.Inc()
			j.c.log.Error("cannot advance round; will try again", "job", j.spec.Name, "error", err, "pause", storePause)
			pause = storePause
		case pause == 0:
			continue
		}
		timer.Reset(pause)
		wake := j.wake
		if err != nil {
			wake = nil // updates arriving must not turn the pause into a storm
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-timer.C:
		}
	}
}

// idle is how long step waits when only an event can change something.
const idle = time.Hour

// step makes at most one transition and returns how long nothing will happen by
// itself; 0 means look again at once.
func (j *jobState) step(ctx context.Context) (time.Duration, error) {
	switch {
	case j.doubt != nil:
		return 0, j.resolve(ctx)
	case j.unwritten != nil:
		return 0, j.settle(ctx)
	case j.mustForget():
		return 0, j.forget(ctx)
	case j.cur == nil && j.done():
		return idle, nil
	case j.cur == nil:
		wait := time.Until(j.head.NotBefore)
		early, drifts := j.drifts()
		if wait > 0 && !drifts && !j.async() {
			return j.watchful(wait), nil
		}
		gateways, want := j.selectReady()
		if len(gateways) == 0 {
			return idle, nil
		}
		if wait > 0 && drifts {
			j.tellEarly(early)
		}
		return 0, j.start(ctx, gateways, want)
	case j.cur.Closed:
		return 0, j.commit(ctx)
	}
	judge := j.standing
	if j.async() {
		j.assign()
		judge = j.standingAsync
	}
	why, wait := judge()
	switch why {
	case goesOn:
		return wait, nil
	case enough:
		return 0, j.close(ctx)
	}
	return 0, j.abandon(ctx, j.shortfall())
}

// start opens the next attempt.
func (j *jobState) start(ctx context.Context, gateways []string, want int) error {
	now := time.Now()
	next := j.head
	next.Attempt++
	next.Open = &openRound{
		Round: next.Version + 1, Attempt: next.Attempt,
		Started: now, Deadline: now.Add(j.spec.Rounds.Deadline), Gateways: gateways, Want: want,
	}
	failpoint.Here(failpoint.RoundStarts)
	return j.swap(ctx, next)
}

// enter makes next the present head, and does what follows from the transition.
func (j *jobState) enter(next head, revision uint64) {
	for _, old := range []store.Blob{j.head.Model, j.head.State} {
		if old != next.Model && old != next.State {
			j.replaced = append(j.replaced, old.SHA256)
		}
	}
	before := j.head
	j.revision = revision
	j.c.mu.Lock()
	j.head = next
	j.dropTaken()
	j.c.mu.Unlock()
	switch {
	case next.Open != nil && j.cur == nil:
		failpoint.Here(failpoint.RoundStarted)
		j.announce()
	case next.Open == nil && j.cur != nil:
		failpoint.Here(failpoint.RoundCommitted)
		j.ended(*next.Last)
	case len(before.Forgetting) > 0 && len(next.Forgetting) == 0:
		j.forgotten(before.Forgetting, *next.Last)
	}
}

// announce tells the participants of the round that the head has opened.
func (j *jobState) announce() {
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	j.cur = newRound(*j.head.Open, j.head.Model)
	if j.async() {
		j.gather()
		j.c.notify()
		return
	}
	for _, name := range j.cur.Gateways {
		if g := j.c.gateways[name]; g != nil && g.peer != nil {
			g.peer.Send(j.announcement())
		}
	}
	j.c.notify()
	j.c.log.Debug("started round", "job", j.spec.Name, "round", j.cur.Round, "attempt", j.cur.Attempt, "gateways", len(j.cur.Gateways))
}

// announcement is the RoundStart of the open round. c.mu is held.
func (j *jobState) announcement() rpc.RoundStart {
	return rpc.RoundStart{
		Job: j.spec.Name, Digest: j.digest, Round: j.cur.Round, Attempt: j.cur.Attempt,
		Model: j.cur.base, State: j.sharedState(), Deadline: j.cur.Deadline, Seed: j.spec.Seed + j.cur.Round,
	}
}

// close fixes whose updates count, before anything is computed of them.
func (j *jobState) close(ctx context.Context) error {
	j.c.mu.Lock()
	// From here on an update is late, whatever becomes of the write below: if it
	// fails the round is closed in memory and the write is tried again by commit.
	j.cur.Closed = true
	for _, name := range slices.Sorted(maps.Keys(j.cur.parts)) {
		if j.cur.parts[name].State == received && !j.async() { // there all wait, see countWaiting
			j.cur.Counted = append(j.cur.Counted, name)
		}
	}
	j.cur.Carried = j.countWaiting()
	j.c.mu.Unlock()
	return j.writeClosed(ctx)
}

func (j *jobState) writeClosed(ctx context.Context) error {
	next := j.head
	open := j.cur.openRound
	next.Open = &open
	failpoint.Here(failpoint.RoundCloses)
	err := j.swap(ctx, next)
	failpoint.Here(failpoint.RoundClosed)
	return err
}

// commit makes the next version of the counted updates and releases it.
func (j *jobState) commit(ctx context.Context) error {
	if !j.head.Open.Closed {
		return j.writeClosed(ctx)
	}
	phases := map[string]float64{}
	global, state, err := j.aggregate(ctx, phases)
	if errors.Is(err, errUnusable) {
		return j.abandon(ctx, err.Error())
	}
	if err != nil {
		return err
	}
	failpoint.Here(failpoint.RoundMerged)
	merged := time.Now()
	stateBlob, unpinState, err := j.writeState(ctx, state)
	if err != nil {
		return err
	}
	defer unpinState()
	global.State = stateBlob.SHA256
	blob, unpin, err := j.c.writeGlobal(ctx, global)
	if err != nil {
		return err
	}
	defer unpin()
	failpoint.Here(failpoint.RoundStored)
	now := time.Now()
	summary := j.summary(now)
	phases["store"] = now.Sub(merged).Seconds()
	summary.State, summary.Metrics, summary.Phases = "committed", global.Metrics, phases
	version := release.Version{
		Job: j.spec.Name, Version: global.Version, Spec: j.digest, Lineage: j.lineage, Blob: blob,
		Parameters: j.layout.Size(), Committed: now, Participants: global.Participants, Weight: global.Weight, Metrics: global.Metrics,
	}
	next := j.head
	next.Version, next.Model, next.Open = global.Version, blob, nil
	next.State, next.Strategy = stateBlob, j.spec.Strategy.Name
	next.Taken = j.taken()
	next.Attempt, next.Failures = 0, 0
	next.Commits++
	next.NotBefore = now.Add(j.spec.Rounds.Every)
	next.Last = &outcome{Round: summary, Version: &version}
	return j.swap(ctx, next)
}

// abandon ends an attempt that cannot succeed; the next follows after a pause.
func (j *jobState) abandon(ctx context.Context, reason string) error {
	now := time.Now()
	summary := j.summary(now)
	summary.State, summary.Reason = "abandoned", reason
	next := j.head
	next.Open = nil
	// Carried updates of a closed round have been tried: they are given up, or the
	// next attempt would fail as this one did.
	next.Taken = j.taken()
	next.NotBefore = now.Add(retryPause(j.c.cfg.Limits.RetryPause, next.Failures))
	next.Failures++
	next.Last = &outcome{Round: summary}
	return j.swap(ctx, next)
}

// retryPause doubles with each failure in a row, up to maxRetryPause.
func retryPause(first time.Duration, failures int) time.Duration {
	return max(first, min(first<<min(failures, 16), maxRetryPause))
}

// ended tells everyone how the round ended, and leaves the writing of its history
// to settle.
func (j *jobState) ended(o outcome) {
	j.unwritten = &o
	j.remember(o)
	j.c.mu.Lock()
	participants := j.finished()
	j.cur = nil
	end := rpc.RoundEnd{
		Job: j.spec.Name, Round: o.Round.Round, Attempt: o.Round.Attempt,
		Committed: o.Version != nil, Reason: o.Round.Reason,
	}
	for _, name := range participants {
		if g := j.c.gateways[name]; g != nil && g.peer != nil {
			g.peer.Send(end)
		}
	}
	if o.Version != nil {
		j.spread(*o.Version)
	}
	j.c.notify()
	j.c.mu.Unlock()
	j.c.metrics.roundEnded(o.Round)
	j.logEnd(o)
}

// spread tells every connected gateway of the class to run v. c.mu is held.
func (j *jobState) spread(v release.Version) {
	for _, g := range j.c.gateways {
		if g.peer != nil && g.classes[j.spec.Class] {
			g.peer.Send(j.releaseOf(v))
		}
	}
}

// settle writes the history of the round that just ended and deletes what only
// that round needed.
func (j *jobState) settle(ctx context.Context) error {
	if err := j.writeHistory(ctx, *j.unwritten); err != nil {
		return err
	}
	failpoint.Here(failpoint.RoundWritten)
	if err := j.tidy(ctx); err != nil {
		return err
	}
	failpoint.Here(failpoint.RoundTidied)
	j.unwritten = nil
	return nil
}

// logEnd writes the one line a round gets.
func (j *jobState) logEnd(o outcome) {
	r := o.Round
	args := []any{"job", r.Job, "round", r.Round, "attempt", r.Attempt, "participants", countReceived(r),
		"bytes_in", r.BytesIn, "bytes_out", r.BytesOut, "seconds", r.Seconds}
	if loss, ok := r.Metrics["loss"]; ok {
		args = append(args, "loss", loss)
	}
	if o.Version == nil {
		j.c.log.Warn("abandoned round", append(args, "reason", r.Reason)...)
		return
	}
	j.c.log.Info("committed round", append(args, "version", o.Version.Version)...)
}

func countReceived(r fleet.Round) int {
	n := 0
	for _, p := range r.Participants {
		if p.State == received {
			n++
		}
	}
	return n
}

// releaseOf is what tells a gateway to run v.
func (j *jobState) releaseOf(v release.Version) rpc.Release {
	return rpc.Release{Job: j.spec.Name, Digest: j.digest, Version: v.Version, Model: v.Blob}
}
