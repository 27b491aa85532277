package coordinator

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"
)

// selectReady returns whom to announce the next round to, sorted, and how many
// updates are wanted of them: a sample of the connected gateways that are ready for
// this very spec; none while they are fewer than the policy asks for. An asynchronous job begins with the
// first.
func (j *jobState) selectReady() (names []string, want int) {
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	for name, g := range j.c.gateways {
		if j.whyNot(g) == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	switch {
	case j.async():
		return names, 0
	case len(names) < j.spec.Rounds.MinParticipants:
		return nil, 0
	}
	want, ask := j.spec.Rounds.Sample(len(names))
	return j.sample(names, ask), want
}

// sample returns so many of names, sorted. The choice follows from the job's seed,
// the attempt and who is ready. Each gateway draws a lot that does not depend on the others, so one that
// comes or goes changes the choice by at most one.
func (j *jobState) sample(names []string, ask int) []string {
	if ask >= len(names) {
		return names
	}
	lots := map[string]string{}
	for _, name := range names {
		lot := sha256.Sum256(fmt.Appendf(nil, "%d %s %d %d %s", j.spec.Seed, j.spec.Name, j.head.Version+1, j.head.Attempt+1, name))
		lots[name] = string(lot[:])
	}
	drawn := slices.SortedFunc(slices.Values(names), func(a, b string) int { return strings.Compare(lots[a], lots[b]) })[:ask]
	slices.Sort(drawn)
	return drawn
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
// early when as many as are wanted have delivered, or everyone has delivered or has said that it will not, and is
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
	case awaited == 0, j.cur.Want > 0 && delivered >= j.cur.Want:
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
