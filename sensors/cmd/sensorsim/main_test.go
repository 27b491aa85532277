package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/spf13/pflag"
	"go.uber.org/goleak"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
	"github.com/millwright-iot/millwright/sensors/synth"
)

func TestMain(m *testing.M) {
	// The broker's own goroutines end a moment after Close.
	goleak.VerifyTestMain(m)
}

type broker struct {
	stop func()
	addr string
}

// startBroker starts an embedded broker at addr, "127.0.0.1:0" for any port.
func startBroker(t *testing.T, addr string) *broker {
	t.Helper()
	var l net.Listener
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var err error
		if l, err = net.Listen("tcp", addr); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
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
	b := &broker{stop: sync.OnceFunc(func() { s.Close() }), addr: l.Addr().String()}
	t.Cleanup(b.stop)
	return b
}

func (b *broker) url() string { return "tcp://" + b.addr }

// subscribe collects blocks until the test ends.
func subscribe(t *testing.T, url string, channels ...mqttsource.Channel) chan sensors.Block {
	t.Helper()
	src, err := mqttsource.New(url, channels, mqttsource.Options{MinReconnectWait: 5 * time.Millisecond, MaxReconnectWait: 20 * time.Millisecond}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	got := make(chan sensors.Block, 100000)
	go func() { done <- src.Run(ctx, func(b sensors.Block) error { got <- b; return nil }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); !src.Stats().Connected; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("subscriber does not connect")
		}
	}
	return got
}

func next(t *testing.T, got chan sensors.Block) sensors.Block {
	t.Helper()
	select {
	case b := <-got:
		return b
	case <-time.After(20 * time.Second):
		t.Fatal("no block came")
		return sensors.Block{}
	}
}

func channel(t *testing.T, machine, name, topic, unit string, spec decode.Spec) mqttsource.Channel {
	t.Helper()
	u, err := sensors.ParseUnit(unit)
	if err != nil {
		t.Fatal(err)
	}
	return mqttsource.Channel{Machine: machine, Channel: name, Topic: topic, Unit: u, Decode: spec}
}

