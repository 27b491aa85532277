package boltstore

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/storetest"
)

func mustOpen(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// mustBeSound lets bbolt check every page of the file, after closing the store.
func mustBeSound(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(s.path, 0o600, &bolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	err = db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("bbolt check: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Subject{
		Open: func(t *testing.T) store.Store {
			s := mustOpen(t, t.TempDir())
			t.Cleanup(func() { mustBeSound(t, s) })
			return s
		},
		Reopen: func(t *testing.T, old store.Store) store.Store {
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			return mustOpen(t, filepath.Dir(old.(*Store).path))
		},
		Damage: func(t *testing.T, old store.Store, content []byte, offset int) store.Store {
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			path := old.(*Store).path
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			at := bytes.Index(file, content[offset:offset+64])
			if at < 0 {
				t.Fatal("the blob's bytes are not in the file")
			}
			file[at] ^= 0x10
			if err := os.WriteFile(path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			return mustOpen(t, filepath.Dir(path))
		},
	})
}
