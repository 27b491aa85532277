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
	conn      *conn
	id        uint16 // packet identifier; 0 at QoS 0, which is not acknowledged
}

// outcome is what became of a message.
type outcome struct {
	emitted        bool
	noted          bool
	timed          bool          // a payload time was read
	delay          time.Duration // of the arrival, after that time
	held           int64         // samples more that wait for the rest of a burst
	reason         Reason        // of the first channel that got nothing
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
	stats  Stats
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

// await returns when the queue has room, when closed is, or after maxWait; then
// put drops, and until something is settled await does not wait again. The client
// reads a few messages ahead of its handler, so the bounds may be exceeded by these.
func (b *inbox) await(closed <-chan struct{}) {
	if !b.mustWait() {
		return
	}
	timer := time.NewTimer(b.maxWait)
	defer timer.Stop()
	for b.mustWait() {
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

// mustWait says that the queue is full but may have room later, and that somebody
// waits for it.
func (b *inbox) mustWait() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waits = b.open && !b.stuck && b.full()
	return b.waits
}

// full says that nothing should be added. b.mu is held.
func (b *inbox) full() bool {
	return b.queued >= int64(b.maxMessages) || b.stats.QueuedBytes >= b.maxBytes
}

// put queues a message without ever waiting, and reports whether it fitted.
func (b *inbox) put(it item) bool {
	size := int64(len(it.payload)) + itemOverhead
	b.mu.Lock()
	if !b.open {
		b.mu.Unlock()
		return true
	}
	b.stats.Received++
	b.stats.ReceivedBytes += int64(len(it.payload))
	if b.stuck && b.full() {
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
	switch {
	case o.emitted:
		b.stats.Emitted++
	case o.noted:
		b.stats.Noted++
	default:
		b.stats.Dropped[o.reason]++
	}
	b.stats.SamplesHeld += o.held
	b.stats.SamplesReceived += o.samplesEmitted + o.held
	b.stats.SamplesEmitted += o.samplesEmitted
	for _, l := range o.lost {
		b.stats.SamplesReceived += l.samples
		b.stats.SamplesDropped[l.reason] += l.samples
	}
}

// stopHeld books samples of bursts that are unfinished when Run ends.
func (b *inbox) stopHeld(samples int64) {
	if samples == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stats.SamplesHeld -= samples
	b.stats.SamplesDropped[Stopped] += samples
}

func (b *inbox) samplesReceived() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats.SamplesReceived
}

func (b *inbox) snapshot() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Queued = b.queued
	s.Dropped, s.SamplesDropped = maps.Clone(s.Dropped), maps.Clone(s.SamplesDropped)
	return s
}
