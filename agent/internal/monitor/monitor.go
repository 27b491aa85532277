// Package monitor watches whether what was learned still holds: detectors of drift,
// what they say of a machine's features and score, and how right its alarms were by the
// labels that arrived. It knows no models and no networks, so that the same code runs
// on a gateway and on recorded data.
package monitor

import "time"

// Drift is the finding that something is not as it was.
type Drift struct {
	Monitor   string    `json:"monitor"`   // one of the names below
	Subject   string    `json:"subject"`   // "channel.feature", Score or Error
	Kind      string    `json:"kind"`      // Data or Concept
	Statistic float64   `json:"statistic"` // of the monitor, and
	Limit     float64   `json:"limit"`     // where it speaks
	Since     time.Time `json:"since"`     // when it began to speak
}

// The names of monitors.
const (
	NamePSI         = "psi"
	NameADWIN       = "adwin"
	NamePageHinkley = "page_hinkley"
	NameKSWIN       = "kswin"
	NameDDM         = "ddm"
)

// The kinds of drift: what is measured is not as it was, or what it means is not.
const (
	Data    = "data"
	Concept = "concept"
)

// The subjects of drift that are no features.
const (
	Score = "score" // of the machine, while healthy
	Error = "error" // of alarms, by labels
)
