package agent

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/link"
	"github.com/millwright-iot/millwright/agent/internal/pipeline"
	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource"
)

// counter is shared by goroutines.
type counter = atomic.Int64

// notifier tells whoever asked that something changed.
type notifier struct {
	mu sync.Mutex
	ch chan struct{} // nil while nobody asked, so that a window allocates nothing
}

func (n *notifier) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *notifier) notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}

// Link makes connection options of the configuration; files it names must be readable,
// and are read again at each connection.
func (c *MQTTConfig) Link() (link.Options, error) {
	o := link.Options{Login: c.login}
	var err error
	if o.Broker, err = mqttsource.ParseBroker(c.Broker); err != nil {
		return o, err
	}
	_, err = c.login()
	return o, err
}

// login reads the files that say who the agent is.
func (c *MQTTConfig) login() (mqttsource.Login, error) {
	o := mqttsource.Login{Username: c.Username}
	broker, err := mqttsource.ParseBroker(c.Broker)
	if err != nil {
		return o, err
	}
	if c.PasswordFile != "" {
		text, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return o, fmt.Errorf("read mqtt.password_file: %w", err)
		}
		o.Password, _, _ = strings.Cut(string(text), "\n")
		if o.Password = strings.TrimSuffix(o.Password, "\r"); o.Password == "-" {
			o.Password = "" // what systemd hands over for a credential that is not there
		}
	}
	if c.TLS == nil {
		return o, nil
	}
	o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: broker.Hostname()}
	if c.TLS.CAFile != "" {
		pem, err := os.ReadFile(c.TLS.CAFile)
		if err != nil {
			return o, fmt.Errorf("read mqtt.tls.ca_file: %w", err)
		}
		o.TLS.RootCAs = x509.NewCertPool()
		if !o.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return o, fmt.Errorf("read mqtt.tls.ca_file %q: it holds no PEM certificate", c.TLS.CAFile)
		}
	}
	if c.TLS.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.TLS.CertFile, c.TLS.KeyFile)
		if err != nil {
			return o, fmt.Errorf("read mqtt.tls.cert_file and key_file: %w", err)
		}
		o.TLS.Certificates = []tls.Certificate{pair}
	}
	return o, nil
}

// Try makes a machine of the configuration for trying out: it keeps nothing. With
// channels it has only those. c is filled in.
func (m *MachineConfig) Try(channels []string, listener pipeline.Listener, log *slog.Logger) (*pipeline.Machine, error) {
	c := m.pipeline(0)
	if channels != nil {
		maps.DeleteFunc(c.Channels, func(name string, _ sensors.Quantity) bool { return !slices.Contains(channels, name) })
	}
	return pipeline.New(c, forgetful{}, listener, "", alarm.State{}, log)
}

// forgetful is a memory that keeps nothing.
type forgetful struct{}

func (forgetful) Add(samples.Key, samples.Kind, time.Time, []float64) {}
func (forgetful) Observe(samples.Key, time.Time, []float64, samples.Prediction) {
}
func (forgetful) Each(samples.Key, samples.Kind, func(samples.Row) bool) error { return nil }
func (forgetful) Rows(samples.Key, samples.Kind) ([]samples.Row, error)        { return nil, nil }
func (forgetful) Newest(samples.Key, samples.Kind, int) ([]samples.Row, error) { return nil, nil }
func (forgetful) Count(samples.Key, samples.Kind) int                          { return 0 }
func (forgetful) Forget(samples.Key, samples.Kind) error                       { return nil }

// Messages lists the channels of the machine that come from the broker.
func (m *MachineConfig) Messages() []mqttsource.Channel { return m.messages() }

func (m *MachineConfig) pipeline(maxRecent int) pipeline.Config {
	return pipeline.Config{
		Name: m.Name, Class: m.Class, Channels: m.quantities(), Contexts: m.contexts(),
		Window: m.Window, Baseline: m.Baseline, StaleAfter: m.StaleAfter, MaxRecent: maxRecent,
	}
}
