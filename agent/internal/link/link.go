// Package link holds connections to an MQTT broker for whoever has something to say
// there. Each connection is a new client: the library's own reconnecting cannot be
// cancelled, and completes tokens that were never answered.
package link

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/millwright-iot/millwright/sensors/mqttsource"
)

// Patience is how long one attempt to connect, or one answer of the broker, may take.
const Patience = 10 * time.Second

// Options says which broker and how.
type Options struct {
	Broker   *url.URL // as mqttsource.ParseBroker reads it
	ClientID string   // empty: the broker makes one up
	// Login is asked at each attempt, as mqttsource.Options.Login is; nil: nobody.
	Login func() (mqttsource.Login, error)
	// Persistent makes the broker keep what is sent at QoS 1 while the client is away.
	// Then whoever handles a message acknowledges it when it is safe (Message.Ack).
	Persistent bool
	// MinWait and MaxWait bound the pause between attempts. Default 1 s and 30 s.
	MinWait, MaxWait time.Duration
}

// Message is one publication.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
}

// Conn is one connection. It ends once, and Lost says why.
type Conn struct {
	mqtt.Client
	lost chan error
}

// Lost yields the reason when the connection has ended.
func (c *Conn) Lost() <-chan error { return c.lost }

// Dial connects. will, if there is one, is what the broker publishes when the
// connection ends without a Disconnect. Messages that arrive go to handle, which must
// not wait.
func Dial(ctx context.Context, o Options, will *Message, handle func(mqtt.Message)) (*Conn, error) {
	c := &Conn{lost: make(chan error, 1)}
	var login mqttsource.Login
	if o.Login != nil {
		var err error
		if login, err = o.Login(); err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
	}
	// The client does not watch ctx during its handshake; a deadline ends it.
	unwatch := func() bool { return true }
	dial := func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		conn, err := o.dial(ctx, login.TLS)
		if err == nil {
			unwatch = context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
		}
		return conn, err
	}
	m := mqtt.NewClientOptions().AddBroker(o.Broker.String())
	m.SetClientID(o.ClientID).SetUsername(login.Username).SetPassword(login.Password)
	m.SetCleanSession(!o.Persistent).SetAutoAckDisabled(o.Persistent).SetProtocolVersion(4)
	m.SetKeepAlive(30 * time.Second).SetPingTimeout(Patience)
	m.SetConnectTimeout(Patience).SetWriteTimeout(Patience)
	m.SetAutoReconnect(false).SetConnectRetry(false)
	m.SetStore(noStore{}).SetCustomOpenConnectionFn(dial)
	m.SetConnectionLostHandler(func(_ mqtt.Client, err error) {
		select {
		case c.lost <- fmt.Errorf("connection lost: %w", err):
		default:
		}
	})
	if handle != nil {
		m.SetDefaultPublishHandler(func(_ mqtt.Client, msg mqtt.Message) { handle(msg) })
	}
	if will != nil {
		m.SetBinaryWill(will.Topic, will.Payload, will.QoS, will.Retain)
	}
	c.Client = mqtt.NewClient(m)
	token := c.Connect()
	<-token.Done() // bounded by the connect timeout and by ctx
	unwatch()
	if err := token.Error(); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return c, nil
}

func (o Options) dial(ctx context.Context, config *tls.Config) (net.Conn, error) {
	limited, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	d := &net.Dialer{KeepAlive: 15 * time.Second}
	if o.Broker.Scheme == "ssl" {
		return (&tls.Dialer{NetDialer: d, Config: config}).DialContext(limited, "tcp", o.Broker.Host)
	}
	return d.DialContext(limited, "tcp", o.Broker.Host)
}

// Close ends the connection in order: the broker does not publish the will.
func (c *Conn) Close() { c.Disconnect(250) }

// Send publishes m and waits for the broker's acknowledgement on this connection. At
// QoS 0 there is none: Send waits until the message is handed to the connection.
func (c *Conn) Send(ctx context.Context, m Message) error {
	token := c.Publish(m.Topic, m.QoS, m.Retain, m.Payload)
	if err := c.Await(ctx, token); err != nil {
		return fmt.Errorf("publish to %q: %w", m.Topic, err)
	}
	return nil
}

// Subscribe asks for filters at QoS 1 and waits until the broker has granted all.
func (c *Conn) Subscribe(ctx context.Context, filters ...string) error {
	ask := make(map[string]byte, len(filters))
	for _, f := range filters {
		ask[f] = 1
	}
	token := c.SubscribeMultiple(ask, nil).(*mqtt.SubscribeToken)
	if err := c.Await(ctx, token); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	for f, code := range token.Result() {
		if code == 0x80 {
			return &RefusedTopicError{f}
		}
	}
	return nil
}

// RefusedTopicError is a subscription that the broker does not grant.
type RefusedTopicError struct{ Topic string }

func (e *RefusedTopicError) Error() string {
	return fmt.Sprintf("broker refuses the subscription to %q", e.Topic)
}

// Await waits for the broker's answer to token, which counts only on a connection
// that is still open: tokens of a lost one complete without an answer.
func (c *Conn) Await(ctx context.Context, token mqtt.Token) error {
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-c.lost:
		return err
	case <-timer.C:
		return fmt.Errorf("broker did not answer within %v", Patience)
	case <-token.Done():
	}
	if err := token.Error(); err != nil {
		return err
	}
	if !c.IsConnectionOpen() {
		return fmt.Errorf("connection lost before the acknowledgement")
	}
	return nil
}

// Stay calls session, which connects and works until its connection or ctx ends, again
// and again until ctx ends. What went wrong is logged as what, once a minute.
func Stay(ctx context.Context, o Options, log *slog.Logger, what string, session func(context.Context) error) {
	least, most := o.waits()
	wait := least
	var told time.Time
	for ctx.Err() == nil {
		began := time.Now()
		err := session(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > most {
			wait = least
		}
		if time.Since(told) > time.Minute {
			told = time.Now()
			log.Error("connection to the broker does not work", "purpose", what, "broker", o.Broker.Redacted(), "error", err, "retry", wait)
		}
		// Half fixed, half random: gateways of a plant do not return in step.
		pause := time.NewTimer(wait/2 + rand.N(wait/2+1))
		select {
		case <-ctx.Done():
			pause.Stop()
		case <-pause.C:
		}
		wait = min(2*wait, most)
	}
}

func (o Options) waits() (least, most time.Duration) {
	least, most = o.MinWait, o.MaxWait
	if least <= 0 {
		least = time.Second
	}
	if most <= 0 {
		most = 30 * time.Second
	}
	return least, max(least, most)
}

// noStore keeps nothing: whoever must not lose a message has a queue of its own.
type noStore struct{}

func (noStore) Open()                             {}
func (noStore) Put(string, packets.ControlPacket) {}
func (noStore) Get(string) packets.ControlPacket  { return nil }
func (noStore) All() []string                     { return nil }
func (noStore) Del(string)                        {}
func (noStore) Close()                            {}
func (noStore) Reset()                            {}
