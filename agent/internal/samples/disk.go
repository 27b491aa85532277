package samples

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/millwright-iot/millwright/agent/internal/durable"
	"github.com/millwright-iot/millwright/fedavg/failpoint"
)

// The file: bucket "vectors" → bucket "<machine>\x00<feature digest>" → buckets
// "baseline", "recent" and "observed" → big-endian sequence → checksum, time, numbers
// (little-endian). Bucket "meta" → "lifetime_bytes".
var (
	vectorsBucket = []byte("vectors")
	metaBucket    = []byte("meta")
	lifetimeKey   = []byte("lifetime_bytes")
	kindBucket    = [...][]byte{Baseline: []byte("baseline"), Recent: []byte("recent"), Observed: []byte("observed"), Cycle: []byte("cycle")}
)

const pageBytes = 4096

func (k Key) bucket() []byte { return []byte(k.Machine + "\x00" + k.Features) }

// reopen opens the file, at most once in FlushEvery. Called with disk held.
func (s *Store) reopen() error {
	if now := time.Now(); now.Before(s.retryOpen) {
		return fmt.Errorf("open sample store %q: next attempt at %s", s.path, s.retryOpen.UTC().Format(time.TimeOnly))
	} else {
		s.retryOpen = now.Add(FlushEvery)
	}
	db, aside, err := durable.OpenBolt(s.path, s.opts.MaxBytes)
	if aside != "" {
		s.log.Error("sample store was damaged; it was put aside and a fresh one begun", "kept_as", aside)
		s.mu.Lock()
		s.stats.Quarantined++
		s.mu.Unlock()
	}
	if err != nil {
		return err
	}
	s.db = db
	// bbolt counts its free pages at the end of a transaction that writes.
	if err := db.Update(func(*bolt.Tx) error { return nil }); err != nil {
		s.log.Warn("sample store cannot be written yet", "error", err)
	}
	_ = db.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket(metaBucket); b != nil {
			if v := b.Get(lifetimeKey); len(v) == 8 {
				s.base = int64(binary.BigEndian.Uint64(v))
			}
		}
		return nil
	})
	s.note(0)
	return nil
}

// abandon puts the file of a damaged database aside. The database stays open: a
// panic may have left it locked, and closing would wait for that for ever. Its
// descriptor goes with the process; damage is rare enough. Called with disk held.
func (s *Store) abandon() {
	s.db, s.retryOpen = nil, time.Time{}
	aside, err := durable.Quarantine(s.path)
	if err != nil {
		s.log.Error("damaged sample store cannot be put aside", "error", err)
		return
	}
	s.log.Error("sample store was damaged; it was put aside and a fresh one begun", "kept_as", aside)
	s.mu.Lock()
	s.stats.Quarantined++
	s.mu.Unlock()
}

// write commits a batch in one transaction.
func (s *Store) write(batch []pendingRow) (err error) {
	defer durable.PanicOnFault()()
	defer durable.Recover(s.path, &err)
	full, stored := 0, 0
	err = s.db.Update(func(tx *bolt.Tx) error {
		full, stored = 0, 0
		vectors, err := tx.CreateBucketIfNotExists(vectorsBucket)
		if err != nil {
			return err
		}
		room := s.room(tx)
		for _, p := range batch {
			takes := rowBytes(len(p.row.Vector))
			replace := room < takes+s.reserve(p.kind)
			ok, err := s.put(vectors, p, replace)
			switch {
			case err != nil:
				return err
			case !ok:
				full++
				continue
			case !replace:
				room -= takes
			}
			stored++
		}
		meta, err := tx.CreateBucketIfNotExists(metaBucket)
		if err != nil {
			return err
		}
		err = meta.Put(lifetimeKey, binary.BigEndian.AppendUint64(nil, uint64(s.lifetime())))
		failpoint.Here(failpoint.SamplesCommit)
		return err
	})
	failpoint.Here(failpoint.SamplesCommitted)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.stats.Stored += int64(stored)
	s.stats.Dropped["store_full"] += int64(full)
	s.mu.Unlock()
	s.note(full)
	return nil
}

