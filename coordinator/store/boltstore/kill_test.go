package boltstore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/storetest"
)

const writerDir = "MILLWRIGHT_TEST_WRITER_DIR" // makes the test binary the victim

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		fmt.Fprintln(os.Stderr, writeUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeUntilKilled stores records and blobs from several goroutines and prints
// each one after the store acknowledged it.
func writeUntilKilled(dir string) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	held, err := s.List(context.Background(), "record/")
	if err != nil {
		return err
	}
	revisions := map[string]uint64{}
	for _, r := range held {
		revisions[r.Key] = r.Revision
	}
	failed, mu := make(chan error), sync.Mutex{}
	acknowledge := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	for g := range 4 {
		key := fmt.Sprintf("record/%d", g)
		go func(rev uint64) {
			for i := 0; ; i++ {
				value := fmt.Sprintf("%d.%d", rev, i)
				next, err := s.Put(context.Background(), key, []byte(value), rev)
				if err != nil {
					failed <- err
					return
				}
				rev = next
				acknowledge("record %s %s %d", key, value, next)
			}
		}(revisions[key])
	}
	for g := range 2 {
		go func() {
			for i := uint64(0); ; i++ {
				size := 1000
				if g == 1 {
					size = 6*store.BlobChunkBytes + int(i)
				}
				b, err := s.PutBlob(context.Background(), bytes.NewReader(storetest.Content(i*2+uint64(g)+uint64(os.Getpid())<<8, size)))
				if err != nil {
					failed <- err
					return
				}
				acknowledge("blob %s %d", b.SHA256, b.Size)
				if i%3 == 2 { // deleting is part of life; announced first, for it may or may not happen
					acknowledge("delete %s", b.SHA256)
					if err := s.DeleteBlob(context.Background(), b.SHA256); err != nil {
						failed <- err
						return
					}
				}
			}
		}()
	}
	return <-failed
}

// TestStore_Kill9 kills a writing process at five arbitrary moments. What it had
// acknowledged must be there, and the file must be sound. (kill -9 proves the
// order of writes, not the disk's obedience to fsync.)
func TestStore_Kill9(t *testing.T) {
	dir := t.TempDir()
	records := map[string]string{} // key → newest acknowledged revision
	blobs := map[string]string{}   // digest → size
	total := 0
	for round := range 5 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), writerDir+"="+dir)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		deleted := map[string]bool{}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 20+23*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			} // and read on: what was printed before it died counts
			switch f := strings.Fields(lines.Text()); {
			case len(f) == 4 && f[0] == "record":
				records[f[1]] = f[3]
				total++
			case len(f) == 3 && f[0] == "blob":
				blobs[f[1]] = f[2]
				total++
			case len(f) == 2 && f[0] == "delete":
				deleted[f[1]] = true
			}
		}
		if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("the writer ended by itself: %v, %s", err, stderr.String())
		}
		for digest := range deleted {
			delete(blobs, digest)
		}

		s := mustOpen(t, dir)
		for key, want := range records {
			r, err := s.Get(t.Context(), key)
			if err != nil {
				t.Fatalf("round %d: acknowledged %s: %v", round, key, err)
			}
			var at uint64
			if _, err := fmt.Sscan(want, &at); err != nil {
				t.Fatal(err)
			}
			if r.Revision < at { // a later one may have been stored and not yet printed
				t.Fatalf("round %d: %s is at revision %d, acknowledged was %d", round, key, r.Revision, at)
			}
		}
		for digest, size := range blobs {
			b, err := s.StatBlob(t.Context(), digest)
			if err != nil || fmt.Sprint(b.Size) != size {
				t.Fatalf("round %d: acknowledged blob %s of %s bytes: %+v, %v", round, digest, size, b, err)
			}
		}
		mustBeWhole(t, s)
		mustBeSound(t, s)
	}
	t.Logf("%d acknowledged writes survived five kills; %d blobs at the end", total, len(blobs))
}

// mustBeWhole reads every blob, and checks that there are no pieces without one.
func mustBeWhole(t *testing.T, s *Store) {
	t.Helper()
	list, err := s.ListBlobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pieces := 0
	for _, b := range list {
		if raw, err := hex.DecodeString(b.SHA256); err != nil || len(raw) != 32 {
			t.Fatalf("blob is called %q", b.SHA256)
		}
		r, err := s.OpenBlob(t.Context(), b.SHA256, 0)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r) // which checks the digest
		if err := errors.Join(err, r.Close()); err != nil || uint64(n) != b.Size {
			t.Fatalf("blob %+v: %d bytes, %v", b, n, err)
		}
		pieces += int((b.Size + pieceChunks*store.BlobChunkBytes - 1) / (pieceChunks * store.BlobChunkBytes))
	}
	if n := countPieces(t, s); n != pieces {
		t.Fatalf("%d pieces, the blobs have %d", n, pieces)
	}
}
