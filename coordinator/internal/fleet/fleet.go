// Package fleet is what the coordinator shows of itself: plain values that the
// web page renders, the API returns as JSON and the metrics are read from.
package fleet

import "time"

// Snapshot is the state of the federation at one instant. It shares no memory
// with the coordinator.
type Snapshot struct {
	At       time.Time `json:"at"`
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Gateways []Gateway `json:"gateways"` // by name
	Jobs     []Job     `json:"jobs"`     // by name
	Rounds   []Round   `json:"rounds"`   // newest first, bounded
	Models   []Model   `json:"models"`   // newest first, bounded
	Alarms   []Alarm   `json:"alarms"`   // newest first, bounded
	// Drift is what is not as it was, by class; classes without any are left out.
	Drift []ClassDrift `json:"drift"`
}

// Gateway is one enrolled agent and its machines.
type Gateway struct {
	Name          string            `json:"name"`
	Version       string            `json:"version"`
	Connected     bool              `json:"connected"`
	Enrolled      time.Time         `json:"enrolled"`
	LastSeen      time.Time         `json:"last_seen"`
	CertExpires   time.Time         `json:"cert_expires"`
	Machines      []Machine         `json:"machines"` // by name
	ReceivedTotal uint64            `json:"received_samples_total"`
	DroppedTotal  map[string]uint64 `json:"dropped_samples_total"` // by reason
	Quarantine    []Quarantine      `json:"quarantine,omitempty"`  // by job
}

// Quarantine says that a gateway's updates to a job are received and judged, but
// do not count.
type Quarantine struct {
	Job    string    `json:"job"`
	Round  uint64    `json:"round"` // in which it was set aside
	Since  time.Time `json:"since"`
	Check  string    `json:"check"`  // "usable", "sums", "weight", "norm", "direction"
	Reason string    `json:"reason"` // for a person, of its latest offence
	// Clean is how many rounds in a row it has passed the check since, and
	// ReleaseAfter how many it takes; 0: it waits to be released by hand.
	Clean        int `json:"clean_rounds"`
	ReleaseAfter int `json:"release_after"`
}

// Machine is the newest state an agent reported of a machine.
type Machine struct {
	Name         string         `json:"name"`
	Class        string         `json:"class"`
	State        string         `json:"state"`          // "waiting", "baseline", "running", "stale"
	Zone         string         `json:"zone,omitempty"` // "A".."D"; empty until scored
	Score        float64        `json:"score"`          // 1 is the alarm threshold
	Alarm        bool           `json:"alarm"`
	Reasons      []Contribution `json:"reasons"` // largest first
	At           time.Time      `json:"at"`      // end of the scored window
	Job          string         `json:"job,omitempty"`
	ModelVersion uint64         `json:"model_version"` // 0: the machine's own local model
	Advice
	Drift    []Drift          `json:"drift,omitempty"`    // strongest first
	Quality  *Quality         `json:"quality,omitempty"`  // nil until there are labels
	Versions []VersionQuality `json:"versions,omitempty"` // the same by model, newest first
}

// Advice is what is known of a machine beside its score; a part is nil while nothing
// is known.
type Advice struct {
	Evidence *Evidence `json:"evidence,omitempty"`
	Fault    *Fault    `json:"fault,omitempty"`
	Life     *Life     `json:"life,omitempty"`
	Trend    *Trend    `json:"trend,omitempty"`
}

// Evidence is what the lines of a machine's bearing said in its newest window.
type Evidence struct {
	Channel     string  `json:"channel"`
	Part        string  `json:"part"` // "outer-race", "inner-race", "ball", "none"
	OuterRaceDB float64 `json:"outer_race_db"`
	InnerRaceDB float64 `json:"inner_race_db"`
	BallDB      float64 `json:"ball_db"`
}

// Fault is which fault a diagnosing job takes a machine to have.
type Fault struct {
	Class        string  `json:"class"` // "unknown" when none is likely enough
	Probability  float64 `json:"probability"`
	Job          string  `json:"job"`
	ModelVersion uint64  `json:"model_version"`
}

// Life is the remaining useful life that a prognosing job predicts, in hours of operation.
type Life struct {
	Hours        float64   `json:"hours"`
	Low          float64   `json:"low_hours"`
	High         float64   `json:"high_hours"`
	Confidence   float64   `json:"confidence"` // of the interval; 0 without one
	AtLeast      bool      `json:"at_least"`   // Hours is as far as the model looks
	At           time.Time `json:"at"`
	Job          string    `json:"job"`
	ModelVersion uint64    `json:"model_version"`
}

