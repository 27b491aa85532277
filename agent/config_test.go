package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millwright-iot/millwright/sensors/chips"
)

// good is a configuration that each case of TestLoadConfig_Mistakes spoils.
const good = `gateway: gw1
mqtt:
  broker: tcp://127.0.0.1:1883
machines:
  - name: pump-1
    class: pump
    channels:
      - name: temperature
        topic: p1/t
        unit: degC
        format: scalar
      - name: vibration
        topic: p1/v
        unit: g
        format: int16
        rate_hz: 3200
`

func load(t testing.TB, body string) (Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("a.yaml", []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadConfig("a.yaml")
}

func TestLoadConfig_Defaults(t *testing.T) {
	cfg, err := load(t, good)
	if err != nil {
		t.Fatal(err)
	}
	m := cfg.Machines[0]
	if cfg.DataDir != "/var/lib/millwright" || cfg.LogLevel != "info" || !cfg.MQTT.Publish || cfg.MQTT.MaxPayload != 4<<20 ||
		cfg.MQTT.ClientID != "millwright-gw1" || cfg.API.Listen != "127.0.0.1:7420" || cfg.Store.MaxSamples != 5000 ||
		cfg.Store.MaxSize != 64<<20 || m.Window != 10*time.Second || m.Baseline != 300 || cfg.Coordinator != nil {
		t.Errorf("defaults are %+v", cfg)
	}
}

func TestLoadConfig_Mistakes(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		want           string
	}{
		{"misspelt key", "    class: pump\n", "    clas: pump\n", `a.yaml:5: machines[0].class: is missing; use letters, digits, '-', '_' and '.', starting with a letter or digit, at most 63
a.yaml:6: machines[0].clas: unknown key; did you mean "class"?`},
		{"channel without unit", "        unit: g\n", "", `a.yaml:12: machines[0].channels[1].unit: channel has no unit; name one, such as "g", "m/s2", "degC" or "bar"`},
		{"unit in the wrong case", "unit: degC", "unit: degc", `a.yaml:10: machines[0].channels[0].unit: unknown unit "degc"; did you mean "degC"?`},
		{"burst without rate", "        rate_hz: 3200\n", "", `a.yaml:12: machines[0].channels[1].rate_hz: missing; format int16 needs the sampling rate in Hz`},
		{"rate of a single value", "format: scalar", "format: scalar\n        rate_hz: 5", `a.yaml:12: machines[0].channels[0].rate_hz: has no meaning for format scalar, which is one value a message; remove it, or use json_array, int16 or float32`},
		{"path of a scalar", "format: scalar", "format: scalar\n        path: a.b", `a.yaml:12: machines[0].channels[0].path: format scalar has no such `},
		{"json without path", "format: scalar", "format: json", `a.yaml:8: machines[0].channels[0].path: missing; name the value, as in "ENERGY.Power", or use format scalar for a payload that is only a number`},
		{"unknown format", "format: scalar", "format: skalar", `a.yaml:11: machines[0].channels[0].format: unknown format "skalar"; one of scalar, `},
		{"time format without path", "format: scalar", "format: json\n        path: v\n        time_format: ms", `a.yaml:13: machines[0].channels[0].time_format: is set without time_path; name where the time stands, or remove it`},
		{"channel twice", "name: vibration", "name: temperature", `a.yaml:12: machines[0].channels[1].name: "temperature" is already the name of channels[0]; names must be unique on a machine`},
		{"dot in a channel", "name: vibration", "name: vib.x", `a.yaml:12: machines[0].channels[1].name: "vib.x" contains a '.', which separates channel and feature; use '-' or '_'`},
		{"wildcard", "topic: p1/v", "topic: p1/+", `a.yaml:13: machines[0].channels[1].topic: "p1/+" contains a wildcard; one channel reads one topic`},
		{"no topic", "        topic: p1/v\n", "", `a.yaml:12: machines[0].channels[1].topic: is missing; name the MQTT topic the sensor publishes to, or the bus of the chip`},
		{"bad gateway", "gateway: gw1", "gateway: gw 1", `a.yaml:1: gateway: "gw 1" is not a name; use letters, digits, '-', '_' and '.', starting with a letter or digit, at most 63`},
		{"no broker", "  broker: tcp://127.0.0.1:1883\n", "  username: u\n", `a.yaml:3: mqtt.broker: is missing; name one, such as tcp://127.0.0.1:1883`},
		{"broker without scheme", "tcp://127.0.0.1:1883", "127.0.0.1:1883", `a.yaml:3: mqtt.broker: "127.0.0.1:1883" is not a broker's address; use tcp://host:port or tls://host:port`},
		{"credentials in the broker", "tcp://127.0.0.1:1883", "tcp://u:secret@h:1883", `a.yaml:3: mqtt.broker: holds credentials; use username and password_file, so that they are not shown`},
		{"password alone", "tcp://127.0.0.1:1883", "tcp://127.0.0.1:1883\n  password_file: /p", `a.yaml:4: mqtt.password_file: is set without username`},
		{"TLS on a plain broker", "tcp://127.0.0.1:1883", "tcp://h:1883\n  tls: {ca_file: x}", `a.yaml:4: mqtt.tls: is set but broker is not tls://; change the broker to tls://h:1883`},
		{"API for everybody", "machines:", "api: {listen: \"0.0.0.0:7420\", pprof: true}\nmachines:", `a.yaml:4: api.listen: 0.0.0.0:7420 is not a loopback address and the interface has no authentication; use 127.0.0.1, or set api.allow_remote: true
a.yaml:4: api.pprof: is only served on a loopback address, and api.listen is 0.0.0.0:7420`},
		{"API without port", "machines:", "api: {listen: localhost}\nmachines:", `a.yaml:4: api.listen: "localhost" is not host:port`},
		{"decimal size", "machines:", "store: {max_size: 64MB}\nmachines:", `a.yaml:4: store.max_size: want a size such as 512KiB, 64MiB or 2GiB, got "64MB"`},
		{"store too large", "machines:", "store: {max_size: 2GiB}\nmachines:", `a.yaml:4: store.max_size: is 2GiB; it must lie between 1MiB and 256MiB`},
		{"duration without unit", "    class: pump\n", "    class: pump\n    window: 10\n", `a.yaml:7: machines[0].window: `},
		{"short baseline", "    class: pump\n", "    class: pump\n    baseline: 3\n", `a.yaml:7: machines[0].baseline: is 3; fewer than 10 windows say nothing about what is normal`},
		{"two tokens", "machines:", "coordinator: {address: \"h:1\", token_file: f, token: \"mw1.a.b." + strings.Repeat("0", 64) + "\"}\nmachines:", `a.yaml:4: coordinator.token_file: excludes token; keep one of them`},
		{"half a token", "machines:", "coordinator: {address: \"h:1\", token: mw1.a}\nmachines:", `a.yaml:4: coordinator.token: token `},
		{"coordinator without port", "machines:", "coordinator: {address: hq}\nmachines:", `a.yaml:4: coordinator.address: "hq" is not host:port`},
		{"discovery with a name", "  - name: pump-1\n", "  - name: pump-1\n    discover: 300\n", `a.yaml:5: machines[0].name: excludes discover; keep one of them
a.yaml:6: machines[0].discover: is 300; it is how many machines may be discovered, at most 256
a.yaml:10: machines[0].channels[0].topic: "p1/t" does not say where the machine's name stands; write {machine} there
a.yaml:14: machines[0].channels[1].topic: "p1/v" does not say where the machine's name stands; write {machine} there`},
		{"unknown level", "machines:", "log_level: loud\nmachines:", `a.yaml:4: log_level: "loud" is not a level; use debug, info, warn or error`},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := strings.Replace(good, c.old, c.new, 1)
			if body == good {
				t.Fatal("the case changes nothing")
			}
			_, err := load(t, body)
			got := text(err)
			if prefix := strings.HasSuffix(c.want, " "); prefix && !strings.HasPrefix(got, c.want) || !prefix && got != c.want {
				t.Error(cmp.Diff(c.want, got))
			}
		})
	}
}