// room is how many bytes of rows the file still takes. A file grows by doubling,
// so its content must stay below half of the bound.
func (s *Store) room(tx *bolt.Tx) int64 {
	stats := s.db.Stats()
	used := tx.Size() - int64(stats.FreePageN+stats.PendingPageN)*pageBytes
	return s.opts.MaxBytes/2 - used
}

// reserve is room that vectors of a kind must leave to others: a machine can do
// without what it observed, not without its baseline.
func (s *Store) reserve(kind Kind) int64 {
	if kind == Observed {
		return s.opts.MaxBytes / 8
	}
	return 0
}

// rowBytes is what a row of n numbers takes in the file, its share of the tree included.
func rowBytes(n int) int64 { return int64(n)*8 + 64 }

// put appends a row. In a full file a row that rolls takes the place of the oldest of
// its key and kind; a row without such a place is refused.
func (s *Store) put(vectors *bolt.Bucket, p pendingRow, full bool) (bool, error) {
	machine, err := vectors.CreateBucketIfNotExists(p.key.bucket())
	if err != nil {
		return false, err
	}
	b, err := machine.CreateBucketIfNotExists(kindBucket[p.kind])
	if err != nil {
		return false, err
	}
	if full {
		oldest, _ := b.Cursor().First()
		if p.kind == Baseline || oldest == nil {
			return false, nil
		}
		if err := b.Delete(oldest); err != nil {
			return false, err
		}
	}
	b.FillPercent = 1 // rows are appended
	seq, err := b.NextSequence()
	if err != nil {
		return false, err
	}
	if err := b.Put(binary.BigEndian.AppendUint64(nil, seq), encode(p.row)); err != nil {
		return false, err
	}
	switch p.kind {
	case Baseline:
		return true, nil
	case Observed:
		return true, s.thin(b, seq)
	}
	most := uint64(s.opts.MaxRecent)
	if p.kind == Cycle {
		most = MaxCycles
	}
	// More than one goes only after the limit was lowered.
	for oldest, _ := b.Cursor().First(); oldest != nil && seq-binary.BigEndian.Uint64(oldest) >= most; oldest, _ = b.Cursor().First() {
		if err := b.Delete(oldest); err != nil {
			return false, err
		}
	}
	return true, nil
}

// lifetime is the bytes written to the file since it was made, up to the newest commit.
func (s *Store) lifetime() int64 {
	stats := s.db.Stats()
	return s.base + stats.TxStats.GetPageAlloc()
}

// note refreshes the numbers that come from the file.
func (s *Store) note(full int) {
	lifetime, size := s.lifetime(), int64(0)
	if info, err := os.Stat(s.path); err == nil {
		size = info.Size()
	}
	s.mu.Lock()
	s.stats.LifetimeBytes, s.stats.FileBytes = lifetime, size
	s.mu.Unlock()
	if full > 0 {
		s.log.Warn("sample store is full; raise store.max_size or lower store.max_samples", "dropped", full, "file_bytes", size)
	}
}

// Rows returns the vectors of one kind, oldest first, those in memory included.
func (s *Store) Rows(key Key, kind Kind) ([]Row, error) { return s.Newest(key, kind, math.MaxInt) }

// Newest is Rows of the newest n vectors. It takes no more memory than those.
func (s *Store) Newest(key Key, kind Kind, n int) (rows []Row, err error) {
	s.disk.Lock()
	defer s.disk.Unlock()
	pending := s.held(key, kind, n)
	if s.db != nil && len(pending) < n {
		rows, err = s.read(key, kind, n-len(pending))
	}
	return append(rows, pending...), err
}

// held returns copies of the newest n vectors in memory, oldest first.
func (s *Store) held(key Key, kind Kind, n int) (rows []Row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.pending) - 1; i >= 0 && len(rows) < n; i-- {
		if p := s.pending[i]; p.key == key && p.kind == kind {
			rows = append(rows, unpack(kind, Row{At: p.row.At, Vector: append([]float64(nil), p.row.Vector...)}))
		}
	}
	slices.Reverse(rows)
	return rows
}

