package mqttsource

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

var quick = Options{MinReconnectWait: 5 * time.Millisecond, MaxReconnectWait: 50 * time.Millisecond}

func scalarChannel(t testing.TB) []Channel {
	return []Channel{{Machine: "m", Channel: "v", Topic: "v", Unit: unit(t, "1"), Decode: decode.Spec{Format: decode.Scalar}}}
}

func TestSource_BrokerDownAtBootAndRestarted(t *testing.T) {
	m := newMosquitto(t, "allow_anonymous true")
	r := start(t, m.url(), scalarChannel(t), quick)
	r.eventually(t, "a complaint", func(Stats) bool { return strings.Contains(r.log.String(), "check that the broker runs") })
	for i := range 3 {
		m.start(t)
		r.connected(t)
		publish(t, publisher(t, m.url()), "v", false, fmt.Append(nil, i))
		if b := r.next(t); b.Samples[0] != float64(i) {
			t.Errorf("got %v; want %d", b.Samples, i)
		}
		m.stop()
		r.eventually(t, "the loss", func(s Stats) bool { return !s.Connected })
	}
	if s := r.Stats(); s.Connections != 3 || s.Emitted != 3 {
		t.Errorf("got %+v; want 3 connections, 3 messages", s)
	}
	if !strings.Contains(r.log.String(), m.url()) {
		t.Errorf("log does not name the broker:\n%s", r.log)
	}
}

func TestSource_BrokerRefuses(t *testing.T) {
	m := newMosquitto(t, "allow_anonymous false")
	m.start(t)
	o := quick
	o.Login = func() (Login, error) { return Login{Username: "gw", Password: "secret-word"}, nil }
	r := start(t, m.url(), scalarChannel(t), o)
	r.eventually(t, "a complaint", func(Stats) bool {
		l := r.log.String()
		return strings.Contains(l, m.url()) && strings.Contains(l, "check username and password")
	})
	if n := strings.Count(r.log.String(), "broker not available"); n != 1 {
		t.Errorf("%d lines about one cause within a minute; want 1", n)
	}
	if strings.Contains(r.log.String(), "secret-word") {
		t.Error("the log shows the password")
	}
	// It keeps trying: once the broker lets it in, it is in.
	m.stop()
	text := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\n", m.port)
	if err := os.WriteFile(m.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start(t)
	r.connected(t)
}

func TestSource_PersistentSession(t *testing.T) {
	m := newMosquitto(t, "allow_anonymous true")
	m.start(t)
	c := publisher(t, m.url())
	o := quick
	o.ClientID, o.PersistentSession = "gateway-1", true
	t.Run("first life", func(t *testing.T) {
		start(t, m.url(), scalarChannel(t), o).connected(t)
	})
	for i := range 5 {
		publish(t, c, "v", false, fmt.Append(nil, i))
	}
	r := start(t, m.url(), scalarChannel(t), o)
	for i := range 5 {
		if b := r.next(t); b.Samples[0] != float64(i) {
			t.Errorf("got %v; want what was sent while away, in order: %d", b.Samples, i)
		}
	}
}

// Topics of an earlier configuration live on in a persistent session.
func TestSource_PersistentSessionOldTopic(t *testing.T) {
	m := newMosquitto(t, "allow_anonymous true")
	m.start(t)
	o := quick
	o.ClientID, o.PersistentSession = "gateway-1", true
	old := scalarChannel(t)
	old[0].Topic = "old"
	t.Run("first life", func(t *testing.T) { start(t, m.url(), old, o).connected(t) })
	r := start(t, m.url(), scalarChannel(t), o)
	r.connected(t)
	c := publisher(t, m.url())
	publish(t, c, "old", false, []byte("1"))
	r.eventually(t, "the message without a channel", func(s Stats) bool { return s.Dropped[NoChannel] == 1 })
	r.eventually(t, "the end of the old subscription", func(Stats) bool {
		before := r.Stats()
		publish(t, c, "old", false, []byte("2"))
		publish(t, c, "v", false, []byte("3")) // comes after it
		after := r.eventually(t, "the channel's message", func(s Stats) bool { return s.Emitted > before.Emitted })
		return after.Dropped[NoChannel] == before.Dropped[NoChannel]
	})
}

// 8 MiB through a real broker: skipped, acknowledged, and the connection lives.
func TestSource_HugePayload(t *testing.T) {
	m := newMosquitto(t, "allow_anonymous true")
	m.start(t)
	r := start(t, m.url(), scalarChannel(t), quick)
	r.connected(t)
	c := publisher(t, m.url())
	publish(t, c, "v", false, make([]byte, 8<<20))
	publish(t, c, "v", false, []byte("7"))
	if b := r.next(t); b.Samples[0] != 7 {
		t.Errorf("got %v; want the message after the huge one", b.Samples)
	}
	if s := r.Stats(); s.Dropped[TooLarge] != 1 || s.Connections != 1 || s.ReceivedBytes != 8<<20+1 {
		t.Errorf("got %+v", s)
	}
}

func TestSource_TLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate, which is good for 127.0.0.1
	defer web.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveMochi(t, tls.NewListener(l, &tls.Config{Certificates: web.TLS.Certificates}))
	broker := "ssl://" + l.Addr().String()

	stranger := start(t, broker, scalarChannel(t), quick)
	stranger.eventually(t, "a complaint about the CA", func(Stats) bool {
		return strings.Contains(stranger.log.String(), "give the CA that signed the broker's certificate")
	})
	if stranger.Stats().Connected {
		t.Error("connected to a broker whose CA is unknown")
	}
	o := quick
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AddCert(web.Certificate())
	o.Login = func() (Login, error) { return Login{TLS: config}, nil }
	start(t, broker, scalarChannel(t), o).connected(t)
}
