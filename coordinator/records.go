package coordinator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/release"
	"github.com/millwright-iot/millwright/coordinator/store"
)

// The keys of the store that belong to rounds; numbers are padded so that the
// order of keys is the order of time. README.md lists all keys.
func headKey(job string) string            { return "job/" + job + "/head" }
func roundPrefix(job string) string        { return "job/" + job + "/round/" }
func updatePrefix(job string) string       { return "update/" + job + "/" }
func updateKey(r roundID, g string) string { return r.updatePrefix() + g }

func roundKey(r roundID) string {
	return fmt.Sprintf("%s%012d.%06d", roundPrefix(r.Job), r.Round, r.Attempt)
}

// roundID names one attempt at one round.
type roundID struct {
	Job     string
	Round   uint64
	Attempt uint32
}

func (r roundID) updatePrefix() string {
	return fmt.Sprintf("%s%012d/%06d/", updatePrefix(r.Job), r.Round, r.Attempt)
}

// head is all that must not be lost of a job. It changes by compare-and-set
// only; every other record can be derived from it or is history.
type head struct {
	// Spec is the digest of the job's spec; Lineage the digest of that part of
	// it on which the parameters depend.
	Spec    string `json:"spec"`
	Lineage string `json:"lineage"`
	// Version is the newest committed version, 0 if none, and Model the
	// parameters the next round starts from: that version or, before the first
	// commit of a lineage, its initial parameters.
	Version uint64     `json:"version"`
	Model   store.Blob `json:"model"`
	Commits int        `json:"commits"` // rounds committed in this lineage
	// Attempt is how many times round Version+1 was started.
	Attempt uint32 `json:"attempt"`
	// Failures is how many of its attempts were abandoned in a row.
	Failures  int        `json:"failures"`
	NotBefore time.Time  `json:"not_before"` // the next round starts no earlier
	Open      *openRound `json:"open,omitempty"`
	// Last is the outcome whose history records may not be written yet.
	Last *outcome `json:"last,omitempty"`
}

// openRound is the round in progress.
type openRound struct {
	Round    uint64    `json:"round"` // = head.Version + 1
	Attempt  uint32    `json:"attempt"`
	Started  time.Time `json:"started"`
	Deadline time.Time `json:"deadline"`
	Gateways []string  `json:"gateways"` // it was announced to, sorted
	// Closed is set before aggregating. From then on exactly the updates of
	// Counted make the next version, whatever else arrives, also after a crash.
	Closed  bool     `json:"closed"`
	Counted []string `json:"counted,omitempty"` // gateways, sorted
}

// outcome is how a round ended.
type outcome struct {
	Round   fleet.Round      `json:"round"`
	Version *release.Version `json:"version,omitempty"` // absent when abandoned
}

// updateRecord is what is kept of an update besides its blob.
type updateRecord struct {
	Blob     store.Blob         `json:"blob"`
	Weight   float64            `json:"weight"`
	Metrics  map[string]float64 `json:"metrics,omitempty"`
	Received time.Time          `json:"received"`
}

// getRecord decodes the record at key into dst and returns its revision, 0 when
// there is no such record.
func getRecord(ctx context.Context, st store.Store, key string, dst any) (uint64, error) {
	rec, err := st.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read record %q: %w", key, err)
	}
	if err := json.Unmarshal(rec.Value, dst); err != nil {
		return 0, fmt.Errorf("decode record %q: %w; restore the data directory from a backup", key, err)
	}
	return rec.Revision, nil
}

// putRecord writes v at key as JSON if the revision still is revision.
func putRecord(ctx context.Context, st store.Store, key string, v any, revision uint64) (uint64, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return 0, fmt.Errorf("encode record %q: %w", key, err)
	}
	next, err := st.Put(ctx, key, data, revision)
	if err != nil {
		return 0, fmt.Errorf("write record %q: %w", key, err)
	}
	return next, nil
}

// isConflict says whether err is a lost compare-and-set.
func isConflict(err error) bool {
	var conflict *store.ConflictError
	return errors.As(err, &conflict)
}

// sameJSON says whether a and b are stored as the same bytes.
func sameJSON(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}
