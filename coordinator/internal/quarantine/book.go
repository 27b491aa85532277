// Package quarantine remembers which gateways' updates do not count.
//
// What fedavg/verify says of a round is made durable before the round is
// committed: who is set aside and why, and what norms are usual in the fleet. A
// gateway that failed a check is in quarantine for the job: its updates are still
// received and judged, so that it can show itself clean, but do not count until it
// has passed the same check so many rounds in a row, or a person releases it.
// Rounds in which that check could not be made say nothing.
package quarantine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/verify"
)

// Policy says what is an offence, and when it is forgiven.
type Policy struct {
	verify.Policy
	// ReleaseAfter is after how many clean rounds in a row a gateway leaves
	// quarantine; 0 and less leave it to a person.
	ReleaseAfter int
}

// RecordPrefix is where a store keeps the books, one record a job.
const RecordPrefix = "quarantine/"

// maxReason bounds a reason in the record, in bytes.
const maxReason = 240

// Entry is one gateway in quarantine.
type Entry struct {
	Gateway string    `json:"gateway"`
	Round   uint64    `json:"round"` // in which it went in
	Since   time.Time `json:"since"`
	// Offence is its latest, and Clean how many rounds in a row it has passed the
	// same check since.
	verify.Offence
	Clean int `json:"clean"`
}

// Round names one attempt at one round.
type Round struct {
	Number  uint64 `json:"round"`
	Attempt uint32 `json:"attempt"`
}

// Decision says whose updates to a round do not count.
type Decision struct {
	Round
	// Aside tells why, by gateway.
	Aside map[string]string `json:"aside,omitempty"`
}

// state is the record of a job.
type state struct {
	// Lineage is what the history is of: other parameters have other norms.
	Lineage string         `json:"lineage"`
	History []verify.Level `json:"history"` // oldest first
	Entries []Entry        `json:"entries"` // by gateway
	Last    Decision       `json:"last"`    // newest
}

// Book remembers, in the store, who of a job is in quarantine and what is usual.
// It is safe for concurrent use.
type Book struct {
	st      store.Store
	key     string
	lineage string

	writing  sync.Mutex // held over calls of the store
	revision uint64     // guarded by writing
	doubt    bool       // guarded by writing: the record may not be what state says

	mu    sync.Mutex
	state state
}

// Open reads the book of a job. What is usual is forgotten when the lineage has
// changed; who is in quarantine is not.
func Open(ctx context.Context, st store.Store, job, lineage string) (*Book, error) {
	b := &Book{st: st, key: RecordPrefix + job, lineage: lineage}
	b.writing.Lock()
	defer b.writing.Unlock()
	return b, b.load(ctx)
}

// load reads the record. writing is held.
func (b *Book) load(ctx context.Context) error {
	var s state
	rec, err := b.st.Get(ctx, b.key)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return fmt.Errorf("read record %q: %w", b.key, err)
	default:
		if err := json.Unmarshal(rec.Value, &s); err != nil {
			return fmt.Errorf("decode record %q: %w; restore the data directory from a backup", b.key, err)
		}
	}
	if s.Lineage != b.lineage {
		s.Lineage, s.History = b.lineage, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state, b.revision, b.doubt = s, rec.Revision, false
	return nil
}

// fresh makes sure that state is what the store holds. writing is held.
func (b *Book) fresh(ctx context.Context) error {
	if b.doubt {
		return b.load(ctx)
	}
	return nil
}

// write replaces the record. writing is held.
func (b *Book) write(ctx context.Context, next state) error {
	data, err := json.Marshal(next)
	if err == nil && len(data) > store.MaxRecordBytes { // thousands of gateways in quarantine
		data, err = json.Marshal(shortened(next))
	}
	if err != nil {
		return fmt.Errorf("encode record %q: %w", b.key, err)
	}
	revision, err := b.st.Put(ctx, b.key, data, b.revision)
	if err != nil {
		b.doubt = true
		return fmt.Errorf("write record %q: %w", b.key, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state, b.revision = next, revision
	return nil
}

// shortened leaves out what is for reading only.
func shortened(s state) state {
	s.Entries = slices.Clone(s.Entries)
	for i := range s.Entries {
		s.Entries[i].Reason = ""
	}
	s.Last.Aside = maps.Clone(s.Last.Aside)
	for g := range s.Last.Aside {
		s.Last.Aside[g] = ""
	}
	return s
}

// Entries returns who is in quarantine, by gateway.
func (b *Book) Entries() []Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.state.Entries)
}

func (b *Book) present() state {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.state // its slices are replaced, never changed
	return s
}

