package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent"
)

// labelled runs an agent that reads one machine from a broker that is not there, and
// returns where its local interface is.
func labelled(t *testing.T) string {
	t.Helper()
	cfg, err := agent.LoadConfig(write(t, config))
	if err != nil {
		t.Fatal(err)
	}
	cfg.DataDir, cfg.API.Listen = t.TempDir(), "127.0.0.1:0"
	a, err := agent.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	bound, unbound := context.WithTimeout(ctx, 20*time.Second)
	defer unbound()
	address, err := a.APIAddress(bound)
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func TestLabel_AsAPersonWould(t *testing.T) {
	t.Setenv("SUDO_USER", "ada")
	t.Setenv("TZ", "UTC")
	address := labelled(t)
	_, port, _ := net.SplitHostPort(address)
	for _, c := range []struct {
		args string
		code int
		says string // a pattern, of what is printed on either
	}{
		{"failure pump-1 --at 2026-05-01T14:30:00Z --class bearing --order WO-1 --id WO-1", 0, `^kept as WO-1: machine pump-1, failure: bearing, 2026-05-01 .*\nnote: no job of class pump tells faults apart yet`},
		{"failure pump-1 --at 2026-05-01T14:30:00Z --class belt --order WO-1 --id WO-1", 0, `failure: belt`},
		{"fault pump-1 belt --from 2026-05-02T10:00:00Z --id F1", 0, `fault: belt, since 2026-05-02`},
		{"healthy pump-1 --from 2026-05-03T10:00:00Z --to 2026-05-03T11:00:00Z", 0, `healthy, 2026-05-03 .* to 2026-05-03`},
		{"maintenance pump-1 --note greased", 0, `maintenance`},
		{"failure pump-2", 2, `machine "pump-2" is not on this gateway; did you mean "pump-1"`},
		{"failure pump-1 --at tomorrow", 2, `--at: "tomorrow" is no time such as`},
		{"failure pump-1 --at 2126-05-01", 2, `in the future`},
		{"fault pump-1 belt", 2, `--from`},
		{"right 0123", 2, `none of this gateway's newest 500 alarms`},
		{"wrong 0123", 2, `none of this gateway's`},
		{"withdraw nobody", 2, `no label of this id`},
		{"withdraw F1", 0, `withdrawn: fault of machine pump-1`},
		{"fault pump-1 belt --from 2026-05-02T10:00:00Z --id F1", 2, `was withdrawn; give it another id`},
		{"list", 0, `ID +MACHINE +WHAT +WHEN +ORDER +BY\n(.*\n)*F1 +pump-1 +fault: belt \(withdrawn\).* ada\nWO-1 +pump-1 +failure: belt .* WO-1 +ada`},
		{"list --machine pump-2", 0, `^ID .*\n$`},
		{"list --json", 0, `"labels": \[`},
	} {
		var stdout, stderr bytes.Buffer
		code := run(append(append([]string{"label"}, strings.Fields(c.args)...), "--api", address), &stdout, &stderr)
		out := stdout.String() + stderr.String()
		if code != c.code || !regexp.MustCompile(c.says).MatchString(out) {
			t.Errorf("label %s: exit code %d, want %d, and %q:\n%s", c.args, code, c.code, c.says, out)
		}
	}
	var stdout, stderr bytes.Buffer
	if code := run([]string{"label", "list", "--api", "0.0.0.0:" + port}, &stdout, &stderr); code != 0 {
		t.Errorf("an agent that listens everywhere is not found: %s", &stderr)
	}
	if code := run([]string{"label", "list", "--api", freeAddress(t)}, &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), "is it running") {
		t.Errorf("without an agent: %d %s", code, &stderr)
	}
	if code := run([]string{"label", "list", "-c", "nowhere.yaml"}, &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), "--api 127.0.0.1:7420") {
		t.Errorf("without a configuration: %d %s", code, &stderr)
	}
}

func TestParseTime_AsPeopleWriteIt(t *testing.T) {
	zone := time.FixedZone("CEST", 2*3600)
	now := time.Date(2026, 5, 1, 16, 20, 30, 5, zone)
	for text, want := range map[string]time.Time{
		"":                     {},
		"2026-05-01T12:00:00Z": time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
		"2026-05-01T12:00":     time.Date(2026, 5, 1, 12, 0, 0, 0, zone),
		"2026-05-01 12:00:01":  time.Date(2026, 5, 1, 12, 0, 1, 0, zone),
		"2026-04-30":           time.Date(2026, 4, 30, 0, 0, 0, 0, zone),
		"14:30":                time.Date(2026, 5, 1, 14, 30, 0, 0, zone),
		"2h ago":               time.Date(2026, 5, 1, 14, 20, 30, 0, zone),
		"1h 30m ago":           time.Date(2026, 5, 1, 14, 50, 30, 0, zone),
	} {
		if got, err := parseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-2h ago", "25:00", "2026-13-01"} {
		if got, err := parseTime(text, now); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
