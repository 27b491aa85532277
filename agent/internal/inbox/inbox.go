// Package inbox takes labels from a topic of a broker.
package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/agent/internal/link"
)

// Inbox takes labels. A label is acknowledged when it is
// durable, so that one sent while the agent is away, or when it dies, comes again. One
// that cannot be kept is answered on <topic>/error.
type Inbox struct {
	opts  link.Options
	topic string
	keep  func(body []byte) error
	flush func() error
	log   *slog.Logger
	stats struct{ received, refused atomic.Int64 }
}

// Stats counts messages since the Inbox was made.
type Stats struct{ Received, Refused int64 }

// maxWaiting is how many labels may wait for the disk. Brokers that limit what is not
// acknowledged never let it come to that.
const maxWaiting = 1024

// New returns an Inbox; nothing is connected before Run. keep takes one label, and
// flush makes those taken durable.
func New(opts link.Options, topic string, keep func(body []byte) error, flush func() error, log *slog.Logger) *Inbox {
	opts.Persistent = true
	return &Inbox{opts: opts, topic: topic, keep: keep, flush: flush, log: log}
}

// Stats returns the counts.
func (i *Inbox) Stats() Stats {
	return Stats{i.stats.received.Load(), i.stats.refused.Load()}
}

// Run takes labels until ctx ends; then it returns nil.
func (i *Inbox) Run(ctx context.Context) error {
	link.Stay(ctx, i.opts, i.log, "labels", i.session)
	return nil
}

var errTooMany = errors.New("labels arrive faster than they can be written; reading them again")

// session connects once and takes labels until the connection ends.
func (i *Inbox) session(ctx context.Context) error {
	waiting := make(chan mqtt.Message, maxWaiting)
	flood := make(chan struct{}, 1)
	conn, err := link.Dial(ctx, i.opts, nil, func(m mqtt.Message) {
		select {
		case waiting <- m:
		default: // not acknowledged: it comes again on the next connection
			select {
			case flood <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		return err
	}
	// An acknowledgement may wait for a broker that does not read, until the connection
	// is closed.
	done := make(chan mqtt.Message, maxWaiting)
	var acks sync.WaitGroup
	acks.Go(func() {
		for m := range done {
			m.Ack()
		}
	})
	defer acks.Wait()
	defer conn.Close()
	defer close(done)
	if err := conn.Subscribe(ctx, i.topic); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-conn.Lost():
			return err
		case <-flood:
			return errTooMany
		case m := <-waiting:
			if err := i.take(ctx, conn, m, waiting, done); err != nil {
				return err
			}
		}
	}
}

// take keeps a label and those that wait behind it, with one write for all.
func (i *Inbox) take(ctx context.Context, conn *link.Conn, m mqtt.Message, waiting <-chan mqtt.Message, done chan<- mqtt.Message) error {
	var batch []mqtt.Message
	var refused []link.Message
	for more := true; more; {
		i.stats.received.Add(1)
		if err := i.one(m); err != nil {
			i.stats.refused.Add(1)
			refused = append(refused, i.answer(m.Payload(), err))
		}
		batch = append(batch, m)
		select {
		case m = <-waiting:
		default:
			more = false
		}
	}
	if err := i.flush(); err != nil {
		return err // nothing is acknowledged: all come again
	}
	for _, answer := range refused {
		if err := conn.Send(ctx, answer); err != nil {
			return err
		}
	}
	for _, m := range batch {
		select {
		case done <- m:
		case <-ctx.Done():
			return nil
		case err := <-conn.Lost():
			return err
		}
	}
	return nil
}

func (i *Inbox) one(m mqtt.Message) error {
	if m.Retained() {
		// The broker sends it at each connection: once under an id, else many labels.
		if l, err := labels.Decode(m.Payload()); err == nil && l.ID == "" {
			return errors.New("keep label: a retained one needs an id, for it comes again and again; send it without retain")
		}
	}
	return i.keep(m.Payload())
}

// refusal is the JSON of an answer to a label that is not kept.
type refusal struct {
	Error string `json:"error"`
	Label any    `json:"label"` // as it came, if it is JSON, else as text
}

func (i *Inbox) answer(body []byte, err error) link.Message {
	i.log.Warn("label is not kept", "topic", i.topic, "error", err)
	r := refusal{Error: err.Error()}
	if len(body) > labels.MaxBytes {
		body = body[:labels.MaxBytes]
	}
	if json.Valid(body) {
		r.Label = json.RawMessage(body)
	} else {
		r.Label = strings.ToValidUTF8(string(body), "\ufffd")
	}
	text, jsonErr := json.Marshal(r)
	if jsonErr != nil {
		text = fmt.Appendf(nil, "%q", err.Error())
	}
	return link.Message{Topic: i.topic + "/error", Payload: text, QoS: 1}
}
