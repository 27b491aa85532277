package coordinator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/ledger"
	"github.com/millwright-iot/millwright/coordinator/internal/quarantine"
	"github.com/millwright-iot/millwright/coordinator/internal/release"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/failpoint"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// jobState is one job: what it is, where it stands, and its open round.
type jobState struct {
	c        *Coordinator
	spec     job.Spec // defaults filled in
	json     []byte   // of spec, as agents get it
	digest   string   // of spec
	lineage  string
	family   model.Family
	layout   fedavg.Layout // of the parameters
	updates  fedavg.Layout // of what agents send
	strategy fedavg.Strategy
	wake     chan struct{} // capacity 1: something happened that run should look at

	// head is changed by run (and load before it) alone, under c.mu; so run may
	// read it without, everyone else with c.mu.
	head     head
	revision uint64 // of head in the store; run's alone
	// doubt is the head whose write failed without saying whether it came to
	// pass; run's alone.
	doubt *head
	// unwritten is the outcome whose history is not written yet; run's alone.
	unwritten *outcome
	// replaced are the blobs that the head named before its last change; run's
	// alone. Initial models and states of the strategy are in no history, so
	// nobody else would delete them.
	replaced []string
	// waiting are updates that are to count in a later round than their own, by
	// gateway; guarded by c.mu.
	waiting map[string]updateRecord

	quarantine *quarantine.Book // set by load; nil before
	ledger     *ledger.Ledger   // of a statistics job, set by load; else nil
	requests   []*forgetting    // what people asked for; guarded by c.mu

	book   *release.Book
	rounds []fleet.Round // ended ones, oldest first; guarded by c.mu
	cur    *round        // the open round, or nil; guarded by c.mu
	tasks  tasks         // of an asynchronous job; guarded by c.mu
}

// round is the open round in memory. Its fields are guarded by c.mu.
type round struct {
	openRound
	base     store.Blob
	parts    map[string]*participant
	aside    map[string]string // why an update received does not count, by gateway
	bytesOut atomic.Int64      // of the global model, sent to participants
}

// participant is a gateway's part in the open round.
type participant struct {
	fleet.Participant
	digest string // of the update received
}

func newJob(c *Coordinator, spec job.Spec) (*jobState, error) {
	spec = spec.WithDefaults()
	family, err := spec.Family()
	if err != nil {
		return nil, err
	}
	strategy, err := spec.NewStrategy()
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encode spec: %w", err)
	}
	layout := family.ParamLayout()
	return &jobState{
		c: c, spec: spec, json: data, digest: spec.Digest(), lineage: lineageOf(spec),
		family: family, layout: layout, updates: strategy.UpdateLayout(layout), strategy: strategy,
		waiting: map[string]updateRecord{}, tasks: tasks{}, wake: make(chan struct{}, 1),
	}, nil
}

