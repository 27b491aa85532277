package rpc

import (
	"context"
	"sync"
	"time"
)

// gate lets so many transfers go on at a time and makes the others wait their turn:
// when a whole fleet answers a round within a second, each is as fast as before but
// they do not all need memory at once. Whoever is slow, as a gateway at the end of a
// thin line is, holds his place for patience only and then goes on without one, so that
// nobody waits for him.
type gate struct {
	places   chan struct{}
	patience time.Duration
}

func newGate(places int, patience time.Duration) *gate {
	return &gate{places: make(chan struct{}, places), patience: patience}
}

// enter waits for a place, and returns how to give it back, or ctx's error.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	giveBack := sync.OnceFunc(func() { <-g.places })
	timer := time.AfterFunc(g.patience, giveBack)
	return func() { timer.Stop(); giveBack() }, nil
}
