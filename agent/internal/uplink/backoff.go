package uplink

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// backoff makes growing pauses. Each is random between half and all of its
// length, so a fleet cut off at once does not come back at once.
type backoff struct{ attempts int }

func (b *backoff) next() time.Duration {
	d := float64(fedrpc.ReconnectMin) * math.Pow(1.6, float64(b.attempts))
	if d >= float64(fedrpc.ReconnectMax) {
		d = float64(fedrpc.ReconnectMax)
	} else {
		b.attempts++
	}
	return time.Duration(d * (0.5 + rand.Float64()/2))
}

func (b *backoff) reset() { b.attempts = 0 }

// sleep waits for d; it reports whether ctx still holds.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
