package coordinator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
)

const alarmPrefix = "alarm/"

// alarmBook holds the alarm episodes kept. Its fields but writing are guarded by
// Coordinator.mu.
type alarmBook struct {
	writing sync.Mutex // one change of the store at a time; taken before mu
	byID    map[episode]*alarmEntry
}

// episode names an alarm episode; ids are unique within a gateway only.
type episode struct{ gateway, id string }

// alarmEntry is the record of one episode.
type alarmEntry struct {
	AlarmRevision uint32      `json:"alarm_revision"` // newest event of the episode
	Alarm         fleet.Alarm `json:"alarm"`

	key      string
	revision uint64 // of the record
}

// alarmKey orders episodes by when they were raised, and is safe whatever the
// agent calls them.
func alarmKey(gateway string, a fleet.Alarm) string {
	sum := sha256.Sum256([]byte(gateway + "\x00" + a.ID))
	return alarmPrefix + a.Raised.UTC().Format("20060102T150405.000Z") + "-" + hex.EncodeToString(sum[:8])
}

func (c *Coordinator) loadAlarms(ctx context.Context) error {
	records, err := c.st.List(ctx, alarmPrefix)
	if err != nil {
		return fmt.Errorf("list alarms: %w", err)
	}
	book := map[episode]*alarmEntry{}
	for _, r := range records {
		e := &alarmEntry{key: r.Key, revision: r.Revision}
		if err := json.Unmarshal(r.Value, e); err != nil {
			return fmt.Errorf("decode record %q: %w; restore the data directory from a backup", r.Key, err)
		}
		book[episode{e.Alarm.Gateway, e.Alarm.ID}] = e
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alarms.byID = book
	return nil
}

// Alarm implements rpc.Backend. An event that is no newer than what is stored
// is a repetition and is acknowledged again.
func (c *Coordinator) Alarm(ctx context.Context, gateway string, event rpc.AlarmEvent) error {
	event.Alarm.Gateway = gateway
	c.alarms.writing.Lock()
	defer c.alarms.writing.Unlock()
	id := episode{gateway, event.Alarm.ID}
	c.mu.Lock()
	have := c.alarms.byID[id]
	c.mu.Unlock()
	next := alarmEntry{AlarmRevision: event.Revision, Alarm: event.Alarm, key: alarmKey(gateway, event.Alarm)}
	if have != nil {
		if event.Revision <= have.AlarmRevision {
			return nil
		}
		next.key, next.revision = have.key, have.revision
		next.Alarm.Raised = have.Alarm.Raised
	}
	revision, err := putRecord(ctx, c.st, next.key, next, next.revision)
	if err != nil {
		c.metrics.storeErrors.Inc()
		c.log.Error("cannot store alarm; the agent will repeat it", "gateway", gateway, "machine", event.Alarm.Machine, "error", err)
		return err
	}
	next.revision = revision
	c.mu.Lock()
	c.alarms.byID[id] = &next
	c.notify()
	c.mu.Unlock()
	if have == nil {
		c.metrics.alarms.WithLabelValues(event.Alarm.Class).Inc()
		c.log.Warn("alarm", "gateway", gateway, "machine", event.Alarm.Machine, "zone", event.Alarm.Zone, "peak_score", event.Alarm.Peak)
	}
	return c.pruneAlarms(ctx)
}

// pruneAlarms forgets the oldest episodes beyond keep.alarms. c.alarms.writing is
// held.
func (c *Coordinator) pruneAlarms(ctx context.Context) error {
	for {
		c.mu.Lock()
		var oldest *alarmEntry
		if len(c.alarms.byID) > c.cfg.Keep.Alarms {
			for _, e := range c.alarms.byID {
				if oldest == nil || e.key < oldest.key {
					oldest = e
				}
			}
		}
		c.mu.Unlock()
		if oldest == nil {
			return nil
		}
		if err := deleteRecord(ctx, c.st, oldest.key); err != nil {
			c.log.Error("cannot forget old alarm", "key", oldest.key, "error", err)
			return nil // the new one is stored; the next alarm tries again
		}
		c.mu.Lock()
		delete(c.alarms.byID, episode{oldest.Alarm.Gateway, oldest.Alarm.ID})
		c.mu.Unlock()
	}
}

// newest returns the alarms kept, newest first. Coordinator.mu is held.
func (b *alarmBook) newest() []fleet.Alarm {
	entries := make([]*alarmEntry, 0, len(b.byID))
	for _, e := range b.byID {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(x, y *alarmEntry) int { return strings.Compare(y.key, x.key) })
	out := make([]fleet.Alarm, len(entries))
	for i, e := range entries {
		out[i] = e.Alarm
		out[i].Reasons = slices.Clone(e.Alarm.Reasons)
	}
	return out
}
