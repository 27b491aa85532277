// Package models keeps what the coordinator sent, so that an agent that starts
// without it goes on with the jobs and models it had: each in its own checksummed
// file, the previous one kept beside it.
package models

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"

	"github.com/millwright-iot/millwright/agent/internal/durable"
)

// kept is how many models of a job stay: the active one and the previous one.
const kept = 2

// Store is a directory of models and jobs. Its methods are safe for concurrent use.
//
//	<dir>/jobs.json, jobs.json.previous
//	<dir>/<job>/<spec digest>/<sequence>-v<version>-<sha256>.safetensors
//
// A model's file is named by its content, so a damaged one shows.
type Store struct {
	dir string
	log *slog.Logger
	mu  sync.Mutex
}

// New returns the Store in dir, which need not exist. It touches nothing.
func New(dir string, log *slog.Logger) *Store { return &Store{dir: dir, log: log} }

type file struct {
	path     string
	sequence uint64
	version  uint64
	sha256   string
}

var filePattern = regexp.MustCompile(`^([0-9]{8,20})-v([0-9]{1,20})-([0-9a-f]{64})\.safetensors$`)

// Save makes blob the active model of a job under the spec of that digest. When
// it returns, either the new or the old one is there whatever happens next.
func (s *Store) Save(job, digest string, version uint64, blob []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir := s.folder(job, digest)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("save model of job %q: %w", job, err)
	}
	files, err := list(dir)
	if err != nil {
		return fmt.Errorf("save model of job %q: %w", job, err)
	}
	sequence := uint64(1)
	if len(files) > 0 {
		sequence = files[0].sequence + 1
	}
	sum := sha256.Sum256(blob)
	name := fmt.Sprintf("%08d-v%d-%x.safetensors", sequence, version, sum)
	if err := durable.WriteFile(filepath.Join(dir, name), blob); err != nil {
		return fmt.Errorf("save model of job %q: %w", job, err)
	}
	for _, old := range files[min(len(files), kept-1):] {
		_ = os.Remove(old.path)
	}
	return nil
}

// Load offers the models of a job to use, newest first, until it accepts one, and
// returns that version; false when there is none. A file that is not what its name
// says is put aside; one that use refuses is skipped.
func (s *Store) Load(job, digest string, use func(version uint64, blob []byte) error) (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	files, err := list(s.folder(job, digest))
	if err != nil {
		s.log.Error("stored models cannot be listed", "job", job, "error", err)
		return 0, false
	}
	for _, f := range files {
		blob, err := os.ReadFile(f.path)
		if err != nil {
			s.log.Error("stored model cannot be read; trying the one before", "job", job, "version", f.version, "error", err)
			continue
		}
		if sum := sha256.Sum256(blob); hex.EncodeToString(sum[:]) != f.sha256 {
			aside, err := durable.Quarantine(f.path)
			s.log.Error("stored model is damaged; trying the one before", "job", job, "version", f.version, "kept_as", aside, "error", err)
			continue
		}
		if err := use(f.version, blob); err != nil {
			s.log.Error("stored model cannot be used; trying the one before", "job", job, "version", f.version, "error", err)
			continue
		}
		return f.version, true
	}
	return 0, false
}

// Keep deletes the models of every job that is not in digests, by job, and of
// other digests of those that are.
func (s *Store) Keep(digests map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	jobs, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, job := range jobs {
		if !job.IsDir() {
			continue
		}
		dir := filepath.Join(s.dir, job.Name())
		specs, readErr := os.ReadDir(dir)
		err = errors.Join(err, readErr)
		for _, spec := range specs {
			if digests[job.Name()] != spec.Name() {
				err = errors.Join(err, os.RemoveAll(filepath.Join(dir, spec.Name())))
			}
		}
		if digests[job.Name()] == "" {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	return err
}

func (s *Store) folder(job, digest string) string { return filepath.Join(s.dir, job, digest) }

// list returns the model files of a folder, newest first; none if there is no folder.
func list(dir string) ([]file, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var files []file
	for _, e := range entries {
		m := filePattern.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		sequence, err1 := strconv.ParseUint(m[1], 10, 64)
		version, err2 := strconv.ParseUint(m[2], 10, 64)
		if err1 == nil && err2 == nil {
			files = append(files, file{filepath.Join(dir, e.Name()), sequence, version, m[3]})
		}
	}
	slices.SortFunc(files, func(a, b file) int {
		if a.sequence > b.sequence {
			return -1
		}
		return 1
	})
	return files, nil
}
