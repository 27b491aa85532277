// Package release remembers the committed versions of a job's global model and
// says which of them gateways should run: the newest of the present lineage.
package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/coordinator/store"
)

// The states of a version.
const (
	Live       = "live"       // what gateways should run
	Superseded = "superseded" // kept for the record
)

// Version is one committed version of a job's global model.
type Version struct {
	Job     string `json:"job"`
	Version uint64 `json:"version"`
	// Spec is the digest of the job's spec, Lineage that of the part on which
	// the parameters depend; versions of different lineages do not mix.
	Spec         string             `json:"spec"`
	Lineage      string             `json:"lineage"`
	Blob         store.Blob         `json:"blob"`
	Parameters   int                `json:"parameters"`
	Committed    time.Time          `json:"committed"`
	Participants int                `json:"participants"`
	Weight       float64            `json:"weight"` // feature vectors learned from
	Metrics      map[string]float64 `json:"metrics,omitempty"`
}

// Book holds the versions of one job. It is safe for concurrent use.
type Book struct {
	job string
	st  store.Store

	mu       sync.Mutex
	versions []Version // oldest first
}

// Open reads the versions of job from st.
func Open(ctx context.Context, st store.Store, job string) (*Book, error) {
	b := &Book{job: job, st: st}
	records, err := st.List(ctx, b.prefix())
	if err != nil {
		return nil, fmt.Errorf("list versions of job %q: %w", job, err)
	}
	for _, r := range records {
		var v Version
		if err := json.Unmarshal(r.Value, &v); err != nil {
			return nil, fmt.Errorf("decode record %q: %w; restore the data directory from a backup", r.Key, err)
		}
		b.versions = append(b.versions, v)
	}
	return b, nil
}

func (b *Book) prefix() string { return "job/" + b.job + "/model/" }

func (b *Book) key(version uint64) string { return fmt.Sprintf("%s%012d", b.prefix(), version) }

// Announce shows v from now on, though not yet durably: the job's head names it
// already, and Write follows. It replaces a version of the same number.
func (b *Book) Announce(v Version) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, found := slices.BinarySearchFunc(b.versions, v.Version, func(have Version, n uint64) int {
		switch {
		case have.Version < n:
			return -1
		case have.Version > n:
			return 1
		}
		return 0
	})
	if found {
		b.versions[i] = v
	} else {
		b.versions = slices.Insert(b.versions, i, v)
	}
}

// Write makes v durable, whether or not it was before.
func (b *Book) Write(ctx context.Context, v Version) error {
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode version %d of job %q: %w", v.Version, b.job, err)
	}
	var revision uint64
	switch rec, err := b.st.Get(ctx, b.key(v.Version)); {
	case err == nil && string(rec.Value) == string(value):
		return nil
	case err == nil:
		revision = rec.Revision
	case !errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("read version %d of job %q: %w", v.Version, b.job, err)
	}
	if _, err := b.st.Put(ctx, b.key(v.Version), value, revision); err != nil {
		return fmt.Errorf("write version %d of job %q: %w", v.Version, b.job, err)
	}
	return nil
}

// Live returns the version that gateways should run: the newest, if it is of
// this lineage.
func (b *Book) Live(lineage string) (Version, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.versions); n > 0 && b.versions[n-1].Lineage == lineage {
		return b.versions[n-1], true
	}
	return Version{}, false
}

// Find returns a version by its number.
func (b *Book) Find(version uint64) (Version, bool) {
	for _, v := range b.All() {
		if v.Version == version {
			return v, true
		}
	}
	return Version{}, false
}

// Holds says whether a version kept has this blob.
func (b *Book) Holds(sha256 string) bool {
	return slices.ContainsFunc(b.All(), func(v Version) bool { return v.Blob.SHA256 == sha256 })
}

// All returns every version kept, oldest first.
func (b *Book) All() []Version {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.versions)
}

// Prune forgets all but the newest keep versions. Their blobs are left to
// whoever collects what nothing refers to.
func (b *Book) Prune(ctx context.Context, keep int) error {
	all := b.All()
	for _, v := range all[:max(0, len(all)-keep)] {
		rec, err := b.st.Get(ctx, b.key(v.Version))
		if err == nil {
			err = b.st.Delete(ctx, b.key(v.Version), rec.Revision)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("forget version %d of job %q: %w", v.Version, b.job, err)
		}
		b.mu.Lock()
		b.versions = slices.DeleteFunc(b.versions, func(have Version) bool { return have.Version == v.Version })
		b.mu.Unlock()
	}
	return nil
}
