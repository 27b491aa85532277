// Package labels keeps what people and maintenance systems say was true of a
// machine: that it failed, that a fault was confirmed, that it was in order, that it was
// worked on, that an alarm was right or wrong.
package labels

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kind is what a label says.
type Kind string

// The kinds of labels.
const (
	Failure     Kind = "failure"     // the machine failed at At; Class says of what, if that is known
	Fault       Kind = "fault"       // it had fault Class from From to To; To zero: until it is worked on
	Healthy     Kind = "healthy"     // it was inspected and in order from From to To
	Maintenance Kind = "maintenance" // it was worked on at At: the life before is censored and a new one begins
	Verdict     Kind = "verdict"     // alarm Episode was right or wrong; Class says which fault it was, if that is known
)

// Kinds lists the kinds.
func Kinds() []Kind { return []Kind{Failure, Fault, Healthy, Maintenance, Verdict} }

// Label is one statement about one machine.
type Label struct {
	// ID is the label's name. A label given again under its ID replaces the one before,
	// as when a work order is closed. Without one Put makes one up.
	ID      string `json:"id"`
	Machine string `json:"machine"`
	Kind    Kind   `json:"kind"`
	// Class is the fault: one of the classes of a diagnosing job.
	Class string `json:"class,omitempty"`
	// At is of Failure and Maintenance; without it they are now. From and To are of the
	// others: From is needed, but for a Verdict, whose From and To are its episode's.
	At      time.Time `json:"at,omitzero"`
	From    time.Time `json:"from,omitzero"`
	To      time.Time `json:"to,omitzero"`
	Episode string    `json:"episode,omitempty"` // of a Verdict
	Right   *bool     `json:"right,omitempty"`   // of a Verdict
	Order   string    `json:"order,omitempty"`   // work order
	By      string    `json:"by,omitempty"`      // who says so
	Note    string    `json:"note,omitempty"`
	// Received is when this gateway first heard it, by its clock.
	Received time.Time `json:"received,omitzero"`
	// Withdrawn labels count for nothing; they are kept so that one that arrives again
	// stays withdrawn.
	Withdrawn bool `json:"withdrawn,omitempty"`
}

// Time is when what l says begins: At or From.
func (l Label) Time() time.Time {
	if l.At.IsZero() {
		return l.From
	}
	return l.At
}

// same says whether l and o say the same.
func (l Label) same(o Label) bool {
	right := l.Right == o.Right || l.Right != nil && o.Right != nil && *l.Right == *o.Right
	return right && l.ID == o.ID && l.Machine == o.Machine && l.Kind == o.Kind && l.Class == o.Class &&
		l.At.Equal(o.At) && l.From.Equal(o.From) && l.To.Equal(o.To) &&
		l.Episode == o.Episode && l.Order == o.Order && l.By == o.By && l.Note == o.Note
}

// clone returns a copy that shares no memory with l.
func (l Label) clone() Label {
	if l.Right != nil {
		right := *l.Right
		l.Right = &right
	}
	return l
}

// ahead is how far a time may lie in the future: other clocks than the gateway's
// said it.
const ahead = 5 * time.Minute

// keep gives l the times that it leaves open and that were filled in when it was first
// heard as old: given again it says the same.
func (l *Label) keep(old Label) {
	if l.Kind != old.Kind || l.Machine != old.Machine {
		return
	}
	if l.At.IsZero() {
		l.At = old.At
	}
	if l.Kind == Healthy && l.To.IsZero() && l.From.Equal(old.From) {
		l.To = old.To
	}
}

// fill gives l the times that it leaves open, at now.
func (l *Label) fill(now time.Time) {
	switch l.Kind {
	case Failure, Maintenance:
		if l.At.IsZero() {
			l.At = now
		}
	case Healthy:
		if l.To.IsZero() {
			l.To = now // an inspection says nothing of what comes after
		}
	}
	if l.ID == "" && l.Kind == Verdict {
		l.ID = "verdict-" + l.Episode // a change of mind replaces it
	}
	l.At, l.From, l.To = l.At.UTC(), l.From.UTC(), l.To.UTC()
}

