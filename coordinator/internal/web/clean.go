package web

import (
	"maps"
	"math"
	"slices"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

// clean makes a snapshot fit for JSON and for people. Numbers that are not finite
// cannot be written as JSON, and one bad report of one machine must not take the
// page of the whole fleet away: such a metric or share is left out, such a score
// counts as not scored. Lists are empty rather than null.
func clean(s *fleet.Snapshot) {
	s.Gateways = listed(s.Gateways)
	s.Jobs = listed(s.Jobs)
	s.Rounds = listed(s.Rounds)
	s.Models = listed(s.Models)
	s.Alarms = listed(s.Alarms)
	s.Drift = listed(s.Drift)
	for i := range s.Gateways {
		g := &s.Gateways[i]
		g.Machines = listed(g.Machines)
		for k := range g.Machines {
			m := &g.Machines[k]
			if !finite(m.Score) || m.Score < 0 {
				m.Score, m.Zone = 0, ""
			}
			m.Reasons = cleanReasons(m.Reasons)
		}
	}
	for i := range s.Rounds {
		r := &s.Rounds[i]
		r.Participants = listed(r.Participants)
		r.Seconds = finiteOrZero(r.Seconds)
		cleanMetrics(r.Metrics)
		for k := range r.Participants {
			p := &r.Participants[k]
			p.Weight, p.Seconds = finiteOrZero(p.Weight), finiteOrZero(p.Seconds)
			cleanMetrics(p.Metrics)
		}
	}
	for i := range s.Models {
		s.Models[i].Weight = finiteOrZero(s.Models[i].Weight)
		cleanMetrics(s.Models[i].Metrics)
	}
	for i := range s.Alarms {
		s.Alarms[i].Peak = finiteOrZero(s.Alarms[i].Peak)
		s.Alarms[i].Reasons = cleanReasons(s.Alarms[i].Reasons)
	}
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

func finiteOrZero(x float64) float64 {
	if finite(x) {
		return x
	}
	return 0
}

func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func cleanMetrics(metrics map[string]float64) {
	maps.DeleteFunc(metrics, func(_ string, x float64) bool { return !finite(x) })
}

func cleanReasons(reasons []fleet.Contribution) []fleet.Contribution {
	return listed(slices.DeleteFunc(reasons, func(c fleet.Contribution) bool { return !finite(c.Share) }))
}
