// Package sniff listens to a broker and says what it hears: families of devices, topics,
// fields, rates and likely units, and a configuration to start from. What it proposes
// was read by the agent's own decoders out of the very payloads it heard; only units are
// guessed.
package sniff

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/millwright-iot/millwright/agent/internal/link"
)

// Bounds of what is kept, for small gateways at large brokers.
const (
	maxTopics      = 2000
	maxPayloads    = 4 // of a topic
	maxPayload     = 1 << 20
	maxKept        = 32 << 20 // of all payloads
	maxTopicLength = 512
)

// Topic is what was heard on one topic.
type Topic struct {
	Name     string
	Messages int
	Bytes    int64
	First    time.Time // arrival; retained messages left out
	Last     time.Time
	Retained int
	Payloads [][]byte // the first few
}

// PerSecond is the rate of messages, zero while it is not known.
func (t *Topic) PerSecond() float64 {
	live := t.Messages - t.Retained
	if d := t.Last.Sub(t.First).Seconds(); live > 1 && d > 0 {
		return float64(live-1) / d
	}
	return 0
}

// Survey is what was heard. Its methods are safe for concurrent use.
type Survey struct {
	mu      sync.Mutex
	topics  map[string]*Topic
	kept    int
	ignored int
}

// NewSurvey returns an empty Survey.
func NewSurvey() *Survey { return &Survey{topics: map[string]*Topic{}} }

// Add books a message.
func (s *Survey) Add(topic string, payload []byte, retained bool, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[topic]
	if t == nil {
		if len(s.topics) >= maxTopics || len(topic) > maxTopicLength {
			s.ignored++
			return
		}
		t = &Topic{Name: strings.Clone(topic)}
		s.topics[t.Name] = t
	}
	t.Messages++
	t.Bytes += int64(len(payload))
	if retained {
		t.Retained++
	} else {
		if t.First.IsZero() {
			t.First = at
		}
		t.Last = at
	}
	if len(t.Payloads) < maxPayloads && len(payload) > 0 && len(payload) <= maxPayload && s.kept+len(payload) <= maxKept {
		t.Payloads = append(t.Payloads, slices.Clone(payload))
		s.kept += len(payload)
	}
}

// Topics returns what was heard, sorted by name, and how many messages were ignored
// because there are too many topics. Nothing may be added any more.
func (s *Survey) Topics() (list []*Topic, ignored int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.topics {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *Topic) int { return strings.Compare(a.Name, b.Name) })
	return list, s.ignored
}

// Listen subscribes to filters and fills the Survey until ctx ends, which is no error.
func (s *Survey) Listen(ctx context.Context, o link.Options, filters []string) error {
	conn, err := link.Dial(ctx, o, nil, func(m mqtt.Message) {
		s.Add(m.Topic(), m.Payload(), m.Retained(), time.Now())
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Subscribe(ctx, filters...); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-conn.Lost():
		return err
	}
}
