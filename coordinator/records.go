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
func waitingPrefix(job string) string      { return updatePrefix(job) + "waiting/" }
func waitingKey(job, g string) string      { return waitingPrefix(job) + g }

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
	// Forgetting are the gateways that a person wants out of the model; the next
	// version is made without them, before any other round. Sorted.
	Forgetting []string `json:"forgetting,omitempty"`
	// State is what the strategy of that name keeps from one round to the next; it
	// belongs to Model, and no state stands for the first round.
	State    store.Blob `json:"state,omitzero"`
	Strategy string     `json:"strategy,omitempty"`
	// Initial is the version number that the parameters had with which this
	// lineage began, and their digest.
	Initial       uint64 `json:"initial"`
	InitialSHA256 string `json:"initial_sha256,omitempty"`
	// Taken is the newest try of which an update of a gateway was used in a later
	// round than its own, or was given up: neither it nor an older one counts again.
	Taken map[string]try `json:"taken,omitempty"`
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
	// Want is how many updates are enough to close before the deadline; 0 stands
	// for those of all Gateways.
	Want int `json:"want,omitempty"`
	// Closed is set before aggregating. From then on exactly the updates of
	// Counted make the next version, whatever else arrives, also after a crash.
	Closed  bool     `json:"closed"`
	Counted []string `json:"counted,omitempty"` // gateways, sorted
	// Carried are updates of earlier rounds that count in this one, by gateway.
	Carried []carried `json:"carried,omitempty"`
}

// try is one attempt at one round.
type try struct {
	Round   uint64 `json:"round"`
	Attempt uint32 `json:"attempt"`
}

// after says whether t is later than o.
func (t try) after(o try) bool {
	return t.Round > o.Round || t.Round == o.Round && t.Attempt > o.Attempt
}

// carried names the update of a gateway that counts in a later round than its own.
type carried struct {
	Gateway string `json:"gateway"`
	try
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
	// From is what the update answers, if it waits for a round to count in.
	From try `json:"from,omitzero"`
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
