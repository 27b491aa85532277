package coordinator

import (
	"maps"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store"
)

// An asynchronous job always has an open round, which makes the next version of
// the first K updates to arrive, whatever version they started from. A gateway
// that is ready is given the newest version, trains at its own pace, and delivers
// once to each version at most. Nobody waits for a slow one, and what it learned
// counts when it comes, discounted by its age.

// task is what a gateway of an asynchronous job works on.
type task struct {
	try   // it starts from version Round−1
	model store.Blob
	until time.Time // then it is given a new one
}

// tasks are the tasks by gateway.
type tasks map[string]task

// assign gives the newest version to every gateway that is ready and has neither
// a task nor an update that waits.
func (j *jobState) assign() {
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	if j.cur.Closed {
		return
	}
	now, changed := time.Now(), false
	for name, t := range j.tasks {
		if now.Before(t.until) {
			continue
		}
		delete(j.tasks, name)
		changed = true
		if p := j.cur.parts[name]; p != nil && p.State == training {
			p.State, p.Reason = declined, "has not delivered in time"
		}
	}
	for _, name := range slices.Sorted(maps.Keys(j.c.gateways)) {
		// One that declined or was refused has its next chance at the next version.
		if j.cur.parts[name] != nil || j.whyNot(j.c.gateways[name]) != "" {
			continue
		}
		j.admit(name)
		j.tasks[name] = task{try{j.cur.Round, j.cur.Attempt}, j.cur.base, now.Add(j.spec.Rounds.Deadline)}
		j.c.gateways[name].peer.Send(j.taskOf(name))
		changed = true
	}
	if changed {
		j.c.notify()
	}
}

// gather makes participants of those who work for the round, or have delivered to
// it, when it is announced or resumed. c.mu is held.
func (j *jobState) gather() {
	invited := j.cur.Gateways
	j.cur.Gateways, j.cur.parts = nil, map[string]*participant{}
	for name := range j.waiting {
		j.admit(name)
	}
	for name := range j.tasks {
		j.admit(name)
	}
	if j.cur.Closed {
		return
	}
	// After a restart nobody knows who works on what: those whom the round began
	// with are asked, and one that is busy with an earlier version goes on with that.
	for _, name := range invited {
		if j.cur.parts[name] == nil && time.Now().Before(j.cur.Deadline) {
			j.admit(name)
			j.tasks[name] = task{try{j.cur.Round, j.cur.Attempt}, j.cur.base, j.cur.Deadline}
			if g := j.c.gateways[name]; g != nil && g.peer != nil {
				g.peer.Send(j.taskOf(name))
			}
		}
	}
}

// admit makes the gateway a participant of the round, one that has delivered if
// its update waits. c.mu is held.
func (j *jobState) admit(name string) {
	p := j.cur.parts[name]
	if p == nil {
		p = &participant{Participant: fleet.Participant{Gateway: name, State: training}}
		j.cur.parts[name] = p
		i, _ := slices.BinarySearch(j.cur.Gateways, name)
		j.cur.Gateways = slices.Insert(slices.Clone(j.cur.Gateways), i, name)
	}
	if u, delivered := j.waiting[name]; delivered {
		p.receive(u, j.cur.Started)
		p.Staleness = int(staleness(u.From, j.cur.Round))
	}
}

// taskOf is the RoundStart of a gateway's task. c.mu is held.
func (j *jobState) taskOf(name string) rpc.RoundStart {
	t := j.tasks[name]
	return rpc.RoundStart{
		Job: j.spec.Name, Digest: j.digest, Round: t.Round, Attempt: t.Attempt, KeepEarlier: true,
		Model: t.model, State: j.sharedState(), Deadline: t.until, Seed: j.spec.Seed + t.Round,
	}
}

// arrived puts an update among those that wait. c.mu is held.
func (j *jobState) arrived(name string, u updateRecord) {
	j.waiting[name] = u
	delete(j.tasks, name)
	if j.async() && j.cur != nil && !j.cur.Closed {
		j.admit(name)
	}
}

// excuse notes that a gateway will not deliver what it answers: it declined, or
// its update was refused. c.mu is held.
func (j *jobState) excuse(name string, answered try, state, reason string) {
	if t, busy := j.tasks[name]; busy && t.try == answered {
		delete(j.tasks, name)
	}
	if j.cur == nil || j.cur.Closed || !j.async() && answered != (try{j.cur.Round, j.cur.Attempt}) {
		return
	}
	p := j.cur.parts[name]
	if p == nil || p.State == received || p.State == declined && state == declined || p.State == rejected && state == declined {
		return
	}
	p.State, p.Reason = state, reason
	j.poke()
	j.c.notify()
}

// standingAsync is standing for an asynchronous job: it never abandons, for what
// has arrived is not to be lost.
func (j *jobState) standingAsync() (standing, time.Duration) {
	j.c.mu.Lock()
	defer j.c.mu.Unlock()
	now := time.Now()
	arrived, awaited, next := len(j.countWaiting()), 0, now.Add(idle)
	for _, t := range j.tasks {
		if now.Before(t.until) {
			awaited++
			next = minTime(next, t.until)
		}
	}
	if arrived < j.spec.Rounds.MinParticipants {
		return goesOn, time.Until(next)
	}
	switch {
	case now.Before(j.head.NotBefore):
		return goesOn, time.Until(minTime(next, j.head.NotBefore))
	case arrived >= j.spec.Strategy.Buffer, awaited == 0, !now.Before(j.cur.Deadline):
		return enough, 0
	}
	return goesOn, time.Until(minTime(next, j.cur.Deadline))
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// finished are the gateways for which the round that ends is over. Those of an
// asynchronous job that still train go on. c.mu is held.
func (j *jobState) finished() []string {
	if !j.async() {
		return j.cur.Gateways
	}
	var names []string
	for _, name := range j.cur.Gateways {
		if _, busy := j.tasks[name]; !busy {
			names = append(names, name)
		}
	}
	return names
}
