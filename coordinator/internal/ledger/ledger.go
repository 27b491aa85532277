// Package ledger remembers the newest contribution of every gateway to a
// statistics job.
//
// The global parameters of such a job are the sum over the ledger, not only over
// a round's participants: a gateway that takes part now and then stays in with
// what it sent last, a newer contribution replaces it, and forgetting a gateway
// takes exactly its share out. The sums are exact, so that what is left equals a
// fit that never saw it.
package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/millwright-iot/millwright/coordinator/store"
)

// RecordPrefix is where a store keeps ledgers, one record a job and gateway. The
// member "blob" of a record is the update, a blob of the store.
const RecordPrefix = "ledger/"

// Contribution is what one gateway has in the global parameters.
type Contribution struct {
	Gateway string     `json:"gateway"`
	Blob    store.Blob `json:"blob"` // the update, as it was received
	Round   uint64     `json:"round"`
	Weight  float64    `json:"weight"` // rows
	// Lineage is what the sums are of.
	Lineage string `json:"lineage"`
}

// Ledger is the contributions to one job. It is safe for concurrent use. Blobs
// are the caller's to keep and to delete.
type Ledger struct {
	st      store.Store
	prefix  string
	lineage string

	writing sync.Mutex // held over calls of the store that change something

	mu      sync.Mutex
	entries map[string]Contribution
	blobs   map[string]bool
}

// Open reads the ledger of a job. Contributions of another lineage fit the job no
// more and are deleted.
func Open(ctx context.Context, st store.Store, job, lineage string) (*Ledger, error) {
	l := &Ledger{st: st, prefix: RecordPrefix + job + "/", lineage: lineage, entries: map[string]Contribution{}, blobs: map[string]bool{}}
	records, err := st.List(ctx, l.prefix)
	if err != nil {
		return nil, fmt.Errorf("list contributions to job %q: %w", job, err)
	}
	for _, r := range records {
		var c Contribution
		if err := json.Unmarshal(r.Value, &c); err != nil {
			return nil, fmt.Errorf("decode record %q: %w; restore the data directory from a backup", r.Key, err)
		}
		if c.Lineage == lineage {
			l.enter(c)
			continue
		}
		if err := st.Delete(ctx, r.Key, r.Revision); err != nil {
			return nil, fmt.Errorf("delete record %q: %w", r.Key, err)
		}
	}
	return l, nil
}

func (l *Ledger) enter(c Contribution) {
	l.entries[c.Gateway] = c
	l.blobs[c.Blob.SHA256] = true
}

// All returns the contributions, by gateway.
func (l *Ledger) All() []Contribution {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.entries), func(a, b Contribution) int { return cmp.Compare(a.Gateway, b.Gateway) })
}

// Find returns the contribution of a gateway.
func (l *Ledger) Find(gateway string) (Contribution, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, ok := l.entries[gateway]
	return c, ok
}

// Holds says whether a blob is one of the contributions.
func (l *Ledger) Holds(sha256 string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blobs[sha256]
}

// Put makes c the contribution of its gateway, and returns the digest of the blob
// it replaces, if any. Putting the same again changes nothing.
func (l *Ledger) Put(ctx context.Context, c Contribution) (replaced string, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	c.Lineage = l.lineage
	old, had := l.Find(c.Gateway)
	if had && old == c {
		return "", nil
	}
	data, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("encode contribution of gateway %q: %w", c.Gateway, err)
	}
	revision, err := l.revision(ctx, c.Gateway)
	if err != nil {
		return "", err
	}
	// Protected before the record names it, and both while it is in doubt which.
	l.mu.Lock()
	l.blobs[c.Blob.SHA256] = true
	l.mu.Unlock()
	if _, err := l.st.Put(ctx, l.prefix+c.Gateway, data, revision); err != nil {
		return "", fmt.Errorf("write record %q: %w", l.prefix+c.Gateway, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.enter(c)
	if had && old.Blob.SHA256 != c.Blob.SHA256 {
		delete(l.blobs, old.Blob.SHA256)
		replaced = old.Blob.SHA256
	}
	return replaced, nil
}

// Remove deletes the contribution of a gateway, if there is one, and returns the
// digest of its blob.
func (l *Ledger) Remove(ctx context.Context, gateway string) (removed string, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	revision, err := l.revision(ctx, gateway)
	if err != nil {
		return "", err
	}
	if revision != 0 {
		if err := l.st.Delete(ctx, l.prefix+gateway, revision); err != nil {
			return "", fmt.Errorf("delete record %q: %w", l.prefix+gateway, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	removed = l.entries[gateway].Blob.SHA256
	delete(l.entries, gateway)
	delete(l.blobs, removed)
	return removed, nil
}

// revision of a gateway's record, 0 if there is none.
func (l *Ledger) revision(ctx context.Context, gateway string) (uint64, error) {
	rec, err := l.st.Get(ctx, l.prefix+gateway)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read record %q: %w", l.prefix+gateway, err)
	}
	return rec.Revision, nil
}
