// Package samples keeps the feature vectors that a gateway learns from, in a bounded
// bbolt file that is written in batches.
//
// What can be lost: a power cut loses at most the vectors of the last FlushEvery or
// FlushRows, whichever came first. A full or failing disk loses nothing at once:
// vectors wait in memory, at most MaxPending of them.
package samples

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/millwright-iot/millwright/agent/internal/durable"
)

// Limits of batching.
const (
	FlushRows  = 512             // vectors a commit
	FlushEvery = 5 * time.Second // oldest vector not yet committed
	MaxPending = 4096            // vectors held in memory while the disk fails
)

// Key names whose vectors: a machine under one feature spec.
type Key struct {
	Machine  string
	Features string // digest of the feature spec
}

// Kind separates what is kept for ever from what rolls.
type Kind uint8

// The kinds of vectors.
const (
	Baseline Kind = iota // the machine's healthy baseline
	Recent               // healthy windows since, the newest Options.MaxRecent
	Observed             // windows for labels that come late, fewer the older: see Observe
	Cycle                // the mean of a machine over each cycle of operation, the newest MaxCycles
)

// MaxCycles is how many cycles are kept of a key: at one an hour, more than a year of
// operation.
const MaxCycles = 10000

// Options tunes a Store.
type Options struct {
	MaxRecent int   // recent vectors per key. Default 5000
	MaxBytes  int64 // bound of the file. Default 64 MiB
}

// Row is one stored vector.
type Row struct {
	At         time.Time // end of its window
	Vector     []float64 // owned by the caller
	Prediction           // of Observed
}

// Stats counts since the Store was opened, LifetimeBytes since the file was made.
type Stats struct {
	Stored        int64            // vectors committed
	Pending       int64            // vectors in memory
	Dropped       map[string]int64 // by reason: disk_failed, store_full, damaged
	LifetimeBytes int64            // written to the file, in whole pages
	FileBytes     int64
	Quarantined   int64  // damaged files put aside
	Failure       string // why the newest commit failed, empty if it did not
}

type pendingRow struct {
	key  Key
	kind Kind
	row  Row
}

// Store keeps vectors. All methods are safe for concurrent use. Add never waits
// for the disk.
type Store struct {
	path string
	opts Options
	log  *slog.Logger
	wake chan struct{} // capacity 1: FlushRows are waiting

	thinAt uint64 // thinEvery

	mu      sync.Mutex // guards what follows; never held over disk access
	pending []pendingRow
	free    map[int][][]float64 // vectors to reuse, by length
	stats   Stats

	disk      sync.Mutex // held over disk access
	db        *bolt.DB   // nil while there is none
	base      int64      // lifetime bytes before this process
	retryOpen time.Time
}

// Open opens or makes the file at path. It fails only on options that make no
// sense: without a usable file, vectors wait in memory and opening is tried again.
func Open(path string, opts Options, log *slog.Logger) (*Store, error) {
	if opts.MaxRecent == 0 {
		opts.MaxRecent = 5000
	}
	if opts.MaxBytes == 0 {
		opts.MaxBytes = 64 << 20
	}
	if opts.MaxRecent < 0 || opts.MaxBytes < 1<<20 {
		return nil, fmt.Errorf("open sample store %q: max_samples %d and max_size %d bytes; want ≥ 0 and ≥ 1 MiB", path, opts.MaxRecent, opts.MaxBytes)
	}
	s := &Store{
		path: path, opts: opts, log: log, wake: make(chan struct{}, 1), thinAt: thinEvery, free: map[int][][]float64{},
		stats: Stats{Dropped: map[string]int64{"disk_failed": 0, "store_full": 0, "damaged": 0}},
	}
	s.disk.Lock()
	defer s.disk.Unlock()
	if err := s.reopen(); err != nil {
		s.fail(err)
	}
	return s, nil
}

// Add keeps a copy of vector, of any kind but Observed.
func (s *Store) Add(key Key, kind Kind, at time.Time, vector []float64) {
	s.hold(key, kind, at, vector)
}

