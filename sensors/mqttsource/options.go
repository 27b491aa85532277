// Package mqttsource is a [sensors.Source] that subscribes to an MQTT 3.1.1
// broker and turns messages into blocks.
//
// It never gives up on its broker: one that is down, that refuses or that
// vanishes is tried again for ever, with growing pauses and a clear line in the
// log. Messages go into a queue bounded in number and bytes; what does not fit
// after a pause is dropped and counted by reason (see [Stats]), and the next
// block of that topic carries sensors.QualityGap.
//
// Messages are taken at QoS 1 and acknowledged once their blocks were emitted, so
// that with a persistent session a crash loses nothing: the broker sends again
// what was not acknowledged. The one exception are parts of a burst, which are
// acknowledged when they come: brokers send only so many messages ahead of an
// acknowledgement, and a burst may have more parts than that.
//
// A device that says it is gone, by its last will or a Sparkplug death, turns
// stale (see [DeviceStats]), and its last value is never taken for a new one: a
// retained message counts only with a time of its own, and a recent one.
package mqttsource

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Options tunes a Source. The zero value is ready for a local broker.
type Options struct {
	// ClientID names this client at the broker, which drops an older
	// connection of the same name. Required with PersistentSession. Default:
	// empty, the broker makes one up.
	ClientID string
	// Login is asked before each attempt to connect who we are, so that a password or
	// certificate that was replaced is used from the next connection on; an error is
	// one of the attempt. It must not wait. Default: a user in the broker's URL, if
	// there is one, and the system's certificates.
	Login func() (Login, error)
	// PersistentSession asks the broker to keep messages while this client is
	// away, as long as the broker's own limits allow. Default false.
	PersistentSession bool

	// MaxPayloadBytes is the largest payload taken; a larger one is skipped on
	// the wire, never held in memory, and counted. Default 4 MiB.
	MaxPayloadBytes int
	// MaxQueuedMessages and MaxQueuedBytes bound what waits to be emitted, but for
	// a few messages already on their way. A payload counts with 256 bytes of
	// overhead. Default 16384 and 16 MiB.
	MaxQueuedMessages int
	MaxQueuedBytes    int64
	// MaxWait is how long a full queue holds up reading, so that the broker keeps
	// what comes; then messages are dropped and counted until there is room. Less
	// than the time after which a silent connection is given up. Default 5 s, or
	// half of that time.
	MaxWait time.Duration

	// KeepAlive is the pause after which a silent connection is probed, in whole
	// seconds; one that stays silent as long again, but at most 10 s, is given up.
	// Default 30 s.
	KeepAlive time.Duration
	// ConnectTimeout bounds one attempt to connect. Default 10 s.
	ConnectTimeout time.Duration
	// WriteTimeout bounds one write to the broker. Default 10 s.
	WriteTimeout time.Duration
	// MinReconnectWait and MaxReconnectWait bound the pause between attempts,
	// which doubles from one to the other. Default 1 s and 30 s.
	MinReconnectWait, MaxReconnectWait time.Duration

	// MaxFuture is how far ahead of the local clock a payload's time may be;
	// beyond it the arrival time is used and sensors.QualityRebased set.
	// Default 24 h. Recorded data from the past passes as it is.
	MaxFuture time.Duration
	// Oldest is the earliest believable time; an earlier one, such as the zero
	// of a sensor without a clock, is rebased likewise. Default 2000-01-01.
	Oldest time.Time
	// MaxBackstep separates a late block from a source that starts anew: a
	// block older than its channel's newest by up to MaxBackstep is dropped as
	// late, beyond it is taken with sensors.QualityGap. Default 1 min.
	MaxBackstep time.Duration
	// MaxRetainedAge is how old, by its own time, a retained message may be when it
	// arrives. Default 1 min. Without a time of its own none is taken.
	MaxRetainedAge time.Duration

	// MaxDiscovered bounds the channels that topics with captures may bring to
	// light. Default 256.
	MaxDiscovered int
	// MaxBurstSamples bounds the samples of bursts whose parts are not all there
	// yet, 8 bytes each, and MaxBurstWait the time from the first part to the last.
	// Default 1048576 and 30 s.
	MaxBurstSamples int
	MaxBurstWait    time.Duration

	// OnDevice is called whenever the state of a device changes, from the goroutine
	// that emits, so in order with the blocks. It must not wait. Default none.
	OnDevice func(DeviceStats)
	// Tally is called with the samples received so far, before acknowledgements leave
	// for the broker: who keeps the number knows after a crash what was acknowledged.
	// It is called by one goroutine a connection and should not wait. Default none.
	Tally func(samplesReceived int64)
}

