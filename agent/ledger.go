package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"runtime"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/durable"
	"github.com/millwright-iot/millwright/agent/internal/pipeline"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource"
)

// feed hands the blocks of one source to the machines and counts them, under a lock
// that makes the counts of source and machines one consistent picture.
type feed struct {
	name   string
	source sensors.Source
	counts func() feedCounts

	mu     sync.Mutex
	handed int64 // samples given to accept
}

// feedCounts is what a source says: received = emitted + held + dropped.
type feedCounts struct {
	received, emitted, held int64
	acknowledged            bool // its samples are acknowledged to a broker, see ledger.mark
	dropped                 map[string]int64
}

// feeds lists the sources of the agent.
func (s *sources) feeds() []*feed {
	var list []*feed
	if s.mqtt != nil {
		list = append(list, &feed{name: "MQTT source", source: s.mqtt, counts: func() feedCounts {
			st := s.mqtt.Stats()
			return feedCounts{st.SamplesReceived, st.SamplesEmitted, st.SamplesHeld, true, byReason(st.SamplesDropped)}
		}})
	}
	for _, b := range s.buses {
		list = append(list, &feed{name: string(b.kind) + " source", source: b, counts: func() feedCounts {
			st := b.Stats()
			return feedCounts{st.Received, st.Emitted, st.Queued, false, byReason(st.Dropped)}
		}})
	}
	return list
}

// run runs the source. Blocks go to accept.
func (f *feed) run(ctx context.Context, accept func(sensors.Block)) error {
	return f.source.Run(ctx, func(b sensors.Block) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		accept(b)
		f.handed += int64(len(b.Samples))
		return nil
	})
}

// ledger adds up what became of all samples, over restarts: received = used + stored +
// dropped, by reason, at every instant.
//
// It is written down ten times a second, and before an acknowledgement leaves for the broker,
// the number of samples received is: a process that is killed forgets nothing that it
// acknowledged. Samples between the two are dropped as "killed", since nobody knows how
// far they came.
type ledger struct {
	path     string
	feeds    []*feed
	machines []*pipeline.Machine
	unknown  *counter
	log      *slog.Logger

	mu     sync.Mutex
	before pipeline.Counts // of earlier runs; nothing is stored
	newest pipeline.Counts
	acked  int64 // of newest.Received, those of sources that acknowledge

	fileMu      sync.Mutex
	file        *durable.Slots // nil while there is none
	ackedBefore int64          // of earlier runs
	marked      int64          // newest mark
	failing     bool
}

// ledgerDocument is what the file holds.
type ledgerDocument struct {
	Received int64            `json:"received"`
	Used     int64            `json:"used"`
	Stored   int64            `json:"stored"`
	Dropped  map[string]int64 `json:"dropped"`
	Acked    int64            `json:"acknowledged"` // of received, those of sources that acknowledge
}

// newLedger goes on where an earlier run left off: what it had stored in memory is lost.
func newLedger(path string, log *slog.Logger) *ledger {
	l := &ledger{path: path, log: log, before: pipeline.Counts{Dropped: map[string]int64{}}}
	l.report(l.open())
	l.newest = l.before
	return l
}

// open opens the file and takes over what it holds. Only the first that succeeds of
// a run is called.
func (l *ledger) open() error {
	file, body, mark, damage, err := durable.OpenSlots(l.path)
	if err != nil {
		return err
	}
	l.file = file
	var d ledgerDocument
	if body != nil {
		if err := json.Unmarshal(body, &d); err != nil {
			damage = errors.Join(damage, err)
		}
	}
	if damage != nil {
		l.log.Error("counts of samples are damaged; what is whole is used", "error", damage)
	}
	if d.Received < 0 || d.Used < 0 || d.Stored < 0 || d.Acked < 0 {
		d = ledgerDocument{}
	}
	l.before = pipeline.Counts{Received: d.Received, Used: d.Used, Dropped: map[string]int64{}}
	maps.Copy(l.before.Dropped, d.Dropped)
	if d.Stored > 0 {
		l.before.Dropped["restart"] += d.Stored
	}
	l.ackedBefore = d.Acked
	if killed := mark - d.Acked; killed > 0 {
		l.before.Received += killed
		l.before.Dropped["killed"] += killed
		l.ackedBefore = mark
	}
	return nil
}

