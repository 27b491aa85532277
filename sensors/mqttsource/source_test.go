package mqttsource

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
	"github.com/millwright-iot/millwright/sensors/sensortest"
)

// startMochi starts an embedded broker on a free loopback port.
func startMochi(t testing.TB) (broker string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveMochi(t, l)
	return "tcp://" + l.Addr().String()
}

func serveMochi(t testing.TB, l net.Listener) {
	t.Helper()
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(auth.AllowHook), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.AddListener(listeners.NewNet("test", l)); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
}

// publisher is a plain client to send with.
func publisher(t testing.TB, broker string) mqtt.Client {
	t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(broker).SetAutoReconnect(false).SetOrderMatters(false))
	if tok := c.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("connect publisher: %v", tok.Error())
	}
	t.Cleanup(func() { c.Disconnect(100) })
	return c
}

func publish(t testing.TB, c mqtt.Client, topic string, retained bool, payload []byte) {
	t.Helper()
	if tok := c.Publish(topic, 1, retained, payload); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("publish to %s: %v", topic, tok.Error())
	}
}

func unit(t testing.TB, symbol string) sensors.Unit {
	t.Helper()
	u, err := sensors.ParseUnit(symbol)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// logBuffer collects log lines from several goroutines.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// runner runs a Source in the background and collects its blocks.
type runner struct {
	*Source
	log    *logBuffer
	blocks chan sensors.Block
}

func start(t testing.TB, broker string, channels []Channel, opts Options) *runner {
	t.Helper()
	r := &runner{log: &logBuffer{}, blocks: make(chan sensors.Block, 10000)}
	src, err := New(broker, channels, opts, r.log.logger())
	if err != nil {
		t.Fatal(err)
	}
	r.Source = src
	r.run(t, func(b sensors.Block) error { r.blocks <- b; return nil })
	return r
}

func (r *runner) run(t testing.TB, emit func(sensors.Block) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, emit) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		checkSums(t, r.Stats())
	})
}

// next returns the next block.
func (r *runner) next(t testing.TB) sensors.Block {
	t.Helper()
	select {
	case b := <-r.blocks:
		if err := b.Validate(); err != nil {
			t.Errorf("invalid block: %v", err)
		}
		return b
	case <-time.After(20 * time.Second):
		t.Fatalf("no block came; stats %+v, log:\n%s", r.Stats(), r.log)
		return sensors.Block{}
	}
}

// eventually waits until the stats satisfy ok.
func (r *runner) eventually(t testing.TB, what string, ok func(Stats) bool) Stats {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		s := r.Stats()
		checkSums(t, s)
		if ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("never saw %s; stats %+v, log:\n%s", what, s, r.log)
		}
	}
}

func (r *runner) connected(t testing.TB) {
	t.Helper()
	r.eventually(t, "a connection", func(s Stats) bool { return s.Connected })
}

// checkSums checks that nothing is unaccounted for.
func checkSums(t testing.TB, s Stats) {
	t.Helper()
	sum := s.Emitted + s.Noted + s.Queued
	for _, n := range s.Dropped {
		sum += n
	}
	if s.Received != sum {
		t.Errorf("messages: received %d, but emitted + noted + dropped + queued = %d: %+v", s.Received, sum, s)
	}
	sum = s.SamplesEmitted + s.SamplesHeld
	for _, n := range s.SamplesDropped {
		sum += n
	}
	if s.SamplesReceived != sum {
		t.Errorf("samples: received %d, but emitted + dropped + held = %d: %+v", s.SamplesReceived, sum, s)
	}
}

func jsonChannel(t testing.TB, channel, topic, path, u string) Channel {
	return Channel{Machine: "pump-1", Channel: channel, Topic: topic, Unit: unit(t, u),
		Decode: decode.Spec{Format: decode.JSON, Path: path, TimePath: "t"}}
}

func TestSource_Contract(t *testing.T) {
	sensortest.TestSource(t, func(t *testing.T) sensortest.Fixture {
		broker := startMochi(t)
		c := publisher(t, broker)
		src, err := New(broker, []Channel{
			jsonChannel(t, "temperature", "plant/pump-1/env", "temp", "degC"),
			jsonChannel(t, "pressure", "plant/pump-1/env", "bar", "bar"),
			{Machine: "pump-1", Channel: "vibration", Topic: "plant/+/vibration", Unit: unit(t, "g"),
				Decode: decode.Spec{Format: decode.Int16, RateHz: 1000, Scale: 0.001}},
		}, Options{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return sensortest.Fixture{
			Source:   src,
			Channels: []string{"pump-1/temperature", "pump-1/pressure", "pump-1/vibration"},
			Feed: func(ctx context.Context) {
				for i := 0; ctx.Err() == nil; i++ {
					publish(t, c, "plant/pump-1/env", false, fmt.Appendf(nil, `{"t":%d.5,"temp":%d,"bar":3.5}`, 1700000000+i, 20+i%7))
					publish(t, c, "plant/pump-1/vibration", false, []byte{1, 0, 2, 0, byte(i), 0})
				}
			},
		}
	})
}
