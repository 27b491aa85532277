package coordinator

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/ledger"
	"github.com/millwright-iot/millwright/coordinator/internal/quarantine"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/verify"
)

// quarantined is the state of a participant whose update was received, judged
// and set aside.
const quarantined = "quarantined"

// openBooks reads who is in quarantine and, for a statistics job, who contributed
// what.
func (j *jobState) openBooks(ctx context.Context) error {
	judged, err := quarantine.Open(ctx, j.c.st, j.spec.Name, j.lineage)
	if err != nil {
		return err
	}
	var contributions *ledger.Ledger
	if j.learnsSums() {
		if contributions, err = ledger.Open(ctx, j.c.st, j.spec.Name, j.lineage); err != nil {
			return err
		}
	}
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	j.quarantine, j.ledger = judged, contributions
	return nil
}

func (j *jobState) learnsSums() bool { return j.family.Learning() == model.Statistics }

func (j *jobState) policy() quarantine.Policy {
	q := j.spec.Quarantine
	if j.spec.Model.Kind == model.KindRUL {
		// Sums of lives are as large as what happened: a hundred times the usual on the
		// gateway where the first machine fails.
		q.MaxNorm = -1
	}
	return quarantine.Policy{Policy: verify.Policy{MaxNorm: q.MaxNorm, MinCosine: q.MinCosine}, ReleaseAfter: q.ReleaseAfter}
}

// inMemory is up to how many bytes of updates are kept decoded while a round is
// judged and merged, both of which go through them several times.
const inMemory = 96 << 20

// countable judges the updates of the closed round and returns what the next
// version is made of: those that are not set aside and, for a statistics job,
// what gateways that are not in the round contributed before. It is decided once
// for a round, so that a crash and a second try give the same model.
func (j *jobState) countable(ctx context.Context) (fedavg.Updates, error) {
	trusted := j.cur.contributors()
	stored := &storedUpdates{ctx: ctx, j: j, gateways: trusted}
	var all fedavg.Updates = stored
	if int64(stored.Len()) <= inMemory/j.updates.Bytes() {
		held, err := stored.hold()
		if err != nil {
			return nil, err
		}
		all = held
	}
	if j.spec.Quarantine.On() {
		aside, err := j.judge(ctx, all)
		if err != nil {
			return nil, err
		}
		if trusted, all = without(ctx, j, all, aside); len(trusted) < j.spec.Rounds.MinParticipants {
			return nil, fmt.Errorf("%w: %d of at least %d count, %d set aside", errUnusable, len(trusted), j.spec.Rounds.MinParticipants, len(aside))
		}
	}
	if j.ledger == nil {
		return all, nil
	}
	return j.enterLedger(ctx, trusted)
}

// without returns the counted gateways that are not set aside, and their updates.
func without(ctx context.Context, j *jobState, all fedavg.Updates, aside map[string]string) (names []string, updates fedavg.Updates) {
	for _, name := range j.cur.contributors() {
		if _, out := aside[name]; !out {
			names = append(names, name)
		}
	}
	held, ok := all.(fedavg.Slice)
	if !ok {
		return names, &storedUpdates{ctx: ctx, j: j, gateways: names}
	}
	var left fedavg.Slice
	for _, u := range held {
		if _, out := aside[u.Agent]; !out {
			left = append(left, u)
		}
	}
	return names, left
}

// judge decides who of the closed round is set aside, and shows it.
func (j *jobState) judge(ctx context.Context, updates fedavg.Updates) (aside map[string]string, err error) {
	kind := verify.Deltas
	if j.learnsSums() {
		kind = verify.Sums
	}
	before := byGateway(j.quarantine.Entries())
	decision, err := j.quarantine.Decide(ctx, quarantine.Round{Number: j.cur.Round, Attempt: j.cur.Attempt}, updates, kind, j.policy())
	if err != nil {
		return nil, err
	}
	after := byGateway(j.quarantine.Entries())
	for gateway, e := range after {
		if _, was := before[gateway]; !was {
			j.c.log.Warn("quarantined gateway", "gateway", gateway, "job", j.spec.Name, "round", e.Round, "check", e.Check, "reason", e.Reason)
		}
	}
	for gateway := range before {
		if _, is := after[gateway]; !is {
			j.c.log.Info("released gateway from quarantine", "gateway", gateway, "job", j.spec.Name, "round", j.cur.Round)
		}
	}
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	j.cur.aside = decision.Aside
	j.c.notify()
	return decision.Aside, nil
}

