package pipeline

import (
	"sync"

	"github.com/millwright-iot/millwright/sensors"
)

// Bounds of a machine's queue: what a burst of bursts needs, and no more than a
// small gateway has.
const (
	maxQueuedBlocks  = 16384
	maxQueuedSamples = 1 << 19 // 4 MiB
)

// queue holds the blocks of one machine between the source and the machine's
// goroutine. put never waits: one slow machine must not hold up the others.
type queue struct {
	wake chan struct{} // capacity 1: there is something to take

	mu       sync.Mutex
	blocks   []sensors.Block
	samples  int
	received int64 // samples given to put
	dropped  int64 // samples put refused
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// put reports whether there was room for b.
func (q *queue) put(b sensors.Block) bool {
	q.mu.Lock()
	n := len(b.Samples)
	q.received += int64(n)
	ok := len(q.blocks) < maxQueuedBlocks && (q.samples+n <= maxQueuedSamples || q.samples == 0)
	if ok {
		q.blocks = append(q.blocks, b)
		q.samples += n
	} else {
		q.dropped += int64(n)
	}
	q.mu.Unlock()
	if ok {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return ok
}

// take empties the queue into batch, which it reuses.
func (q *queue) take(batch []sensors.Block) []sensors.Block {
	clear(batch)
	q.mu.Lock()
	defer q.mu.Unlock()
	batch, q.blocks = q.blocks, batch[:0]
	q.samples = 0
	return batch
}

// counts returns samples received, dropped and waiting.
func (q *queue) counts() (received, dropped, waiting int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.received, q.dropped, int64(q.samples)
}