// ledgerEvery is how often the counts are written, and ledgerSync how often, in those, it
// is waited until they are on the disk: three pages at most, some 35 MB a day.
const (
	ledgerEvery = 100 * time.Millisecond
	ledgerSync  = 300
)

// Run writes the counts now and then, until ctx ends, and then once more.
func (l *ledger) Run(ctx context.Context) error {
	tick := time.NewTicker(ledgerEvery)
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case <-ctx.Done():
			err := l.save(false)
			l.fileMu.Lock()
			defer l.fileMu.Unlock()
			if l.file != nil {
				err = errors.Join(err, l.file.Close())
				l.file = nil
			}
			return err
		case <-tick.C:
			l.report(l.save(i%ledgerSync == 0))
		}
	}
}

// report logs the first of several failures.
func (l *ledger) report(err error) {
	if err != nil && !l.failing {
		l.log.Error("counts of samples cannot be kept; a restart forgets them", "error", err)
	}
	l.failing = err != nil
}

func (l *ledger) save(sync bool) error {
	l.fileMu.Lock()
	defer l.fileMu.Unlock()
	if l.file == nil {
		l.mu.Lock()
		err := l.open()
		l.mu.Unlock()
		if err != nil {
			return err
		}
	}
	c, acked := l.sums()
	body, err := json.Marshal(ledgerDocument{c.Received, c.Used, c.Stored, c.Dropped, l.ackedBefore + acked})
	if err != nil {
		return err
	}
	if err := l.file.Write(body); err != nil || !sync {
		return err
	}
	return l.file.Sync()
}

// mark notes how many samples of sources that acknowledge were received in this run,
// before they are acknowledged.
func (l *ledger) mark(received int64) {
	l.fileMu.Lock()
	defer l.fileMu.Unlock()
	if l.file == nil || l.ackedBefore+received == l.marked {
		return
	}
	if l.file.Mark(l.ackedBefore+received) == nil {
		l.marked = l.ackedBefore + received
	}
}

// counts returns the sums. While a message is being handed over they cannot be taken;
// then it tries again, for some milliseconds at most, after which the newest sums that
// could be taken serve once more.
func (l *ledger) counts() pipeline.Counts {
	c, _ := l.sums()
	return c
}

func (l *ledger) sums() (c pipeline.Counts, acked int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for try := range 1000 {
		if c, acked, ok := l.try(); ok {
			l.newest, l.acked = c, acked
			break
		}
		if try < 100 {
			runtime.Gosched()
		} else {
			time.Sleep(10 * time.Microsecond)
		}
	}
	c = l.newest
	c.Dropped = maps.Clone(c.Dropped)
	return c, l.acked
}

// try holds every feed still and adds up, unless one has handed on what its source has
// not booked yet.
func (l *ledger) try() (c pipeline.Counts, acked int64, ok bool) {
	for _, f := range l.feeds {
		f.mu.Lock()
		defer f.mu.Unlock()
	}
	c = l.before
	c.Dropped = maps.Clone(c.Dropped)
	for _, f := range l.feeds {
		fc := f.counts()
		if fc.emitted != f.handed {
			return c, 0, false
		}
		c.Received += fc.received
		c.Stored += fc.held
		if fc.acknowledged {
			acked += fc.received
		}
		for reason, n := range fc.dropped {
			c.Dropped[reason] += n
		}
	}
	if n := l.unknown.Load(); n > 0 {
		c.Dropped["unknown_machine"] += n
	}
	for _, m := range l.machines {
		mc := m.Status().Counts
		c.Used += mc.Used
		c.Stored += mc.Stored
		for reason, n := range mc.Dropped {
			c.Dropped[reason] += n
		}
	}
	return c, acked, true
}

// counts adds up what became of all samples.
func (a *Agent) counts() pipeline.Counts { return a.ledger.counts() }

// messages returns what became of messages, all zero without a broker.
func (a *Agent) messages() mqttsource.Stats {
	if a.sources.mqtt == nil {
		return mqttsource.Stats{}
	}
	return a.sources.mqtt.Stats()
}