func byGateway(entries []quarantine.Entry) map[string]quarantine.Entry {
	by := map[string]quarantine.Entry{}
	for _, e := range entries {
		by[e.Gateway] = e
	}
	return by
}

// showAside marks the participants whose update does not count. c.mu is held.
func (r *round) showAside(participants []fleet.Participant) {
	for i := range participants {
		p := &participants[i]
		if why, out := r.aside[p.Gateway]; out && p.State == received {
			p.State, p.Reason = quarantined, why
		}
	}
}

// accuse puts the gateway into quarantine whose update holds what no sound agent
// sends. Other refusals have innocent causes: a broken line, another version.
func (u *upload) accuse(ctx context.Context, why *rpc.Refusal) {
	if !u.j.spec.Quarantine.On() || why.Reason != rpc.WrongShape && why.Reason != rpc.UnusableNumber {
		return
	}
	offence := verify.Offence{Check: verify.CheckUsable, Reason: "update refused: " + why.Error()}
	if err := u.j.quarantine.Accuse(context.WithoutCancel(ctx), u.gateway, u.id.Round, offence); err != nil {
		u.c.metrics.storeErrors.Inc()
		u.c.log.Error("cannot quarantine gateway", "gateway", u.gateway, "job", u.id.Job, "error", err)
		return
	}
	u.c.log.Warn("quarantined gateway", "gateway", u.gateway, "job", u.id.Job, "round", u.id.Round, "check", offence.Check, "reason", offence.Reason)
	u.c.mu.Lock()
	defer u.c.mu.Unlock()
	u.c.notify()
}

// enterLedger makes the trusted updates the newest contributions of their
// gateways, and returns all there are. It comes before the commit: repeated after
// a crash it changes nothing, and an attempt that is abandoned after it leaves
// contributions that are as good as any.
func (j *jobState) enterLedger(ctx context.Context, trusted []string) (fedavg.Updates, error) {
	fresh := map[string]bool{}
	for _, gateway := range trusted {
		var rec updateRecord
		key := updateKey(j.idOf(j.cur.openRound), gateway)
		revision, err := getRecord(ctx, j.c.st, key, &rec)
		if err != nil {
			return nil, err
		}
		if revision == 0 {
			return nil, &fedavg.UpdateError{Agent: gateway, Err: fmt.Errorf("record %q is gone from the store", key)}
		}
		replaced, err := j.ledger.Put(ctx, ledger.Contribution{Gateway: gateway, Blob: rec.Blob, Round: j.cur.Round, Weight: rec.Weight})
		if err != nil {
			return nil, err
		}
		if err := j.c.dropBlobs(ctx, replaced); err != nil {
			return nil, err
		}
		fresh[gateway] = true
	}
	return &contributions{ctx: ctx, j: j, list: j.ledger.All(), fresh: fresh}, nil
}

// contributions are what a statistics job's parameters are the sum of. It
// implements fedavg.Updates.
type contributions struct {
	ctx   context.Context
	j     *jobState
	list  []ledger.Contribution
	fresh map[string]bool // of the round being merged
}

// Len implements fedavg.Updates.
func (c *contributions) Len() int { return len(c.list) }

// Each implements fedavg.Updates. Metrics describe the training of a round, so
// those of earlier rounds are left out.
func (c *contributions) Each(fn func(*fedavg.Update) error) error {
	var buf bytes.Buffer
	for _, entry := range c.list {
		u, err := c.j.readUpdate(c.ctx, entry.Gateway, entry.Blob.SHA256, &buf)
		if err == nil {
			if !c.fresh[entry.Gateway] {
				u.Metrics = nil
			}
			err = fn(u)
		}
		var bad *fedavg.UpdateError
		if errors.As(err, &bad) && !c.fresh[bad.Agent] {
			return c.lose(bad)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lose takes a contribution that cannot be read or added any more out of the
// ledger, so that one damaged blob does not stop all rounds to come. The round is
// tried again without it.
func (c *contributions) lose(bad *fedavg.UpdateError) error {
	if _, err := c.j.ledger.Remove(c.ctx, bad.Agent); err != nil {
		return err
	}
	return fmt.Errorf("contribution of gateway %q to job %q is lost until it takes part again: %w", bad.Agent, c.j.spec.Name, errors.New(bad.Err.Error()))
}