// Decide judges the updates of a round and returns who is set aside. What it
// decides is durable when it returns; asked again about the same round, also
// after a restart, it gives the same answer without looking at the updates.
func (b *Book) Decide(ctx context.Context, round Round, updates fedavg.Updates, kind verify.Kind, policy Policy) (Decision, error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	if err := b.fresh(ctx); err != nil {
		return Decision{}, err
	}
	now := b.present()
	if now.Last.Round == round {
		return now.Last, nil
	}
	quarantined := map[string]bool{}
	for _, e := range now.Entries {
		quarantined[e.Gateway] = true
	}
	verdicts, level, ok, err := verify.Inspect(updates, verify.Inspection{Kind: kind, Policy: policy.Policy, History: now.History, Distrusted: quarantined})
	if err != nil {
		return Decision{}, err
	}
	next := now.after(round, verdicts, policy, time.Now())
	if ok {
		next.History = append(slices.Clone(now.History), level)
		next.History = next.History[max(0, len(next.History)-verify.MaxHistory):]
	}
	if err := b.write(ctx, next); err != nil {
		return Decision{}, err
	}
	return next.Last, nil
}

// after is the state after a round with these verdicts.
func (s state) after(round Round, verdicts []verify.Verdict, policy Policy, now time.Time) state {
	entries := map[string]Entry{}
	for _, e := range s.Entries {
		entries[e.Gateway] = e
	}
	aside := map[string]string{}
	for _, v := range verdicts {
		if v.Offence != nil {
			entries[v.Gateway] = entries[v.Gateway].offended(v.Gateway, round.Number, *v.Offence, now)
			aside[v.Gateway] = v.Offence.Reason
		}
	}
	for _, v := range verdicts {
		e, in := entries[v.Gateway]
		if _, judged := aside[v.Gateway]; !in || judged { // a late update may have come beside the round's own
			continue
		}
		if v.Passed(e.Check) {
			e.Clean++
		}
		entries[v.Gateway] = e
		aside[v.Gateway] = e.standing(policy)
		if policy.ReleaseAfter > 0 && e.Clean >= policy.ReleaseAfter {
			delete(entries, v.Gateway)
		}
	}
	s.Entries = sorted(entries)
	s.Last = Decision{Round: round, Aside: aside}
	return s
}

// offended is the entry after an offence; e is the one before, if any.
func (e Entry) offended(gateway string, round uint64, o verify.Offence, now time.Time) Entry {
	if e.Gateway == "" {
		e.Gateway, e.Round, e.Since = gateway, round, now
	}
	o.Reason = cut(o.Reason)
	e.Offence, e.Clean = o, 0
	return e
}

// standing says why an update that is in order does not count.
func (e Entry) standing(policy Policy) string {
	head := fmt.Sprintf("in quarantine since round %d; ", e.Round)
	switch {
	case policy.ReleaseAfter <= 0:
		return head + fmt.Sprintf("clean for %d, waits to be released by hand", e.Clean)
	case e.Clean >= policy.ReleaseAfter:
		return head + fmt.Sprintf("clean for %d rounds, released from the next on", e.Clean)
	}
	return head + fmt.Sprintf("clean for %d of %d rounds", e.Clean, policy.ReleaseAfter)
}

func cut(s string) string {
	r := []rune(s)
	for len(string(r)) > maxReason {
		r = r[:len(r)-1]
	}
	return string(r)
}

func sorted(entries map[string]Entry) []Entry {
	return slices.SortedFunc(maps.Values(entries), func(a, b Entry) int { return cmp.Compare(a.Gateway, b.Gateway) })
}

// Accuse puts a gateway into quarantine for an update that was refused at the
// door, in the given round.
func (b *Book) Accuse(ctx context.Context, gateway string, round uint64, o verify.Offence) error {
	return b.change(ctx, func(entries map[string]Entry) bool {
		entries[gateway] = entries[gateway].offended(gateway, round, o, time.Now())
		return true
	})
}

// Release takes a gateway out of quarantine, and says whether it was in. A
// round that is judged already is not judged anew.
func (b *Book) Release(ctx context.Context, gateway string) (was bool, err error) {
	err = b.change(ctx, func(entries map[string]Entry) bool {
		_, was = entries[gateway]
		delete(entries, gateway)
		return was
	})
	return was, err
}

// change applies fn, which says whether there is anything to write.
func (b *Book) change(ctx context.Context, fn func(map[string]Entry) bool) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	if err := b.fresh(ctx); err != nil {
		return err
	}
	next := b.present()
	entries := map[string]Entry{}
	for _, e := range next.Entries {
		entries[e.Gateway] = e
	}
	if !fn(entries) {
		return nil
	}
	next.Entries = sorted(entries)
	return b.write(ctx, next)
}
