// Package publish sends scores and alarms to an MQTT broker as JSON. The README of
// agent documents the topics and the documents.
//
// Scores go at QoS 0 and are dropped while there is no connection. Alarms go at QoS
// 1, retained, in order, and stay queued until the broker has acknowledged them on
// one and the same connection.
package publish

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/journal"
)

// Bounds of the queues; the oldest message goes first.
const (
	maxScores = 1024
	maxAlarms = 1000
)

// Options says which broker and how.
type Options struct {
	Broker             *url.URL // as mqttsource.ParseBroker reads it
	ClientID           string
	Username, Password string
	TLS                *tls.Config
	Gateway            string
	// MinWait and MaxWait bound the pause between attempts. Default 1 s and 30 s.
	MinWait, MaxWait time.Duration
}

// Score is one window's result. It holds no pointers into a Detector.
type Score struct {
	Machine, Class, Job string
	Output              infer.Output // Reasons unused
	Reasons             [infer.MaxReasons]infer.Reason
	ReasonCount         int
}

// Stats counts messages since New. Each given message is in exactly one of
// Delivered, Queued and Dropped.
type Stats struct {
	Connected                      bool
	Connections                    int64
	ScoresDelivered, ScoresDropped int64 // delivered: handed to the connection
	AlarmsDelivered, AlarmsDropped int64 // delivered: acknowledged
	ScoresQueued, AlarmsQueued     int
}

// Publisher sends what it is given. Score and Alarm never wait.
type Publisher struct {
	opts Options
	log  *slog.Logger
	wake chan struct{} // capacity 1: something is queued

	mu     sync.Mutex
	scores []Score // ring
	first  int
	count  int
	alarms []journal.Episode
	stats  Stats
}

// New returns a Publisher; nothing is connected before Run.
func New(opts Options, log *slog.Logger) *Publisher {
	if opts.MinWait == 0 {
		opts.MinWait = time.Second
	}
	if opts.MaxWait == 0 {
		opts.MaxWait = max(30*time.Second, opts.MinWait)
	}
	return &Publisher{opts: opts, log: log, wake: make(chan struct{}, 1), scores: make([]Score, maxScores)}
}

// Score queues a score. It allocates nothing.
func (p *Publisher) Score(machine, class, job string, out *infer.Output) {
	p.mu.Lock()
	if !p.stats.Connected {
		p.stats.ScoresDropped++
		p.mu.Unlock()
		return
	}
	if p.count == maxScores {
		p.first, p.count = (p.first+1)%maxScores, p.count-1
		p.stats.ScoresDropped++
	}
	s := &p.scores[(p.first+p.count)%maxScores]
	p.count++
	s.Machine, s.Class, s.Job, s.Output = machine, class, job, *out
	s.ReasonCount = copy(s.Reasons[:], out.Reasons)
	s.Output.Reasons = nil
	p.mu.Unlock()
	p.signal()
}

// Alarm queues an event of an episode.
func (p *Publisher) Alarm(e journal.Episode) {
	p.mu.Lock()
	if len(p.alarms) == maxAlarms {
		p.alarms = p.alarms[1:]
		p.stats.AlarmsDropped++
	}
	p.alarms = append(p.alarms, e)
	p.mu.Unlock()
	p.signal()
}

func (p *Publisher) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Stats returns the counts.
func (p *Publisher) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.ScoresQueued, s.AlarmsQueued = p.count, len(p.alarms)
	return s
}

// Run holds a connection and sends until ctx ends; then it returns nil.
func (p *Publisher) Run(ctx context.Context) error {
	wait := p.opts.MinWait
	var told time.Time
	for ctx.Err() == nil {
		began := time.Now()
		err := p.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > p.opts.MaxWait {
			wait = p.opts.MinWait
		}
		if time.Since(told) > time.Minute {
			told = time.Now()
			p.log.Error("results cannot be published; alarms stay queued", "broker", p.opts.Broker.Redacted(), "error", err, "retry", wait)
		}
		pause := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			pause.Stop()
		case <-pause.C:
		}
		wait = min(2*wait, p.opts.MaxWait)
	}
	return nil
}

const patience = 10 * time.Second // for one connection attempt, one acknowledgement

var errSilent = fmt.Errorf("broker did not acknowledge an alarm within %v", patience)

// session connects once and sends until the connection ends.
func (p *Publisher) session(ctx context.Context) error {
	lost := make(chan error, 1)
	// The client does not watch ctx during its handshake; a deadline ends it.
	unwatch := func() bool { return true }
	dial := func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		c, err := p.dial(ctx)
		if err == nil {
			unwatch = context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Now()) })
		}
		return c, err
	}
	client := mqtt.NewClient(p.clientOptions(dial, lost))
	token := client.Connect()
	<-token.Done() // bounded by the connect timeout and by ctx
	unwatch()
	if err := token.Error(); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	p.connected(true)
	defer func() {
		p.connected(false)
		client.Disconnect(250)
	}()
	for {
		if err := p.sendAlarms(ctx, client, lost); err != nil {
			return err
		}
		p.sendScores(client)
		select {
		case <-ctx.Done():
			return nil
		case err := <-lost:
			return fmt.Errorf("connection lost: %w", err)
		case <-p.wake:
		}
	}
}