func TestLoadConfig_AllMistakesAtOnce(t *testing.T) {
	_, err := load(t, strings.NewReplacer("degC", "degX", "unit: g\n", "unit: gee\n", "name: pump-1", "nam: pump-1").Replace(good))
	got := text(err)
	for _, want := range []string{"a.yaml:5: machines[0].nam: unknown key", "a.yaml:10: ", "a.yaml:14: ", "machines[0].name: is missing"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if _, err := load(t, ""); text(err) == "" {
		t.Error("an empty file is a configuration")
	}
	if _, err := LoadConfig("absent.yaml"); err == nil || !strings.Contains(err.Error(), "absent.yaml") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestConfig_ValidateNamesThePath(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Gateway, cfg.MQTT.Broker = "gw1", "tcp://h:1"
	cfg.Machines = []MachineConfig{{Name: "a", Class: "b"}, {Name: "a", Class: "b"}}
	want := `configuration: machines[0].channels: lists no channel; list at least one
configuration: machines[1].name: "a" is already the name of machines[0]; names must be unique
configuration: machines[1].channels: lists no channel; list at least one`
	if got := text(cfg.Validate()); got != want {
		t.Error(cmp.Diff(want, got))
	}
	if _, err := New(cfg, nil); err == nil {
		t.Error("an agent was made of a bad configuration")
	}
}

func TestNew_FilesThatTheConfigurationNames(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.pem")
	if err := os.WriteFile(bad, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"read mqtt.password_file: open": func(c *Config) { c.MQTT.Username, c.MQTT.PasswordFile = "u", filepath.Join(dir, "absent") },
		"read mqtt.tls.ca_file: open": func(c *Config) {
			c.MQTT.Broker, c.MQTT.TLS = "tls://h:1", &MQTTTLSConfig{CAFile: filepath.Join(dir, "absent")}
		},
		"it holds no PEM certificate": func(c *Config) {
			c.MQTT.Broker, c.MQTT.TLS = "tls://h:1", &MQTTTLSConfig{CAFile: bad}
		},
		"read mqtt.tls.cert_file and key_file": func(c *Config) {
			c.MQTT.Broker, c.MQTT.TLS = "tls://h:1", &MQTTTLSConfig{CertFile: bad, KeyFile: bad}
		},
	} {
		cfg := testConfig(t, "127.0.0.1:1", "pump-1")
		change(&cfg)
		if _, err := New(cfg, quietLog()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestExampleConfigurations(t *testing.T) {
	root, err := filepath.Abs("../firmware-configs")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "boards", "*", "agent.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no example found: %v", err)
	}
	for _, f := range files {
		cfg, err := LoadConfig(f)
		if err != nil {
			t.Error(err)
			continue
		}
		cfg.DataDir = t.TempDir()
		if cfg.MQTT.PasswordFile != "" {
			cfg.MQTT.PasswordFile = f // any file that is there
		}
		a, err := New(cfg, quietLog())
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		if err := a.store.Close(); err != nil {
			t.Error(err)
		}
		// What the comments offer must load too.
		body, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		offered := strings.NewReplacer(
			"# coordinator:", "coordinator:", "#   address:", "  address:", "#   token_file:", "  token_file:",
			"  # username:", "  username:", "  # password_file:", "  password_file:", "  # home_assistant:", "  home_assistant:",
			"  # sparkplug:", "  sparkplug:", "      # - {", "      - {",
		).Replace(string(body))
		cfg, err = load(t, offered)
		if err != nil || cfg.MQTT.PasswordFile == "" || cfg.MQTT.Sparkplug == nil {
			t.Errorf("%s with its comments in force: %v", f, err)
		}
		buses := 0
		for _, kind := range []chips.Bus{chips.I2C, chips.SPI, chips.OneWire, chips.IIO} {
			buses += len(cfg.chips(kind))
		}
		if buses == 0 {
			t.Errorf("%s shows no chip on a bus", f)
		}
	}
}

func TestView_ConfigShowsNoSecrets(t *testing.T) {
	cfg := testConfig(t, "127.0.0.1:1", "pump-1")
	secret := "mw1.id.verysecret." + strings.Repeat("0", 64)
	cfg.Coordinator = &CoordinatorConfig{Address: "127.0.0.1:1", Token: secret}
	r := start(t, cfg)
	_, body := r.fetch("/api/v1/config")
	if strings.Contains(body, "verysecret") || !strings.Contains(body, `"token": "(set)"`) {
		t.Errorf("configuration is shown as %s", body)
	}
	if r.cfg.Coordinator.Token != secret {
		t.Error("showing the configuration changed it")
	}
}
