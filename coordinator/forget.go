package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/release"
	"github.com/millwright-iot/millwright/fedavg"
)

// Forgotten is what became of one job when a gateway was to be forgotten.
type Forgotten struct {
	Job string `json:"job"`
	// Exact says that the job learns by statistics, so that what the gateway
	// contributed can be taken out; else only what is not merged yet can.
	Exact bool `json:"exact"`
	// Removed says whether there was anything to remove.
	Removed bool `json:"removed"`
	// Version is the model made without the gateway, 0 if none was needed, and
	// Contributors how many gateways are left in it.
	Version      uint64 `json:"version,omitempty"`
	Contributors int    `json:"contributors"`
}

// forgetting is a person waiting for a gateway to be forgotten.
type forgetting struct {
	gateway string
	began   bool // the head knows
	done    chan Forgotten
	result  Forgotten
}

// askForget has taken out of a job what gateway contributed, and returns when that is
// durable and announced, or when ctx ends. It goes on in the latter case too.
func (j *jobState) askForget(ctx context.Context, gateway string) (Forgotten, error) {
	f := &forgetting{gateway: gateway, done: make(chan Forgotten, 1)}
	f.result = Forgotten{Job: j.spec.Name, Exact: j.learnsSums()}
	j.c.mu.Lock()
	j.requests = append(j.requests, f)
	j.c.mu.Unlock()
	j.poke()
	select {
	case result := <-f.done:
		return result, nil
	case <-ctx.Done():
		return Forgotten{}, fmt.Errorf("forget gateway %q in job %q: not done yet, it goes on; see the log: %w", gateway, j.spec.Name, ctx.Err())
	}
}

// mustForget says whether there is something to forget now. A closed round is
// committed first: its updates are fixed.
func (j *jobState) mustForget() bool {
	if j.cur != nil && j.cur.Closed {
		return false
	}
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	return len(j.head.Forgetting) > 0 || slices.ContainsFunc(j.requests, func(f *forgetting) bool { return !f.began })
}

// forget makes one step towards forgetting: it takes up what people asked for,
// which ends an open round; or else makes the version without.
func (j *jobState) forget(ctx context.Context) error {
	j.c.mu.Lock()
	var asked *forgetting
	if i := slices.IndexFunc(j.requests, func(f *forgetting) bool { return !f.began }); i >= 0 {
		asked = j.requests[i]
	}
	j.c.mu.Unlock()
	if asked != nil {
		return j.beginForget(ctx, asked)
	}
	return j.commitForget(ctx)
}

// beginForget makes the wish durable, in the same write that ends a round in
// which the gateway's update is waiting, or ends it at once if there is nothing of
// the gateway here.
func (j *jobState) beginForget(ctx context.Context, f *forgetting) error {
	waited, err := j.dropWaiting(ctx, f.gateway)
	if err != nil {
		return err
	}
	f.result.Removed = f.result.Removed || waited
	next := j.head
	inRound := j.holdsUpdateOf(f.gateway)
	inLedger := false
	if j.ledger != nil {
		_, inLedger = j.ledger.Find(f.gateway)
		inLedger = inLedger || slices.Contains(next.Forgetting, f.gateway)
	}
	if !inRound && !inLedger {
		j.finish(f)
		return nil
	}
	if inLedger && !slices.Contains(next.Forgetting, f.gateway) {
		next.Forgetting = slices.Sorted(slices.Values(append(slices.Clone(next.Forgetting), f.gateway)))
	}
	if j.cur != nil {
		now := time.Now()
		summary := j.summary(now)
		summary.State, summary.Reason = "abandoned", fmt.Sprintf("gateway %s is being forgotten; the round is tried again", f.gateway)
		next.Open, next.NotBefore, next.Last = nil, now, &outcome{Round: summary}
	}
	if err := j.swap(ctx, next); err != nil {
		return err
	}
	f.result.Removed = true
	if !inLedger {
		j.finish(f)
		return nil
	}
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	f.began = true
	return nil
}

// holdsUpdateOf says whether the open round has an update of the gateway that
// ends with it.
func (j *jobState) holdsUpdateOf(gateway string) bool {
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	return j.cur != nil && !j.async() && j.cur.parts[gateway] != nil && j.cur.parts[gateway].State == received
}

