package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/link"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
	"github.com/millwright-iot/millwright/fedavg/strictyaml"
	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/hostbus"
	"github.com/millwright-iot/millwright/sensors/mqttsource"
)

// checkPatience bounds each thing that Check tries.
const checkPatience = 10 * time.Second

// Check loads the configuration at path and tries what it names: the broker, with its
// credentials and topics, the coordinator, the buses, the data directory, the port of
// the local interface. good says for people what is well. What is not is in the error, a
// *strictyaml.Problems with line, place and mend; cfg is valid if that is all that is
// wrong, which ok says.
func Check(ctx context.Context, path string) (cfg Config, good []string, ok bool, err error) {
	cfg, doc, err := loadDocument(path)
	if err != nil {
		return cfg, nil, false, err
	}
	t := &tester{cfg: &cfg, problem: doc.Problem}
	var wg sync.WaitGroup
	for _, try := range []func(context.Context){t.directory, t.broker, t.coordinator, t.listen, t.buses} {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, checkPatience)
			defer cancel()
			try(ctx)
		})
	}
	wg.Wait()
	slices.Sort(t.good)
	return cfg, t.good, true, doc.Err()
}

// loadDocument is LoadConfig, which also keeps where everything stands.
func loadDocument(path string) (Config, *strictyaml.Document, error) {
	cfg := DefaultConfig()
	doc, err := strictyaml.Load(path, &cfg)
	if doc == nil {
		return Config{}, nil, err
	}
	cfg.check(doc.Problem)
	if err := doc.Err(); err != nil {
		return Config{}, doc, err
	}
	cfg.fill()
	cfg.checkTogether(doc.Problem)
	cfg.remember(slog.New(slog.DiscardHandler))
	if err := doc.Err(); err != nil {
		return Config{}, doc, err
	}
	return cfg, doc, nil
}

// tester tries what a configuration names.
type tester struct {
	cfg     *Config
	problem problemFunc

	mu   sync.Mutex
	good []string
}

func (t *tester) well(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.good = append(t.good, fmt.Sprintf(format, args...))
}

func (t *tester) bad(path, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.problem(path, format, args...)
}

// directory tries to write where the agent would.
func (t *tester) directory(context.Context) {
	dir := t.cfg.DataDir
	for {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			t.bad("data_dir", "%s is not a directory; name another one", dir)
			return
		}
		if err == nil || filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir) // would be made in its parent
	}
	f, err := os.CreateTemp(dir, ".millwright-check-*")
	if err != nil {
		t.bad("data_dir", "cannot be written by this user: %v; run the check as the agent's user, or give it the directory", err)
		return
	}
	err = errors.Join(f.Close(), os.Remove(f.Name()))
	if err != nil {
		t.bad("data_dir", "%v", err)
		return
	}
	t.well("data_dir: %s can be written", t.cfg.DataDir)
}

// broker connects beside an agent that may run, and subscribes.
func (t *tester) broker(ctx context.Context) {
	c := &t.cfg.MQTT
	if c.Broker == "" {
		return
	}
	o, err := c.Link()
	if err != nil {
		text := err.Error()
		key := "mqtt.broker"
		for _, k := range []string{"mqtt.password_file", "mqtt.tls.ca_file", "mqtt.tls.cert_file"} {
			if strings.HasPrefix(text, "read "+k) {
				key = k
			}
		}
		t.bad(key, "%v", err)
		return
	}
	o.ClientID = fmt.Sprintf("%.40s-check-%d", c.ClientID, os.Getpid())
	conn, err := link.Dial(ctx, o, nil, nil)
	if err != nil {
		t.bad("mqtt.broker", "%s: %v; %s", o.Broker.Redacted(), err, link.Mend(err))
		return
	}
	defer conn.Close()
	t.well("mqtt.broker: %s lets us in", o.Broker.Redacted())
	topics := 0
	for _, m := range slices.Concat(t.cfg.Machines, t.cfg.Patterns) {
		for _, ch := range m.messages() {
			filter := mqttsource.Filter(ch.Topic)
			if err := conn.Subscribe(ctx, filter); err != nil {
				t.bad("machines", "machine %s, channel %s: %v; %s", m.called(), ch.Channel, err, link.Mend(err))
				continue
			}
			topics++
		}
	}
	if topics > 0 {
		t.well("mqtt.broker: %d topics may be read", topics)
	}
}

