package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// sender delivers messages in order at QoS 1, a bounded number of them under
// way. A message leaves its hands when the broker has acknowledged it on the
// connection it was sent on: the client's own reconnecting is off, because it
// reports messages as delivered that were not.
type sender struct {
	broker             *url.URL
	username, password string
	tls                *tls.Config
	machine            string
	window             int

	client       mqtt.Client
	pending      []message
	acknowledged int
	again        int // sent once more after a lost connection
	bytes        int64
}

type message struct {
	topic   string
	payload []byte
	token   mqtt.Token
}

// connect tries until there is a connection. Only ctx, or a broker that
// refuses, ends it.
func (s *sender) connect(ctx context.Context) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		o := mqtt.NewClientOptions().AddBroker(s.broker.String()).
			SetClientID(fmt.Sprintf("sensorsim-%s-%08x", s.machine, rand.Uint32())).
			SetUsername(s.username).SetPassword(s.password).SetTLSConfig(s.tls).
			SetProtocolVersion(4).SetCleanSession(true).SetAutoReconnect(false).
			SetConnectTimeout(10 * time.Second).SetWriteTimeout(10 * time.Second)
		s.client = mqtt.NewClient(o)
		token := s.client.Connect()
		select {
		case <-token.Done():
		case <-ctx.Done():
			s.client.Disconnect(0)
			return ctx.Err()
		}
		err := token.Error()
		if err == nil {
			return nil
		}
		if errors.Is(err, packets.ErrorRefusedNotAuthorised) || errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword) || errors.Is(err, packets.ErrorRefusedIDRejected) {
			return fmt.Errorf("connect to %s: %w; check username and password", s.broker.Redacted(), err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("connect to %s: %w", s.broker.Redacted(), err)
		}
	}
}

// send hands a message on, waiting while the window is full.
func (s *sender) send(ctx context.Context, topic string, payload []byte) error {
	for len(s.pending) >= s.window {
		if err := s.settle(ctx); err != nil {
			return err
		}
	}
	s.pending = append(s.pending, message{topic, payload, s.client.Publish(topic, 1, false, payload)})
	return ctx.Err()
}

// settle waits for the oldest message; where its connection was lost it sends
// everything unacknowledged again, in order.
func (s *sender) settle(ctx context.Context) error {
	oldest := &s.pending[0]
	select {
	case <-oldest.token.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	if oldest.token.Error() == nil {
		s.acknowledged++
		s.bytes += int64(len(oldest.payload))
		*oldest = message{}
		s.pending = s.pending[1:]
		return nil
	}
	s.client.Disconnect(0)
	if err := s.connect(ctx); err != nil {
		return err
	}
	for i := range s.pending {
		m := &s.pending[i]
		m.token = s.client.Publish(m.topic, 1, false, m.payload)
		s.again++
	}
	return nil
}

// close waits for what is under way, as long as ctx lasts, and disconnects.
func (s *sender) close(ctx context.Context) {
	for len(s.pending) > 0 && s.settle(ctx) == nil {
	}
	if s.client != nil {
		s.client.Disconnect(250)
	}
}

// loadCA makes a TLS configuration that trusts the CA in a PEM file; without a
// file it trusts what the system does.
func loadCA(path string) (*tls.Config, error) {
	if path == "" {
		return &tls.Config{}, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read CA %s: no certificate in PEM form", path)
	}
	return &tls.Config{RootCAs: pool}, nil
}
