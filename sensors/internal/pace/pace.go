// Package pace lets recorded or generated time pass at a chosen speed.
package pace

import (
	"context"
	"time"
)

// Clock tells when a moment of machine time is due by the local clock. Its zero
// value lets time pass as fast as it is asked to.
type Clock struct {
	speed float64
	began time.Time
}

// Start returns a Clock whose machine time is zero now and runs speed times as
// fast as the local clock; speed 0 means without waiting.
func Start(speed float64) *Clock { return &Clock{speed: speed, began: time.Now()} }

// Wait sleeps until machine time t is due, and reports false when ctx ended.
func (c *Clock) Wait(ctx context.Context, t time.Duration) bool {
	if c.speed > 0 {
		if wait := time.Until(c.began.Add(time.Duration(float64(t) / c.speed))); wait > 0 {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
		}
	}
	return ctx.Err() == nil
}

// Skip makes the clock forget a pause of the local clock.
func (c *Clock) Skip(pause time.Duration) { c.began = c.began.Add(pause) }
