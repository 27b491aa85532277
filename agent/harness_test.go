package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// startBroker starts an embedded broker; address "" takes a free port.
func startBroker(t testing.TB, address string) string {
	t.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
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
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

// sensor publishes rows of a machine as JSON with event times, and hears results.
type sensor struct {
	t      testing.TB
	client mqtt.Client
	rng    *rand.Rand
	now    time.Time // event time of the next row

	mu      sync.Mutex
	results map[string][][]byte // payloads by topic
}

func newSensor(t testing.TB, broker string) *sensor {
	t.Helper()
	s := &sensor{
		t: t, rng: rand.New(rand.NewPCG(1, 2)), results: map[string][][]byte{},
		now: time.Now().Add(-6 * time.Hour).Truncate(time.Minute),
	}
	s.client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + broker).SetAutoReconnect(false))
	if token := s.client.Connect(); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatalf("connect: %v", token.Error())
	}
	t.Cleanup(func() { s.client.Disconnect(100) })
	token := s.client.Subscribe("millwright/#", 1, func(_ mqtt.Client, m mqtt.Message) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.results[m.Topic()] = append(s.results[m.Topic()], bytes.Clone(m.Payload()))
	})
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatalf("subscribe: %v", token.Error())
	}
	return s
}

func (s *sensor) send(topic, payload string) {
	s.t.Helper()
	if token := s.client.Publish(topic, 1, false, payload); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		s.t.Fatalf("publish: %v", token.Error())
	}
}

// rows sends so many seconds of data, one row a second, pressure raised by offset bar.
func (s *sensor) rows(machine string, seconds int, offset float64) {
	s.t.Helper()
	for range seconds {
		s.send("plant/"+machine, fmt.Sprintf(`{"ts": %d, "temp": %g, "press": %g}`, s.now.Unix(),
			60+0.1*s.rng.NormFloat64(), 4+0.05*s.rng.NormFloat64()+offset))
		s.now = s.now.Add(time.Second)
	}
}

// heard returns the documents published on a topic so far.
func (s *sensor) heard(topic string) []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	var docs []map[string]any
	for _, payload := range s.results[topic] {
		var doc map[string]any
		if err := json.Unmarshal(payload, &doc); err != nil {
			s.t.Errorf("result on %s is not JSON: %v", topic, err)
		}
		docs = append(docs, doc)
	}
	return docs
}

// testConfig is an agent with machines of class pump, each with a temperature and a
// pressure channel on one JSON topic, windows of 5 s and a baseline of 20 windows.
func testConfig(t testing.TB, broker string, machines ...string) Config {
	cfg := DefaultConfig()
	cfg.Gateway, cfg.DataDir = "gw1", t.TempDir()
	cfg.MQTT.Broker = "tcp://" + broker
	cfg.API.Listen = "127.0.0.1:0"
	cfg.Version = "test"
	for _, name := range machines {
		channel := func(ch, unit, path string) ChannelConfig {
			return ChannelConfig{Name: ch, Topic: "plant/" + name, Unit: unit,
				Decode: decode.Spec{Format: decode.JSON, Path: path, TimePath: "ts", TimeFormat: decode.TimeSeconds}}
		}
		cfg.Machines = append(cfg.Machines, MachineConfig{
			Name: name, Class: "pump", Window: 5 * time.Second, Baseline: 20,
			Channels: []ChannelConfig{channel("temperature", "degC", "temp"), channel("pressure", "bar", "press")},
		})
	}
	return cfg
}

// running is an agent at work.
type running struct {
	*Agent
	t    testing.TB
	url  string
	log  *lockedBuffer
	stop func()
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs an agent and waits for its local interface.
func start(t testing.TB, cfg Config) *running {
	t.Helper()
	r := startBlind(t, cfg)
	bound, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	address, err := r.APIAddress(bound)
	if err != nil {
		t.Fatal(err)
	}
	r.url = "http://" + address
	return r
}

// startAlarmed starts an agent whose one machine, pump-1, has its baseline and an alarm.
func startAlarmed(t testing.TB) (Config, *sensor, *running) {
	t.Helper()
	broker := startBroker(t, "")
	s := newSensor(t, broker)
	cfg := testConfig(t, broker, "pump-1")
	r := start(t, cfg)
	eventually(t, "broker connected", func() bool { return r.messages().Connected })
	s.rows("pump-1", 110, 0)
	s.rows("pump-1", 40, 1)
	eventually(t, "alarm", func() bool { return r.machine("pump-1")["alarm"] == true })
	return cfg, s, r
}

// startBlind runs an agent whose local interface may never come.
func startBlind(t testing.TB, cfg Config) *running {
	t.Helper()
	r := &running{t: t, log: &lockedBuffer{}}
	var err error
	r.Agent, err = New(cfg, slog.New(slog.NewTextHandler(r.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("agent did not stop")
		}
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
	t.Cleanup(r.stop)
	return r
}

// get reads a document of the local interface.
func (r *running) get(path string) (status int, doc map[string]any) {
	r.t.Helper()
	status, body := r.fetch(path)
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		r.t.Fatalf("GET %s: %v: %s", path, err, body)
	}
	return status, doc
}

func (r *running) fetch(path string) (int, string) {
	r.t.Helper()
	resp, err := http.Get(r.url + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// eventually waits for what other goroutines bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("did not happen: %s", what)
}

func (r *running) machine(name string) map[string]any {
	r.t.Helper()
	_, doc := r.get("/api/v1/machines/" + name)
	return doc
}

// settled waits until every sample received is used, stored or dropped, and checks
// that the counts add up.
func (r *running) settled(messages int64) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%d messages arrive", messages), func() bool {
		st := r.messages()
		return st.Received >= messages && st.Queued == 0
	})
	eventually(r.t, "machines are idle", func() bool {
		for _, m := range r.machines {
			if _, idle := m.Beat(); !idle {
				return false
			}
		}
		return true
	})
	c := r.counts()
	dropped := int64(0)
	for _, n := range c.Dropped {
		dropped += n
	}
	if c.Received != c.Used+c.Stored+dropped {
		r.t.Errorf("%d samples received, but %d used, %d stored and %d dropped: %v", c.Received, c.Used, c.Stored, dropped, c.Dropped)
	}
}

// text joins the problems of an error for comparison.
func text(err error) string {
	if err == nil {
		return ""
	}
	return strings.TrimSpace(err.Error())
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }
