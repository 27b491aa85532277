// Package uplink is the agent's line to the coordinator: it enrols, holds the
// session open, answers rounds and fetches releases. An agent works without it.
package uplink

import (
	"context"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// Node is what the uplink needs of the agent. Methods are called from the
// uplink's goroutines and must be safe for concurrent use.
type Node interface {
	// Machines names the machines of this gateway with their classes.
	Machines() []Machine
	// Status returns the newest state of everything.
	Status() Status
	// Changed returns a channel that is closed when Status is worth sending again.
	Changed() <-chan struct{}
	// SetJobs replaces the jobs the agent serves and keeps them across restarts.
	// What an agent cannot serve (an unknown feature, a missing channel) shows as
	// the reason in Status, not as an error.
	SetJobs(specs []job.Spec) error
	// Train learns from local samples, starting at the global parameters, and
	// returns weight, steps, vectors and metrics; the uplink fills in the rest. An
	// error is a reason to decline the round. It must return soon after ctx ends.
	Train(ctx context.Context, job string, from Start) (Learned, error)
	// Install swaps in a released model, atomically, and keeps the previous one.
	// params is what the release's blob decodes to; blob is stored as it is.
	// It returns an error when the model does not fit the job.
	Install(job string, version uint64, blob []byte) error
	// Installed returns the version of a job's model in use, 0 if none.
	Installed(job string) uint64
	// Alarms returns the alarm events not yet acknowledged, oldest first.
	Alarms() []AlarmEvent
	// AckAlarm forgets an alarm event that the coordinator has stored.
	AckAlarm(id string, revision uint32)
}

// Start is what a training begins with.
type Start struct {
	Global  []fedavg.Vector
	Version uint64 // of Global
	Seed    uint64
	// ServerControl and OwnControl are control variates, see model.TrainOptions; nil
	// unless the job's strategy has them.
	ServerControl, OwnControl []fedavg.Vector
}

// Learned is what came of it.
type Learned struct {
	Update     fedavg.Update
	OwnControl []fedavg.Vector // the next one; nil unless there was a ServerControl
}

// Machine names a machine and its class.
type Machine struct{ Name, Class string }

// Status is the agent's newest state.
type Status struct {
	Machines        []MachineStatus
	Jobs            []JobReadiness
	ReceivedSamples uint64
	DroppedSamples  map[string]uint64 // by reason
}

// MachineStatus is the newest state of one machine.
type MachineStatus struct {
	Name, Class  string
	State        string // "waiting", "baseline", "running", "stale"
	Zone         string // "A".."D", empty until scored
	Score        float64
	Alarm        bool
	Reasons      []Contribution
	At           time.Time
	Job          string
	ModelVersion uint64
	JobVersions  map[string]uint64
	Advice       infer.Advice
	Drift        []Drift          // strongest first
	Quality      *Quality         // nil until there are labels
	Versions     []VersionQuality // the same by model, newest first
}

// Drift is a monitor's finding that something is not as it was.
type Drift struct {
	Monitor   string // e.g. "psi"
	Subject   string // "channel.feature", "score" or "error"
	Kind      string // "data" or "concept"
	Statistic float64
	Limit     float64 // where the monitor speaks
	Since     time.Time
}

// Quality is how right the alarms of a machine were, by the labels that arrived.
type Quality struct {
	TruePositives, FalsePositives uint64  // episodes
	FalseNegatives                uint64  // failures and faults without an alarm
	Hours                         float64 // watched, the machine running
}

// VersionQuality is how right the alarms of one model were.
type VersionQuality struct {
	Job          string
	ModelVersion uint64 // 0: the machine's own
	Quality      Quality
}

// Contribution is one feature's share of a score.
type Contribution struct {
	Feature string
	Share   float64 // 0..1
}

// JobReadiness says whether the agent could take part in a round now.
type JobReadiness struct {
	Job     string
	Digest  string
	Ready   bool
	Samples uint64
	Reason  string // why not, for a person
}

// AlarmEvent is one change of one alarm episode.
type AlarmEvent struct {
	ID             string // of the episode
	Revision       uint32 // grows with each event of the episode
	Machine, Class string
	Zone           string
	PeakScore      float64
	Raised         time.Time
	Cleared        time.Time // zero while it lasts
	Reasons        []Contribution
	Job            string
	ModelVersion   uint64
	Advice         infer.Advice
	Verdict        string // what people said of it: "right", "wrong" or ""
}
