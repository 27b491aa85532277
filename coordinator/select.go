package coordinator

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// selectReady returns whom to announce the next round to: every connected
// gateway that is ready for this very spec, sorted; none while they are fewer
// than the policy asks for.
func (j *jobState) selectReady() []string {
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	var names []string
	for name, g := range j.c.gateways {
		if j.whyNot(g) == "" {
			names = append(names, name)
		}
	}
	if len(names) < j.spec.Rounds.MinParticipants {
		return nil
	}
	slices.Sort(names)
	return names
}

// whyNot says, for a person, why g cannot take part in a round now, or "" if it
// can. c.mu is held.
func (j *jobState) whyNot(g *gateway) string {
	if g.peer == nil {
		return "not connected"
	}
	if !g.classes[j.spec.Class] {
		return fmt.Sprintf("has no machine of class %q", j.spec.Class)
	}
	switch r, reported := g.readiness[j.spec.Name]; {
	case !reported:
		return "has not reported on this job yet"
	case r.Digest != j.digest:
		return "still has another version of this job"
	case !r.Ready && r.Reason == "":
		return "not ready, and gives no reason"
	case !r.Ready:
		return r.Reason
	}
	return ""
}

// standing of the open round.
type standing int

const (
	goesOn   standing = iota
	enough            // close it and commit
	hopeless          // abandon it
)

// standing judges the open round, and says how long it may go on. It closes
// early when every participant has delivered or has said that it will not, and is
// abandoned early when too few are left to reach the minimum.
func (j *jobState) standing() (standing, time.Duration) {
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	delivered, awaited := j.cur.count(received), j.cur.count(training)
	wait := time.Until(j.cur.Deadline)
	if wait <= 0 {
		awaited = 0
	}
	switch least := j.spec.Rounds.MinParticipants; {
	case delivered+awaited < least:
		return hopeless, 0
	case awaited == 0:
		return enough, 0
	}
	return goesOn, wait
}

func (r *round) count(state string) int {
	n := 0
	for _, p := range r.parts {
		if p.State == state {
			n++
		}
	}
	return n
}

// shortfall tells why the open round came to nothing.
func (j *jobState) shortfall() string {
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	said := []string{fmt.Sprintf("%d of at least %d updates received", j.cur.count(received), j.spec.Rounds.MinParticipants)}
	silent := "not delivered by the deadline"
	if time.Until(j.cur.Deadline) > 0 {
		silent = "still training, too few to reach the minimum"
	}
	for _, s := range []struct{ state, words string }{{declined, "declined"}, {rejected, "rejected"}, {training, silent}} {
		if n := j.cur.count(s.state); n > 0 {
			said = append(said, fmt.Sprintf("%d %s", n, s.words))
		}
	}
	return strings.Join(said, ", ")
}
