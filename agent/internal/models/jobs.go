package models

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/millwright-iot/millwright/agent/internal/durable"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// SaveJobs keeps the jobs for the next start, and the ones before them.
func (s *Store) SaveJobs(specs []job.Spec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := json.MarshalIndent(specs, "", "  ")
	if err != nil {
		return fmt.Errorf("save jobs: %w", err)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("save jobs: %w", err)
	}
	path := s.jobsPath()
	if _, err := readJobs(path); err == nil {
		// A link keeps the name in place until the new file takes it over.
		_ = os.Remove(path + ".previous")
		_ = os.Link(path, path+".previous")
	}
	sum := sha256.Sum256(body)
	if err := durable.WriteFile(path, append([]byte(hex.EncodeToString(sum[:])+"\n"), body...)); err != nil {
		return fmt.Errorf("save jobs: %w", err)
	}
	return nil
}

// LoadJobs returns the jobs kept last, nil if none were. A damaged file is put
// aside and the one before it used.
func (s *Store) LoadJobs() []job.Spec {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range []string{s.jobsPath(), s.jobsPath() + ".previous"} {
		specs, err := readJobs(path)
		switch {
		case err == nil:
			return specs
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, errDamaged):
			aside, asideErr := durable.Quarantine(path)
			s.log.Error("stored jobs are damaged; trying the ones before", "error", err, "kept_as", aside, "quarantine_error", asideErr)
		default:
			s.log.Error("stored jobs cannot be read; trying the ones before", "error", err)
		}
	}
	return nil
}

func (s *Store) jobsPath() string { return filepath.Join(s.dir, "jobs.json") }

var errDamaged = errors.New("file is damaged")

func readJobs(path string) ([]job.Spec, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	head, body, _ := bytes.Cut(data, []byte("\n"))
	if sum := sha256.Sum256(body); string(head) != hex.EncodeToString(sum[:]) {
		return nil, fmt.Errorf("read jobs %q: %w", path, errDamaged)
	}
	var specs []job.Spec
	if err := json.Unmarshal(body, &specs); err != nil {
		return nil, fmt.Errorf("read jobs %q: %w: %v", path, errDamaged, err)
	}
	return specs, nil
}
