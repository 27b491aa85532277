package infer

import "time"

// Advice is what is known of a machine beside its score: why, what, until when. A
// part is nil while nothing is known. It is part of every document that tells of a
// machine: score, alarm, status.
type Advice struct {
	Evidence *Evidence `json:"evidence,omitempty"`
	Fault    *Fault    `json:"fault,omitempty"`
	Life     *Life     `json:"life,omitempty"`
	Trend    *Trend    `json:"trend,omitempty"`
}

// Clone returns a copy that shares no memory with a.
func (a Advice) Clone() Advice {
	c := Advice{copied(a.Evidence), copied(a.Fault), copied(a.Life), copied(a.Trend)}
	if c.Trend != nil {
		c.Trend.HoursToAlarm = copied(c.Trend.HoursToAlarm)
	}
	return c
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// Fault is which fault a diagnosing job's model takes a machine to have.
type Fault struct {
	// Class is one of the job's classes, or Unknown when none is likely enough.
	Class        string  `json:"class"`
	Probability  float64 `json:"probability"` // 0..1, calibrated, of the likeliest class
	Job          string  `json:"job"`
	ModelVersion uint64  `json:"model_version"`
}

// Unknown is the Class when none is likely enough.
const Unknown = "unknown"

// Life is the remaining useful life that a prognosing job's model predicts, in hours
// of operation.
type Life struct {
	Hours float64 `json:"hours"`
	// Low and High hold the truth with probability Confidence; without an interval
	// Confidence is 0 and so are they.
	Low        float64 `json:"low_hours"`
	High       float64 `json:"high_hours"`
	Confidence float64 `json:"confidence"`
	// AtLeast says that Hours is as far as the model looks: it may be any number more.
	AtLeast      bool      `json:"at_least"`
	At           time.Time `json:"at"` // end of the cycle it was predicted from
	Job          string    `json:"job"`
	ModelVersion uint64    `json:"model_version"`
}

// Trend is where the score is going.
type Trend struct {
	PerDay float64 `json:"per_day"` // change of the score
	// HoursToAlarm is when the score reaches 1 if it goes on so; nil when it is there,
	// does not rise, or not within the horizon that the past supports.
	HoursToAlarm *float64 `json:"hours_to_alarm,omitempty"`
}
