package durable

import (
	"context"
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
