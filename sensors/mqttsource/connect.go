package mqttsource

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// stayConnected holds a session with the broker and starts a new one whenever
// it ends, until ctx does. The client's own reconnecting is off: it cannot be
// cancelled, completes tokens that were never answered, and waits up to ten
// minutes. Each attempt is a new client.
func (s *Source) stayConnected(ctx context.Context) {
	wait := s.opts.MinReconnectWait
	for ctx.Err() == nil {
		began := time.Now()
		err := s.session(ctx)
		if ctx.Err() != nil {
			return
		}
		lasted := time.Since(began)
		if lasted > s.opts.MaxReconnectWait {
			wait = s.opts.MinReconnectWait
		}
		s.complainAboutBroker(err, lasted)
		// Half fixed, half random: gateways of a plant do not return in step.
		pause := time.NewTimer(wait/2 + rand.N(wait/2+1))
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
		wait = min(2*wait, s.opts.MaxReconnectWait)
	}
}

// session connects, subscribes and waits for the end of the connection. It
// returns nil only when ctx ended.
func (s *Source) session(ctx context.Context) error {
	login, err := s.opts.Login()
	if err != nil {
		return fmt.Errorf("%w: %w", errNoLogin, err)
	}
	lost := make(chan error, 1)
	var c *conn                          // set by dial, before the token of Connect completes
	hurry := func() bool { return true } // ends the watch on ctx that the handshake does not keep itself
	dial := func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
		raw, err := s.dial(ctx, login.TLS)
		if err != nil {
			return nil, err
		}
		s.dialled++
		c = newConn(raw, connOptions{
			maxPayload: s.opts.MaxPayloadBytes, timeout: s.opts.WriteTimeout, number: s.dialled, tooLarge: s.skipped, await: s.inbox.await, before: s.tally,
		})
		hurry = context.AfterFunc(ctx, func() { _ = raw.SetReadDeadline(time.Now()) })
		return c, nil
	}
	o := mqtt.NewClientOptions()
	o.AddBroker(s.broker.String())
	o.SetClientID(s.opts.ClientID)
	if login.Username != "" { // else the URL's stays
		o.SetUsername(login.Username)
		o.SetPassword(login.Password)
	}
	o.SetCleanSession(!s.opts.PersistentSession)
	o.SetProtocolVersion(4) // else a refusal is asked for twice, the second time as 3.1
	o.SetKeepAlive(s.opts.KeepAlive)
	o.SetPingTimeout(s.opts.pingTimeout())
	o.SetConnectTimeout(s.opts.ConnectTimeout)
	o.SetWriteTimeout(s.opts.WriteTimeout)
	o.SetAutoReconnect(false)
	o.SetConnectRetry(false)
	o.SetOrderMatters(true) // the handler never waits (conn does), so order costs nothing
	o.SetStore(noStore{})
	o.SetCustomOpenConnectionFn(dial)
	o.SetAutoAckDisabled(true) // Run acknowledges, when the blocks are emitted
	o.SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) { s.arrived(c, m) })
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) {
		select {
		case lost <- err:
		default:
		}
	})
	client := mqtt.NewClient(o)
	token := client.Connect().(*mqtt.ConnectToken)
	<-token.Done() // ends soon after ctx: both dial and handshake see it
	hurry()
	if err := token.Error(); err != nil {
		if c != nil {
			_ = c.Close()
		}
		return err
	}
	defer func() {
		client.Disconnect(250)
		_ = c.Close()
	}()
	c.resumed.Store(token.SessionPresent() && s.subscribed)
	// A broker that kept our session kept the subscriptions too; subscribing
	// again would only bring every retained message once more.
	if !token.SessionPresent() || !s.subscribed {
		if err := s.subscribe(ctx, client, lost); err != nil {
			return err
		}
		s.subscribed = true
	}
	s.setConnected(true)
	defer s.setConnected(false)
	s.log.Info("broker connected", "broker", s.broker.Redacted(), "topics", len(s.filters))
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-lost:
			return fmt.Errorf("connection lost: %w", err)
		case topic := <-s.unwanted:
			client.Unsubscribe(topic) // nothing hangs on the answer
		}
	}
}