// Login is how a client shows who it is.
type Login struct {
	Username, Password string
	// TLS is for ssl:// brokers. Nil: the system's certificates.
	TLS *tls.Config
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (o Options) withDefaults() Options {
	if o.Login == nil {
		o.Login = func() (Login, error) { return Login{}, nil }
	}
	orDefault(&o.MaxPayloadBytes, 4<<20)
	orDefault(&o.MaxQueuedMessages, 16384)
	orDefault(&o.MaxQueuedBytes, 16<<20)
	orDefault(&o.KeepAlive, 30*time.Second)
	orDefault(&o.MaxWait, min(5*time.Second, o.pingTimeout()/2))
	orDefault(&o.ConnectTimeout, 10*time.Second)
	orDefault(&o.WriteTimeout, 10*time.Second)
	orDefault(&o.MinReconnectWait, time.Second)
	orDefault(&o.MaxReconnectWait, max(30*time.Second, o.MinReconnectWait))
	orDefault(&o.MaxFuture, 24*time.Hour)
	orDefault(&o.Oldest, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	orDefault(&o.MaxBackstep, time.Minute)
	orDefault(&o.MaxRetainedAge, time.Minute)
	orDefault(&o.MaxDiscovered, 256)
	orDefault(&o.MaxBurstSamples, 1<<20)
	orDefault(&o.MaxBurstWait, 30*time.Second)
	return o
}

// pingTimeout is how long the answer to a probe may take.
func (o Options) pingTimeout() time.Duration { return min(10*time.Second, o.KeepAlive) }

func (o Options) validate() error {
	var errs []error
	for _, f := range []struct {
		name string
		bad  bool
	}{
		{"MaxPayloadBytes", o.MaxPayloadBytes < 0},
		{"MaxQueuedMessages", o.MaxQueuedMessages < 0},
		{"MaxQueuedBytes", o.MaxQueuedBytes < 0},
		{"MaxWait", o.MaxWait < 0},
		{"KeepAlive", o.KeepAlive < 0},
		{"ConnectTimeout", o.ConnectTimeout < 0},
		{"WriteTimeout", o.WriteTimeout < 0},
		{"MinReconnectWait", o.MinReconnectWait < 0},
		{"MaxReconnectWait", o.MaxReconnectWait < o.MinReconnectWait},
		{"MaxFuture", o.MaxFuture < 0},
		{"MaxBackstep", o.MaxBackstep < 0},
		{"MaxRetainedAge", o.MaxRetainedAge < 0},
		{"MaxDiscovered", o.MaxDiscovered < 0},
		{"MaxBurstSamples", o.MaxBurstSamples < 0},
		{"MaxBurstWait", o.MaxBurstWait < 0},
	} {
		if f.bad {
			errs = append(errs, fmt.Errorf("option %s is negative or below its minimum", f.name))
		}
	}
	if o.PersistentSession && o.ClientID == "" {
		errs = append(errs, errors.New("a persistent session needs a client id, the same at every start"))
	}
	return errors.Join(errs...)
}

// ParseBroker reads a broker's URL. The scheme is tcp or mqtt for a plain
// connection, ssl, tls or mqtts for TLS; the port defaults to 1883 and 8883.
func ParseBroker(broker string) (*url.URL, error) {
	u, err := url.Parse(broker)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("parse broker %q: write it as tcp://host:1883 or ssl://host:8883", broker)
	}
	port := "1883"
	switch u.Scheme {
	case "tcp", "mqtt":
		u.Scheme = "tcp"
	case "ssl", "tls", "mqtts":
		u.Scheme, port = "ssl", "8883"
	default:
		return nil, fmt.Errorf("parse broker %q: unknown scheme %q; use tcp:// or ssl://", broker, u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("parse broker %q: no host; write it as tcp://host:1883", broker)
	}
	if u.Port() == "" {
		u.Host += ":" + port
	}
	return u, nil
}