// Trend is where a machine's score is going.
type Trend struct {
	PerDay       float64  `json:"per_day"`
	HoursToAlarm *float64 `json:"hours_to_alarm,omitempty"` // nil: not in sight
}

// Contribution is one feature's share of a score.
type Contribution struct {
	Feature string  `json:"feature"` // "channel.feature"
	Share   float64 `json:"share"`   // 0..1
}

// Job is a job and where it stands.
type Job struct {
	Name    string `json:"name"`
	Class   string `json:"class"`
	Model   string `json:"model"` // kind, e.g. "gaussian"
	Role    string `json:"role"`  // "live" or "shadow"
	Digest  string `json:"digest"`
	Version uint64 `json:"version"`        // newest committed global model
	Rounds  int    `json:"rounds_planned"` // 0: no end
	Done    bool   `json:"done"`           // every planned round is committed
	Ready   int    `json:"ready"`          // connected agents that could take part now
	// Waiting names why a connected agent cannot take part, by gateway.
	Waiting map[string]string `json:"waiting,omitempty"`
}

// Round is one round of one job.
type Round struct {
	Job          string        `json:"job"`
	Round        uint64        `json:"round"`
	Attempt      uint32        `json:"attempt"`
	State        string        `json:"state"` // "open", "committed", "abandoned"
	Started      time.Time     `json:"started"`
	Deadline     time.Time     `json:"deadline,omitzero"` // when an open round ends at the latest
	Ended        time.Time     `json:"ended,omitzero"`
	Participants []Participant `json:"participants"`
	BytesIn      uint64        `json:"bytes_in"`  // updates received
	BytesOut     uint64        `json:"bytes_out"` // models sent for this round
	Seconds      float64       `json:"seconds"`
	// Phases are seconds spent closing the round: verify (judging the updates by
	// each other), aggregate, store (writing the new model).
	Phases  map[string]float64 `json:"phases_s,omitempty"`
	Metrics map[string]float64 `json:"metrics,omitempty"` // weighted mean over participants
	Reason  string             `json:"reason,omitempty"`  // why abandoned
}

// Participant is one agent's part in a round.
type Participant struct {
	Gateway string `json:"gateway"`
	// State is "training", "received", "declined", "rejected" (refused at the
	// door) or "quarantined" (received and judged, but it does not count).
	State   string             `json:"state"`
	Reason  string             `json:"reason,omitempty"`
	Weight  float64            `json:"weight,omitempty"`
	Bytes   uint64             `json:"bytes,omitempty"`
	Seconds float64            `json:"seconds,omitempty"` // from announcement to receipt
	Metrics map[string]float64 `json:"metrics,omitempty"`
	// Staleness is how many versions were committed between the one the update
	// started from and this round; 0 for an update of the round itself.
	Staleness int `json:"staleness,omitempty"`
}

// Model is one committed version of a job's global model.
type Model struct {
	Job          string             `json:"job"`
	Version      uint64             `json:"version"`
	Digest       string             `json:"digest"`
	SizeBytes    uint64             `json:"size_bytes"`
	Parameters   int                `json:"parameters"`
	Committed    time.Time          `json:"committed"`
	Participants int                `json:"participants"`
	Weight       float64            `json:"weight"`   // feature vectors learned from
	Release      string             `json:"release"`  // "live", "superseded"
	Gateways     int                `json:"gateways"` // gateways that run it now
	Metrics      map[string]float64 `json:"metrics,omitempty"`
	Quality      *Quality           `json:"quality,omitempty"` // of its alarms, over all machines; nil until there are labels
}

// Alarm is one alarm episode of one machine.
type Alarm struct {
	ID      string         `json:"id"` // unique; the same episode keeps it
	Gateway string         `json:"gateway"`
	Machine string         `json:"machine"`
	Class   string         `json:"class"`
	Raised  time.Time      `json:"raised"`
	Cleared time.Time      `json:"cleared,omitzero"`
	Zone    string         `json:"zone"`
	Peak    float64        `json:"peak_score"`
	Reasons []Contribution `json:"reasons"`
	Job     string         `json:"job,omitempty"`
	Version uint64         `json:"model_version"`
	Advice
	Verdict string `json:"verdict,omitempty"` // what people said of it: "right", "wrong"
}

// Viewer hands out snapshots and says when a newer one is worth taking.
type Viewer interface {
	Snapshot() Snapshot
	// Changed returns a channel that is closed at the next change.
	Changed() <-chan struct{}
	// ModelBlob returns the bytes of a committed global model, in safetensors
	// format; ok is false when there is no such version.
	ModelBlob(job string, version uint64) (blob []byte, ok bool, err error)
}