// errNoLogin is a Login that failed.
var errNoLogin = errors.New("cannot say who we are")

// tally says how many samples were received, whose acknowledgements are about to leave.
func (s *Source) tally() {
	if s.opts.Tally != nil {
		s.opts.Tally(s.inbox.samplesReceived())
	}
}

// errRefusedTopic is a subscription the broker does not grant.
var errRefusedTopic = errors.New("broker refuses the subscription")

// subscribe asks for all filters and waits for the broker's answer.
func (s *Source) subscribe(ctx context.Context, client mqtt.Client, lost <-chan error) error {
	// A packet of many filters may exceed what a broker takes.
	for some := range slices.Chunk(s.filters, 64) {
		ask := make(map[string]byte, len(some))
		for _, f := range some {
			ask[f] = 1
		}
		token := client.SubscribeMultiple(ask, nil).(*mqtt.SubscribeToken)
		timer := time.NewTimer(s.opts.ConnectTimeout)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return nil
		case err := <-lost:
			return fmt.Errorf("connection lost while subscribing: %w", err)
		case <-timer.C:
			return fmt.Errorf("subscribe: no answer within %v", s.opts.ConnectTimeout)
		case <-token.Done():
		}
		if err := token.Error(); err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
		for f, code := range token.Result() {
			if code == 0x80 {
				return fmt.Errorf("subscribe to %q: %w", f, errRefusedTopic)
			}
		}
	}
	return nil
}

func (s *Source) dial(ctx context.Context, config *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.ConnectTimeout)
	defer cancel()
	d := &net.Dialer{KeepAlive: 15 * time.Second}
	if s.broker.Scheme != "ssl" {
		return d.DialContext(ctx, "tcp", s.broker.Host)
	}
	return (&tls.Dialer{NetDialer: d, Config: config}).DialContext(ctx, "tcp", s.broker.Host)
}

// complainAboutBroker names what went wrong with the broker and what helps.
func (s *Source) complainAboutBroker(err error, lasted time.Duration) {
	key, mend := "lost", "check the network and the broker; trying again"
	var unknownCA *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errNoLogin):
		key, mend = "login", "make the file readable and whole again; trying again"
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword), errors.Is(err, packets.ErrorRefusedNotAuthorised):
		key, mend = "refused", "check username and password, and the broker's access list; trying again"
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		key, mend = "id", "choose another client id; trying again"
	case errors.Is(err, errRefusedTopic):
		key, mend = "topic", "let this user read the topic in the broker's access list; trying again"
	case errors.As(err, &unknownCA):
		key, mend = "tls", "give the CA that signed the broker's certificate and use the host name in it; trying again"
	case strings.Contains(err.Error(), "remote error: tls"): // an alert; the client hides its type
		key, mend = "tls client", "the broker does not accept this client's certificate: give a client certificate and key that its CA signed; trying again"
	case strings.Contains(err.Error(), "refused") || isTimeout(err):
		key, mend = "down", "check that the broker runs and that host and port are right; trying again"
	case errors.Is(err, io.EOF) && lasted < 10*time.Second && s.opts.ClientID != "":
		mend = "the broker closed a young connection: check that no other client uses this client id; trying again"
	}
	if quiet, due := s.complain.due("broker " + key); due {
		s.log.Error("broker not available", "broker", s.broker.Redacted(), "client_id", s.opts.ClientID,
			"cause", err.Error(), "mend", mend, "more_since_last_line", quiet)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// noStore keeps nothing. The client only receives: after a lost connection the
// broker sends unacknowledged messages again, so a store would double them.
type noStore struct{}

func (noStore) Open()                             {}
func (noStore) Put(string, packets.ControlPacket) {}
func (noStore) Get(string) packets.ControlPacket  { return nil }
func (noStore) All() []string                     { return nil }
func (noStore) Del(string)                        {}
func (noStore) Close()                            {}
func (noStore) Reset()                            {}
