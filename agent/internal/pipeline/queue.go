package pipeline

import (
	"sync"
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

// Bounds of a machine's queue: what a burst of bursts needs, and no more than a
// small gateway has.
const (
	maxQueuedBlocks  = 16384
	maxQueuedSamples = 1 << 19 // 4 MiB
)

// patience is how long put waits for a machine that makes progress: a machine that
// is only busy has taken a whole queue by then, and what feeds it holds its own
// queue meanwhile.
const patience = time.Second

// queue holds the blocks of one machine between the sources and the machine's
// goroutine. A full queue is waited for, but at most patience in all between two
// takes, so that one stuck machine does not hold up the others.
type queue struct {
	wake chan struct{} // capacity 1: there is something to take

	mu       sync.Mutex
	blocks   []sensors.Block
	samples  int           // in blocks
	inHand   int           // samples taken and not yet done with
	spent    bool          // put waited in vain, and nothing was taken since
	room     chan struct{} // closed by the next take; nil while nobody waits
	received int64         // samples given to put, those that still wait in it excepted
	dropped  int64         // samples put refused
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// put adds b and reports whether there was room. It may be called by several
// goroutines.
func (q *queue) put(b sensors.Block) bool {
	n := len(b.Samples)
	q.mu.Lock()
	if q.full(n) && !q.spent {
		q.await(n)
	}
	q.received += int64(n)
	if q.full(n) {
		q.dropped += int64(n)
		q.mu.Unlock()
		return false
	}
	q.blocks = append(q.blocks, b)
	q.samples += n
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// full says that n more samples have no room. q.mu is held.
func (q *queue) full(n int) bool {
	return len(q.blocks) >= maxQueuedBlocks || (q.samples+n > maxQueuedSamples && q.samples > 0)
}

// await waits until n samples have room, or patience is at its end. q.mu is held,
// except while it waits.
func (q *queue) await(n int) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for q.full(n) && !q.spent {
		if q.room == nil {
			q.room = make(chan struct{})
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
			q.mu.Lock()
		case <-timer.C:
			q.mu.Lock()
			q.spent = q.room == room // else there was a take meanwhile
			return
		}
	}
}

// take empties the queue into batch, which it reuses. Whoever takes calls done for
// every block.
func (q *queue) take(batch []sensors.Block) []sensors.Block {
	clear(batch)
	q.mu.Lock()
	defer q.mu.Unlock()
	batch, q.blocks = q.blocks, batch[:0]
	q.inHand += q.samples
	q.samples, q.spent = 0, false
	if q.room != nil {
		close(q.room)
		q.room = nil
	}
	return batch
}

// done says that n of the samples taken have been processed.
func (q *queue) done(n int) {
	q.mu.Lock()
	q.inHand -= n
	q.mu.Unlock()
}

// counts returns samples received, dropped, and waiting or in hand.
func (q *queue) counts() (received, dropped, waiting int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.received, q.dropped, int64(q.samples + q.inHand)
}
