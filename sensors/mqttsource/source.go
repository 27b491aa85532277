package mqttsource

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// Source emits the blocks of its channels. It implements [sensors.Source].
type Source struct {
	broker   *url.URL
	opts     Options
	channels []Channel
	filters  []string
	routes   *router
	inbox    *inbox
	complain *complaints
	log      *slog.Logger

	running    sync.Mutex  // held by Run
	subscribed bool        // the broker has our subscriptions, if it kept the session
	newest     []time.Time // start of each channel's newest block
	gaps       []bool      // samples of the channel were refused since its newest block
	readings   []decode.Reading
	outcome    outcome
}

var _ sensors.Source = (*Source)(nil)

// New makes a Source for the channels at a broker (see [ParseBroker]). The
// error joins every problem found. Nothing is connected before Run.
func New(broker string, channels []Channel, opts Options, log *slog.Logger) (*Source, error) {
	u, err := ParseBroker(broker)
	if err := errors.Join(err, checkChannels(channels), opts.validate()); err != nil {
		return nil, fmt.Errorf("configure MQTT source: %w", err)
	}
	opts = opts.withDefaults()
	channels = slices.Clone(channels)
	return &Source{
		broker: u, opts: opts, channels: channels, log: log,
		filters: subscriptions(channels), routes: newRouter(channels),
		inbox:    newInbox(opts.MaxQueuedMessages, opts.MaxQueuedBytes, opts.MaxWait),
		complain: newComplaints(log),
		newest:   make([]time.Time, len(channels)), gaps: make([]bool, len(channels)),
	}, nil
}

// Stats returns a consistent snapshot of the counts. It may be called at any time.
func (s *Source) Stats() Stats { return s.inbox.snapshot() }

func (s *Source) setConnected(up bool) {
	s.inbox.mu.Lock()
	defer s.inbox.mu.Unlock()
	s.inbox.stats.Connected = up
	if up {
		s.inbox.stats.Connections++
	}
}

// Run implements [sensors.Source]: it holds the connection and emits until ctx
// ends, which is no error, or emit returns one. It must not run twice at once.
func (s *Source) Run(ctx context.Context, emit func(sensors.Block) error) error {
	if !s.running.TryLock() {
		return errors.New("run MQTT source: already running")
	}
	defer s.running.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	s.inbox.setOpen(true)
	var network sync.WaitGroup
	network.Go(func() { s.stayConnected(ctx) })
	defer func() {
		cancel()
		network.Wait()
		s.inbox.setOpen(false)
	}()

	var batch []item
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.inbox.wake:
		}
		batch = s.inbox.take(batch)
		for i := range batch {
			err := s.process(&batch[i], emit)
			batch[i] = item{} // let the payload go before the batch ends
			if err != nil {
				return err
			}
			if ctx.Err() != nil {
				return nil
			}
		}
	}
}

// arrived is the client's handler: it must not wait, or the keep-alive stops.
func (s *Source) arrived(_ mqtt.Client, m mqtt.Message) {
	it := item{
		route: s.routes.find(m.Topic()), topic: m.Topic(), payload: m.Payload(), arrived: time.Now(),
		retained: m.Retained(), duplicate: m.Duplicate(),
	}
	if !s.inbox.put(it) {
		s.complain.dropped(QueueFull, it.topic, nil, errQueueFull)
	}
}

var (
	errQueueFull = errors.New("messages arrive faster than they are processed; raise the queue's bounds or send less")
	errNoChannel = errors.New("no channel has this topic; add one, or change the client id to leave the old session behind")
)

// skipped books a payload that was too large to be read.
func (s *Source) skipped(topic string, bytes int) {
	s.inbox.reject(TooLarge, int64(bytes), s.routes.find(topic))
	s.complain.dropped(TooLarge, topic, nil,
		fmt.Errorf("payload of %d bytes is over the limit of %d; send smaller bursts or raise the limit", bytes, s.opts.MaxPayloadBytes))
}

