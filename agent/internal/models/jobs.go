package models

import (
	"encoding/json"
	"fmt"
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
	if err := durable.WriteChecked(s.jobsPath(), body); err != nil {
		return fmt.Errorf("save jobs: %w", err)
	}
	return nil
}

// LoadJobs returns the jobs kept last, nil if none were. A damaged file is put
// aside and the one before it used.
func (s *Store) LoadJobs() []job.Spec {
	s.mu.Lock()
	defer s.mu.Unlock()
	var specs []job.Spec
	durable.ReadChecked(s.jobsPath(), s.log, func(body []byte) error {
		specs = nil
		return json.Unmarshal(body, &specs)
	})
	for i := range specs { // JSON leaves some of them out
		specs[i] = specs[i].WithDefaults()
	}
	return specs
}

func (s *Store) jobsPath() string { return filepath.Join(s.dir, "jobs.json") }
