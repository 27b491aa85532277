package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/millwright-iot/millwright/agent"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// patience is how long a test waits for something to happen at all.
const patience = 90 * time.Second

// web keeps no connections, so that none is left when a test ends.
var web = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// getJSON reads a document of an API.
func getJSON(url string, into any) error {
	resp, err := web.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", url, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// eventually waits until cond holds; details say more about a failure.
func eventually(t *testing.T, what string, cond func() bool, details ...func() string) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			for _, d := range details {
				t.Log(d())
			}
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// plant is a broker with sensors of many machines on it.
type plant struct {
	t      *testing.T
	broker string
	client paho.Client

	mu     sync.Mutex
	alarms []string // payloads of alarm topics
}

func newPlant(t *testing.T) *plant {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(auth.AllowHook), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.AddListener(listeners.NewNet("loopback", l)); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	p := &plant{t: t, broker: "tcp://" + l.Addr().String()}
	p.client = paho.NewClient(paho.NewClientOptions().AddBroker(p.broker).SetAutoReconnect(false))
	p.wait(p.client.Connect())
	t.Cleanup(func() { p.client.Disconnect(100) })
	p.wait(p.client.Subscribe("millwright/+/+/alarm", 1, func(_ paho.Client, m paho.Message) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.alarms = append(p.alarms, m.Topic()+" "+string(m.Payload()))
	}))
	return p
}

func (p *plant) wait(token paho.Token) {
	p.t.Helper()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		p.t.Fatalf("MQTT: %v", token.Error())
	}
}

// epoch is the event time at which all machines begin. It is the same for every
// test of a run, and early enough that no data lie in the future.
var epoch = time.Now().Add(-12 * time.Hour).Truncate(time.Hour)

const vibrationHz = 32

// history is a machine's sensors, generated from its name: each second of event
// time a message with temperature and pressure and one with a burst of vibration.
type history struct {
	p      *plant
	name   string
	rng    *rand.Rand
	second int
}

func (p *plant) machine(name string) *history {
	return &history{p: p, name: name, rng: rand.New(rand.NewPCG(uint64(len(name)), uint64(name[len(name)-1])))}
}

// samplesPerSecond is how many samples a history publishes for a second.
const samplesPerSecond = 2 + vibrationHz

// publish sends the next seconds, the pressure off by so many bar.
func (h *history) publish(seconds int, pressureOffBar float64) {
	h.p.t.Helper()
	var tokens []paho.Token
	for range seconds {
		at := epoch.Add(time.Duration(h.second) * time.Second).Unix()
		load := math.Sin(float64(h.second) / 9)
		var burst strings.Builder
		for i := range vibrationHz {
			if i > 0 {
				burst.WriteByte(',')
			}
			fmt.Fprintf(&burst, "%.4f", (1+0.2*load)*math.Sin(float64(i)*1.3)+0.1*h.rng.NormFloat64())
		}
		tokens = append(tokens,
			h.p.client.Publish("plant/"+h.name+"/process", 1, false, fmt.Sprintf(`{"ts":%d,"temp":%.4f,"press":%.4f}`,
				at, 60+load+0.1*h.rng.NormFloat64(), 4+0.2*load+0.05*h.rng.NormFloat64()+pressureOffBar)),
			h.p.client.Publish("plant/"+h.name+"/vibration", 1, false, fmt.Sprintf(`{"ts":%d,"x":[%s]}`, at, &burst)))
		h.second++
	}
	for _, token := range tokens {
		h.p.wait(token)
	}
}

const (
	windowSeconds = 2
	baseline      = 30 // windows
)

// jobs are one that raises alarms and one that learns beside it.
func jobs(rounds job.RoundPolicy) []job.Spec {
	live := job.Spec{
		Name: "pump-gaussian", Class: "pump",
		Features: job.FeatureSpec{Window: windowSeconds * time.Second, Channels: []job.ChannelFeatures{
			{Channel: "vibration", Features: []string{"rms", "crest"}},
			{Channel: "temperature", Features: []string{"mean"}},
			{Channel: "pressure", Features: []string{"mean"}},
		}},
		Model:  model.Spec{Kind: model.KindGaussian},
		Alarm:  job.AlarmSpec{Baseline: baseline},
		Rounds: rounds,
	}
	shadow := live
	shadow.Name, shadow.Role = "pump-autoencoder", job.Shadow
	shadow.Model = model.Spec{Kind: model.KindAutoencoder}
	return []job.Spec{live.WithDefaults(), shadow.WithDefaults()}
}