// read returns the newest n vectors on disk, oldest first.
func (s *Store) read(key Key, kind Kind, n int) (rows []Row, err error) {
	defer durable.PanicOnFault()()
	defer durable.Recover(s.path, &err)
	damaged := int64(0)
	err = s.db.View(func(tx *bolt.Tx) error {
		b := bucket(tx, key, kind)
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, v := c.Last(); k != nil && len(rows) < n; k, v = c.Prev() {
			if row, ok := decode(v); ok {
				rows = append(rows, unpack(kind, row))
			} else {
				damaged++
			}
		}
		return nil
	})
	slices.Reverse(rows)
	s.mu.Lock()
	s.stats.Dropped["damaged"] += damaged
	s.mu.Unlock()
	return rows, err
}

// Count returns about how many vectors of one kind are on disk; 0 when it cannot tell.
func (s *Store) Count(key Key, kind Kind) (n int) {
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.db == nil {
		return 0
	}
	var err error
	defer durable.PanicOnFault()()
	defer durable.Recover(s.path, &err)
	_ = s.db.View(func(tx *bolt.Tx) error {
		if b := bucket(tx, key, kind); b != nil {
			first, _ := b.Cursor().First()
			last, _ := b.Cursor().Last()
			if first != nil {
				n = int(binary.BigEndian.Uint64(last) - binary.BigEndian.Uint64(first) + 1)
			}
		}
		return nil
	})
	return n
}

// bucket returns the bucket of one kind of a key, nil if there is none.
func bucket(tx *bolt.Tx, key Key, kind Kind) *bolt.Bucket {
	b := tx.Bucket(vectorsBucket)
	for _, name := range [][]byte{key.bucket(), kindBucket[kind]} {
		if b == nil {
			return nil
		}
		b = b.Bucket(name)
	}
	return b
}

// Keep deletes the vectors of every other key. It writes only if there are any.
func (s *Store) Keep(keys []Key) error {
	keep := map[string]bool{}
	for _, k := range keys {
		keep[string(k.bucket())] = true
	}
	return s.drop(func(bucket []byte) bool { return !keep[string(bucket)] })
}

// ForgetMachine deletes all vectors of a machine. It is for the start: those in memory stay.
func (s *Store) ForgetMachine(machine string) error {
	prefix := (Key{Machine: machine}).bucket()
	return s.drop(func(bucket []byte) bool { return bytes.HasPrefix(bucket, prefix) })
}

// drop deletes the vectors in the buckets that unwanted names.
func (s *Store) drop(unwanted func(bucket []byte) bool) (err error) {
	s.disk.Lock()
	defer s.disk.Unlock()
	if s.db == nil {
		return nil
	}
	defer durable.PanicOnFault()()
	defer durable.Recover(s.path, &err)
	var drop [][]byte
	err = s.db.View(func(tx *bolt.Tx) error {
		vectors := tx.Bucket(vectorsBucket)
		if vectors == nil {
			return nil
		}
		return vectors.ForEachBucket(func(name []byte) error {
			if unwanted(name) {
				drop = append(drop, append([]byte(nil), name...))
			}
			return nil
		})
	})
	if err != nil || len(drop) == 0 {
		return err
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		for _, name := range drop {
			if err := tx.Bucket(vectorsBucket).DeleteBucket(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// Forget deletes the vectors of one kind of a key, those in memory included.
func (s *Store) Forget(key Key, kind Kind) (err error) {
	s.disk.Lock()
	defer s.disk.Unlock()
	s.mu.Lock()
	s.pending = slices.DeleteFunc(s.pending, func(p pendingRow) bool { return p.key == key && p.kind == kind })
	s.mu.Unlock()
	if s.db == nil {
		return nil
	}
	defer durable.PanicOnFault()()
	defer durable.Recover(s.path, &err)
	return s.db.Update(func(tx *bolt.Tx) error {
		vectors := tx.Bucket(vectorsBucket)
		if vectors == nil {
			return nil
		}
		machine := vectors.Bucket(key.bucket())
		if machine == nil || machine.Bucket(kindBucket[kind]) == nil {
			return nil
		}
		return machine.DeleteBucket(kindBucket[kind])
	})
}
