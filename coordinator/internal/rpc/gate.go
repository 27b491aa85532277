package rpc

import (
	"context"
	"slices"
	"sync"
	"time"
)

// gate lets so many transfers go on at a time and makes the others wait their turn:
// when a whole fleet takes part in a round within a second, each is as fast as before but
// they do not all need memory at once. Uploads go first. What is sent of them takes up
// memory already, and a gateway that still waits for its model will not add to that.
// Whoever is slow, as a gateway at the end of a thin line is, holds his place for
// patience only and then goes on without one, so that nobody waits for him.
type gate struct {
	patience time.Duration

	mu      sync.Mutex
	free    int
	waiting [2][]chan struct{} // by direction, in the order of arrival; closed to let in
}

type direction int

const (
	upload   direction = iota // first
	download                  // when no upload waits
)

func newGate(places int, patience time.Duration) *gate {
	return &gate{patience: patience, free: places}
}

// enter waits for a place, and returns how to give it back, or ctx's error.
func (g *gate) enter(ctx context.Context, d direction) (leave func(), err error) {
	if turn := g.queue(d); turn != nil {
		select {
		case <-turn:
		case <-ctx.Done():
			g.giveUp(d, turn)
			return nil, ctx.Err()
		}
	}
	giveBack := sync.OnceFunc(g.giveBack)
	timer := time.AfterFunc(g.patience, giveBack)
	return func() { timer.Stop(); giveBack() }, nil
}

// queue takes a free place, or a turn to wait for.
func (g *gate) queue(d direction) (turn chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.free > 0 {
		g.free--
		return nil
	}
	turn = make(chan struct{})
	g.waiting[d] = append(g.waiting[d], turn)
	return turn
}

// giveUp leaves the queue, or gives back the place if the turn has just come.
func (g *gate) giveUp(d direction, turn chan struct{}) {
	g.mu.Lock()
	i := slices.Index(g.waiting[d], turn)
	if i >= 0 {
		g.waiting[d] = slices.Delete(g.waiting[d], i, i+1)
	}
	g.mu.Unlock()
	if i < 0 {
		g.giveBack()
	}
}

func (g *gate) giveBack() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for d, queue := range g.waiting {
		if len(queue) > 0 {
			g.waiting[d] = queue[1:]
			close(queue[0])
			return
		}
	}
	g.free++
}