// Check returns all that is wrong with l at now, as one error; nil if nothing is.
// Whether the machine and the episode exist is for the agent to know.
func (l Label) Check(now time.Time) error {
	var wrong []string
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if l.Machine == "" {
		bad("machine is missing; name one of this gateway's machines")
	}
	if !slices.Contains(Kinds(), l.Kind) {
		bad("kind is %q; it is one of %s", clip(string(l.Kind)), join(Kinds()))
	} else {
		l.checkKind(bad)
	}
	for _, t := range []struct {
		name string
		at   time.Time
	}{{"at", l.At}, {"from", l.From}, {"to", l.To}} {
		switch {
		case t.at.IsZero():
		case t.at.Year() < 1970:
			bad("%s is in the year %d; write a time such as 2026-05-01T12:00:00Z", t.name, t.at.Year())
		case t.at.After(now.Add(ahead)):
			bad("%s is %s, in the future: it is %s by this gateway's clock", t.name, stamp(t.at), stamp(now))
		}
	}
	if !l.To.IsZero() && l.From.After(l.To) {
		bad("from is %s, after to, %s; swap them", stamp(l.From), stamp(l.To))
	}
	for _, t := range l.texts() {
		checkText(t.name, t.text, t.most, bad)
	}
	if wrong == nil {
		return nil
	}
	return errors.New(strings.Join(wrong, "; "))
}

// checkKind says which fields a label of its kind lacks, and which it must not have.
func (l Label) checkKind(bad func(format string, args ...any)) {
	instant := l.Kind == Failure || l.Kind == Maintenance
	switch {
	case instant && (!l.From.IsZero() || !l.To.IsZero()):
		bad("from and to are of no use to kind %s, which has one time, at", l.Kind)
	case !instant && !l.At.IsZero():
		bad("at is of no use to kind %s, which lasts from from to to", l.Kind)
	case !instant && l.Kind != Verdict && l.From.IsZero():
		bad("from is missing; say since when")
	}
	switch l.Kind {
	case Fault:
		if l.Class == "" {
			bad("class is missing; say which fault it was")
		}
	case Healthy, Maintenance:
		if l.Class != "" {
			bad("class is of no use to kind %s; give what was found as kind fault or failure", l.Kind)
		}
	}
	if l.Kind != Verdict {
		if l.Episode != "" || l.Right != nil {
			bad("episode and right are of a verdict only; remove them, or make it kind verdict")
		}
		return
	}
	if l.Episode == "" {
		bad("episode is missing; it is the id of the alarm")
	}
	if l.Right == nil {
		bad("right is missing; it is true if the alarm was right, else false")
	} else if !*l.Right && l.Class != "" {
		bad("class is of no use when the alarm was wrong")
	}
}

type text struct {
	name, text string
	most       int
}

// texts lists what people wrote, with the most bytes of each.
func (l Label) texts() []text {
	return []text{
		{"id", l.ID, 128}, {"machine", l.Machine, 128}, {"class", l.Class, 64}, {"episode", l.Episode, 64},
		{"order", l.Order, 128}, {"by", l.By, 128}, {"note", l.Note, 500},
	}
}

func checkText(name, s string, most int, bad func(format string, args ...any)) {
	switch {
	case len(s) > most:
		bad("%s has %d bytes; the most is %d", name, len(s), most)
	case !utf8.ValidString(s):
		bad("%s is not UTF-8 text", name)
	case strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && (name != "note" || r != '\n' && r != '\t') }):
		bad("%s holds control characters; remove them", name)
	case name == "id" && strings.ContainsAny(s, "/?#%"):
		bad(`id holds one of / ? # %%, which a path cannot; choose another`)
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// clip keeps an error short, whatever was sent.
func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

func join(kinds []Kind) string {
	list := make([]string, len(kinds))
	for i, k := range kinds {
		list[i] = string(k)
	}
	return strings.Join(list, ", ")
}