// What sensorsim sends, read by the specs its README gives, is what the machine
// emitted, with its times.
func TestSynth_RoundTrip(t *testing.T) {
	b := startBroker(t, "127.0.0.1:0")
	for format, spec := range map[string]decode.Spec{
		"float32_time": {Format: decode.Float32, RateHz: 3200, Header: decode.HeaderUnix},
		"json":         {Format: decode.JSONArray, Path: "samples", RatePath: "rate_hz", TimePath: "t"},
	} {
		t.Run(format, func(t *testing.T) {
			value := decode.Spec{Format: decode.JSON, Path: "value", TimePath: "t"}
			name := "pump-" + format
			got := subscribe(t, b.url(),
				channel(t, name, synth.Vibration, "plant/"+name+"/vibration", "m/s2", spec),
				channel(t, name, synth.Temperature, "plant/"+name+"/temperature", "degC", value),
				channel(t, name, synth.Pressure, "plant/"+name+"/pressure", "Pa", value))
			var out, errOut bytes.Buffer
			code := run(t.Context(), []string{"synth", "--broker", b.url(), "--machine", name, "--speed", "max", "--seed", "4",
				"--duration", "3s", "--fault", "ball@1s/1s", "--start", "2026-03-01T00:00:00Z", "--vibration", format}, nil, &out, &errOut)
			if code != 0 || !strings.Contains(out.String(), name+": 11 messages") || !strings.Contains(out.String(), "0 not acknowledged") {
				t.Fatalf("exit %d, %q, %q", code, &out, &errOut)
			}
			m, err := synth.New(synth.Config{Name: name, Seed: 4, Duration: 3 * time.Second, Start: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
				Faults: []synth.Fault{{Kind: synth.Ball, Begins: time.Second, GrowsOver: time.Second, Severity: 1}}})
			if err != nil {
				t.Fatal(err)
			}
			err = m.Run(t.Context(), func(want sensors.Block) error {
				// Payloads carry single precision, scalars nine digits.
				near := cmp.Comparer(func(a, b float64) bool { return a-b < 1e-5*max(1, a, -a)/10 && b-a < 1e-5*max(1, a, -a)/10 })
				if diff := cmp.Diff(want, next(t, got), near); diff != "" {
					t.Errorf("received another block than the machine emitted: %s", diff)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func recording(t *testing.T, rows int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("when;a b;note;label\n")
	for i := range rows {
		fmt.Fprintf(&b, "2020-03-09 10:%02d:%02d;%d.5;ok;1\n", i/60, i%60, i)
	}
	path := filepath.Join(t.TempDir(), "r.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A run of two machines from YAML: one holds until somebody says continue.
func TestRun_ReplayHolds(t *testing.T) {
	b := startBroker(t, "127.0.0.1:0")
	spec := decode.Spec{Format: decode.JSON, Path: "a b", TimePath: "t"}
	got := subscribe(t, b.url(), channel(t, "v", "a", "works/v/row", "1", spec),
		channel(t, "v", "label", "works/v/row", "1", decode.Spec{Format: decode.JSON, Path: "label"}))
	config := filepath.Join(t.TempDir(), "fleet.yaml")
	text := fmt.Sprintf("broker: %s\ntopic_prefix: works\nmachines:\n- name: v\n  replay: {file: %q, time_column: when, omit: [label], from_row: 2, to_row: 9, hold_after_row: 5, speed: max}\n"+
		"- name: p\n  synth: {speed: 20, duration: 1s, faults: [imbalance@0s]}\n", b.url(), recording(t, 20))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	stdin, say := io.Pipe()
	var out, errOut bytes.Buffer
	done := make(chan int)
	go func() { done <- run(context.Background(), []string{"run", "--config", config}, stdin, &out, &errOut) }()
	for i := 2; i < 5; i++ {
		blk := next(t, got)
		if want := time.Date(2020, 3, 9, 10, 0, i, 0, time.UTC); blk.Channel != "a" || blk.Samples[0] != float64(i)+0.5 || !blk.Start.Equal(want) {
			t.Errorf("row %d: got %+v", i, blk)
		}
	}
	if _, err := say.Write([]byte("what?\n")); err != nil {
		t.Fatal(err)
	}
	if len(got) != 0 {
		t.Errorf("rows went on without the word: %+v", <-got)
	}
	if _, err := say.Write([]byte("continue\n")); err != nil {
		t.Fatal(err)
	}
	for i := 5; i < 9; i++ {
		if blk := next(t, got); blk.Samples[0] != float64(i)+0.5 {
			t.Errorf("row %d: got %+v", i, blk)
		}
	}
	if code := <-done; code != 0 {
		t.Errorf("exit %d: %s", code, &errOut)
	}
	say.Close()
	for _, line := range []string{"v: holding after 5 rows", "v: 7 messages", "p: "} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("output lacks %q:\n%s", line, &out)
		}
	}
	if len(got) != 0 {
		t.Errorf("more came than rows 2 to 8: %+v", <-got)
	}
}

func TestRun_HoldWithoutInput(t *testing.T) {
	b := startBroker(t, "127.0.0.1:0")
	var out, errOut bytes.Buffer
	code := run(t.Context(), []string{"replay", "--broker", b.url(), "--machine", "v", "--file", recording(t, 5), "--time-column", "when",
		"--hold-after-row", "2", "--speed", "max"}, strings.NewReader(""), &out, &errOut)
	if code != exitFailure || !strings.Contains(errOut.String(), "keep it open") {
		t.Errorf("exit %d, %q; want a failure that says to keep standard input open", code, &errOut)
	}
}

// A broker that goes away in the middle costs nothing: what it had not
// acknowledged is sent again.
func TestSender_BrokerRestarts(t *testing.T) {
	b := startBroker(t, "127.0.0.1:0")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	p, err := newPlant(Config{Broker: Broker{URL: b.url(), TopicPrefix: "plant", MaxInflight: 8},
		Machines: []Machine{{Name: "m", Synth: &SynthMachine{}}}}, newHold(nil), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	s := p.machines[0].sender
	if err := s.connect(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if i == 10 {
			b.stop()
			for s.client.IsConnectionOpen() {
				time.Sleep(time.Millisecond)
			}
			b = startBroker(t, b.addr)
		}
		if err := s.send(ctx, "m", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	s.close(ctx)
	if s.acknowledged != 20 || len(s.pending) != 0 || s.again == 0 {
		t.Errorf("%d acknowledged, %d pending, %d sent again; want 20, 0 and some", s.acknowledged, len(s.pending), s.again)
	}
}

func TestRun_StopsWhenContextEnds(t *testing.T) {
	b := startBroker(t, "127.0.0.1:0")
	got := subscribe(t, b.url(), channel(t, "m", "temperature", "plant/m/temperature", "degC", decode.Spec{Format: decode.JSON, Path: "value"}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int)
	var out, errOut bytes.Buffer
	go func() {
		done <- run(ctx, []string{"synth", "--broker", b.url(), "--machine", "m", "--speed", "10"}, nil, &out, &errOut)
	}()
	next(t, got)
	cancel()
	if code := <-done; code != 0 || !strings.Contains(out.String(), "0 not acknowledged") {
		t.Errorf("exit %d, %q, %q; want a clean end", code, &out, &errOut)
	}
}

func TestRun_Usage(t *testing.T) {
	csv := recording(t, 3)
	yaml := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(yaml, []byte("machines:\n- name: a\n  synth: {sped: 3}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		says string
	}{
		{"", "expected one of the verbs"},
		{"sinth --machine m", "Did you mean this?\n\tsynth"},
		{"synth --mashine m", "unknown flag: --mashine"},
		{"synth m --machine m", `unknown command "m"`},
		{"synth --machine m --start today", "--start"},
		{"synth", `"machine" not set`},
		{"synth --machine m --fault rust@3s", "unknown fault"},
		{"synth --machine a/b", "one level of a topic"},
		{"synth --machine m --broker localhost", "tcp://host:1883"},
		{"synth --machine m --speed 0", "neither a positive number nor max"},
		{"synth --machine m --vibration int8", "one of float32_time"},
		{"synth --machine m --max-inflight 0", "at least 1"},
		{"synth --machine m --ca /nonexistent", "read CA"},
		{"replay --machine m --file /nonexistent --time-column x", "no such file"},
		{"replay --machine m --file " + csv, "needs either a time column"},
		{"replay --machine m --time-column time --file " + csv, `no column "time"; the file has "when"`},
		{"replay --machine m --time-column when --omit x --file " + csv, `no column "x"`},
		{"replay --machine m --time-column when --separator ;; --file " + csv, "not one character"},
		{"run --config /nonexistent", "no such file"},
		{"run --config " + yaml, "line 3: field sped not found"},
	} {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), strings.Fields(c.args), nil, &out, &errOut); code != exitUsage || !strings.Contains(errOut.String(), c.says) {
			t.Errorf("sensorsim %s: exit %d, %q; want %d and %q", c.args, code, &errOut, exitUsage, c.says)
		}
	}
}

func TestWithPassword(t *testing.T) {
	t.Setenv(passwordVariable, "from-the-environment")
	for args, want := range map[string]string{"": "from-the-environment", "--password=": "", "--password said": "said"} {
		b := defaultBroker()
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		brokerFlags(f, &b)
		if err := f.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if got := withPassword(f, b).Password; got != want {
			t.Errorf("with %q the password is %q, want %q", args, got, want)
		}
	}
	var out, errOut bytes.Buffer
	if code := run(t.Context(), []string{"synth", "--help"}, nil, &out, &errOut); code != 0 || strings.Contains(out.String(), "from-the-environment") ||
		!strings.Contains(out.String(), passwordVariable) || !strings.Contains(out.String(), "Sampling rate of the vibration in Hz. (default 3200)") {
		t.Errorf("exit %d, %q, %q", code, &out, &errOut)
	}
}

// What the flags and the YAML file leave out is the same.
func TestLoadConfig_Defaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "empty.yaml")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	b := defaultBroker()
	brokerFlags(pflag.NewFlagSet("", pflag.ContinueOnError), &b)
	if diff := cmp.Diff(cfg.Broker, b); diff != "" || b.URL == "" {
		t.Errorf("defaults differ: %s", diff)
	}
}
