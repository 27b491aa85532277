package rpc

import (
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/fedavg/fedpb"
)

// How many findings of drift, and how many models' quality, are kept of a machine.
const (
	maxDrift    = 32
	maxVersions = 16
)

func toAdvice(a *fedpb.Advice) (fleet.Advice, error) {
	var out fleet.Advice
	if e := a.GetEvidence(); e != nil {
		out.Evidence = &fleet.Evidence{
			Channel: clip(e.GetChannel()), Part: clip(e.GetPart()),
			OuterRaceDB: e.GetOuterRaceDb(), InnerRaceDB: e.GetInnerRaceDb(), BallDB: e.GetBallDb(),
		}
		if err := checkFinite("evidence", e.GetOuterRaceDb(), e.GetInnerRaceDb(), e.GetBallDb()); err != nil {
			return fleet.Advice{}, err
		}
	}
	if f := a.GetFault(); f != nil {
		out.Fault = &fleet.Fault{Class: clip(f.GetClass()), Probability: f.GetProbability(), Job: clip(f.GetJob()), ModelVersion: f.GetModelVersion()}
		if p := f.GetProbability(); !(p >= 0 && p <= 1) {
			return fleet.Advice{}, fmt.Errorf("probability of fault %q is %v; it must be within 0 and 1", out.Fault.Class, p)
		}
	}
	if l := a.GetLife(); l != nil {
		out.Life = &fleet.Life{
			Hours: l.GetHours(), Low: l.GetLowHours(), High: l.GetHighHours(), Confidence: l.GetConfidence(), AtLeast: l.GetAtLeast(),
			At: toTime(l.GetAt()), Job: clip(l.GetJob()), ModelVersion: l.GetModelVersion(),
		}
		if err := checkFinite("remaining life", l.GetHours(), l.GetLowHours(), l.GetHighHours(), l.GetConfidence()); err != nil {
			return fleet.Advice{}, err
		}
	}
	if t := a.GetTrend(); t != nil {
		out.Trend = &fleet.Trend{PerDay: t.GetPerDay(), HoursToAlarm: t.HoursToAlarm}
		if err := checkFinite("trend", t.GetPerDay(), t.GetHoursToAlarm()); err != nil {
			return fleet.Advice{}, err
		}
	}
	return out, nil
}

func toDrift(list []*fedpb.Drift) ([]fleet.Drift, error) {
	var out []fleet.Drift
	for _, d := range list[:min(len(list), maxDrift)] {
		if err := checkFinite("drift of "+clip(d.GetSubject()), d.GetStatistic(), d.GetLimit()); err != nil {
			return nil, err
		}
		out = append(out, fleet.Drift{
			Monitor: clip(d.GetMonitor()), Subject: clip(d.GetSubject()), Kind: clip(d.GetKind()),
			Statistic: d.GetStatistic(), Limit: d.GetLimit(), Since: toTime(d.GetSince()),
		})
	}
	return out, nil
}

func toQuality(q *fedpb.Quality) (*fleet.Quality, error) {
	if q == nil {
		return nil, nil
	}
	if err := checkFinite("hours watched", q.GetHours()); err != nil {
		return nil, err
	}
	if q.GetHours() < 0 {
		return nil, fmt.Errorf("hours watched are %v; they cannot be negative", q.GetHours())
	}
	return &fleet.Quality{
		TruePositives: q.GetTruePositives(), FalsePositives: q.GetFalsePositives(), FalseNegatives: q.GetFalseNegatives(), Hours: q.GetHours(),
	}, nil
}

func toVersions(list []*fedpb.VersionQuality) ([]fleet.VersionQuality, error) {
	var out []fleet.VersionQuality
	for _, v := range list[:min(len(list), maxVersions)] {
		q, err := toQuality(v.GetQuality())
		if err != nil {
			return nil, fmt.Errorf("version %d of job %q: %w", v.GetModelVersion(), clip(v.GetJob()), err)
		}
		if q != nil {
			out = append(out, fleet.VersionQuality{Job: clip(v.GetJob()), ModelVersion: v.GetModelVersion(), Quality: *q})
		}
	}
	return out, nil
}

func checkFinite(what string, numbers ...float64) error {
	for _, x := range numbers {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("%s holds %v; numbers must be finite", what, x)
		}
	}
	return nil
}