// lineageOf digests what the parameters of a job depend on. Left out is what can
// change without making worthless what was learned: alarm settings, the role, how
// labels are read, and how rounds are held and their updates sent, examined and merged.
func lineageOf(spec job.Spec) string {
	spec.Alarm, spec.Rounds, spec.Role, spec.Quarantine = job.AlarmSpec{}, job.RoundPolicy{}, "", job.QuarantineSpec{}
	spec.Strategy, spec.Compression, spec.Labels = job.StrategySpec{}, nil, job.LabelSpec{}
	data, err := json.Marshal(spec)
	if err != nil { // NaN, which Validate refuses
		data = []byte(err.Error())
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// load reads the job's state, fits it to the spec and completes the history.
func (j *jobState) load(ctx context.Context) error {
	var stored head
	revision, err := getRecord(ctx, j.c.st, headKey(j.spec.Name), &stored)
	if err != nil {
		return err
	}
	book, err := release.Open(ctx, j.c.st, j.spec.Name)
	if err != nil {
		return err
	}
	records, err := j.c.st.List(ctx, roundPrefix(j.spec.Name))
	if err != nil {
		return fmt.Errorf("list rounds: %w", err)
	}
	rounds := make([]fleet.Round, len(records))
	for i, r := range records {
		if err := json.Unmarshal(r.Value, &rounds[i]); err != nil {
			return fmt.Errorf("decode record %q: %w; restore the data directory from a backup", r.Key, err)
		}
	}
	j.c.mu.Lock()
	j.head, j.revision, j.book, j.rounds = stored, revision, book, rounds
	j.c.mu.Unlock()
	if last := stored.Last; last != nil {
		j.remember(*last)
		if err := j.writeHistory(ctx, *last); err != nil {
			return err
		}
	}
	if err := j.adopt(ctx); err != nil {
		return err
	}
	if err := j.openBooks(ctx); err != nil {
		return err
	}
	if err := j.loadWaiting(ctx); err != nil {
		return err
	}
	return j.resume(ctx)
}

// adopt fits the head to the spec in force: a first start, a spec that learns
// something else (a new lineage from initial parameters; versions go on
// counting), or one that only differs in policy (the model is kept).
func (j *jobState) adopt(ctx context.Context) error {
	if j.revision != 0 && j.head.Spec == j.digest {
		return nil
	}
	next := j.head
	kept := j.head.Lineage == j.lineage
	global := fedavg.Global{Job: j.spec.Name, SpecDigest: j.digest, Seed: j.spec.Seed, Vectors: j.family.Init(j.spec.Seed)}
	if kept {
		old, err := j.readGlobal(ctx, j.head.Model.SHA256)
		if err != nil {
			return err
		}
		old.SpecDigest = j.digest
		if next.Strategy != j.spec.Strategy.Name {
			old.State = ""
		}
		global = *old
	} else {
		next.Commits, next.Failures, next.NotBefore, next.Forgetting = 0, 0, time.Time{}, nil
	}
	blob, release, err := j.c.writeGlobal(ctx, &global)
	if err != nil {
		return err
	}
	defer release()
	failpoint.Here(failpoint.JobInitial)
	next.Spec, next.Lineage, next.Model, next.Open, next.Last = j.digest, j.lineage, blob, nil, nil
	if !kept || next.Strategy != j.spec.Strategy.Name {
		next.State, next.Strategy = store.Blob{}, ""
	}
	// Updates that wait were learned from parameters under the former spec.
	next.Initial, next.InitialSHA256, next.Taken = next.Version, blob.SHA256, nil
	if live, ok := j.book.Live(j.lineage); ok && kept {
		live.Spec, live.Blob = j.digest, blob
		if err := j.book.Write(ctx, live); err != nil {
			return err
		}
		j.book.Announce(live)
	}
	if err := j.swap(ctx, next); err != nil {
		return err
	}
	switch {
	case next.Version == 0 && !kept:
		j.c.log.Info("started job", "job", j.spec.Name, "digest", j.digest)
	case kept:
		j.c.log.Info("changed job; its model goes on", "job", j.spec.Name, "digest", j.digest, "version", next.Version)
	default:
		j.c.log.Warn("changed what the job learns; it starts afresh", "job", j.spec.Name, "digest", j.digest, "version", next.Version)
	}
	return nil
}

// resume takes up the round that was open when the coordinator last stopped.
func (j *jobState) resume(ctx context.Context) error {
	open := j.head.Open
	if open == nil {
		return nil
	}
	cur := newRound(*open, j.head.Model)
	id := j.idOf(*open)
	records, err := j.c.st.List(ctx, id.updatePrefix())
	if err != nil {
		return fmt.Errorf("list updates of round %d: %w", open.Round, err)
	}
	for _, r := range records {
		var u updateRecord
		if err := json.Unmarshal(r.Value, &u); err != nil {
			return fmt.Errorf("decode record %q: %w; restore the data directory from a backup", r.Key, err)
		}
		gateway := r.Key[len(id.updatePrefix()):]
		if _, err := j.c.st.StatBlob(ctx, u.Blob.SHA256); errors.Is(err, store.ErrNotFound) {
			continue // the gateway will offer it again
		} else if err != nil {
			return fmt.Errorf("look for update of gateway %q: %w", gateway, err)
		}
		if p := cur.parts[gateway]; p != nil && (!open.Closed || slices.Contains(open.Counted, gateway)) {
			p.receive(u, open.Started)
		}
	}
	j.c.mu.Lock()
	j.cur = cur
	if j.async() {
		j.gather()
	}
	j.c.mu.Unlock()
	j.c.log.Info("resumed round", "job", j.spec.Name, "round", open.Round, "attempt", open.Attempt, "updates", len(records))
	return nil
}

func newRound(open openRound, base store.Blob) *round {
	r := &round{openRound: open, base: base, parts: map[string]*participant{}}
	for _, name := range open.Gateways {
		r.parts[name] = &participant{Participant: fleet.Participant{Gateway: name, State: training}}
	}
	return r
}

// The states of a participant.
const (
	training = "training"
	received = "received"
	declined = "declined"
	rejected = "rejected"
)

func (p *participant) receive(u updateRecord, started time.Time) {
	p.State, p.Reason, p.digest = received, "", u.Blob.SHA256
	p.Weight, p.Bytes, p.Metrics = u.Weight, u.Blob.Size, u.Metrics
	p.Seconds = max(0, u.Received.Sub(started).Seconds())
}

func (j *jobState) idOf(r openRound) roundID { return roundID{j.spec.Name, r.Round, r.Attempt} }

// swap replaces the head in the store, then in memory, with what follows from it.
func (j *jobState) swap(ctx context.Context, next head) error {
	revision, err := putRecord(ctx, j.c.st, headKey(j.spec.Name), next, j.revision)
	if err != nil {
		if !isConflict(err) {
			j.doubt = &next
		}
		return err
	}
	j.enter(next, revision)
	return nil
}

// resolve finds out whether the write that failed came to pass all the same.
func (j *jobState) resolve(ctx context.Context) error {
	var have head
	revision, err := getRecord(ctx, j.c.st, headKey(j.spec.Name), &have)
	if err != nil {
		return err
	}
	next := *j.doubt
	if revision != j.revision && !sameJSON(have, next) {
		return &store.ConflictError{Key: headKey(j.spec.Name), Got: revision, Want: j.revision}
	}
	j.doubt = nil
	if revision != j.revision {
		j.enter(next, revision)
	}
	return nil
}

// poke makes run look again. It never blocks.
func (j *jobState) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// done says whether every planned round is committed. c.mu is held or run asks.
func (j *jobState) done() bool {
	return j.spec.Rounds.Count > 0 && j.head.Commits >= j.spec.Rounds.Count
}

// remember puts an outcome into the history in memory.
func (j *jobState) remember(o outcome) {
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	same := func(r fleet.Round) bool { return r.Round == o.Round.Round && r.Attempt == o.Round.Attempt }
	if !slices.ContainsFunc(j.rounds, same) {
		j.rounds = append(j.rounds, o.Round)
	}
	if o.Version != nil {
		j.book.Announce(*o.Version)
	}
	j.c.notify()
}

// writeHistory makes the records that follow from an outcome, unless they are
// there already.
func (j *jobState) writeHistory(ctx context.Context, o outcome) error {
	id := roundID{j.spec.Name, o.Round.Round, o.Round.Attempt}
	if _, err := putRecord(ctx, j.c.st, roundKey(id), o.Round, 0); err != nil && !isConflict(err) {
		return err
	}
	failpoint.Here(failpoint.RoundRecorded)
	if o.Version == nil {
		return nil
	}
	return j.book.Write(ctx, *o.Version)
}