// dropWaiting deletes an update of the gateway that waits for a round to count in.
func (j *jobState) dropWaiting(ctx context.Context, gateway string) (was bool, err error) {
	j.c.mu.Lock()
	update, was := j.waiting[gateway]
	j.c.mu.Unlock()
	if !was {
		return false, nil
	}
	if err := deleteRecord(ctx, j.c.st, waitingKey(j.spec.Name, gateway)); err != nil {
		return false, err
	}
	j.c.mu.Lock()
	delete(j.waiting, gateway)
	if j.async() && j.cur != nil && j.cur.parts[gateway] != nil {
		p := j.cur.parts[gateway]
		p.State, p.Reason, p.digest = declined, "its update was removed, to forget it", ""
	}
	j.c.notify()
	j.c.mu.Unlock()
	return true, j.c.dropBlobs(ctx, update.Blob.SHA256)
}

// finish tells the person.
func (j *jobState) finish(f *forgetting) {
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	j.requests = slices.DeleteFunc(j.requests, func(other *forgetting) bool { return other == f })
	f.done <- f.result
}

// commitForget removes the contributions and makes a version of the others'. It
// counts as no round: nobody learned anything.
func (j *jobState) commitForget(ctx context.Context) error {
	gone := j.head.Forgetting
	for _, gateway := range gone {
		blob, err := j.ledger.Remove(ctx, gateway)
		if err != nil {
			return err
		}
		if err := j.c.dropBlobs(ctx, blob); err != nil {
			return err
		}
	}
	version := j.head.Version + 1
	global := &fedavg.Global{
		Job: j.spec.Name, Version: version, SpecDigest: j.digest, Base: j.head.Model.SHA256,
		Round: version, Attempt: j.head.Attempt + 1, Seed: j.spec.Seed,
	}
	left := &contributions{ctx: ctx, j: j, list: j.ledger.All()}
	initial := j.family.Init(j.spec.Seed)
	result, err := j.strategy.Aggregate(initial, nil, left)
	switch {
	case errors.Is(err, fedavg.ErrNoUpdates):
		global.Vectors = initial
	case err != nil:
		return err
	default:
		global.Vectors, global.Weight, global.Participants = result.Vectors, result.Weight, result.Participants
	}
	blob, unpin, err := j.c.writeGlobal(ctx, global)
	if err != nil {
		return err
	}
	defer unpin()
	now := time.Now()
	next := j.head
	next.Version, next.Model, next.Forgetting = version, blob, nil
	next.Attempt, next.Failures = 0, 0
	next.Last = &outcome{
		Round: fleet.Round{
			Job: j.spec.Name, Round: version, Attempt: global.Attempt, State: "committed", Started: now, Ended: now,
			Participants: []fleet.Participant{}, Reason: "no round: made without " + strings.Join(gone, ", ") + ", to forget it",
		},
		Version: &release.Version{
			Job: j.spec.Name, Version: version, Spec: j.digest, Lineage: j.lineage, Blob: blob,
			Parameters: j.layout.Size(), Committed: now, Participants: global.Participants, Weight: global.Weight,
		},
	}
	return j.swap(ctx, next)
}

// forgotten announces the version that commitForget made, and tells the people
// who asked for it. It is called by enter.
func (j *jobState) forgotten(gateways []string, o outcome) {
	j.unwritten = &o
	j.remember(o)
	j.c.mu.Lock()
	j.spread(*o.Version)
	j.c.notify()
	waiting := slices.Clone(j.requests)
	j.c.mu.Unlock()
	j.c.log.Info("forgot gateways", "job", j.spec.Name, "gateways", gateways, "version", o.Version.Version, "contributors", o.Version.Participants)
	for _, f := range waiting {
		if slices.Contains(gateways, f.gateway) {
			f.result.Removed, f.result.Version, f.result.Contributors = true, o.Version.Version, o.Version.Participants
			j.finish(f)
		}
	}
}

// Forget takes out of every job, or of the one named, what a gateway contributed.
// The gateway stays enrolled: unless it is removed as well, it takes part again.
func (c *Coordinator) Forget(ctx context.Context, gateway, job string) ([]Forgotten, error) {
	out := []Forgotten{}
	for _, j := range c.jobs {
		if job != "" && j.spec.Name != job {
			continue
		}
		result, err := j.askForget(ctx, gateway)
		if err != nil {
			return out, err
		}
		out = append(out, result)
	}
	return out, c.knowsJob(job)
}

// knowsJob is an error for the name of a job that is not there; "" is all jobs.
func (c *Coordinator) knowsJob(name string) error {
	if name == "" || c.job(name) != nil {
		return nil
	}
	var names []string
	for _, j := range c.jobs {
		names = append(names, j.spec.Name)
	}
	return fmt.Errorf("there is no job %q; jobs are %s", name, strings.Join(names, ", "))
}
