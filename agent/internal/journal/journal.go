// Package journal remembers alarm episodes: what the page shows, what the
// coordinator has not acknowledged, and what a machine's alarm needs to go on after
// a restart.
package journal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/durable"
	"github.com/millwright-iot/millwright/agent/internal/infer"
)

// MaxEpisodes bounds the episodes kept; the oldest go first.
const MaxEpisodes = 500

// Reason is one feature's share of a score.
type Reason struct {
	Feature string  `json:"feature"` // "channel.feature"
	Share   float64 `json:"share"`   // 0..1
}

// Episode is one alarm of one machine, as it stands.
type Episode struct {
	ID           string     `json:"id"`
	Revision     uint32     `json:"revision"` // grows with each event
	Gateway      string     `json:"gateway"`
	Machine      string     `json:"machine"`
	Class        string     `json:"class"`
	Active       bool       `json:"active"`
	Zone         alarm.Zone `json:"zone"`       // worst of the episode
	PeakScore    float64    `json:"peak_score"` // 1 is the alarm threshold
	Raised       time.Time  `json:"raised"`
	Cleared      time.Time  `json:"cleared,omitzero"`
	Reasons      []Reason   `json:"reasons"` // of the newest event before the end, largest first
	infer.Advice            // at the same event
	Job          string     `json:"job"`
	ModelVersion uint64     `json:"model_version"`     // 0: the machine's own local model
	Verdict      string     `json:"verdict,omitempty"` // what people said of it: Right or Wrong
	Order        string     `json:"order,omitempty"`   // the work order they gave
}

// What people say of an episode.
const (
	Right = "right"
	Wrong = "wrong"
)

type entry struct {
	Episode
	Acked uint32 `json:"acked"` // newest revision the coordinator has
}

// machineState is what a machine needs at its next start.
type machineState struct {
	Job   string      `json:"job"` // digest
	State alarm.State `json:"state"`
}

type content struct {
	Episodes []entry                 `json:"episodes"` // oldest first
	Machines map[string]machineState `json:"machines"`
}

// Journal keeps everything in memory and writes it behind the caller's back: no
// method waits for the disk. All methods are safe for concurrent use.
type Journal struct {
	path string
	log  *slog.Logger
	wake chan struct{} // capacity 1: there is something to write

	mu      sync.Mutex
	c       content
	forgot  int64 // episodes dropped before they were acknowledged
	edits   uint64
	failing bool
}

// Open reads the journal at path. A damaged one is put aside; without any it begins
// empty.
func Open(path string, log *slog.Logger) *Journal {
	j := &Journal{path: path, log: log, wake: make(chan struct{}, 1)}
	durable.ReadChecked(path, log, func(body []byte) error {
		j.c = content{}
		return json.Unmarshal(body, &j.c)
	})
	if j.c.Machines == nil {
		j.c.Machines = map[string]machineState{}
	}
	return j
}

// NewID returns the name of a new episode. It is random: a clock may be wrong, and
// machines of two gateways may share a name.
func NewID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// Put adds an episode or replaces it by its next revision, which Put counts, and
// keeps the machine's alarm state with it. It returns the episode as kept.
func (j *Journal) Put(e Episode, digest string, st alarm.State) Episode {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.Reasons, e.Advice = slices.Clone(e.Reasons), e.Clone()
	j.c.Machines[e.Machine] = machineState{digest, st}
	if i := j.find(e.ID); i >= 0 {
		e.Revision = j.c.Episodes[i].Revision + 1
		e.Verdict, e.Order = j.c.Episodes[i].Verdict, j.c.Episodes[i].Order // are Judge's to change
		j.c.Episodes[i].Episode = e
	} else {
		e.Revision = 1
		j.c.Episodes = append(j.c.Episodes, entry{Episode: e})
	}
	if over := len(j.c.Episodes) - MaxEpisodes; over > 0 {
		for _, old := range j.c.Episodes[:over] {
			if old.Acked < old.Revision {
				j.forgot++
			}
		}
		j.c.Episodes = slices.Delete(j.c.Episodes, 0, over)
	}
	j.changed()
	return e
}

