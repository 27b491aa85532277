package labels

import (
	"time"

	"github.com/millwright-iot/millwright/fedavg/job"
)

// Said is what labels say of a window.
type Said uint8

// What labels can say of a window.
const (
	Nothing Said = iota
	InOrder      // the machine was in order
	Faulty       // it had the fault that Class names
	Unclear      // not to be learned from: near work on the machine, between two states, of an unknown fault, or labels that contradict
)

// Truth is what the labels of one machine say of its windows. It does not change.
type Truth struct{ spans []span }

// span is what one label says. Of a higher rank, it is heard before the others.
type span struct {
	from, to time.Time // to zero: lasts
	rank     rank
	said     Said
	class    string
	// alarm says that a class is that of an alarm, which lasts some windows longer than
	// what it is about.
	alarm bool
}

type rank uint8

const (
	vague    rank = iota // something was wrong, nobody says what
	inferred             // from a failure backwards
	stated               // by a person, of this time
	work                 // nothing counts near work on the machine
)

// NewTruth reads the labels of one machine, as Book.Of returns them.
//
// A failure says that the machine had what it failed of for spec.Lead before, but not
// before its present life began; a fault lasts until its end, else until the next work
// or failure; windows within spec.Settle of work, or after a failure, say nothing. What
// a person states of a time counts more than what follows from a later failure.
func NewTruth(list []Label, spec job.LabelSpec) *Truth {
	t := &Truth{}
	add := func(s span) { t.spans = append(t.spans, s) }
	faulty := func(class string, otherwise, r rank) span {
		if class == "" {
			return span{rank: otherwise, said: Unclear}
		}
		return span{rank: r, said: Faulty, class: class}
	}
	for _, l := range list {
		switch l.Kind {
		case Maintenance:
			add(span{from: l.At.Add(-spec.Settle), to: l.At.Add(spec.Settle), rank: work, said: Unclear})
		case Failure:
			s := faulty(l.Class, vague, inferred)
			s.from, s.to = l.At.Add(-spec.Lead), l.At
			if began, ok := lifeBefore(list, l.At); ok && began.After(s.from) {
				s.from = began
			}
			add(s)
			add(span{from: l.At, to: l.At.Add(spec.Settle), rank: work, said: Unclear})
		case Fault:
			s := faulty(l.Class, vague, stated)
			s.from, s.to = l.From, until(list, l)
			add(s)
		case Healthy:
			add(span{from: l.From, to: l.To, rank: stated, said: InOrder})
		case Verdict:
			s := span{rank: stated, said: InOrder}
			if l.Right != nil && *l.Right {
				s = faulty(l.Class, vague, stated)
				s.alarm = true
			}
			s.from, s.to = l.From, until(list, l)
			add(s)
		}
	}
	return t
}

// lifeBefore is when the life that ended at at began; false if no label says so.
func lifeBefore(list []Label, at time.Time) (began time.Time, ok bool) {
	for _, l := range list {
		if (l.Kind == Maintenance || l.Kind == Failure) && l.At.Before(at) && l.At.After(began) {
			began, ok = l.At, true
		}
	}
	return began, ok
}

// until is the end of what l says: its own, else the next work or failure, else zero.
func until(list []Label, l Label) time.Time {
	end := l.To
	if !end.IsZero() {
		return end
	}
	for _, o := range list {
		if (o.Kind == Maintenance || o.Kind == Failure) && o.At.After(l.From) && (end.IsZero() || o.At.Before(end)) {
			end = o.At
		}
	}
	return end
}

// Empty says that no label says anything.
func (t *Truth) Empty() bool { return len(t.spans) == 0 }

// Says reports whether any label says said of some time.
func (t *Truth) Says(said Said) bool {
	for _, s := range t.spans {
		if s.said == said {
			return true
		}
	}
	return false
}

// Of returns what labels say of the window from from to to, and the class if that is
// Faulty. A window that a label covers in part is Unclear, and so is one in an alarm
// that was right, if its own score was not above the threshold.
func (t *Truth) Of(from, to time.Time, above bool) (said Said, class string) {
	found := rank(0)
	for _, s := range t.spans {
		if !to.After(s.from) || !s.to.IsZero() && !from.Before(s.to) {
			continue // does not touch
		}
		whole := !from.Before(s.from) && (s.to.IsZero() || !to.After(s.to))
		now, of := s.said, s.class
		if !whole || s.alarm && !above {
			now, of = Unclear, ""
		}
		switch {
		case said == Nothing || s.rank > found:
			said, class, found = now, of, s.rank
		case s.rank == found && (now != said || of != class):
			said, class = Unclear, ""
		}
	}
	return said, class
}
