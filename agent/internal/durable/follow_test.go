package durable

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A change at 1 s whose write fails is written 10 s later, and the last at the end.
func TestFollow_RetriesAndFlushesAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, broken := time.Now(), errors.New("disk full")
		var at []time.Duration
		flush := func() error {
			at = append(at, time.Since(start))
			if len(at) != 2 {
				return broken
			}
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		wake := make(chan struct{}, 1)
		time.AfterFunc(time.Second, func() { wake <- struct{}{} })
		if err := Follow(ctx, wake, flush); !errors.Is(err, broken) {
			t.Errorf("got %v, want what the last flush said", err)
		}
		if want := []time.Duration{time.Second, 11 * time.Second, time.Minute}; !slices.Equal(at, want) {
			t.Errorf("flushed at %v, want %v", at, want)
		}
	})
}

// From one minute on the pauses double up to four, failures change nothing, and the last
// write is at the end.
func TestNowAndThen_GrowsItsPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, broken := time.Now(), errors.New("disk full")
		var at []time.Duration
		write := func() error {
			at = append(at, time.Since(start)/time.Minute)
			if len(at) == 2 {
				return broken
			}
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 13*time.Minute)
		defer cancel()
		if err := NowAndThen(ctx, time.Minute, 4*time.Minute, slog.New(slog.DiscardHandler), write); err != nil {
			t.Error(err)
		}
		if want := []time.Duration{1, 3, 7, 11, 13}; !slices.Equal(at, want) {
			t.Errorf("written after %v minutes, want %v", at, want)
		}
	})
}
