package boltstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/storetest"
)

func TestOpen_InUse(t *testing.T) {
	dir := t.TempDir()
	first := mustOpen(t, dir)
	_, err := Open(dir, Options{LockTimeout: time.Millisecond})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), first.path) {
		t.Fatalf("second Open: %v, want ErrInUse naming %s", err, first.path)
	}
	if _, err := first.Put(context.Background(), "k", nil, 0); err != nil {
		t.Fatalf("the first one suffered: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir)
}

func TestOpen_Modes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	s := mustOpen(t, dir)
	for path, want := range map[string]os.FileMode{dir: 0o700, s.path: 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v (%v), want %v", path, info.Mode().Perm(), err, want)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("beside the store there is %v, %v", left, err)
	}
}

func TestOpen_NotADirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatalf("Open below a file: %v, want an error naming it", err)
	}
}

// TestOpen_InterruptedCreation: what a crash during the very first start leaves
// is swept away and does not hinder the second.
func TestOpen_InterruptedCreation(t *testing.T) {
	dir := t.TempDir()
	torn := filepath.Join(dir, ".store-new-1")
	if err := os.Mkdir(torn, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(torn, FileName), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir)
	if _, err := os.Stat(torn); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the torn file is still there: %v", err)
	}
}

func TestOpen_ForeignFile(t *testing.T) {
	for name, prepare := range map[string]func(path string) error{
		"another program's": func(path string) error {
			db, err := bolt.Open(path, 0o600, nil)
			if err != nil {
				return err
			}
			return db.Close()
		},
		"a later format": func(path string) error {
			s, err := Open(filepath.Dir(path), Options{})
			if err != nil {
				return err
			}
			err = s.db.Update(func(tx *bolt.Tx) error {
				return tx.Bucket(metaBucket).Put(formatKey, []byte{0, 0, 0, 0, 0, 0, 0, 2})
			})
			return errors.Join(err, s.Close())
		},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, FileName)
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir, Options{LockTimeout: time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), path) || errors.Is(err, ErrInUse) {
			t.Errorf("%s file: %v, want an error naming it", name, err)
		}
		if again, second := Open(dir, Options{LockTimeout: time.Millisecond}); second == nil || errors.Is(second, ErrInUse) {
			t.Errorf("%s file, second try: %v, %v: the lock was kept", name, again, second)
		}
	}
}

// filledFile returns the bytes of a store with many records and several blobs.
func filledFile(t testing.TB) []byte {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for i := range 120 {
		key := "record/" + strings.Repeat("x", i%50) + string(rune('a'+i%26)) + string(rune('a'+i/26))
		if _, err := s.Put(ctx, key, storetest.Content(uint64(i), 10*i), 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []int{0, 10, 1000, 70_000} {
		if _, err := s.PutBlob(ctx, bytes.NewReader(storetest.Content(uint64(n), n))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestOpen_DamagedFile: no damage makes Open panic, hang or change the file; a
// file that opens although it is damaged hands out sound content or an error.
func TestOpen_DamagedFile(t *testing.T) {
	whole := filledFile(t)
	damage := map[string][]byte{
		"empty":         {},
		"text":          []byte(strings.Repeat("not a database\n", 1000)),
		"zeroes":        make([]byte, len(whole)),
		"cut in half":   whole[:len(whole)/2],
		"cut at a page": whole[:4*4096],
		"cut by a byte": whole[:usedBytes(t, whole)-1],
		"only a meta":   whole[:4096],
	}
	for name, data := range damage {
		wantCorrupt(t, name, data)
	}
	// Two bits of each field of each page's header and first element, in turn.
	tried, opened := 0, 0
	for p := range len(whole) / 4096 {
		if p > 1 && ne.Uint64(whole[p*4096:]) != uint64(p) {
			continue // amid a long page
		}
		for _, at := range []int{0, 8, 9, 10, 12, 13, 16, 20, 24, 28} {
			data := bytes.Clone(whole)
			data[p*4096+at] ^= 0x41
			tried++
			if tryDamaged(t, data) {
				opened++
			}
		}
	}
	if opened > tried/2 { // free pages and the older meta page may be damaged at will
		t.Fatalf("%d of %d damages went unnoticed", opened, tried)
	}
	t.Logf("%d of %d damages did not matter to the structure", opened, tried)
}

// usedBytes returns where the last page in use ends, by bbolt's own account.
func usedBytes(t *testing.T, data []byte) int {
	_, _, pages, pageSize, err := readMeta(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return int(pages * pageSize)
}

func wantCorrupt(t *testing.T, name string, data []byte) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, Options{})
	var corrupt *store.CorruptError
	if !errors.As(err, &corrupt) || !strings.Contains(corrupt.Place, path) || !strings.Contains(err.Error(), "backup") {
		t.Errorf("%s: %v, want a CorruptError naming %s and the mend", name, err, path)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, data) {
		t.Errorf("%s: Open changed the damaged file (%v)", name, err)
	}
}

// tryDamaged opens a damaged file, reads everything if that works, and says
// whether it did.
func tryDamaged(t *testing.T, data []byte) bool {
	t.Helper()
	if err := verify(bytes.NewReader(data), int64(len(data))); err != nil {
		return false
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), data, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, Options{})
	if err != nil {
		return false
	}
	defer func() { _ = s.Close() }()
	readAll(t, s)
	return true
}

// readAll reads whatever can be read; errors must be of the expected type and
// content must be what its name says.
func readAll(t *testing.T, s *Store) {
	t.Helper()
	ctx := context.Background()
	var corrupt *store.CorruptError
	if _, err := s.List(ctx, ""); err != nil && !errors.As(err, &corrupt) {
		t.Errorf("List: %v, want a CorruptError", err)
	}
	blobs, err := s.ListBlobs(ctx)
	if err != nil && !errors.As(err, &corrupt) {
		t.Errorf("ListBlobs: %v, want a CorruptError", err)
	}
	for _, b := range blobs {
		r, err := s.OpenBlob(ctx, b.SHA256, 0)
		if err != nil {
			if !errors.As(err, &corrupt) && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("OpenBlob: %v, want a CorruptError", err)
			}
			continue
		}
		if _, err := io.Copy(io.Discard, r); err != nil && !errors.As(err, &corrupt) {
			t.Errorf("read blob: %v, want a CorruptError", err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("close reader: %v", err)
		}
	}
}

// FuzzVerify changes a real file: verify must return, and if it finds nothing
// wrong, bbolt must be able to live with the file.
func FuzzVerify(f *testing.F) {
	whole := filledFile(f)
	f.Add(uint32(4096), uint64(1), uint32(len(whole)))
	f.Add(uint32(16), uint64(0xff), uint32(len(whole)))
	f.Add(uint32(3*4096+12), uint64(1)<<40, uint32(len(whole)))
	f.Add(uint32(0), uint64(0), uint32(5000))
	f.Add(uint32(2*4096+16), uint64(0x7fffffff), uint32(len(whole)))
	f.Fuzz(func(t *testing.T, at uint32, flip uint64, size uint32) {
		data := bytes.Clone(whole[:min(int(size), len(whole))])
		for i := 0; i < 8 && int(at)+i < len(data); i++ {
			data[int(at)+i] ^= byte(flip >> (8 * i))
		}
		tryDamaged(t, data)
	})
}

// FuzzVerifyBytes: verify returns on anything at all.
func FuzzVerifyBytes(f *testing.F) {
	f.Add([]byte{})
	f.Add(filledFile(f)[:8*4096])
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = verify(bytes.NewReader(data), int64(len(data)))
	})
}
