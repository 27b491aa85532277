package labels

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/durable"
)

// MaxLabels bounds a Book. When it is full the oldest withdrawn label goes first, then
// the one heard longest ago.
const MaxLabels = 10000

// ErrWithdrawn says that a label of this id was withdrawn.
var ErrWithdrawn = errors.New("a label of this id was withdrawn; give it another id")

// ErrUnknown says that there is no label of an id.
var ErrUnknown = errors.New("no label of this id")

// Book keeps labels in memory and writes them behind the caller's back; Flush waits
// for the disk. All methods are safe for concurrent use.
type Book struct {
	path string
	log  *slog.Logger
	wake chan struct{} // capacity 1: there is something to write

	mu       sync.Mutex
	list     []Label // in the order they were heard
	revision uint64  // grows with each change
	written  uint64  // revision on disk
	forgot   int64
	failing  bool

	disk sync.Mutex // held while writing; taken before mu
}

type content struct {
	Labels []Label `json:"labels"`
}

// Open reads the labels at path. A damaged file is put aside; without any the Book
// begins empty.
func Open(path string, log *slog.Logger) *Book {
	b := &Book{path: path, log: log, wake: make(chan struct{}, 1)}
	durable.ReadChecked(path, log, func(body []byte) error {
		var c content
		if err := json.Unmarshal(body, &c); err != nil {
			return err
		}
		b.list = c.Labels
		return nil
	})
	return b
}

// Put adds a label, or replaces the one of its ID, and returns it as kept: with an ID,
// its times and when it was heard. Given again unchanged, without an ID within an
// hour, it changes nothing. An error says what is wrong with l, or is ErrWithdrawn. A
// label stays with its machine: one work order may be about several.
func (b *Book) Put(l Label) (Label, error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	l = l.clone()
	l.Received, l.Withdrawn = now, false
	at := -1
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.ID != "" {
		at = b.find(l.ID)
	}
	if at >= 0 {
		l.keep(b.list[at])
	}
	open := l.Time().IsZero()
	l.fill(now)
	if err := l.Check(now); err != nil {
		return Label{}, fmt.Errorf("check label: %w", err)
	}
	if l.ID != "" {
		at = b.find(l.ID)
	} else if at = b.repeated(l, open, now); at >= 0 {
		return b.list[at].clone(), nil
	} else {
		l.ID = newID()
	}
	if at >= 0 {
		old := b.list[at]
		switch {
		case old.Withdrawn:
			return Label{}, fmt.Errorf("keep label %q: %w", l.ID, ErrWithdrawn)
		case old.Machine != l.Machine:
			return Label{}, fmt.Errorf("keep label %q: it is of machine %s; give one of another machine an id of its own, or withdraw it if the machine was wrong",
				l.ID, old.Machine)
		case old.same(l):
			return old.clone(), nil
		}
		l.Received = old.Received
		b.list[at] = l
	} else {
		b.list = append(b.list, l)
		b.shrink()
	}
	b.changed()
	return l.clone(), nil
}

// What is said twice without an ID counts as said once: a button pressed twice, or a
// message that a broker delivers again.
const (
	again = time.Hour   // between the two
	alike = time.Minute // between times that are about the same: "two hours ago"
)

// repeated finds the label that says the same as l, which has no ID, and was heard not
// long ago; −1 if there is none. open says that l's time was left open.
func (b *Book) repeated(l Label, open bool, now time.Time) int {
	return slices.IndexFunc(b.list, func(o Label) bool {
		if o.Withdrawn || now.Sub(o.Received) > again {
			return false
		}
		same := l
		same.ID = o.ID
		if open || near(l.At, o.At) {
			same.At = o.At
		}
		if near(l.From, o.From) {
			same.From = o.From
		}
		if l.Kind == Healthy && l.To.Equal(now) || near(l.To, o.To) {
			same.To = o.To
		}
		return same.same(o)
	})
}

// near says that both times are given and about the same.
func near(a, b time.Time) bool {
	return !a.IsZero() && !b.IsZero() && a.Sub(b).Abs() <= alike
}

