package boltstore

import (
	"context"
	"errors"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// A transaction takes no more than this, so that memory stays bounded.
const (
	maxBatchBytes   = 4 << 20
	maxBatchChanges = 1024
)

// committer lets changes that arrive together share a transaction, and so a
// sync. It has no goroutine: the first to come commits what has queued up, then
// hands over to the first of those who came meanwhile. Nobody waits for company.
type committer struct {
	update func(func(*bolt.Tx) error) error

	mu      sync.Mutex
	leading bool // somebody is committing
	queue   []*change
}

type change struct {
	ctx   context.Context
	bytes int
	apply func(*bolt.Tx) error
	err   error
	turn  chan bool // true: lead, you are first in the queue; false: err is set
}

// refusal is an error of apply that came before anything was changed, so that
// the others of the transaction need not suffer.
type refusal struct{ err error }

func (r refusal) Error() string { return r.err.Error() }

// do applies a change of about so many bytes and returns when it is durable, or
// the error. apply may be called more than once; the last call counts. With
// ctx's error nothing was changed.
func (c *committer) do(ctx context.Context, bytes int, apply func(*bolt.Tx) error) error {
	ch := &change{ctx: ctx, bytes: bytes, apply: apply, turn: make(chan bool, 1)}
	c.mu.Lock()
	c.queue = append(c.queue, ch)
	lead := !c.leading
	c.leading = true
	c.mu.Unlock()
	if !lead && !<-ch.turn {
		return ch.err
	}

	batch := c.take()
	c.commit(batch)

	c.mu.Lock()
	if len(c.queue) > 0 {
		c.queue[0].turn <- true
	} else {
		c.leading = false
	}
	c.mu.Unlock()
	for _, other := range batch {
		if other != ch {
			other.turn <- false
		}
	}
	return ch.err
}

// take removes a transaction's worth of changes from the front of the queue.
func (c *committer) take() []*change {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, bytes := 0, 0
	for n < len(c.queue) && n < maxBatchChanges && (n == 0 || bytes+c.queue[n].bytes <= maxBatchBytes) {
		bytes += c.queue[n].bytes
		n++
	}
	batch := append([]*change(nil), c.queue[:n]...)
	c.queue = append([]*change(nil), c.queue[n:]...)
	return batch
}

// commit applies the batch in one transaction, or, if one of its changes breaks
// the transaction, each in its own.
func (c *committer) commit(batch []*change) {
	broken := false // by a change, not by the commit
	err := c.update(func(tx *bolt.Tx) error {
		broken = true // also if one of them panics
		for _, ch := range batch {
			if ch.err = ch.ctx.Err(); ch.err != nil {
				continue
			}
			var refused refusal
			if err := ch.apply(tx); errors.As(err, &refused) {
				ch.err = refused.err
			} else if err != nil {
				return err
			}
		}
		broken = false
		return nil
	})
	if err == nil {
		return
	}
	if broken && len(batch) > 1 {
		for _, ch := range batch {
			c.commit([]*change{ch})
		}
		return
	}
	for _, ch := range batch {
		if ch.err == nil { // a refusal stands, whatever became of the rest
			ch.err = err
		}
	}
}
