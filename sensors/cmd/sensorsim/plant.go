package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millwright-iot/millwright/sensors/mqttsource"
)

// device is a machine that can be published: it hands every message, with the
// machine's time it belongs to, to send.
type device interface {
	publish(ctx context.Context, send sendFunc) error
}

type sendFunc func(topic string, payload []byte, at time.Time) error

// plant is all machines of a run, each with its own connection to the broker.
type plant struct {
	machines []*member
	hold     *hold

	mu  sync.Mutex
	out io.Writer
}

type member struct {
	name   string
	device device
	sender *sender
}

// newPlant checks the configuration; its error joins every problem.
func newPlant(cfg Config, h *hold, out io.Writer) (*plant, error) {
	p := &plant{out: out, hold: h}
	var errs []error
	bad := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	broker, err := mqttsource.ParseBroker(cfg.URL)
	bad(err)
	tlsConfig, err := loadCA(cfg.CA)
	bad(err)
	if cfg.MaxInflight < 1 {
		bad(fmt.Errorf("max_inflight is %d; at least 1 is needed", cfg.MaxInflight))
	}
	if len(cfg.Machines) == 0 {
		bad(errors.New("no machines"))
	}
	seen := map[string]bool{}
	for i, m := range cfg.Machines {
		if m.Name == "" || strings.ContainsAny(m.Name, "/+#") {
			bad(fmt.Errorf("machine %d: name %q must be one level of a topic, without / + #", i, m.Name))
			continue
		}
		if seen[m.Name] {
			bad(fmt.Errorf("machine %s is there twice", m.Name))
		}
		seen[m.Name] = true
		topic := cfg.TopicPrefix + "/" + m.Name + "/"
		bad(mqttsource.CheckTopic(topic + "x"))
		var d device
		switch {
		case m.Synth != nil && m.Replay == nil:
			d, err = newGenerated(m.Name, topic, *m.Synth)
		case m.Replay != nil && m.Synth == nil:
			d, err = newRecorded(m.Name, topic, *m.Replay, p)
		default:
			err = errors.New("needs either synth or replay")
		}
		if err != nil {
			bad(fmt.Errorf("machine %s: %w", m.Name, err))
			continue
		}
		p.machines = append(p.machines, &member{name: m.Name, device: d, sender: &sender{
			broker: broker, username: cfg.Username, password: cfg.Password, tls: tlsConfig,
			machine: m.Name, window: cfg.MaxInflight,
		}})
	}
	return p, errors.Join(errs...)
}

// run publishes all machines until they end or ctx does, and prints a line for
// each. The first failure stops the others.
func (p *plant) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range p.machines {
		group.Go(func() error { return p.publish(ctx, m) })
	}
	return group.Wait()
}

func (p *plant) publish(ctx context.Context, m *member) error {
	began := time.Now()
	var first, last time.Time
	err := m.sender.connect(ctx)
	if err == nil {
		err = m.device.publish(ctx, func(topic string, payload []byte, at time.Time) error {
			if first.IsZero() {
				first = at
			}
			if at.After(last) {
				last = at
			}
			return m.sender.send(ctx, topic, payload)
		})
	}
	// What is under way is worth a moment even when ctx has ended.
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	m.sender.close(flush)
	s := m.sender
	p.printf("%s: %d messages (%.1f MB) acknowledged in %.1f s, %s of machine time, %d sent again, %d not acknowledged\n",
		m.name, s.acknowledged, float64(s.bytes)/1e6, time.Since(began).Seconds(), last.Sub(first).Round(time.Second), s.again, len(s.pending))
	if err == nil && len(s.pending) > 0 && ctx.Err() == nil {
		err = fmt.Errorf("%d messages were not acknowledged by %s", len(s.pending), s.broker.Redacted())
	}
	if err != nil {
		return fmt.Errorf("machine %s: %w", m.name, err)
	}
	return nil
}

func (p *plant) printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, format, args...)
}
