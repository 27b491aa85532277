package samples

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A disk that is really full: a small tmpfs.
func TestStore_FullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("a small file system cannot be mounted here (needs root): %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 300<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "samples.db")
	s := open(t, path, Options{MaxRecent: 1 << 20})
	vector := make([]float64, 50)
	var full error
	n := 0
	const rows = FlushRows / 4
	for ; full == nil && n < 100; n++ {
		for range rows {
			s.Add(key, Recent, time.Unix(int64(n), 0), vector)
		}
		full = s.Flush()
	}
	if full == nil {
		t.Fatal("the disk never filled up")
	}
	t.Logf("full after %d batches: %v", n-1, full)
	stored := s.Stats().Stored
	for range 2 * MaxPending {
		s.Add(key, Recent, time.Unix(0, 0), vector)
	}
	if err := s.Flush(); err == nil {
		t.Error("flush on a full disk succeeded")
	}
	st := s.Stats()
	if st.Pending != MaxPending || st.Stored != stored || st.Dropped["disk_failed"] != int64(2*MaxPending+rows-MaxPending) {
		t.Errorf("on a full disk: %+v", st)
	}
	all, err := s.Rows(key, Recent)
	if err != nil || int64(len(all)) != stored+MaxPending {
		t.Errorf("%d rows to learn from (%v), want %d on disk and %d in memory", len(all), err, stored, MaxPending)
	}
	// Somebody makes room.
	if err := s.Forget(key, Recent); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for range FlushRows {
		s.Add(key, Recent, time.Unix(0, 0), vector)
	}
	if err := s.Flush(); err != nil {
		t.Fatalf("flush after room was made: %v", err)
	}
	if st := s.Stats(); st.Failure != "" || st.Pending != 0 || st.Quarantined != 0 {
		t.Errorf("after room was made: %+v", st)
	}
}
