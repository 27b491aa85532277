package bussource

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// complaintPause is the least time between two lines about one cause.
const complaintPause = time.Minute

// complaints writes at most one line a minute for each cause of each device, saying
// how many it kept to itself.
type complaints struct {
	log *slog.Logger

	mu     sync.Mutex
	causes map[string]*cause // as many as devices have causes: a handful each
}

type cause struct {
	last  time.Time
	quiet int64 // not written since last
}

func newComplaints(log *slog.Logger) *complaints {
	return &complaints{log: log, causes: map[string]*cause{}}
}

// warn writes a line about the cause key, unless one was written just now.
func (c *complaints) warn(key, message string, attrs ...any) {
	c.say(slog.LevelWarn, key, message, attrs...)
}

func (c *complaints) say(level slog.Level, key, message string, attrs ...any) {
	c.mu.Lock()
	k := c.causes[key]
	if k == nil {
		k = &cause{}
		c.causes[key] = k
	}
	now := time.Now()
	if !k.last.IsZero() && now.Sub(k.last) < complaintPause {
		k.quiet++
		c.mu.Unlock()
		return
	}
	quiet := k.quiet
	k.last, k.quiet = now, 0
	c.mu.Unlock()
	//nolint:sloglint // constant in every call of warn and say
	c.log.Log(context.Background(), level, message, append(attrs, "more_since_last_line", quiet)...)
}
