package durable

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

var quiet = slog.New(slog.DiscardHandler)

func TestWriteFile_ReplacesWholeAndLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, body := range []string{"one", "", strings.Repeat("x", 1<<20)} {
		if err := WriteFile(path, []byte(body)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != body {
			t.Fatalf("read back %d bytes (%v), want %d", len(got), err, len(body))
		}
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("directory holds %v", entries)
	}
	if err := WriteFile(filepath.Join(dir, "missing", "a"), nil); err == nil {
		t.Error("writing into a missing directory succeeded")
	}
}

func read(path string) (string, bool) {
	var got []byte
	ok := ReadChecked(path, quiet, func(b []byte) error { got = bytes.Clone(b); return nil })
	return string(got), ok
}

func TestChecked_FallsBackToTheOneBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.json")
	if _, ok := read(path); ok {
		t.Error("a file that is not there was read")
	}
	for _, body := range []string{"first", "second\nline"} {
		if err := WriteChecked(path, []byte(body)); err != nil {
			t.Fatal(err)
		}
		if got, ok := read(path); !ok || got != body {
			t.Errorf("read %q, want %q", got, body)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{
		"torn":      whole[:len(whole)-3],
		"empty":     {},
		"bit flip":  append(bytes.Clone(whole[:len(whole)-1]), whole[len(whole)-1]^1),
		"no header": []byte("second\nline"),
	} {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, ok := read(path); !ok || got != "first" {
			t.Errorf("%s: read %q, want the one before", name, got)
		}
		if aside, _ := filepath.Glob(path + ".corrupt-*"); len(aside) != 1 {
			t.Errorf("%s: put aside %v; want the newest only", name, aside)
		}
	}
	// A damaged file never becomes the one before.
	if err := os.WriteFile(path, []byte("noise"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteChecked(path, []byte("third")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got, ok := read(path); !ok || got != "first" {
		t.Errorf("the one before is %q", got)
	}
}

func TestReadChecked_WhatUseRefusesIsDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.json")
	if err := WriteChecked(path, []byte("no json")); err != nil {
		t.Fatal(err)
	}
	if ReadChecked(path, quiet, func([]byte) error { return errors.New("not json") }) {
		t.Error("refused content was used")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("refused file is still in place")
	}
}

func TestOpenBolt_ShrinksAFileOverItsBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	put := func(db *bolt.DB, n int, value []byte) error {
		return db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("b"))
			for i := 0; err == nil && i < n; i++ {
				if value == nil {
					err = b.Delete([]byte{byte(i)})
				} else {
					err = b.Put([]byte{byte(i)}, value)
				}
			}
			return err
		})
	}
	db, _, err := OpenBolt(path, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(put(db, 100, make([]byte, 100<<10)), put(db, 99, nil), db.Close()); err != nil {
		t.Fatal(err)
	}
	db, aside, err := OpenBolt(path, 1<<20)
	if err != nil || aside != "" {
		t.Fatalf("open over the bound: %q %v", aside, err)
	}
	defer db.Close()
	info, err := os.Stat(path)
	if err != nil || info.Size() > 1<<20 {
		t.Errorf("file has %d bytes (%v), the bound is 1 MiB", info.Size(), err)
	}
	_ = db.View(func(tx *bolt.Tx) error {
		if v := tx.Bucket([]byte("b")).Get([]byte{99}); len(v) != 100<<10 {
			t.Errorf("what was in it has %d bytes now", len(v))
		}
		return nil
	})
}

func TestSweep_RemovesHalfWrittenFilesOnly(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", ".tmp-1", "models/pumps/.tmp-22", "models/pumps/b", "uplink/.tmp-3"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep(dir, "uplink"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"a": true, ".tmp-1": false, "models/pumps/.tmp-22": false, "models/pumps/b": true, "uplink/.tmp-3": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
	if err := Sweep(filepath.Join(dir, "absent")); err == nil {
		t.Error("an absent directory was swept")
	}
}
