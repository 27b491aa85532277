package agent

import (
	"context"
	"encoding/json"
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
	dropped                 map[string]int64
}

// feeds lists the sources of the agent.
func (s *sources) feeds() []*feed {
	var list []*feed
	if s.mqtt != nil {
		list = append(list, &feed{name: "MQTT source", source: s.mqtt, counts: func() feedCounts {
			st := s.mqtt.Stats()
			return feedCounts{st.SamplesReceived, st.SamplesEmitted, st.SamplesHeld, byReason(st.SamplesDropped)}
		}})
	}
	for _, b := range s.buses {
		list = append(list, &feed{name: string(b.kind) + " source", source: b, counts: func() feedCounts {
			st := b.Stats()
			return feedCounts{st.Received, st.Emitted, st.Queued, byReason(st.Dropped)}
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
type ledger struct {
	path     string
	feeds    []*feed
	machines []*pipeline.Machine
	unknown  *counter
	log      *slog.Logger

	mu     sync.Mutex
	before pipeline.Counts // of earlier runs; nothing is stored
	newest pipeline.Counts
}

// ledgerDocument is the file.
type ledgerDocument struct {
	Received int64            `json:"received"`
	Used     int64            `json:"used"`
	Stored   int64            `json:"stored"`
	Dropped  map[string]int64 `json:"dropped"`
}

// newLedger goes on where an earlier run left off: what it had stored in memory is lost.
func newLedger(path string, feeds []*feed, machines []*pipeline.Machine, unknown *counter, log *slog.Logger) *ledger {
	l := &ledger{path: path, feeds: feeds, machines: machines, unknown: unknown, log: log, before: pipeline.Counts{Dropped: map[string]int64{}}}
	durable.ReadChecked(path, log, func(body []byte) error {
		var d ledgerDocument
		if err := json.Unmarshal(body, &d); err != nil {
			return err
		}
		l.before = pipeline.Counts{Received: d.Received, Used: d.Used, Dropped: map[string]int64{}}
		maps.Copy(l.before.Dropped, d.Dropped)
		if d.Stored > 0 {
			l.before.Dropped["restart"] += d.Stored
		}
		return nil
	})
	l.newest = l.before
	return l
}

// ledgerEvery is how often the counts are written: some 30 MB a day at most.
const ledgerEvery = 30 * time.Second

// Run writes the counts now and then, until ctx ends, and then once more.
func (l *ledger) Run(ctx context.Context) error {
	tick := time.NewTicker(ledgerEvery)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return l.save()
		case <-tick.C:
		}
		err := l.save()
		if err != nil && !failed {
			l.log.Error("counts of samples cannot be kept; a restart forgets them", "error", err)
		}
		failed = err != nil
	}
}

func (l *ledger) save() error {
	c := l.counts()
	body, err := json.Marshal(ledgerDocument(c))
	if err != nil {
		return err
	}
	return durable.WriteChecked(l.path, body)
}

// counts returns the sums. While a message is being handed over they cannot be taken;
// then it tries again, for some milliseconds at most, after which the newest sums that
// could be taken serve once more.
func (l *ledger) counts() pipeline.Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	for try := range 1000 {
		if c, ok := l.try(); ok {
			l.newest = c
			break
		}
		if try < 100 {
			runtime.Gosched()
		} else {
			time.Sleep(10 * time.Microsecond)
		}
	}
	c := l.newest
	c.Dropped = maps.Clone(c.Dropped)
	return c
}

// try holds every feed still and adds up, unless one has handed on what its source has
// not booked yet.
func (l *ledger) try() (c pipeline.Counts, ok bool) {
	for _, f := range l.feeds {
		f.mu.Lock()
		defer f.mu.Unlock()
	}
	c = l.before
	c.Dropped = maps.Clone(c.Dropped)
	for _, f := range l.feeds {
		fc := f.counts()
		if fc.emitted != f.handed {
			return c, false
		}
		c.Received += fc.received
		c.Stored += fc.held
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
	return c, true
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
