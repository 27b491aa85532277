package models

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millwright-iot/millwright/fedavg/job"
)

func newStore(t testing.TB) *Store {
	return New(filepath.Join(t.TempDir(), "models"), slog.New(slog.DiscardHandler))
}

func load(s *Store, job, digest string) (version uint64, blob string) {
	version, ok := s.Load(job, digest, func(_ uint64, b []byte) error { blob = string(b); return nil })
	if !ok {
		return 0, ""
	}
	return version, blob
}

func save(t testing.TB, s *Store, version uint64, blob string) {
	t.Helper()
	if err := s.Save("pumps", "d1", version, []byte(blob)); err != nil {
		t.Fatal(err)
	}
}

func files(t testing.TB, s *Store) []string {
	t.Helper()
	entries, err := os.ReadDir(s.folder("pumps", "d1"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, filepath.Join(s.folder("pumps", "d1"), e.Name()))
	}
	return names
}

func TestStore_ActiveAndPrevious(t *testing.T) {
	s := newStore(t)
	if v, _ := load(s, "pumps", "d1"); v != 0 {
		t.Errorf("version %d in an empty store", v)
	}
	// A roll-back installs a lower version: the newest installed counts.
	for _, v := range []uint64{3, 12, 11} {
		save(t, s, v, strings.Repeat("m", int(v)))
	}
	if v, blob := load(s, "pumps", "d1"); v != 11 || len(blob) != 11 {
		t.Errorf("active is version %d of %d bytes, want 11", v, len(blob))
	}
	if n := len(files(t, s)); n != kept {
		t.Errorf("%d files, want the active and the previous one", n)
	}
	if v, _ := load(s, "pumps", "d2"); v != 0 {
		t.Errorf("another spec has version %d", v)
	}
}

func TestStore_DamageFallsBackToThePreviousThenToNone(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"torn":     func(b []byte) []byte { return b[:len(b)-1] },
		"bit flip": func(b []byte) []byte { b[0] ^= 1; return b },
		"empty":    func([]byte) []byte { return nil },
	} {
		s := newStore(t)
		save(t, s, 1, "first model")
		save(t, s, 2, "second model")
		names := files(t, s)
		for i, want := range []uint64{1, 0} {
			path := names[len(names)-1-i]
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			if v, _ := load(s, "pumps", "d1"); v != want {
				t.Errorf("%s: version %d after %d damaged files, want %d", name, v, i+1, want)
			}
			if aside, _ := filepath.Glob(path + ".corrupt-*"); len(aside) != 1 {
				t.Errorf("%s: put aside %v", name, aside)
			}
		}
		// And the next release finds its place.
		save(t, s, 3, "third model")
		if v, blob := load(s, "pumps", "d1"); v != 3 || blob != "third model" {
			t.Errorf("%s: version %d %q after a new release", name, v, blob)
		}
	}
}

func TestStore_ModelThatDoesNotFitIsSkipped(t *testing.T) {
	s := newStore(t)
	save(t, s, 1, "good")
	save(t, s, 2, "bad")
	v, ok := s.Load("pumps", "d1", func(_ uint64, b []byte) error {
		if string(b) == "bad" {
			return errors.New("does not fit")
		}
		return nil
	})
	if v != 1 || !ok {
		t.Errorf("version %d %v, want the one before", v, ok)
	}
}

func TestStore_KeepDeletesFormerJobs(t *testing.T) {
	s := newStore(t)
	save(t, s, 1, "x")
	for _, other := range [][2]string{{"pumps", "d0"}, {"fans", "d9"}} {
		if err := s.Save(other[0], other[1], 5, []byte("y")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SaveJobs([]job.Spec{{Name: "pumps"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(map[string]string{"pumps": "d1"}); err != nil {
		t.Fatal(err)
	}
	if v, _ := load(s, "pumps", "d1"); v != 1 {
		t.Error("the model of a present job is gone")
	}
	for _, other := range [][2]string{{"pumps", "d0"}, {"fans", "d9"}} {
		if v, _ := load(s, other[0], other[1]); v != 0 {
			t.Errorf("model of former job %v is still there", other)
		}
	}
	if len(s.LoadJobs()) != 1 {
		t.Error("jobs are gone")
	}
	if err := New(filepath.Join(t.TempDir(), "none"), s.log).Keep(nil); err != nil {
		t.Errorf("keep without a directory: %v", err)
	}
}

func TestStore_JobsSurviveDamage(t *testing.T) {
	s := newStore(t)
	if got := s.LoadJobs(); got != nil {
		t.Errorf("jobs of an empty store are %v", got)
	}
	first := []job.Spec{job.Spec{Name: "a", Class: "pump"}.WithDefaults()}
	second := append(slices.Clone(first), job.Spec{Name: "b", Class: "fan"}.WithDefaults())
	for _, specs := range [][]job.Spec{first, second} {
		if err := s.SaveJobs(specs); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(specs, s.LoadJobs()); diff != "" {
			t.Error(diff)
		}
	}
	if err := os.WriteFile(s.jobsPath(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, s.LoadJobs()); diff != "" {
		t.Errorf("after damage, want the jobs before: %s", diff)
	}
}
