package mqttsource

import (
	"maps"
	"sync"
	"time"
)

// itemOverhead is what a waiting message costs beside its payload, roughly.
const itemOverhead = 256

// item is a message on its way from the broker to emit.
type item struct {
	route     *route // nil: no channel wants the topic
	topic     string
	payload   []byte
	arrived   time.Time
	gap       bool // messages of this topic were dropped just before
	retained  bool
	duplicate bool
}

// outcome is what became of a message.
type outcome struct {
	emitted        bool
	reason         Reason // of the first channel that got nothing
	samplesEmitted int64
	lost           []loss // empty for a good message
}

// loss is samples of a message that did not become a block.
type loss struct {
	reason  Reason
	samples int64
}

// drop notes that a channel got nothing out of the message.
func (o *outcome) drop(reason Reason, samples int) {
	if o.reason == "" {
		o.reason = reason
	}
	if samples > 0 {
		o.lost = append(o.lost, loss{reason, int64(samples)})
	}
}

// inbox is the bounded queue between the network and emit, and keeps the counts
// under the same lock, so that they always add up.
type inbox struct {
	maxMessages int
	maxBytes    int64
	maxWait     time.Duration
	wake        chan struct{} // capacity 1: something was put
	room        chan struct{} // capacity 1: something was settled while await waited

	mu     sync.Mutex
	open   bool
	items  []item
	queued int64 // put and not yet settled, so also those taken
	waits  bool  // await is waiting
	stuck  bool  // await waited in vain, and nothing was settled since
	// promised are the sizes of messages that were read from the socket and will
	// soon be put, in this order.
	promised      []int64
	promisedBytes int64
	stats         Stats
}

func newInbox(maxMessages int, maxBytes int64, maxWait time.Duration) *inbox {
	return &inbox{
		maxMessages: maxMessages, maxBytes: maxBytes, maxWait: maxWait, wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
		stats: Stats{Dropped: map[Reason]int64{}, SamplesDropped: map[Reason]int64{}},
	}
}

// setOpen lets messages in or keeps them out, uncounted: outside of Run none
// are received. Closing forgets what waits, counted as dropped.
func (b *inbox) setOpen(open bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open = open
	if !open && b.queued > 0 {
		b.stats.Dropped[Stopped] += b.queued
		b.queued, b.stats.QueuedBytes, b.items = 0, 0, nil
	}
	b.waits = false
}

// await returns when a message of so many bytes fits, and keeps the room for it,
// when closed is, or after maxWait; then put drops it, and until something is
// settled await does not wait again.
func (b *inbox) await(bytes int, closed <-chan struct{}) {
	size := int64(bytes) + itemOverhead
	defer b.promise(size)
	if !b.mustWait(size) {
		return
	}
	timer := time.NewTimer(b.maxWait)
	defer timer.Stop()
	for b.mustWait(size) {
		select {
		case <-b.room:
		case <-closed:
			return
		case <-timer.C:
			b.mu.Lock()
			b.stuck, b.waits = true, false
			b.mu.Unlock()
		}
	}
}

func (b *inbox) promise(size int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.promised = append(b.promised, size)
	b.promisedBytes += size
}

// forgetPromises is for a new connection: what was read from the last one and
// not put was lost with it.
func (b *inbox) forgetPromises() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.promised, b.promisedBytes = b.promised[:0], 0
}

// mustWait says that size bytes do not fit now but may later, and that somebody
// waits for it.
func (b *inbox) mustWait(size int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waits = b.open && !b.stuck && size <= b.maxBytes && !b.fits(size)
	return b.waits
}

// fits says that there is room for size bytes more. b.mu is held.
func (b *inbox) fits(size int64) bool {
	return b.queued+int64(len(b.promised)) < int64(b.maxMessages) && b.stats.QueuedBytes+b.promisedBytes+size <= b.maxBytes
}

// put queues a message without ever waiting, and reports whether it fitted.
func (b *inbox) put(it item) bool {
	size := int64(len(it.payload)) + itemOverhead
	b.mu.Lock()
	if len(b.promised) > 0 { // a handful: what the client reads ahead of its handler
		b.promisedBytes -= b.promised[0]
		b.promised = append(b.promised[:0], b.promised[1:]...)
	}
	if !b.open {
		b.mu.Unlock()
		return true
	}
	b.stats.Received++
	b.stats.ReceivedBytes += int64(len(it.payload))
	if !b.fits(size) {
		b.stats.Dropped[QueueFull]++
		if it.route != nil {
			it.route.lost = true
		}
		b.mu.Unlock()
		return false
	}
	if it.route != nil && it.route.lost {
		it.route.lost, it.gap = false, true
	}
	b.items = append(b.items, it)
	b.queued++
	b.stats.QueuedBytes += size
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return true
}

// reject counts a message that never entered memory.
func (b *inbox) reject(reason Reason, bytes int64, r *route) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return
	}
	b.stats.Received++
	b.stats.ReceivedBytes += bytes
	b.stats.Dropped[reason]++
	if r != nil {
		r.lost = true
	}
}

// take swaps the waiting messages for the empty slice spare.
func (b *inbox) take(spare []item) []item {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.items
	b.items = spare[:0]
	return taken
}

// settle books a message that was taken. It runs once a message, so the common
// case touches no map.
func (b *inbox) settle(it *item, o *outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queued--
	b.stats.QueuedBytes -= int64(len(it.payload)) + itemOverhead
	b.stuck = false
	if b.waits {
		select {
		case b.room <- struct{}{}:
		default:
		}
	}
	if o.emitted {
		b.stats.Emitted++
	} else {
		b.stats.Dropped[o.reason]++
	}
	b.stats.SamplesReceived += o.samplesEmitted
	b.stats.SamplesEmitted += o.samplesEmitted
	for _, l := range o.lost {
		b.stats.SamplesReceived += l.samples
		b.stats.SamplesDropped[l.reason] += l.samples
	}
}

func (b *inbox) snapshot() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Queued = b.queued
	s.Dropped, s.SamplesDropped = maps.Clone(s.Dropped), maps.Clone(s.SamplesDropped)
	return s
}
