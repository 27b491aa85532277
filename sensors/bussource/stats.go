package bussource

import (
	"maps"
	"slices"
	"sync"

	"github.com/millwright-iot/millwright/sensors"
)

// Reason is why samples did not become blocks. It is also the value of the label
// "reason" where these counts become metrics.
type Reason string

// The reasons to drop.
const (
	QueueFull       Reason = "queue_full"       // read faster than emitted
	Fault           Reason = "fault"            // the chip, or the loop behind it, reports a failure
	NotFinite       Reason = "not_finite"       // beyond a double
	RateImplausible Reason = "rate_implausible" // measured rate more than 10 % off the nominal one
	Unsettled       Reason = "unsettled"        // the device failed before its rate was measured
	Stopped         Reason = "stopped"          // not yet emitted when Run ended
)

// Stats counts since New, in samples. At every instant
//
//	Received = Emitted + Σ Dropped + Queued.
//
// What a chip lost in its own FIFO it does not count: see Overruns.
type Stats struct {
	Received int64
	Emitted  int64
	Queued   int64 // on the way to a block, or in one that waits
	Dropped  map[Reason]int64
	Devices  []DeviceStats // in the order given to New
}

// DeviceStats is how one device does.
type DeviceStats struct {
	Name       string
	Bus        string
	Up         bool   // started, and no failure since
	LastError  string // why it last was not up; empty if never
	NominalHz  float64
	MeasuredHz float64 // 0 until known, and for devices without a stream
	Starts     int64   // times it was started with success
	Errors     int64   // failures to open, start or read
	Timeouts   int64   // calls given up; counted as errors too
	Overruns   int64   // times samples were lost in its FIFO
	Faults     int64   // values it had none of, by its own report
}

// queued is a block that waits for the receiver.
type queued struct{ block sensors.Block }

// ledger is the bounded queue between the buses and emit, and keeps the counts
// under the same lock, so that they always add up.
type ledger struct {
	maxSamples int
	wake       chan struct{} // capacity 1: something was queued

	mu      sync.Mutex
	items   []queued
	waiting int // samples in items
	stats   Stats
}

func newLedger(maxSamples, devices int) *ledger {
	return &ledger{
		maxSamples: maxSamples, wake: make(chan struct{}, 1),
		stats: Stats{Dropped: map[Reason]int64{}, Devices: make([]DeviceStats, devices)},
	}
}

// receive counts samples that were read and are kept for a block.
func (l *ledger) receive(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Received += int64(n)
	l.stats.Queued += int64(n)
}

// drop counts received samples that will not be emitted.
func (l *ledger) drop(why Reason, n int) {
	if n == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Queued -= int64(n)
	l.stats.Dropped[why] += int64(n)
}

// put queues a block of received samples, or drops it and returns false.
func (l *ledger) put(b sensors.Block) bool {
	n := len(b.Samples)
	l.mu.Lock()
	if l.waiting+n > l.maxSamples {
		l.stats.Queued -= int64(n)
		l.stats.Dropped[QueueFull] += int64(n)
		l.mu.Unlock()
		return false
	}
	l.items = append(l.items, queued{b})
	l.waiting += n
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return true
}

// take swaps the waiting blocks for the empty slice spare.
func (l *ledger) take(spare []queued) []queued {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.items
	l.items = spare[:0]
	return taken
}

// settle books a block that was taken.
func (l *ledger) settle(n int, emitted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting -= n
	l.stats.Queued -= int64(n)
	if emitted {
		l.stats.Emitted += int64(n)
	} else {
		l.stats.Dropped[Stopped] += int64(n)
	}
}

// close drops what waits; nothing is put any more.
func (l *ledger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range l.items {
		l.stats.Queued -= int64(len(q.block.Samples))
		l.stats.Dropped[Stopped] += int64(len(q.block.Samples))
		l.waiting -= len(q.block.Samples)
	}
	l.items = nil
}

// device changes the counts of device i.
func (l *ledger) device(i int, change func(*DeviceStats)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.stats.Devices[i])
}

func (l *ledger) snapshot() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Dropped, s.Devices = maps.Clone(s.Dropped), slices.Clone(s.Devices)
	return s
}
