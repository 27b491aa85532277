package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/strictyaml"
)

// Config sets up a coordinator. DefaultConfig documents the defaults; LoadConfig
// starts from them.
type Config struct {
	// DataDir holds everything the coordinator must not forget: its store, its
	// certificate authority and the socket of its command line. Required.
	DataDir string `yaml:"data_dir"`
	// Listen is where agents connect (gRPC over TLS). Default ":7443".
	Listen string `yaml:"listen"`
	// Hosts are the names and IP addresses under which agents reach Listen; they
	// go into the server's certificate. Default localhost, 127.0.0.1 and this
	// machine's host name.
	Hosts  []string  `yaml:"hosts"`
	Web    WebConfig `yaml:"web"`
	Limits Limits    `yaml:"limits"`
	Keep   Keep      `yaml:"keep"`
	// LogLevel is debug, info, warn or error. Default info.
	LogLevel string `yaml:"log_level"`
	// Version of the program, told to agents and shown on the page; set by the
	// command. Default "devel".
	Version string `yaml:"-"`
	// Jobs is what is federated. Without a job agents enrol and are watched only.
	Jobs []job.Spec `yaml:"jobs"`
}

// WebConfig sets up the page, its JSON API, /metrics and /healthz.
type WebConfig struct {
	// Listen is where browsers connect. There is no login: keep it on loopback
	// or behind a proxy that has one. Default "127.0.0.1:7480".
	Listen string `yaml:"listen"`
}

// Limits bound what agents can make the coordinator spend.
type Limits struct {
	// MaxUpdateBytes is the largest update accepted. Default 512MiB.
	MaxUpdateBytes strictyaml.Size `yaml:"max_update_bytes"`
	// MaxAgents is how many gateways may be connected at once. Default 1000.
	MaxAgents int `yaml:"max_agents"`
	// MaxQueuedMessages is how many messages may wait for a gateway that reads
	// slowly before its session is closed. Default 64.
	MaxQueuedMessages int `yaml:"max_queued_messages"`
	// RetryPause is the wait before an abandoned round is tried again; it
	// doubles with each attempt, up to 5m. Default 5s.
	RetryPause time.Duration `yaml:"retry_pause"`
	// StopGrace is how long a stop waits for calls under way. Default 5s.
	StopGrace time.Duration `yaml:"stop_grace"`
}

// Keep bounds the history; what falls out of it is deleted from the store.
type Keep struct {
	Models int `yaml:"models"` // versions a job, at least 2. Default 20
	Rounds int `yaml:"rounds"` // rounds a job, at least 1. Default 200
	Alarms int `yaml:"alarms"` // alarm episodes, at least 1. Default 1000
}

// Level is LogLevel as slog knows it.
func (c Config) Level() slog.Level {
	return logLevels[c.LogLevel]
}

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// DefaultConfig returns a configuration that lacks only jobs and a data_dir.
func DefaultConfig() Config {
	hosts := []string{"localhost", "127.0.0.1"}
	if name, err := os.Hostname(); err == nil && name != "" && !slices.Contains(hosts, name) {
		hosts = append(hosts, name)
	}
	return Config{
		Listen: ":7443",
		Hosts:  hosts,
		Web:    WebConfig{Listen: "127.0.0.1:7480"},
		Limits: Limits{
			MaxUpdateBytes: 512 << 20, MaxAgents: 1000, MaxQueuedMessages: 64,
			RetryPause: 5 * time.Second, StopGrace: 5 * time.Second,
		},
		Keep:     Keep{Models: 20, Rounds: 200, Alarms: 1000},
		LogLevel: "info",
		Version:  "devel",
	}
}

// LoadConfig reads the YAML file at path over DefaultConfig. When something is
// wrong with its content the error is a *strictyaml.Problems that lists all of
// it with line numbers.
func LoadConfig(path string) (Config, error) {
	cfg := DefaultConfig()
	doc, err := strictyaml.Load(path, &cfg)
	if doc == nil {
		return Config{}, err
	}
	for _, p := range cfg.check() {
		doc.Problem(p.path, "%s", p.message)
	}
	if err := doc.Err(); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// Validate returns everything that is wrong with c, joined into one error.
func (c *Config) Validate() error {
	var errs []error
	for _, p := range c.check() {
		errs = append(errs, fmt.Errorf("configuration: %s: %s", p.path, p.message))
	}
	return errors.Join(errs...)
}

// problem is one thing wrong, at the place where the YAML file has it.
type problem struct{ path, message string }

func (c *Config) check() []problem {
	var found []problem
	bad := func(path, format string, args ...any) {
		found = append(found, problem{path, fmt.Sprintf(format, args...)})
	}
	if c.DataDir == "" {
		bad("data_dir", "is missing; name a directory that only the coordinator's user can read, e.g. /var/lib/millwright-coordinator")
	} else if strings.HasPrefix(c.DataDir, "~") {
		bad("data_dir", "%q is not expanded; write the path in full", c.DataDir)
	}
	if err := checkAddress(c.Listen); err != nil {
		bad("listen", "%v", err)
	}
	if err := checkAddress(c.Web.Listen); err != nil {
		bad("web.listen", "%v", err)
	}
	if len(c.Hosts) == 0 {
		bad("hosts", "is empty; name at least one host name or IP address that agents use")
	}
	for i, h := range c.Hosts {
		if h == "" || strings.ContainsAny(h, " \t/") || (strings.Contains(h, ":") && net.ParseIP(h) == nil) {
			bad(fmt.Sprintf("hosts[%d]", i), "%q is no host name or IP address (no port, no scheme)", h)
		}
	}
	atLeast := func(path string, got, least int) {
		if got < least {
			bad(path, "must be at least %d, got %d", least, got)
		}
	}
	if c.Limits.MaxUpdateBytes < 1<<10 || c.Limits.MaxUpdateBytes > 1<<30 {
		bad("limits.max_update_bytes", "must be from 1KiB to 1GiB, got %v", c.Limits.MaxUpdateBytes)
	}
	atLeast("limits.max_agents", c.Limits.MaxAgents, 1)
	atLeast("limits.max_queued_messages", c.Limits.MaxQueuedMessages, 8)
	if c.Limits.RetryPause < 0 {
		bad("limits.retry_pause", "must not be negative, got %v", c.Limits.RetryPause)
	}
	if c.Limits.StopGrace < 0 {
		bad("limits.stop_grace", "must not be negative, got %v", c.Limits.StopGrace)
	}
	if _, ok := logLevels[c.LogLevel]; !ok {
		bad("log_level", "%q is none of debug, info, warn, error", c.LogLevel)
	}
	atLeast("keep.models", c.Keep.Models, 2)
	atLeast("keep.rounds", c.Keep.Rounds, 1)
	atLeast("keep.alarms", c.Keep.Alarms, 1)
	return append(found, checkJobs(c.Jobs)...)
}

// checkAddress wants host:port with a numeric port; an empty host means all
// interfaces.
func checkAddress(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is no address; write host:port, e.g. 127.0.0.1:7480, or :7443 for every interface", addr)
	}
	if n, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q has no usable port; write a number from 0 (any free port) to 65535", addr)
	}
	return nil
}
