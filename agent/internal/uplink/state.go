package uplink

import (
	"maps"
	"sync"
	"time"
)

// State is what the agent shows of its line to the coordinator.
type State struct {
	Connected   bool      `json:"connected"`
	Since       time.Time `json:"since,omitzero"` // of the present connection, or of its loss; zero before the first
	Coordinator string    `json:"coordinator"`    // its address
	Version     string    `json:"coordinator_version,omitempty"`
	// LastError is the newest failure, kept after it is over.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	// Mend is what to do about the failure that lasts; empty while connected.
	Mend               string    `json:"mend,omitempty"`
	Enrolled           bool      `json:"enrolled"`
	CertificateExpires time.Time `json:"certificate_expires,omitzero"`
	// ClockOffset is the coordinator's clock minus the gateway's.
	ClockOffset time.Duration `json:"clock_offset_ns"`

	OutboxUpdates int    `json:"outbox_updates"`
	OutboxBytes   uint64 `json:"outbox_bytes"`
	Training      string `json:"training,omitempty"` // job being trained

	Sessions         uint64            `json:"sessions_total"`
	UpdatesDelivered uint64            `json:"updates_delivered_total"`
	UpdatesDropped   map[string]uint64 `json:"updates_dropped_total"` // by reason: refused, late, damaged
	ModelsInstalled  uint64            `json:"models_installed_total"`
	// TransfersDamaged counts models that arrived with a wrong digest or size.
	TransfersDamaged uint64 `json:"transfers_damaged_total"`
}

// The reasons for which an update is given up.
const (
	dropRefused = "refused"
	dropLate    = "late"
	dropDamaged = "damaged"
)

// shownState guards the State.
type shownState struct {
	mu sync.Mutex
	s  State
}

func (s *shownState) change(f func(*State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.s)
}

func (s *shownState) get() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.s
	out.UpdatesDropped = maps.Clone(out.UpdatesDropped)
	return out
}
