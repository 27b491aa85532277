// Package mqttsource is a [sensors.Source] that subscribes to an MQTT 3.1.1
// broker and turns messages into blocks.
//
// It never gives up on its broker: one that is down, that refuses or that
// vanishes is tried again for ever, with growing pauses and a clear line in the
// log. It never makes the broker wait either: messages go into a queue bounded
// in number and bytes, and what does not fit is dropped and counted by reason
// (see [Stats]), and the next block of that topic carries sensors.QualityGap.
//
// Messages are taken at QoS 1 and acknowledged when they are in the queue, so a
// loss of power loses at most the queue.
package mqttsource

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// Channel binds one channel of a machine to what a topic's messages hold.
// Several channels may share a topic: its payload is parsed once for all.
type Channel struct {
	Machine string
	Channel string
	// Topic is a topic or a filter with the wildcards + (one level) and # (the
	// rest); with a filter, every topic that matches feeds the channel.
	Topic string
	// Unit is what the payload's numbers are in; blocks carry its base unit.
	Unit sensors.Unit
	// Decode says where in the payload the samples are. The time of a run of
	// samples is that of its first one.
	Decode decode.Spec
}

// Options tunes a Source. The zero value is ready for a local broker.
type Options struct {
	// ClientID names this client at the broker, which drops an older
	// connection of the same name. Required with PersistentSession. Default:
	// empty, the broker makes one up.
	ClientID string
	// Username and Password; default none. A user in the broker's URL is used
	// when Username is empty.
	Username, Password string
	// TLS is for ssl:// brokers. Default: the system's certificates.
	TLS *tls.Config
	// PersistentSession asks the broker to keep messages while this client is
	// away, as long as the broker's own limits allow. Default false.
	PersistentSession bool

	// MaxPayloadBytes is the largest payload taken; a larger one is skipped on
	// the wire, never held in memory, and counted. Default 4 MiB.
	MaxPayloadBytes int
	// MaxQueuedMessages and MaxQueuedBytes bound what waits to be emitted. A
	// payload counts with 256 bytes of overhead. Default 16384 and 16 MiB.
	MaxQueuedMessages int
	MaxQueuedBytes    int64
	// MaxWait is how long a full queue holds up reading, so that the broker keeps
	// what comes; then messages are dropped and counted until there is room. Less
	// than the 10 s after which a silent connection is given up. Default 5 s.
	MaxWait time.Duration

	// KeepAlive is the pause after which a silent connection is probed; one
	// that stays silent another 10 s is given up. Default 30 s.
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
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (o Options) withDefaults() Options {
	orDefault(&o.MaxPayloadBytes, 4<<20)
	orDefault(&o.MaxQueuedMessages, 16384)
	orDefault(&o.MaxQueuedBytes, 16<<20)
	orDefault(&o.MaxWait, 5*time.Second)
	orDefault(&o.KeepAlive, 30*time.Second)
	orDefault(&o.ConnectTimeout, 10*time.Second)
	orDefault(&o.WriteTimeout, 10*time.Second)
	orDefault(&o.MinReconnectWait, time.Second)
	orDefault(&o.MaxReconnectWait, max(30*time.Second, o.MinReconnectWait))
	orDefault(&o.MaxFuture, 24*time.Hour)
	orDefault(&o.Oldest, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	orDefault(&o.MaxBackstep, time.Minute)
	return o
}

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

// CheckTopic reports what is wrong with a topic filter (MQTT 3.1.1, section
// 4.7): empty, too long, or a wildcard that does not stand alone in its level.
func CheckTopic(filter string) error {
	switch {
	case filter == "":
		return errors.New("topic is missing")
	case len(filter) > 65535:
		return errors.New("topic is longer than 65535 bytes")
	case strings.ContainsRune(filter, 0):
		return errors.New("topic contains a zero byte")
	}
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		if l != "#" && l != "+" && strings.ContainsAny(l, "#+") {
			return fmt.Errorf("topic %q: a wildcard must be a level of its own, as in plant/+/vibration", filter)
		}
		if l == "#" && i < len(levels)-1 {
			return fmt.Errorf("topic %q: # must be the last level", filter)
		}
	}
	return nil
}

// checkChannels joins every problem of the channels into one error.
func checkChannels(channels []Channel) error {
	var errs []error
	if len(channels) == 0 {
		errs = append(errs, errors.New("no channels; name at least one"))
	}
	var seen []string
	for _, c := range channels {
		name := c.Machine + "/" + c.Channel
		bad := func(err error) {
			if err != nil {
				errs = append(errs, fmt.Errorf("channel %s: %w", name, err))
			}
		}
		if c.Machine == "" || c.Channel == "" {
			bad(errors.New("machine or channel has no name"))
		} else if slices.Contains(seen, name) {
			bad(errors.New("declared twice"))
		}
		seen = append(seen, name)
		bad(CheckTopic(c.Topic))
		if c.Unit.Symbol == "" || c.Unit.Scale == 0 {
			_, err := sensors.ParseUnit("")
			bad(err)
		}
		bad(c.Decode.Validate())
	}
	return errors.Join(errs...)
}
