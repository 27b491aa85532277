// Package durable writes files that survive a power cut and opens databases
// that did not.
package durable

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/fedavg/failpoint"
)

const tempPrefix = ".tmp-"

// Sweep removes what a power cut in the middle of WriteFile left in dir and below,
// except in the folders named. Call it before anything is written there.
func Sweep(dir string, except ...string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(except, d.Name()):
			return fs.SkipDir
		case d.Type().IsRegular() && strings.HasPrefix(d.Name(), tempPrefix):
			return os.Remove(path)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("sweep %q: %w", dir, err)
	}
	return nil
}

// WriteFile puts data at path so that after a crash at any instant the file holds
// either the old or the new content, whole: temporary file, fsync, rename,
// fsync of the directory.
func WriteFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails, as it should, after the rename
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	failpoint.Here(failpoint.FileWritten)
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	failpoint.Here(failpoint.FileRenamed)
	err = SyncDir(dir)
	failpoint.Here(failpoint.FileSynced)
	return err
}

// SyncDir makes the entries of a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory %q: %w", dir, err)
	}
	return nil
}

// Quarantine renames a damaged file to <path>.corrupt-<time> and returns the new
// name, so that a fresh one can take its place and a person can look at it. Only
// the newest quarantined file of a path is kept.
func Quarantine(path string) (string, error) {
	old, err := filepath.Glob(path + ".corrupt-*")
	if err != nil {
		return "", err
	}
	name := path + ".corrupt-" + time.Now().UTC().Format("20060102T150405.000")
	if err := os.Rename(path, name); err != nil {
		return "", fmt.Errorf("put damaged file aside: %w", err)
	}
	for _, o := range old {
		if o != name {
			_ = os.Remove(o)
		}
	}
	return name, nil
}
