package boltstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	bolt "go.etcd.io/bbolt"

	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/storetest"
)

// TestCommitter_Shares: while one change is being committed, all others queue up
// and then share one transaction.
func TestCommitter_Shares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		commits, gate := 0, make(chan struct{})
		c := committer{update: func(f func(*bolt.Tx) error) error {
			commits++
			if commits == 1 {
				<-gate
			}
			return f(nil)
		}}
		applied := 0
		var wg sync.WaitGroup
		do := func() {
			wg.Go(func() {
				if err := c.do(t.Context(), 1, func(*bolt.Tx) error { applied++; return nil }); err != nil {
					t.Error(err)
				}
			})
		}
		do()
		synctest.Wait() // the first one is in its commit
		for range 50 {
			do()
		}
		synctest.Wait() // and all others wait
		close(gate)
		wg.Wait()
		if applied != 51 || commits != 2 {
			t.Fatalf("%d changes in %d commits, want 51 in 2", applied, commits)
		}
	})
}

func TestCommitter_BoundsBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		commits, gate := 0, make(chan struct{})
		c := committer{update: func(f func(*bolt.Tx) error) error {
			commits++
			if commits == 1 {
				<-gate
			}
			return f(nil)
		}}
		var wg sync.WaitGroup
		for range 1 + 5 {
			wg.Go(func() {
				if err := c.do(t.Context(), maxBatchBytes/2, func(*bolt.Tx) error { return nil }); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		close(gate)
		wg.Wait()
		if want := 1 + 3; commits != want { // five halves, two at a time
			t.Fatalf("%d commits, want %d", commits, want)
		}
	})
}

// TestCommitter_OneBreaks: a change that breaks its transaction takes nobody
// with it, whether it returns an error or panics.
func TestCommitter_OneBreaks(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	broken := errors.New("broken")
	batch := []*change{
		{ctx: t.Context(), apply: putApply(s, "a")},
		{ctx: t.Context(), apply: func(tx *bolt.Tx) error {
			if err := tx.Bucket(recordsBucket).Put([]byte("half"), encode(nil, 1)); err != nil {
				return err
			}
			return broken
		}},
		{ctx: t.Context(), apply: func(*bolt.Tx) error { return refusal{store.ErrNotFound} }},
		{ctx: t.Context(), apply: func(*bolt.Tx) error { panic("page is odd") }},
		{ctx: t.Context(), apply: putApply(s, "b")},
	}
	s.changes.commit(batch)
	if batch[0].err != nil || batch[4].err != nil {
		t.Errorf("sound changes failed: %v, %v", batch[0].err, batch[4].err)
	}
	if !errors.Is(batch[1].err, broken) || !errors.Is(batch[2].err, store.ErrNotFound) {
		t.Errorf("errors are %v and %v", batch[1].err, batch[2].err)
	}
	var corrupt *store.CorruptError
	if !errors.As(batch[3].err, &corrupt) || !strings.Contains(batch[3].err.Error(), "page is odd") {
		t.Errorf("a panic became %v, want a CorruptError", batch[3].err)
	}
	list, err := s.List(t.Context(), "")
	if err != nil || len(list) != 2 || list[0].Key != "a" || list[1].Key != "b" {
		t.Fatalf("the store has %v, %v; want a and b", list, err)
	}
}

func putApply(s *Store, key string) func(*bolt.Tx) error {
	return func(tx *bolt.Tx) error {
		seq, err := tx.Bucket(recordsBucket).NextSequence()
		if err != nil {
			return err
		}
		return tx.Bucket(recordsBucket).Put([]byte(key), encode([]byte("v"), seq))
	}
}

// TestStore_DiskFull: a full disk fails the write at hand and nothing else, and
// its remains are gone after the next Open.
func TestStore_DiskFull(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	kept := storetest.Content(1, 100_000)
	b, err := s.PutBlob(t.Context(), bytes.NewReader(kept))
	if err != nil {
		t.Fatal(err)
	}
	s.db.MaxSize = 4 << 20
	if _, err := s.PutBlob(t.Context(), bytes.NewReader(storetest.Content(2, 32<<20))); err == nil {
		t.Fatal("32 MiB fitted into 4")
	}
	rev, err := s.Put(t.Context(), "still", []byte("works"), 0)
	if err != nil {
		t.Fatalf("Put after a failed blob: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	if r, err := s.Get(t.Context(), "still"); err != nil || r.Revision != rev {
		t.Fatalf("Get = %+v, %v", r, err)
	}
	if n := countPieces(t, s); n != 1 {
		t.Fatalf("%d pieces, want those of the one blob", n)
	}
	if got, err := s.StatBlob(t.Context(), b.SHA256); err != nil || got != b {
		t.Fatalf("StatBlob = %+v, %v", got, err)
	}
	mustBeSound(t, s)
}

func countPieces(t *testing.T, s *Store) (n int) {
	t.Helper()
	err := s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(piecesBucket).ForEach(func(_, _ []byte) error { n++; return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestOpen_CollectsOrphans: pieces of writes that never ended, and of blobs
// deleted under a reader that never closed, go at the next Open; others stay.
func TestOpen_CollectsOrphans(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	content := storetest.Content(3, 5*store.BlobChunkBytes)
	b, err := s.PutBlob(t.Context(), bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	doomed, err := s.PutBlob(t.Context(), bytes.NewReader(storetest.Content(4, 5*store.BlobChunkBytes)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenBlob(t.Context(), doomed.SHA256, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteBlob(t.Context(), doomed.SHA256); err != nil {
		t.Fatal(err)
	}
	w := blobWriter{s: s, ctx: t.Context()} // a write that the power cut interrupts
	for range 3 {
		if err := w.flush(content[:pieceChunks*store.BlobChunkBytes], nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := countPieces(t, s); n != 2+2+3 {
		t.Fatalf("%d pieces, want 7", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	if n := countPieces(t, s); n != 2 {
		t.Fatalf("%d pieces after Open, want the blob's 2", n)
	}
	readAll(t, s)
	if got, err := s.StatBlob(t.Context(), b.SHA256); err != nil || got != b {
		t.Fatalf("StatBlob = %+v, %v", got, err)
	}
	mustBeSound(t, s)
}

func BenchmarkStore_Put(b *testing.B) {
	value := storetest.Content(1, 512)
	for _, writers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			commits, update := 0, s.changes.update
			s.changes.update = func(f func(*bolt.Tx) error) error { commits++; return update(f) }
			var wg sync.WaitGroup
			b.ResetTimer()
			for w := range writers {
				wg.Go(func() {
					var rev uint64
					for i := w; i < b.N; i += writers {
						next, err := s.Put(context.Background(), fmt.Sprintf("agent/%d", w), value, rev)
						if err != nil {
							b.Error(err)
							return
						}
						rev = next
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
			b.ReportMetric(float64(b.N)/float64(commits), "puts/commit")
		})
	}
}

func BenchmarkStore_PutBlob(b *testing.B) {
	for _, size := range []int{40 << 10, 8 << 20, 64 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			content := storetest.Content(1, size)
			b.SetBytes(int64(size))
			for i := range b.N {
				content[0], content[1], content[2] = byte(i), byte(i>>8), byte(i>>16)
				blob, err := s.PutBlob(context.Background(), bytes.NewReader(content))
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := s.DeleteBlob(context.Background(), blob.SHA256); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