// gateway is an agent that can be stopped and started again.
type gateway struct {
	t    *testing.T
	cfg  agent.Config
	log  *logBook
	url  string // of its API, while it runs
	stop func()
}

// newGateway configures an agent with machines of class pump.
func newGateway(t *testing.T, p *plant, name, dir, coordinator, tokenFile string, machines ...string) *gateway {
	t.Helper()
	cfg := agent.DefaultConfig()
	cfg.Gateway, cfg.DataDir, cfg.Version = name, filepath.Join(dir, name), "e2e"
	cfg.MQTT.Broker, cfg.API.Listen = p.broker, "127.0.0.1:0"
	cfg.Coordinator = &agent.CoordinatorConfig{Address: coordinator, TokenFile: tokenFile}
	for _, m := range machines {
		scalar := func(channel, unit, path string) agent.ChannelConfig {
			return agent.ChannelConfig{Name: channel, Topic: "plant/" + m + "/process", Unit: unit,
				Decode: decode.Spec{Format: decode.JSON, Path: path, TimePath: "ts", TimeFormat: decode.TimeSeconds}}
		}
		cfg.Machines = append(cfg.Machines, agent.MachineConfig{Name: m, Class: "pump", Channels: []agent.ChannelConfig{
			scalar("temperature", "degC", "temp"), scalar("pressure", "bar", "press"),
			{Name: "vibration", Topic: "plant/" + m + "/vibration", Unit: "m/s2", Decode: decode.Spec{
				Format: decode.JSONArray, Path: "x", RateHz: vibrationHz, TimePath: "ts", TimeFormat: decode.TimeSeconds}},
		}})
	}
	return &gateway{t: t, cfg: cfg, log: &logBook{}}
}

// start runs the agent until stop.
func (g *gateway) start() {
	g.t.Helper()
	a, err := agent.New(g.cfg, slog.New(slog.NewTextHandler(g.log, nil)))
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	g.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				g.t.Errorf("agent %s: %v", g.cfg.Gateway, err)
			}
		case <-time.After(patience):
			g.t.Errorf("agent %s did not stop", g.cfg.Gateway)
		}
		if g.t.Failed() {
			g.t.Logf("log of agent %s ends with\n%s", g.cfg.Gateway, g.log.tail())
		}
	})
	g.t.Cleanup(g.stop)
	bound, unbound := context.WithTimeout(context.Background(), patience)
	defer unbound()
	address, err := a.APIAddress(bound)
	if err != nil {
		g.t.Fatalf("agent %s: %v", g.cfg.Gateway, err)
	}
	g.url = "http://" + address
}

// agentStatus is what the tests read of an agent's status.
type agentStatus struct {
	Broker struct {
		Reading bool `json:"reading"`
	} `json:"broker"`
	Coordinator struct {
		Connected bool `json:"connected"`
		Outbox    int  `json:"outbox_updates"`
	} `json:"coordinator"`
	Samples struct {
		Received int64            `json:"received_total"`
		Used     int64            `json:"used_total"`
		Stored   int64            `json:"stored"`
		Dropped  map[string]int64 `json:"dropped_total"`
	} `json:"samples"`
	Messages struct {
		Received int64 `json:"received_total"`
		Used     int64 `json:"used_total"`
	} `json:"messages"`
}

func (g *gateway) status() (s agentStatus) {
	g.t.Helper()
	if err := getJSON(g.url+"/api/v1/status", &s); err != nil {
		g.t.Fatal(err)
	}
	return s
}

// logBook keeps log lines.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// tail is the end of the log.
func (l *logBook) tail() string {
	s := l.String()
	return s[max(0, len(s)-4000):]
}
