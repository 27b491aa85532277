// Package publish sends scores and alarms to an MQTT broker as JSON. The README of
// agent documents the topics and the documents.
//
// Scores go at QoS 0 and are dropped while there is no connection. Alarms go at QoS
// 1, retained, in order, and stay queued until the broker has acknowledged them on
// one and the same connection. A status topic says whether the gateway is there, and
// Home Assistant is told of the machines if asked for.
package publish

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/journal"
	"github.com/millwright-iot/millwright/agent/internal/link"
)

// Bounds of the queues; the oldest message goes first.
const (
	maxScores = 1024
	maxAlarms = 1000
)

// Options says which broker, and for whom.
type Options struct {
	Link    link.Options
	Gateway string
	Version string // of the program
	// Discovery is the topic prefix of Home Assistant's discovery, such as
	// homeassistant. Default none: nothing is announced.
	Discovery string
	Machines  []Machine // that are announced
	// AnnouncedPath is the file that remembers the topics of what was announced, so
	// that what is no longer there is taken back. Default none.
	AnnouncedPath string
}

// Score is one window's result. It holds no pointers into a Detector.
type Score struct {
	Machine, Class, Job string
	Output              infer.Output // Reasons unused
	Reasons             [infer.MaxReasons]infer.Reason
	ReasonCount         int
	StaleAfter          time.Duration // how long it may count as news
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
	opts     Options
	log      *slog.Logger
	wake     chan struct{} // capacity 1: something is queued
	machines []Machine     // as announced; the session's

	mu     sync.Mutex
	scores []Score // ring
	first  int
	count  int
	alarms []journal.Episode
	stats  Stats
}

// New returns a Publisher; nothing is connected before Run.
func New(opts Options, log *slog.Logger) *Publisher {
	return &Publisher{
		opts: opts, log: log, wake: make(chan struct{}, 1), machines: slices.Clone(opts.Machines), scores: make([]Score, maxScores),
	}
}

// Score queues a score, which is news for staleAfter. It allocates for advice only.
func (p *Publisher) Score(machine, class, job string, staleAfter time.Duration, out *infer.Output) {
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
	s.Machine, s.Class, s.Job, s.StaleAfter, s.Output = machine, class, job, staleAfter, *out
	s.ReasonCount = copy(s.Reasons[:], out.Reasons)
	s.Output.Reasons, s.Output.Advice = nil, out.Advice.Clone()
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
	link.Stay(ctx, p.opts.Link, p.log, "scores and alarms", p.session)
	return nil
}

// session connects once and sends until the connection ends.
func (p *Publisher) session(ctx context.Context) error {
	offline := link.Message{Topic: p.statusTopic(), Payload: []byte("offline"), QoS: 1, Retain: true}
	conn, err := link.Dial(ctx, p.opts.Link, &offline, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer p.connected(false)
	online := offline
	online.Payload = []byte("online")
	if err := p.announce(ctx, conn); err != nil {
		return err
	}
	if err := conn.Send(ctx, online); err != nil {
		return err
	}
	p.connected(true)
	for {
		if err := p.sendAlarms(ctx, conn); err != nil {
			return err
		}
		if err := p.sendScores(ctx, conn); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			// A Disconnect makes the broker forget the will.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			return conn.Send(last, offline)
		case err := <-conn.Lost():
			return err
		case <-p.wake:
		}
	}
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
func (p *Publisher) sendAlarms(ctx context.Context, conn *link.Conn) error {
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
		if err := conn.Send(ctx, link.Message{Topic: p.topic(e.Machine, "alarm"), Payload: body, QoS: 1, Retain: true}); err != nil {
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

func (p *Publisher) sendScores(ctx context.Context, conn *link.Conn) error {
	for {
		p.mu.Lock()
		if p.count == 0 {
			p.mu.Unlock()
			return nil
		}
		s := p.scores[p.first]
		p.first, p.count = (p.first+1)%maxScores, p.count-1
		p.stats.ScoresDelivered++
		p.mu.Unlock()
		if err := p.refresh(ctx, conn, &s); err != nil {
			return err
		}
		if body, err := json.Marshal(p.document(&s)); err == nil {
			conn.Publish(p.topic(s.Machine, "score"), 0, false, body)
		}
	}
}

// refresh announces a machine again when another job has changed how often it scores.
func (p *Publisher) refresh(ctx context.Context, conn *link.Conn, s *Score) error {
	if p.opts.Discovery == "" {
		return nil
	}
	for i := range p.machines {
		m := &p.machines[i]
		if m.Name != s.Machine || m.StaleAfter == s.StaleAfter {
			continue
		}
		m.StaleAfter = s.StaleAfter
		for _, msg := range p.discovery(*m) {
			if err := conn.Send(ctx, msg); err != nil {
				return err
			}
		}
	}
	return nil
}

// statusTopic says online or, by the broker when the connection breaks, offline.
func (p *Publisher) statusTopic() string { return "millwright/" + p.opts.Gateway + "/status" }

func (p *Publisher) topic(machine, kind string) string {
	return "millwright/" + p.opts.Gateway + "/" + machine + "/" + kind
}

// scoreDocument is the JSON of a score.
type scoreDocument struct {
	Gateway  string           `json:"gateway"`
	Machine  string           `json:"machine"`
	Class    string           `json:"class"`
	At       time.Time        `json:"at"` // end of the window
	State    infer.State      `json:"state"`
	Baseline *progress        `json:"baseline,omitempty"` // while state is baseline
	Score    *float64         `json:"score,omitempty"`    // while running; 1 is the alarm threshold
	Zone     alarm.Zone       `json:"zone,omitempty"`
	Alarm    bool             `json:"alarm"`
	Reasons  []journal.Reason `json:"reasons,omitempty"`
	infer.Advice
	Job          string `json:"job"`
	ModelVersion uint64 `json:"model_version"`
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
	}
	if s.Output.State != infer.Running {
		return d
	}
	d.Score, d.Zone, d.Advice = &s.Output.Score, s.Output.Zone, s.Output.Advice
	for _, r := range s.Reasons[:s.ReasonCount] {
		d.Reasons = append(d.Reasons, journal.Reason(r))
	}
	return d
}