// Judge keeps what people said of an episode, as its next revision, and returns it as
// kept. changed is false if they said so before, or there is no such episode; newest
// says that no later one of the machine began.
func (j *Journal) Judge(id, verdict, order string) (e Episode, newest, changed bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := j.find(id)
	if i < 0 {
		return Episode{}, false, false
	}
	kept := &j.c.Episodes[i].Episode
	if kept.Verdict == verdict && kept.Order == order {
		return *kept, false, false
	}
	kept.Verdict, kept.Order = verdict, order
	kept.Revision++
	j.changed()
	newest = !slices.ContainsFunc(j.c.Episodes[i+1:], func(o entry) bool { return o.Machine == kept.Machine })
	return *kept, newest, true
}

// Episode returns the episode of an id.
func (j *Journal) Episode(id string) (Episode, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if i := j.find(id); i >= 0 {
		return j.c.Episodes[i].Episode, true
	}
	return Episode{}, false
}

// SetState keeps a machine's alarm state for the next start.
func (j *Journal) SetState(machine, digest string, st alarm.State) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := (machineState{digest, st}); j.c.Machines[machine] != s {
		j.c.Machines[machine] = s
		j.changed()
	}
}

// State returns the alarm state a machine left and under which job digest.
func (j *Journal) State(machine string) (digest string, st alarm.State) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.c.Machines[machine]
	return s.Job, s.State
}

// Lasting returns the machine's episode that lasts, if there is one.
func (j *Journal) Lasting(machine string) (Episode, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := len(j.c.Episodes) - 1; i >= 0; i-- {
		if e := j.c.Episodes[i]; e.Machine == machine && e.Active {
			return e.Episode, true
		}
	}
	return Episode{}, false
}

// Orphans returns the episodes that last on machines other than these, as after a
// machine was taken out of the configuration.
func (j *Journal) Orphans(machines func(name string) bool) []Episode {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []Episode
	for _, e := range j.c.Episodes {
		if e.Active && !machines(e.Machine) {
			list = append(list, e.Episode)
		}
	}
	return list
}

// Episodes returns the newest episodes, newest first, at most n.
func (j *Journal) Episodes(n int) []Episode {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := make([]Episode, 0, min(n, len(j.c.Episodes)))
	for i := len(j.c.Episodes) - 1; i >= 0 && len(list) < n; i-- {
		list = append(list, j.c.Episodes[i].Episode)
	}
	return list
}

// Unacked returns the episodes whose newest revision the coordinator does not have,
// oldest first.
func (j *Journal) Unacked() []Episode {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []Episode
	for _, e := range j.c.Episodes {
		if e.Acked < e.Revision {
			list = append(list, e.Episode)
		}
	}
	return list
}

// Ack notes that the coordinator has a revision of an episode.
func (j *Journal) Ack(id string, revision uint32) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if i := j.find(id); i >= 0 && revision > j.c.Episodes[i].Acked {
		j.c.Episodes[i].Acked = min(revision, j.c.Episodes[i].Revision)
		j.changed()
	}
}

// Forgot counts the episodes dropped before the coordinator had them.
func (j *Journal) Forgot() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.forgot
}

func (j *Journal) find(id string) int {
	return slices.IndexFunc(j.c.Episodes, func(e entry) bool { return e.ID == id })
}

// Revision grows with each change, for whoever keeps what it made of the episodes.
func (j *Journal) Revision() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.edits
}

func (j *Journal) changed() {
	j.edits++
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Run writes changes until ctx ends, then what is left.
func (j *Journal) Run(ctx context.Context) error { return durable.Follow(ctx, j.wake, j.Flush) }

// Flush writes the journal now.
func (j *Journal) Flush() error {
	j.mu.Lock()
	body, err := json.Marshal(j.c)
	j.mu.Unlock()
	if err == nil {
		if err = os.MkdirAll(filepath.Dir(j.path), 0o700); err == nil {
			err = durable.WriteChecked(j.path, body)
		}
	}
	j.mu.Lock()
	was := j.failing
	j.failing = err != nil
	j.mu.Unlock()
	if err != nil {
		if !was {
			j.log.Error("alarm journal cannot be written; alarms are kept in memory", "error", err)
		}
		return fmt.Errorf("write alarm journal: %w", err)
	}
	if was {
		j.log.Info("alarm journal is written again")
	}
	return nil
}