// process decodes one message, emits its blocks and books the outcome.
func (s *Source) process(it *item, emit func(sensors.Block) error) error {
	o := &s.outcome
	*o = outcome{lost: o.lost[:0]}
	var err error
	if it.route == nil {
		o.drop(NoChannel, 0)
		s.complain.dropped(NoChannel, it.topic, nil, errNoChannel)
	} else {
		s.readings = it.route.decoder.Decode(s.readings[:0], it.payload)
		for i := range s.readings {
			if err = s.deliver(it, it.route.channels[i], &s.readings[i], emit); err != nil {
				break
			}
		}
		if !o.emitted && o.reason == Absent {
			s.complain.dropped(Absent, it.topic, &s.channels[it.route.channels[0]], s.readings[0].Err)
		}
		clear(s.readings)
	}
	s.inbox.settle(it, o)
	return err
}

// deliver emits what a message says about channel ci.
func (s *Source) deliver(it *item, ci int, r *decode.Reading, emit func(sensors.Block) error) error {
	c := &s.channels[ci]
	if it.gap {
		s.gaps[ci] = true
	}
	if r.Err != nil {
		reason := Malformed
		var de *decode.Error
		if errors.As(r.Err, &de) {
			reason = Reason(de.Reason)
		}
		s.refuse(it, ci, reason, r.Lost, r.Err)
		return nil
	}
	for i, x := range r.Samples {
		x = c.Unit.Base(x)
		if math.IsInf(x, 0) {
			s.refuse(it, ci, NotFinite, len(r.Samples), errors.New("value is beyond a double in the base unit; check unit and scale"))
			return nil
		}
		r.Samples[i] = x
	}
	b := sensors.Block{
		Machine: c.Machine, Channel: c.Channel, RateHz: r.RateHz, Samples: r.Samples, Quality: r.Quality,
	}
	if it.retained {
		b.Quality |= sensors.QualityRetained
	}
	if !s.setStart(&b, it, ci, r) {
		s.refuse(it, ci, Late, len(r.Samples), errors.New("older than what the channel already emitted, as after a redelivery; check the sender's clock if this goes on"))
		return nil
	}
	if s.gaps[ci] {
		b.Quality |= sensors.QualityGap
		s.gaps[ci] = false
	}
	if err := emit(b); err != nil {
		s.outcome.drop(Stopped, len(r.Samples))
		return err
	}
	s.outcome.emitted = true
	s.outcome.samplesEmitted += int64(len(r.Samples))
	return nil
}

// refuse books samples of a channel that are not emitted.
func (s *Source) refuse(it *item, ci int, reason Reason, samples int, err error) {
	s.outcome.drop(reason, samples)
	if reason == Absent {
		return // a partial update is no fault; process complains of a message with nothing at all
	}
	s.gaps[ci] = s.gaps[ci] || reason != Late
	s.complain.dropped(reason, it.topic, &s.channels[ci], err)
}

// setStart decides the time of b's first sample. It returns false for a block
// that comes too late to be in order.
func (s *Source) setStart(b *sensors.Block, it *item, ci int, r *decode.Reading) bool {
	c, newest := &s.channels[ci], s.newest[ci]
	b.Start = r.Time
	switch {
	case r.TimeErr != nil:
		b.Start = time.Time{}
		s.complain.badTime("unreadable", it.topic, c, r.TimeErr)
	case r.Time.IsZero():
	case r.Time.Before(s.opts.Oldest) || r.Time.Sub(it.arrived) > s.opts.MaxFuture:
		b.Start = time.Time{}
		b.Quality |= sensors.QualityRebased
		s.complain.badTime("unbelievable", it.topic, c,
			fmt.Errorf("payload says %s, the local clock %s; set the clock that is wrong", r.Time.Format(time.RFC3339), it.arrived.Format(time.RFC3339)))
	}
	if b.Start.IsZero() {
		// The last sample is as old as the message, the first one older by the
		// burst's length. Two bursts that arrive together must stay in order.
		if b.Quality&sensors.QualityRebased == 0 {
			b.Quality |= sensors.QualityArrivalTime
		}
		b.Start = it.arrived.Add(-b.Duration())
		if back := newest.Sub(b.Start); back > 0 && back <= s.opts.MaxBackstep {
			b.Start = newest
		}
	}
	switch back := newest.Sub(b.Start); {
	case newest.IsZero() || back < 0 || back == 0 && !it.duplicate:
	case back <= s.opts.MaxBackstep && b.Quality&(sensors.QualityArrivalTime|sensors.QualityRebased) == 0:
		return false
	case back > s.opts.MaxBackstep:
		b.Quality |= sensors.QualityGap
	}
	s.newest[ci] = b.Start
	return true
}
