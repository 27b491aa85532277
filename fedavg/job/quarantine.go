package job

import "math"

// QuarantineSpec says when a gateway's updates are set aside, and until when.
type QuarantineSpec struct {
	// Enabled is true unless set to false.
	Enabled *bool `yaml:"enabled" json:"enabled,omitempty"`
	// MaxNorm sets aside an update whose norm is more than so many times the
	// median norm of the fleet's recent updates. Default 10; negative: any norm.
	MaxNorm float64 `yaml:"max_norm" json:"max_norm"`
	// MinCosine sets aside an update whose direction has less than this cosine to
	// the mean of the round's others. Default −0.5; −1: any direction.
	MinCosine float64 `yaml:"min_cosine" json:"min_cosine"`
	// ReleaseAfter takes a gateway back after so many clean rounds. Default 5;
	// negative: by hand only.
	ReleaseAfter int `yaml:"release_after" json:"release_after"`
}

// On says whether updates are examined at all.
func (q QuarantineSpec) On() bool { return q.Enabled == nil || *q.Enabled }

func (q QuarantineSpec) withDefaults() QuarantineSpec {
	if q.Enabled != nil {
		enabled := *q.Enabled
		q.Enabled = &enabled
		if enabled {
			q.Enabled = nil
		}
	}
	setDefault(&q.MaxNorm, 10)
	setDefault(&q.MinCosine, -0.5)
	setDefault(&q.ReleaseAfter, 5)
	return q
}

// IsZero says whether q is the default, which JSON leaves out.
func (q QuarantineSpec) IsZero() bool {
	return q.withDefaults() == QuarantineSpec{}.withDefaults()
}

func (q QuarantineSpec) validate(ps *problems) {
	if math.IsNaN(q.MaxNorm) || q.MaxNorm > 0 && q.MaxNorm < 1 || math.IsInf(q.MaxNorm, 0) {
		ps.add("quarantine.max_norm", "is %v; it must be at least 1 times the fleet's median, or negative for no limit", q.MaxNorm)
	}
	if !(q.MinCosine >= -1 && q.MinCosine < 1) {
		ps.add("quarantine.min_cosine", "is %v; it must be from -1 (no limit) to below 1", q.MinCosine)
	}
}
