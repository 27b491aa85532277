package samples

import (
	"encoding/binary"
	"math"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/millwright-iot/millwright/agent/internal/durable"
)

// Prediction is what was made of an observed window at the time.
type Prediction struct {
	Score   float64 // of the live job; 0 while it had its baseline to collect
	Version uint64  // of its global model
	Quiet   bool    // no alarm lasted or was about to
}

// How observed windows get fewer: all of the newest Options.MaxRecent/2 are kept, one
// in 8 of those up to 8 times as far back, one in 64 of those up to 64 times, and those
// up to 512 times as one in 512; none beyond. Of windows that were not quiet, which
// labels are most likely to be about, 8 times as many stay, from 8 times as far back on.
// Work orders close after days or weeks: at a window every 10 s, 2,500 are 7 hours, and
// the furthest lie 5 months back.
const (
	thinBy     = 8
	thinLevels = 3
	// thinEvery many windows are thinned at once, so that a commit of a few does not
	// touch pages all over the file.
	thinEvery = 512
)

// Observe keeps a copy of a window's vector and what was predicted from it, for labels
// that come late.
func (s *Store) Observe(key Key, at time.Time, vector []float64, p Prediction) {
	flags := 2 * float64(p.Version&(1<<51-1))
	if p.Quiet {
		flags++
	}
	s.hold(key, Observed, at, vector, p.Score, flags)
}

// unpack splits the numbers of a stored row.
func unpack(kind Kind, r Row) Row {
	n := len(r.Vector) - 2
	if kind != Observed || n < 0 {
		return r
	}
	flags := uint64(max(0, r.Vector[n+1]))
	r.Prediction = Prediction{Score: r.Vector[n], Version: flags / 2, Quiet: flags%2 == 1}
	r.Vector = r.Vector[:n]
	return r
}

// wasQuiet reads the flag of an encoded row.
func wasQuiet(v []byte) bool {
	return len(v) >= 8 && uint64(max(0, math.Float64frombits(binary.LittleEndian.Uint64(v[len(v)-8:]))))%2 == 1
}

// thin deletes from b, of which seq was just written, what is no longer kept.
func (s *Store) thin(b *bolt.Bucket, seq uint64) error {
	if seq%s.thinAt != 0 {
		return nil
	}
	// Blocks begin at multiples of their size, so that none is missed.
	age := (uint64(s.opts.MaxRecent/2)/s.thinAt + 1) * s.thinAt
	every := uint64(1)
	var drop [][]byte
	c := b.Cursor()
	for range thinLevels {
		if seq > age+s.thinAt {
			low, high := seq-age-s.thinAt, seq-age
			for k, v := c.Seek(binary.BigEndian.AppendUint64(nil, low)); k != nil && binary.BigEndian.Uint64(k) < high; k, v = c.Next() {
				keep := every
				if wasQuiet(v) {
					keep *= thinBy
				}
				if binary.BigEndian.Uint64(k)%keep != 0 {
					drop = append(drop, k)
				}
			}
		}
		age *= thinBy
		every *= thinBy
	}
	for k, _ := c.First(); k != nil && binary.BigEndian.Uint64(k)+age < seq; k, _ = c.Next() {
		drop = append(drop, k)
	}
	for i, k := range drop { // the keys are the file's until it changes
		drop[i] = append([]byte(nil), k...)
	}
	for _, k := range drop {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// Each calls f with the vectors of one kind, oldest first, those in memory included,
// until f returns false. The row is f's during the call only; f must not call the Store.
func (s *Store) Each(key Key, kind Kind, f func(Row) bool) (err error) {
	s.disk.Lock()
	defer s.disk.Unlock()
	more := true
	if s.db != nil {
		more, err = s.each(key, kind, f)
	}
	if err != nil || !more {
		return err
	}
	for _, row := range s.held(key, kind, math.MaxInt) {
		if !f(row) {
			break
		}
	}
	return nil
}

func (s *Store) each(key Key, kind Kind, f func(Row) bool) (more bool, err error) {
	defer durable.PanicOnFault()()
	defer durable.Recover(s.path, &err)
	damaged := int64(0)
	more = true
	err = s.db.View(func(tx *bolt.Tx) error {
		b := bucket(tx, key, kind)
		if b == nil {
			return nil
		}
		var vector []float64
		c := b.Cursor()
		for k, v := c.First(); k != nil && more; k, v = c.Next() {
			row, ok := decodeInto(vector, v)
			if !ok {
				damaged++
				continue
			}
			vector = row.Vector
			more = f(unpack(kind, row))
		}
		return nil
	})
	s.mu.Lock()
	s.stats.Dropped["damaged"] += damaged
	s.mu.Unlock()
	return more, err
}