// hold keeps a copy of vector with what else belongs to it.
func (s *Store) hold(key Key, kind Kind, at time.Time, vector []float64, more ...float64) {
	s.mu.Lock()
	row := Row{At: at, Vector: append(append(s.buffer(len(vector)+len(more)), vector...), more...)}
	s.pending = append(s.pending, pendingRow{key, kind, row})
	s.trim()
	full := len(s.pending) >= FlushRows
	s.mu.Unlock()
	if full {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// buffer returns an empty slice with room for n numbers.
func (s *Store) buffer(n int) []float64 {
	free := s.free[n]
	if len(free) == 0 {
		return make([]float64, 0, n)
	}
	b := free[len(free)-1]
	s.free[n] = free[:len(free)-1]
	return b[:0]
}

// trim drops what is too much to hold, the oldest first of what rolls.
func (s *Store) trim() {
	for len(s.pending) > MaxPending {
		victim := 0
		for i, p := range s.pending {
			if p.kind == Recent || p.kind == Observed {
				victim = i
				break
			}
		}
		s.pending = append(s.pending[:victim], s.pending[victim+1:]...)
		s.stats.Dropped["disk_failed"]++
	}
}

// Run commits batches until ctx ends, then what is left.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(FlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.Flush()
		case <-tick.C:
		case <-s.wake:
		}
		if err := s.Flush(); err != nil {
			s.fail(err)
		}
	}
}

// fail notes and, when it is news, logs why vectors stay in memory.
func (s *Store) fail(err error) {
	s.mu.Lock()
	news := s.stats.Failure == ""
	s.stats.Failure = err.Error()
	pending := len(s.pending)
	s.mu.Unlock()
	if news {
		s.log.Error("sample store cannot write; prediction goes on, vectors wait in memory", "error", err, "pending", pending)
	}
}

// Flush commits everything pending.
func (s *Store) Flush() error {
	s.disk.Lock()
	defer s.disk.Unlock()
	s.mu.Lock()
	batch := s.pending
	s.pending = nil
	s.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	left := batch
	var err error
	for len(left) > 0 && err == nil {
		n := s.portion(left)
		if err = s.commit(left[:n]); err == nil {
			left = left[n:]
		}
	}
	s.mu.Lock()
	if err != nil {
		s.pending = append(left, s.pending...)
		s.trim()
		s.mu.Unlock()
		return fmt.Errorf("commit %d feature vectors: %w", len(left), err)
	}
	recovered := s.stats.Failure != ""
	s.stats.Failure = ""
	for _, p := range batch {
		n := len(p.row.Vector)
		if len(s.free[n]) < FlushRows {
			s.free[n] = append(s.free[n], p.row.Vector)
		}
	}
	s.mu.Unlock()
	if recovered {
		s.log.Info("sample store writes again", "vectors", len(batch))
	}
	return nil
}

// portion is how many vectors of a batch to commit at once: what is rewritten takes
// room beside what it replaces.
func (s *Store) portion(batch []pendingRow) int {
	room := s.opts.MaxBytes / 16
	for i, p := range batch {
		if room -= rowBytes(len(p.row.Vector)); room < 0 {
			return max(1, i)
		}
	}
	return len(batch)
}

// commit writes a batch. A file that turns out to be damaged is put aside and the
// batch goes to a fresh one. Called with disk held.
func (s *Store) commit(batch []pendingRow) error {
	if s.db == nil {
		if err := s.reopen(); err != nil {
			return err
		}
	}
	err := s.write(batch)
	var corrupt *durable.CorruptError
	if !errors.As(err, &corrupt) {
		return err
	}
	s.abandon()
	if err := s.reopen(); err != nil {
		return err
	}
	return s.write(batch)
}

// Close commits what is pending and closes the file.
func (s *Store) Close() error {
	err := s.Flush()
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.db != nil {
		err = errors.Join(err, s.db.Close())
		s.db = nil
		s.retryOpen = time.Unix(1<<40, 0) // never again
	}
	return err
}

// Stats returns the counts.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Pending = int64(len(s.pending))
	st.Dropped = make(map[string]int64, len(s.stats.Dropped))
	for k, v := range s.stats.Dropped {
		st.Dropped[k] = v
	}
	return st
}
