package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/ledger"
	"github.com/millwright-iot/millwright/coordinator/store"
)

// collectGarbage deletes what a crash or a smaller `keep` left behind. It is
// called before anything is served, so every blob no record refers to is garbage.
// Jobs that left the configuration keep what they have.
func (c *Coordinator) collectGarbage(ctx context.Context) error {
	for _, j := range c.jobs {
		if err := j.tidy(ctx); err != nil {
			return err
		}
	}
	blobs, err := c.st.ListBlobs(ctx)
	if err != nil {
		return fmt.Errorf("list blobs: %w", err)
	}
	used, err := c.referenced(ctx)
	if err != nil {
		return err
	}
	for _, b := range blobs {
		if used[b.SHA256] {
			continue
		}
		if err := c.st.DeleteBlob(ctx, b.SHA256); err != nil {
			return fmt.Errorf("delete blob %s: %w", b.SHA256, err)
		}
	}
	return nil
}

// referenced returns the digest of every blob that a record names.
func (c *Coordinator) referenced(ctx context.Context) (map[string]bool, error) {
	used := map[string]bool{}
	for _, prefix := range []string{"job/", "update/", ledger.RecordPrefix} {
		records, err := c.st.List(ctx, prefix)
		if err != nil {
			return nil, fmt.Errorf("list records below %q: %w", prefix, err)
		}
		for _, r := range records {
			if strings.HasPrefix(r.Key, "job/") && strings.Contains(r.Key, "/round/") {
				continue // names no blob
			}
			var refs struct { // a head, a version, an update or a contribution
				Model store.Blob `json:"model"`
				State store.Blob `json:"state"`
				Blob  store.Blob `json:"blob"`
			}
			if err := json.Unmarshal(r.Value, &refs); err != nil {
				return nil, fmt.Errorf("decode record %q: %w; restore the data directory from a backup", r.Key, err)
			}
			used[refs.Model.SHA256], used[refs.State.SHA256], used[refs.Blob.SHA256] = true, true, true
		}
	}
	return used, nil
}

// tidy deletes what the rounds that ended leave behind: their updates, and
// history beyond the configured bounds.
func (j *jobState) tidy(ctx context.Context) error {
	garbage, err := j.deleteUpdates(ctx)
	if err != nil {
		return err
	}
	for _, v := range j.book.All() {
		garbage = append(garbage, v.Blob.SHA256) // dropped only if forgotten now
	}
	if err := j.book.Prune(ctx, j.c.cfg.Keep.Models); err != nil {
		return err
	}
	if err := j.pruneRounds(ctx); err != nil {
		return err
	}
	if err := j.c.dropBlobs(ctx, append(garbage, j.replaced...)...); err != nil {
		return err
	}
	j.replaced = nil
	return nil
}

// deleteUpdates deletes the records of updates to any but the open round, and
// returns the digests they named.
func (j *jobState) deleteUpdates(ctx context.Context) (digests []string, err error) {
	records, err := j.c.st.List(ctx, updatePrefix(j.spec.Name))
	if err != nil {
		return nil, fmt.Errorf("list updates of job %q: %w", j.spec.Name, err)
	}
	var old []store.Record
	for _, r := range records {
		if open := j.head.Open; open != nil && strings.HasPrefix(r.Key, j.idOf(*open).updatePrefix()) {
			continue
		}
		var u updateRecord
		if err := json.Unmarshal(r.Value, &u); err != nil {
			return nil, fmt.Errorf("decode record %q: %w; restore the data directory from a backup", r.Key, err)
		}
		if gateway, waits := strings.CutPrefix(r.Key, waitingPrefix(j.spec.Name)); waits && j.mayCount(gateway, u.From) {
			continue
		}
		digests = append(digests, u.Blob.SHA256)
		old = append(old, r)
	}
	err = atOnce(old, func(r store.Record) error {
		if err := j.c.st.Delete(ctx, r.Key, r.Revision); err != nil && !isConflict(err) {
			return fmt.Errorf("delete record %q: %w", r.Key, err)
		}
		return nil
	})
	return digests, err
}

// atOnce calls fn for every item, several at a time: a store makes changes that
// come together durable together.
func atOnce[T any](items []T, fn func(T) error) error {
	var group errgroup.Group
	group.SetLimit(16)
	for _, item := range items {
		group.Go(func() error { return fn(item) })
	}
	return group.Wait()
}

func (j *jobState) pruneRounds(ctx context.Context) error {
	j.c.mu.Lock()
	old := slices.Clone(j.rounds[:max(0, len(j.rounds)-j.c.cfg.Keep.Rounds)])
	j.c.mu.Unlock()
	if err := atOnce(old, func(r fleet.Round) error {
		return deleteRecord(ctx, j.c.st, roundKey(roundID{r.Job, r.Round, r.Attempt}))
	}); err != nil {
		return err
	}
	j.c.mu.Lock()
	j.rounds = slices.Clone(j.rounds[len(old):])
	j.c.mu.Unlock()
	return nil
}

// dropBlobs deletes those of the blobs that are in use no more.
func (c *Coordinator) dropBlobs(ctx context.Context, digests ...string) error {
	return c.pins.withoutHeld(digests, func(free []string) error {
		return atOnce(free, func(d string) error {
			if d == "" || c.inUse(d) {
				return nil
			}
			if err := c.st.DeleteBlob(ctx, d); err != nil {
				return fmt.Errorf("delete blob %s: %w", d, err)
			}
			return nil
		})
	})
}

// inUse says whether a job's head, history or open round needs the blob.
func (c *Coordinator) inUse(sha256 string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range c.jobs {
		if j.names(sha256) || j.book.Holds(sha256) || j.ledger != nil && j.ledger.Holds(sha256) {
			return true
		}
		if j.cur == nil {
			continue
		}
		for _, p := range j.cur.parts {
			if p.digest == sha256 {
				return true
			}
		}
	}
	return false
}

func deleteRecord(ctx context.Context, st store.Store, key string) error {
	rec, err := st.Get(ctx, key)
	if err == nil {
		err = st.Delete(ctx, key, rec.Revision)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) && !isConflict(err) {
		return fmt.Errorf("delete record %q: %w", key, err)
	}
	return nil
}

// pins keep blobs from being deleted between the moment they are written and the
// moment something refers to them.
type pins struct {
	mu   sync.Mutex
	held map[string]int // how many calls are busy with a digest
}

func newPins() *pins { return &pins{held: map[string]int{}} }

// hold protects a digest until release is called.
func (p *pins) hold(sha256 string) (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[sha256]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.held[sha256]--; p.held[sha256] == 0 {
			delete(p.held, sha256)
		}
	}
}

// withoutHeld calls fn with those digests that nobody holds, and lets nobody hold
// any meanwhile.
func (p *pins) withoutHeld(digests []string, fn func(free []string) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var free []string
	for _, d := range digests {
		if p.held[d] == 0 {
			free = append(free, d)
		}
	}
	return fn(free)
}