func (p *Publisher) clientOptions(dial mqtt.OpenConnectionFunc, lost chan error) *mqtt.ClientOptions {
	o := mqtt.NewClientOptions().AddBroker(p.opts.Broker.String())
	o.SetClientID(p.opts.ClientID).SetUsername(p.opts.Username).SetPassword(p.opts.Password)
	o.SetCleanSession(true).SetProtocolVersion(4)
	o.SetKeepAlive(30 * time.Second).SetPingTimeout(patience)
	o.SetConnectTimeout(patience).SetWriteTimeout(patience)
	// The client's own reconnecting completes tokens that were never answered, and
	// cannot be cancelled.
	o.SetAutoReconnect(false).SetConnectRetry(false)
	o.SetStore(noStore{})
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) {
		select {
		case lost <- err:
		default:
		}
	})
	o.SetCustomOpenConnectionFn(dial)
	return o
}

func (p *Publisher) dial(ctx context.Context) (net.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d := &net.Dialer{KeepAlive: 15 * time.Second}
	if p.opts.Broker.Scheme == "ssl" {
		return (&tls.Dialer{NetDialer: d, Config: p.opts.TLS}).DialContext(limited, "tcp", p.opts.Broker.Host)
	}
	return d.DialContext(limited, "tcp", p.opts.Broker.Host)
}

func (p *Publisher) connected(up bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Connected = up
	if up {
		p.stats.Connections++
		return
	}
	p.stats.ScoresDropped += int64(p.count)
	p.first, p.count = 0, 0
}

// sendAlarms sends the queued alarms one by one. One leaves the queue only when its
// acknowledgement came on this connection.
func (p *Publisher) sendAlarms(ctx context.Context, client mqtt.Client, lost chan error) error {
	for {
		p.mu.Lock()
		if len(p.alarms) == 0 {
			p.mu.Unlock()
			return nil
		}
		e := p.alarms[0]
		p.mu.Unlock()
		body, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encode alarm: %w", err)
		}
		token := client.Publish(p.topic(e.Machine, "alarm"), 1, true, body)
		timer := time.NewTimer(patience)
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case lostErr := <-lost:
			err = fmt.Errorf("connection lost: %w", lostErr)
		case <-timer.C:
			err = errSilent
		case <-token.Done():
			if err = token.Error(); err == nil && !client.IsConnectionOpen() {
				err = errors.New("connection lost before the acknowledgement")
			}
		}
		timer.Stop()
		if err != nil {
			return err
		}
		p.mu.Lock()
		// A full queue may have dropped it meanwhile.
		if len(p.alarms) > 0 && p.alarms[0].ID == e.ID && p.alarms[0].Revision == e.Revision {
			p.alarms = p.alarms[1:]
			p.stats.AlarmsDelivered++
		}
		p.mu.Unlock()
	}
}

func (p *Publisher) sendScores(client mqtt.Client) {
	for {
		p.mu.Lock()
		if p.count == 0 {
			p.mu.Unlock()
			return
		}
		s := p.scores[p.first]
		p.first, p.count = (p.first+1)%maxScores, p.count-1
		p.stats.ScoresDelivered++
		p.mu.Unlock()
		if body, err := json.Marshal(p.document(&s)); err == nil {
			client.Publish(p.topic(s.Machine, "score"), 0, false, body)
		}
	}
}

func (p *Publisher) topic(machine, kind string) string {
	return "millwright/" + p.opts.Gateway + "/" + machine + "/" + kind
}

// scoreDocument is the JSON of a score.
type scoreDocument struct {
	Gateway      string           `json:"gateway"`
	Machine      string           `json:"machine"`
	Class        string           `json:"class"`
	At           time.Time        `json:"at"` // end of the window
	State        infer.State      `json:"state"`
	Baseline     *progress        `json:"baseline,omitempty"` // while state is baseline
	Score        *float64         `json:"score,omitempty"`    // while running; 1 is the alarm threshold
	Zone         alarm.Zone       `json:"zone,omitempty"`
	Alarm        bool             `json:"alarm"`
	Reasons      []journal.Reason `json:"reasons,omitempty"`
	Job          string           `json:"job"`
	ModelVersion uint64           `json:"model_version"`
}

type progress struct {
	Have int `json:"have"`
	Want int `json:"want"`
}

func (p *Publisher) document(s *Score) scoreDocument {
	d := scoreDocument{
		Gateway: p.opts.Gateway, Machine: s.Machine, Class: s.Class, At: s.Output.At.UTC(), State: s.Output.State,
		Alarm: s.Output.Active, Job: s.Job, ModelVersion: s.Output.Version,
	}
	if s.Output.State == infer.Baseline {
		d.Baseline = &progress{s.Output.Have, s.Output.Want}
		return d
	}
	d.Score, d.Zone = &s.Output.Score, s.Output.Zone
	for _, r := range s.Reasons[:s.ReasonCount] {
		d.Reasons = append(d.Reasons, journal.Reason(r))
	}
	return d
}

// noStore keeps nothing: the queue is ours.
type noStore struct{}

func (noStore) Open()                             {}
func (noStore) Put(string, packets.ControlPacket) {}
func (noStore) Get(string) packets.ControlPacket  { return nil }
func (noStore) All() []string                     { return nil }
func (noStore) Del(string)                        {}
func (noStore) Close()                            {}
func (noStore) Reset()                            {}
