package mqttsource

import (
	"log/slog"
	"sync"
	"time"
)

// complaintPause is the least time between two lines about one cause.
const complaintPause = time.Minute

// maxCauses bounds the machines that have lines of their own; others share one.
const maxCauses = 1024

// complaints writes at most one line a minute for each cause, of each machine where it
// has one, saying how many it kept to itself.
type complaints struct {
	log *slog.Logger

	mu     sync.Mutex
	causes map[string]*cause // the keys are constants, and constants with a machine
}

type cause struct {
	last  time.Time
	quiet int64 // not written since last
}

func newComplaints(log *slog.Logger) *complaints {
	return &complaints{log: log, causes: map[string]*cause{}}
}

// due reports whether a line about key may be written now, and how many were
// not since the last one.
func (c *complaints) due(key string) (quiet int64, due bool) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.causes[key]
	if k == nil {
		k = &cause{}
		c.causes[key] = k
	}
	if !k.last.IsZero() && now.Sub(k.last) < complaintPause {
		k.quiet++
		return 0, false
	}
	quiet, k.last, k.quiet = k.quiet, now, 0
	return quiet, true
}

// of is the key of a cause at a machine.
func (c *complaints) of(key string, f *feed) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f == nil || len(c.causes) >= maxCauses {
		return key
	}
	return key + " " + f.machine
}

// dropped complains about a message or a channel of it.
func (c *complaints) dropped(reason Reason, topic string, f *feed, err error) {
	quiet, due := c.due(c.of("drop "+string(reason), f))
	if !due {
		return
	}
	attrs := []any{"reason", string(reason), "topic", topic}
	if f != nil {
		attrs = append(attrs, "machine", f.machine, "channel", f.channel)
	}
	if err != nil {
		attrs = append(attrs, "cause", err.Error())
	}
	c.log.Warn("message dropped", append(attrs, "more_since_last_line", quiet)...)
}

// badTime complains about a time that was replaced; the samples are kept.
func (c *complaints) badTime(kind, topic string, f *feed, err error) {
	if quiet, due := c.due(c.of("time "+kind, f)); due {
		c.log.Warn("payload time replaced by arrival time", "topic", topic, "machine", f.machine,
			"channel", f.channel, "cause", err.Error(), "more_since_last_line", quiet)
	}
}

// missed complains about messages that never came; how many samples they held is
// not known, so nothing is counted.
func (c *complaints) missed(topic string, err error) {
	if quiet, due := c.due("missed"); due {
		c.log.Warn("messages were missed", "topic", topic, "cause", err.Error(), "more_since_last_line", quiet)
	}
}
