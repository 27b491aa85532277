package samples

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Cycles are kept for years, whatever the bound of recent vectors.
func TestStore_NewestCyclesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	s := open(t, path, Options{MaxRecent: 10})
	fill(s, key, Recent, 0, 30)
	for from := 0; from < MaxCycles+50; from += MaxPending / 2 {
		fill(s, key, Cycle, from, min(from+MaxPending/2, MaxCycles+50))
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, Options{MaxRecent: 10})
	if diff := cmp.Diff(count(50, MaxCycles+50), firsts(t, s, key, Cycle)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(count(20, 30), firsts(t, s, key, Recent)); diff != "" {
		t.Error(diff)
	}
}
