package agent

import (
	"github.com/millwright-iot/millwright/agent/internal/monitor"
	"github.com/millwright-iot/millwright/agent/internal/uplink"
)

// qualityDocument is how right the alarms of a machine were, as the local interface
// answers it. A number that nothing is known of is absent.
type qualityDocument struct {
	qualityCounts
	Unjudged   int      `json:"unjudged"` // alarms of which nobody said anything
	Named      int      `json:"faults_named"`
	NamedRight int      `json:"faults_named_right"`
	AUPRC      *float64 `json:"auprc,omitempty"`
	Error      *float64 `json:"recent_error,omitempty"`

	Versions []versionQuality `json:"versions"` // newest first
}

type qualityCounts struct {
	monitor.Counts
	Precision   *float64 `json:"precision,omitempty"`
	Recall      *float64 `json:"recall,omitempty"`
	F1          *float64 `json:"f1,omitempty"`
	FalseAlarms *float64 `json:"false_alarms_per_month,omitempty"` // of 30 days watched
}

type versionQuality struct {
	Job     string `json:"job"`
	Version uint64 `json:"model_version"`
	qualityCounts
}

func newQualityDocument(q *monitor.Quality) *qualityDocument {
	if q == nil {
		return nil
	}
	d := &qualityDocument{
		qualityCounts: newQualityCounts(q.Counts), Unjudged: q.Unjudged, Named: q.Named, NamedRight: q.NamedRight,
		AUPRC: q.AUPRC, Error: q.Error, Versions: []versionQuality{},
	}
	for _, v := range q.Versions {
		d.Versions = append(d.Versions, versionQuality{v.Job, v.Version, newQualityCounts(v.Counts)})
	}
	return d
}

func newQualityCounts(c monitor.Counts) qualityCounts {
	return qualityCounts{c, known(c.Precision()), known(c.Recall()), known(c.F1()), known(c.FalseAlarms())}
}

func known(x float64, ok bool) *float64 {
	if !ok {
		return nil
	}
	return &x
}

// driftOf and qualityOf are what the coordinator is told.
func driftOf(list []monitor.Drift) []uplink.Drift {
	var out []uplink.Drift
	for _, d := range list {
		out = append(out, uplink.Drift(d))
	}
	return out
}

func qualityOf(q *monitor.Quality) (*uplink.Quality, []uplink.VersionQuality) {
	if q == nil {
		return nil, nil
	}
	counts := func(c monitor.Counts) uplink.Quality {
		return uplink.Quality{
			TruePositives: uint64(c.TruePositives), FalsePositives: uint64(c.FalsePositives), FalseNegatives: uint64(c.FalseNegatives), Hours: c.Hours,
		}
	}
	total := counts(q.Counts)
	var versions []uplink.VersionQuality
	for _, v := range q.Versions {
		versions = append(versions, uplink.VersionQuality{Job: v.Job, ModelVersion: v.Version, Quality: counts(v.Counts)})
	}
	return &total, versions
}
