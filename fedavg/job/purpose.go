package job

import (
	"time"

	"github.com/millwright-iot/millwright/fedavg/model"
)

// Purpose is what a job's model is for. It follows from the kind of the model.
type Purpose string

// The purposes of a job.
const (
	Detect   Purpose = "detect"   // scores machines and raises alarms; learns from healthy windows
	Diagnose Purpose = "diagnose" // names the fault; learns from labels
	Prognose Purpose = "prognose" // predicts remaining life; learns from failures
)

// Purpose says what the model of s is for; empty for a kind that does not exist.
func (s Spec) Purpose() Purpose {
	switch s.Model.Kind {
	case model.KindGaussian, model.KindAutoencoder:
		return Detect
	case model.KindSoftmax:
		return Diagnose
	case model.KindRidge, model.KindMLP, model.KindRUL:
		return Prognose
	}
	return ""
}

// LabelSpec says how labels join the windows of a machine.
type LabelSpec struct {
	// Lead is how long before a failure a machine already has what it failed of. Default 24h.
	Lead time.Duration `yaml:"lead" json:"lead_ns"`
	// Settle is how long before and after work on a machine, and after a failure, its
	// windows say nothing of it and are not learned from. Default 1h.
	Settle time.Duration `yaml:"settle" json:"settle_ns"`
}

var labelDefaults = LabelSpec{Lead: 24 * time.Hour, Settle: time.Hour}

// IsZero says whether l is the default, which JSON leaves out: digests of jobs from
// before there was a choice stay what they are.
func (l LabelSpec) IsZero() bool { return l == LabelSpec{} || l == labelDefaults }

func (l LabelSpec) withDefaults() LabelSpec {
	setDefault(&l.Lead, labelDefaults.Lead)
	setDefault(&l.Settle, labelDefaults.Settle)
	return l
}

func (l LabelSpec) validate(ps *problems) {
	if l.Lead < 0 {
		ps.add("labels.lead", "is %v; it must not be negative", l.Lead)
	}
	if l.Settle < 0 {
		ps.add("labels.settle", "is %v; it must not be negative", l.Settle)
	}
}
