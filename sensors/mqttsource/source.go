package mqttsource

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	filters  []string
	routes   *router
	devices  *registry
	inbox    *inbox
	complain *complaints
	log      *slog.Logger

	running    sync.Mutex // held by Run
	subscribed bool       // the broker has our subscriptions, if it kept the session
	dialled    uint64     // connections so far
	readings   []decode.Reading
	outcome    outcome
	known      *redeliveries        // nil without a persistent session
	unwanted   chan string          // topics to unsubscribe from
	left       map[string]bool      // that were, at most maxRoutes
	nodes      map[string]*edgeNode // Sparkplug sessions by group/node
	held       int                  // samples of unfinished bursts
}

var _ sensors.Source = (*Source)(nil)

// New makes a Source for the channels at a broker (see [ParseBroker]). The
// error joins every problem found, conflicts between channels too. Nothing is
// connected before Run.
func New(broker string, channels []Channel, opts Options, log *slog.Logger) (*Source, error) {
	u, err := ParseBroker(broker)
	patterns, cerr := checkChannels(channels)
	if err := errors.Join(err, cerr, opts.validate()); err != nil {
		return nil, fmt.Errorf("configure MQTT source: %w", err)
	}
	opts = opts.withDefaults()
	channels = slices.Clone(channels)
	s := &Source{
		broker: u, opts: opts, log: log,
		filters:  subscriptions(channels, patterns),
		devices:  newRegistry(),
		inbox:    newInbox(opts.MaxQueuedMessages, opts.MaxQueuedBytes, opts.MaxWait),
		complain: newComplaints(log),
		nodes:    map[string]*edgeNode{},
		unwanted: make(chan string, 64), left: map[string]bool{},
	}
	s.routes = newRouter(channels, patterns, s.devices, opts.MaxDiscovered)
	if opts.PersistentSession {
		s.known = newRedeliveries()
	}
	return s, nil
}

// Stats returns a consistent snapshot of the counts. It may be called at any time.
func (s *Source) Stats() Stats { return s.inbox.snapshot() }

// Captured returns which of the channels given to New captured a channel of a machine
// from a topic; false for one that no topic captured.
func (s *Source) Captured(machine, channel string) (index int, ok bool) {
	s.routes.mu.Lock()
	defer s.routes.mu.Unlock()
	f := s.routes.feeds[machine+"/"+channel]
	if f == nil || s.routes.channels[f.config].Machine != "" {
		return 0, false
	}
	return f.config, true
}

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
		s.stopBursts()
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
func (s *Source) arrived(c *conn, m mqtt.Message) {
	it := item{
		route: s.routes.find(m.Topic()), topic: m.Topic(), payload: m.Payload(), arrived: time.Now(),
		retained: m.Retained(), duplicate: m.Duplicate(), conn: c,
	}
	if m.Qos() > 0 {
		it.id = m.MessageID()
	}
	if !s.inbox.put(it) {
		s.complain.dropped(QueueFull, it.topic, nil, errQueueFull)
		s.acknowledge(&it)
	}
}

// acknowledge tells the broker that a message is done with.
func (s *Source) acknowledge(it *item) {
	if it.id != 0 {
		it.conn.ack(it.id)
	}
}

var (
	errQueueFull = errors.New("messages arrive faster than they are processed; raise the queue's bounds or send less")
	errNoChannel = errors.New("no channel has this topic; add one. The broker is told that it is not wanted; if an earlier configuration subscribed with a wildcard, change the client id")
	errTwice     = errors.New("the broker sent again what was emitted: the acknowledgement was lost with the connection")
)

// skipped books a payload that was too large to be read.
func (s *Source) skipped(topic string, bytes int) {
	s.inbox.reject(TooLarge, int64(bytes), s.routes.find(topic))
	s.complain.dropped(TooLarge, topic, nil,
		fmt.Errorf("payload of %d bytes is over the limit of %d; send smaller bursts or raise the limit", bytes, s.opts.MaxPayloadBytes))
}

// process emits what one message holds, books the outcome and acknowledges the
// message, unless emit failed: then nobody has it, and the broker keeps it.
func (s *Source) process(it *item, emit func(sensors.Block) error) error {
	s.outcome = outcome{lost: s.outcome.lost[:0]}
	o, err := &s.outcome, error(nil)
	switch {
	case s.known != nil && it.duplicate && s.known.again(it):
		o.drop(Duplicate, 0)
		s.complain.dropped(Duplicate, it.topic, nil, errTwice)
	case it.route != nil && it.route.says != nil:
		s.heard(it)
	case sparkplugEdge(it.topic) != "" && it.conn != nil:
		err = s.sparkplugMessage(it, emit)
	case it.route == nil:
		o.drop(NoChannel, 0)
		s.complain.dropped(NoChannel, it.topic, nil, errNoChannel)
		s.leave(it.topic)
	case it.route.decoder == nil:
		o.drop(it.route.reason, 0)
		s.complain.dropped(it.route.reason, it.topic, nil, it.route.refused)
	default:
		err = s.decode(it, emit)
	}
	s.inbox.settle(it, o)
	if err != nil {
		return err
	}
	if s.known != nil && it.id != 0 {
		s.known.acknowledged(it)
	}
	s.acknowledge(it)
	return nil
}

// leave has a topic unsubscribed from that an earlier life subscribed to: the broker would
// send it for as long as it keeps the session. It never waits; what is full now is
// asked again with the next message.
func (s *Source) leave(topic string) {
	if s.known == nil || s.left[topic] || len(s.left) >= maxRoutes || slices.Contains(s.filters, topic) {
		return
	}
	select {
	case s.unwanted <- topic:
		s.left[topic] = true
	default:
	}
}

// heard takes what an availability topic says.
func (s *Source) heard(it *item) {
	is, ok := there(string(it.payload[:min(len(it.payload), 4096)]))
	if !ok {
		s.outcome.drop(Malformed, 0)
		s.complain.dropped(Malformed, it.topic, nil,
			errors.New("payload says neither that the device is online nor that it is offline; check the availability topic"))
		return
	}
	s.outcome.noted = true
	devices, allThere := s.devices.says(it.route.says, is)
	for i, d := range devices {
		if !is {
			s.stale(it, d)
		} else if allThere[i] && s.devices.set(d, Live, it.arrived) {
			s.changed(d)
		}
	}
}

// stale makes a device stale: what its channels showed last counts no more.
func (s *Source) stale(it *item, d *device) {
	for _, f := range d.feeds {
		f.gap = true
		s.forgetBursts(it, f)
	}
	if s.devices.set(d, Stale, it.arrived) {
		s.changed(d)
	}
}

// changed tells of a device's new state.
func (s *Source) changed(d *device) {
	st := s.devices.stats(d)
	if quiet, due := s.complain.due("device " + string(st.State)); due {
		s.log.Info("device changed its state", "device", st.Name, "state", string(st.State), "machines", st.Machines, "more_since_last_line", quiet)
	}
	if s.opts.OnDevice != nil {
		s.opts.OnDevice(st)
	}
}
