// Package job defines what is federated: the features, the model and the round
// policy shared by all machines of one class.
package job

import (
	"math"
	"time"

	"github.com/millwright-iot/millwright/fedavg/model"
)

// Spec is one job. It is written in the coordinator's configuration, travels to
// agents as JSON and is identified by its Digest. JSON leaves some defaults out:
// call WithDefaults on what was read from it.
type Spec struct {
	Name string `yaml:"name" json:"name"` // unique; letters, digits, '-', '_'
	// Class is the machine class whose machines take part.
	Class string `yaml:"class" json:"class"`
	// Role is "live" (its model is heard; a class has one for each Purpose) or "shadow"
	// (its model is trained and scored beside the live one, and tells nobody). Default live.
	Role string `yaml:"role" json:"role"`

	Features FeatureSpec `yaml:"features" json:"features"`
	Model    model.Spec  `yaml:"model" json:"model"`
	Alarm    AlarmSpec   `yaml:"alarm" json:"alarm"`
	Labels   LabelSpec   `yaml:"labels" json:"labels,omitzero"`
	Rounds   RoundPolicy `yaml:"rounds" json:"rounds"`
	// Strategy says how updates become the next global model. Default: fedavg for
	// models that learn by gradient, sum for statistics.
	Strategy StrategySpec `yaml:"strategy" json:"strategy,omitzero"`
	// Compression lists methods of package compress in order of preference; an
	// agent uses the first it supports. Default none: updates travel as they are;
	// zstd for a model of kind rul.
	Compression []string `yaml:"compression" json:"compression,omitempty"`
	// Quarantine sets aside gateways whose updates do not look right.
	Quarantine QuarantineSpec `yaml:"quarantine" json:"quarantine,omitzero"`
	// Seed makes initialisation and training repeatable. Default 1.
	Seed uint64 `yaml:"seed" json:"seed"`
}

// The roles of a job.
const (
	Live   = "live"
	Shadow = "shadow"
)

// FeatureSpec says how the windows of a machine become a feature vector. The
// order of Channels and of their Features is the order of the vector.
type FeatureSpec struct {
	Window time.Duration `yaml:"window" json:"window_ns"`   // length of a window, > 0
	Hop    time.Duration `yaml:"hop" json:"hop_ns"`         // from one window's end to the next, 0 < Hop ≤ Window; default Window
	MaxGap time.Duration `yaml:"max_gap" json:"max_gap_ns"` // longest silence of a channel inside a window; default Window
	// Channels lists the channels a machine of the class must have.
	Channels []ChannelFeatures `yaml:"channels" json:"channels"`
}

// ChannelFeatures names the features taken of one channel. What names there are
// is for the agent to know (see sensors/features); fedavg treats them as text.
type ChannelFeatures struct {
	Channel  string   `yaml:"channel" json:"channel"`
	Features []string `yaml:"features" json:"features"`
}

// Names returns "channel.feature" for each element of the feature vector.
func (f FeatureSpec) Names() []string {
	var names []string
	for _, c := range f.Channels {
		for _, name := range c.Features {
			names = append(names, c.Channel+"."+name)
		}
	}
	return names
}

// RoundPolicy says when a round starts, what it needs and when it ends.
type RoundPolicy struct {
	// Every is the least time from the end of one round to the start of the next. Default 1h.
	Every time.Duration `yaml:"every" json:"every_ns"`
	// MinParticipants must be ready to start and must deliver to commit. Default 1.
	MinParticipants int `yaml:"min_participants" json:"min_participants"`
	// Deadline ends a round; with too few updates it is abandoned and tried again. Default 10m.
	Deadline time.Duration `yaml:"deadline" json:"deadline_ns"`
	// Count ends the job after so many committed rounds; 0 never does.
	Count int `yaml:"count" json:"count"`
	// Participants is how many of the ready agents a round samples; 0 takes all.
	Participants int `yaml:"participants" json:"participants,omitempty"`
	// Fraction samples that share of the ready agents instead, rounded up; 0 < Fraction ≤ 1, 0 takes all.
	Fraction float64 `yaml:"fraction" json:"fraction,omitempty"`
	// OverSelect ≥ 1 asks so many times more agents than are sampled, and the
	// round closes when as many as were sampled have delivered. 0 means 1.
	OverSelect float64 `yaml:"over_select" json:"over_select,omitempty"`
	// OnDrift starts a round before Every is over when data of the class as a whole has
	// begun to drift since the last one. Default false.
	OnDrift bool `yaml:"on_drift" json:"on_drift,omitempty"`
	// Late says what becomes of an update that arrives after its round closed:
	// LateDrop (default) or LateNext.
	Late Late `yaml:"late" json:"late,omitzero"`
}

// Late says what becomes of an update that arrives after its round closed.
type Late string

// The ways with late updates.
const (
	LateDrop Late = "drop"
	// LateNext counts a late update of a model that learns by gradient in the next
	// round, its weight times fedavg.StalenessWeight.
	LateNext Late = "next"
)

// IsZero says whether l is the default, which JSON leaves out: digests of jobs
// from before there was a choice stay what they are.
func (l Late) IsZero() bool { return l == "" || l == LateDrop }

// Sample returns how many of so many ready agents a round needs, and how many
// it asks, want ≤ ask ≤ ready.
func (r RoundPolicy) Sample(ready int) (want, ask int) {
	want = ready
	if r.Participants > 0 {
		want = min(want, r.Participants)
	}
	if r.Fraction > 0 {
		want = min(want, int(math.Ceil(r.Fraction*float64(ready)-1e-9)))
	}
	want = min(max(want, r.MinParticipants), ready)
	return want, int(min(float64(ready), math.Ceil(max(1, r.OverSelect)*float64(want)-1e-9)))
}