// coordinator makes the connection with which the agent would begin.
func (t *tester) coordinator(ctx context.Context) {
	c := t.cfg.Coordinator
	if c == nil {
		return
	}
	host, _, _ := net.SplitHostPort(c.Address)
	config := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true} //nolint:gosec // nothing is said; who it is, only a token or a certificate tells
	token, key, err := c.token()
	_, enrolled := os.Stat(filepath.Join(t.cfg.DataDir, "uplink", "identity.pem"))
	switch {
	case err != nil && enrolled != nil:
		t.bad(key, "%v; make one with millwright-coordinator token create", err)
		return
	case err == nil:
		config = fedrpc.EnrolmentTLS(host, token.CASHA256)
	}
	config.NextProtos = []string{"h2"}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", c.Address)
	var pin *fedrpc.PinError
	var noTLS tls.RecordHeaderError
	switch {
	case err == nil:
		_ = conn.Close()
		t.well("coordinator.address: %s answers", c.Address)
	case errors.As(err, &pin):
		t.bad("coordinator.address", "%s: %v; the token is of another coordinator: ask this one for a token", c.Address, err)
	case errors.As(err, &noTLS):
		t.bad("coordinator.address", "%s: %v; it is no coordinator: check the port, 7443 by default", c.Address, err)
	default:
		t.bad("coordinator.address", "%s: %v; check that the coordinator runs, that host and port are right, and that no firewall is between", c.Address, err)
	}
}

// token reads the token to enrol with, and names the key it comes from.
func (c *CoordinatorConfig) token() (token fedrpc.Token, key string, err error) {
	key, text := "coordinator.token", c.Token
	if c.TokenFile != "" {
		key = "coordinator.token_file"
		data, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return token, key, err
		}
		text = strings.TrimSpace(string(data))
	}
	if text == "" || text == "-" {
		return token, key, errors.New("gateway has not enrolled yet and has no token")
	}
	token, err = fedrpc.ParseToken(text)
	return token, key, err
}

// listen tries the port of the local interface; an agent that has it is no problem.
func (t *tester) listen(ctx context.Context) {
	address := t.cfg.API.Listen
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err == nil {
		_ = ln.Close()
		t.well("api.listen: %s is free", address)
		return
	}
	if agentAt(ctx, address) {
		t.well("api.listen: an agent answers at %s", address)
		return
	}
	t.bad("api.listen", "%v; choose another port, or end the program that holds it", err)
}

// agentAt reports whether an agent's local interface answers at address.
func agentAt(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/api/v1/models", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json")
}

// buses looks for the buses and chips, and whether they may be used. It touches none.
func (t *tester) buses(context.Context) {
	used := 0
	for i := range t.cfg.Machines {
		m := &t.cfg.Machines[i]
		for j := range m.Channels {
			ch := &m.Channels[j]
			if ch.Wiring.Bus == "" {
				continue
			}
			if err := t.cfg.present(ch); err != nil {
				t.bad("machines", "machine %s, channel %s: %v", m.Name, ch.Name, err)
			} else {
				used++
			}
		}
	}
	if used > 0 {
		t.well("machines: %d channels have their bus, and it may be used", used)
	}
}

// present reports why the bus or chip of a channel cannot be used.
func (c *Config) present(ch *ChannelConfig) error {
	w := &ch.Wiring
	want, kind := w.Device, string(w.Bus)
	switch w.Bus {
	case chips.I2C:
		n, err := hostbus.ParseI2C(w.Device)
		if err != nil {
			return err
		}
		want = fmt.Sprintf("I2C%d", n)
	case chips.SPI:
		bus, cs, err := hostbus.ParseSPI(w.Device)
		if err != nil {
			return err
		}
		want = fmt.Sprintf("SPI%d.%d", bus, cs)
	}
	var there []string
	for _, f := range (hostbus.Host{Root: c.Buses.IIO.Root}).List() {
		if f.Kind != kind {
			continue
		}
		if f.Name != want && f.About != want {
			there = append(there, f.Name)
			continue
		}
		if f.Access != "" {
			return errors.New(f.Access)
		}
		return nil
	}
	if len(there) == 0 {
		return fmt.Errorf("find %s: there is nothing on %s on this box; enable the bus, load its driver, and see millwright-agent sensors", w.Device, kind)
	}
	return fmt.Errorf("find %s: there is %s; correct device, or check the wiring", w.Device, strings.Join(there, ", "))
}
