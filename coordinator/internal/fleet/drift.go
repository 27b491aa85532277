package fleet

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"
)

// Drift is a monitor's finding that something is not as it was.
type Drift struct {
	Monitor   string    `json:"monitor"`
	Subject   string    `json:"subject"` // "channel.feature", "score" or "error"
	Kind      string    `json:"kind"`    // "data" or "concept"
	Statistic float64   `json:"statistic"`
	Limit     float64   `json:"limit"` // where the monitor speaks
	Since     time.Time `json:"since"`
}

// ClassDrift is what drifts among the machines of a class.
type ClassDrift struct {
	Class    string         `json:"class"`
	Machines int            `json:"machines"` // that have a baseline, of connected gateways
	Drifting int            `json:"drifting"` // of them
	Subjects []SubjectDrift `json:"subjects"` // those of most machines first
}

// SubjectDrift is how many machines of a class drift in the same thing. Drift in one
// machine means a fault; in the whole fleet, the process or the season.
type SubjectDrift struct {
	Subject  string  `json:"subject"`
	Kind     string  `json:"kind"`
	Machines int     `json:"machines"`
	Share    float64 `json:"share"` // of the class's machines
	// Probability is that of as many machines drifting each for reasons of its own.
	Probability float64 `json:"probability"`
	Fleet       bool    `json:"fleet"` // the class drifts, not single machines
	// Since is when the half of the machines that drift had begun to.
	Since time.Time `json:"since"`
}

const (
	// ownDrift is the share of machines that are expected to drift in one subject for
	// reasons of their own: a fault, a repair, or chance. Monitors found less than one
	// feature in a hundred where nothing had changed.
	ownDrift = 0.02
	// fleetLevel is the probability with which a class is said to drift when its
	// machines do each for itself, over all that is watched.
	fleetLevel = 0.001
	// watchedAtLeast is how many subjects are taken to be watched on each machine, for
	// that level; gateways report only those that drift.
	watchedAtLeast = 64
)

// DriftOf combines what the machines of each class report by a one-sided binomial test
// of each subject, with Bonferroni's correction. Classes are in order of their names.
func DriftOf(gateways []Gateway) []ClassDrift {
	type subject struct{ class, name, kind string }
	machines, drifting := map[string]int{}, map[string]int{}
	since := map[subject][]time.Time{}
	for _, g := range gateways {
		for _, m := range g.Machines {
			if !g.Connected || m.State == "waiting" || m.State == "baseline" {
				continue // nothing to drift from
			}
			machines[m.Class]++
			if len(m.Drift) > 0 {
				drifting[m.Class]++
			}
			seen := map[subject]bool{}
			for _, d := range m.Drift {
				if s := (subject{m.Class, d.Subject, d.Kind}); !seen[s] {
					seen[s] = true
					since[s] = append(since[s], d.Since)
				}
			}
		}
	}
	subjects := map[string]int{}
	for s := range since {
		subjects[s.class]++
	}
	byClass := map[string][]SubjectDrift{}
	for s, times := range since {
		slices.SortFunc(times, time.Time.Compare)
		n, k := machines[s.class], len(times)
		p := binomialTail(n, k, ownDrift)
		byClass[s.class] = append(byClass[s.class], SubjectDrift{
			Subject: s.name, Kind: s.kind, Machines: k, Share: float64(k) / float64(n), Probability: p,
			Fleet: k > 1 && p*float64(max(watchedAtLeast, subjects[s.class])) < fleetLevel, Since: times[k/2],
		})
	}
	out := []ClassDrift{}
	for _, class := range slices.Sorted(maps.Keys(byClass)) {
		list := byClass[class]
		slices.SortFunc(list, func(x, y SubjectDrift) int {
			return cmp.Or(cmp.Compare(y.Machines, x.Machines), cmp.Compare(x.Subject, y.Subject), cmp.Compare(x.Kind, y.Kind))
		})
		out = append(out, ClassDrift{Class: class, Machines: machines[class], Drifting: drifting[class], Subjects: list})
	}
	return out
}

// binomialTail is the probability of k or more successes in n trials that each succeed
// with probability p.
func binomialTail(n, k int, p float64) float64 {
	choose := func(i int) float64 {
		a, _ := math.Lgamma(float64(n) + 1)
		b, _ := math.Lgamma(float64(i) + 1)
		c, _ := math.Lgamma(float64(n-i) + 1)
		return a - b - c
	}
	sum := 0.0
	for i := k; i <= n; i++ {
		sum += math.Exp(choose(i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return min(sum, 1)
}
