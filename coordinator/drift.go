package coordinator

import (
	"maps"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

// driftPause is how long a job that waits for its next round looks away from drift, which
// takes days to be found.
const driftPause = time.Minute

// watchful shortens a wait for a job whose rounds drift may bring forward.
func (j *jobState) watchful(wait time.Duration) time.Duration {
	if j.spec.Rounds.OnDrift && j.head.Failures == 0 {
		return min(wait, driftPause)
	}
	return wait
}

// drifts says whether a round is due before its time, and why: data of the class began to
// drift after the last round started, so that no model has seen it. A round that was
// abandoned waits as any other.
func (j *jobState) drifts() (fleet.SubjectDrift, bool) {
	if !j.spec.Rounds.OnDrift || j.head.Failures > 0 || j.head.Last == nil {
		return fleet.SubjectDrift{}, false
	}
	for _, d := range j.c.driftOf(j.spec.Class) {
		if d.Fleet && d.Kind == "data" && d.Since.After(j.head.Last.Round.Started) {
			return d, true
		}
	}
	return fleet.SubjectDrift{}, false
}

// tellEarly says why a round starts before its time.
func (j *jobState) tellEarly(d fleet.SubjectDrift) {
	j.c.log.Info("round starts before its time: the class drifts", "job", j.spec.Name, "class", j.spec.Class,
		"subject", d.Subject, "machines", d.Machines, "share", d.Share, "since", d.Since, "due", j.head.NotBefore)
}

// driftOf returns what drifts in a class.
func (c *Coordinator) driftOf(class string) []fleet.SubjectDrift {
	c.mu.Lock()
	defer c.mu.Unlock()
	var gateways []fleet.Gateway
	for _, name := range slices.Sorted(maps.Keys(c.gateways)) {
		if g := c.gateways[name]; g.classes[class] {
			gateways = append(gateways, g.view) // read only, and not beyond c.mu
		}
	}
	for _, d := range fleet.DriftOf(gateways) {
		if d.Class == class {
			return d.Subjects
		}
	}
	return nil
}
