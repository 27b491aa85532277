package durable

import (
	"context"
	"log/slog"
	"time"
)

// retry is the pause after a write that failed.
const retry = 10 * time.Second

// Follow flushes whenever wake says that something changed, again after a failure, and
// once more when ctx ends; it returns what that last flush says.
func Follow(ctx context.Context, wake <-chan struct{}, flush func() error) error {
	again := time.NewTimer(retry)
	again.Stop()
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return flush()
		case <-wake:
		case <-again.C:
		}
		if err := flush(); err != nil {
			again.Reset(retry)
		}
	}
}

// NowAndThen writes after first, then after twice as long each time up to most, and once
// more when ctx ends; it returns what that last write says. Another that fails is logged:
// the next is tried as if it had not.
func NowAndThen(ctx context.Context, first, most time.Duration, log *slog.Logger, write func() error) error {
	pause := first
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return write()
		case <-timer.C:
			pause = min(2*pause, most)
			timer.Reset(pause)
			if err := write(); err != nil {
				log.Error("file cannot be written; a restart forgets the newest of it", "error", err)
			}
		}
	}
}