// shrink keeps within MaxLabels.
func (b *Book) shrink() {
	for len(b.list) > MaxLabels {
		victim := max(0, slices.IndexFunc(b.list, func(l Label) bool { return l.Withdrawn }))
		if !b.list[victim].Withdrawn {
			b.forgot++
		}
		b.list = slices.Delete(b.list, victim, victim+1)
	}
}

// Withdraw makes the label of an ID count for nothing. It returns the label as it was,
// ErrUnknown if there is none; withdrawing twice is as good as once.
func (b *Book) Withdraw(id string) (Label, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.find(id)
	if at < 0 {
		return Label{}, fmt.Errorf("withdraw label %q: %w", clip(id), ErrUnknown)
	}
	if !b.list[at].Withdrawn {
		b.list[at].Withdrawn = true
		b.changed()
	}
	return b.list[at].clone(), nil
}

// Ended says when an episode ended, for the verdicts given while it lasted.
func (b *Book) Ended(episode string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.list {
		if l := &b.list[i]; l.Kind == Verdict && l.Episode == episode && l.To.IsZero() {
			l.To = at.UTC()
			if l.From.After(l.To) {
				l.From = l.To
			}
			b.changed()
		}
	}
}

// Of returns the labels of a machine that count, by the time at which what they say
// began.
func (b *Book) Of(machine string) []Label {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []Label
	for _, l := range b.list {
		if l.Machine == machine && !l.Withdrawn {
			list = append(list, l.clone())
		}
	}
	slices.SortStableFunc(list, func(x, y Label) int { return x.Time().Compare(y.Time()) })
	return list
}

// All returns all labels, the newest heard first, withdrawn ones too.
func (b *Book) All() []Label {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Label, len(b.list))
	for i, l := range b.list {
		list[len(list)-1-i] = l.clone()
	}
	return list
}

// VerdictOn returns the newest verdict on an episode that counts.
func (b *Book) VerdictOn(episode string) (Label, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.list) - 1; i >= 0; i-- {
		if l := b.list[i]; l.Kind == Verdict && l.Episode == episode && !l.Withdrawn {
			return l.clone(), true
		}
	}
	return Label{}, false
}

// Revision grows with each change, for whoever keeps what it made of the labels.
func (b *Book) Revision() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.revision
}

// Any says whether there is a label that counts.
func (b *Book) Any() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.list, func(l Label) bool { return !l.Withdrawn })
}

// Len counts the labels kept, withdrawn ones too.
func (b *Book) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.list)
}

// Forgot counts labels dropped since Open because the Book was full.
func (b *Book) Forgot() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.forgot
}

func (b *Book) find(id string) int {
	return slices.IndexFunc(b.list, func(l Label) bool { return l.ID == id })
}

func (b *Book) changed() {
	b.revision++
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// Run writes changes until ctx ends, then what is left.
func (b *Book) Run(ctx context.Context) error { return durable.Follow(ctx, b.wake, b.Flush) }

// Flush returns when all labels are on disk. Whoever waits for another's write needs
// none of their own.
func (b *Book) Flush() error {
	b.disk.Lock()
	defer b.disk.Unlock()
	b.mu.Lock()
	revision, known := b.revision, b.revision == b.written
	var body []byte
	var err error
	if !known {
		body, err = json.Marshal(content{b.list})
	}
	b.mu.Unlock()
	if known {
		return nil
	}
	if err == nil {
		if err = os.MkdirAll(filepath.Dir(b.path), 0o700); err == nil {
			err = durable.WriteChecked(b.path, body)
		}
	}
	b.mu.Lock()
	was := b.failing
	if b.failing = err != nil; err == nil {
		b.written = revision
	}
	b.mu.Unlock()
	if err != nil {
		if !was {
			b.log.Error("labels cannot be written; they are kept in memory", "error", err)
		}
		return fmt.Errorf("write labels: %w", err)
	}
	if was {
		b.log.Info("labels are written again")
	}
	return nil
}
