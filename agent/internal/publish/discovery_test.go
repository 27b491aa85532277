package publish

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/brokertest"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/link"
)

// homeAssistant is what a subscriber that is none of ours heard: newest payload by topic,
// and the order of topics.
func homeAssistant(t testing.TB, lines []string) map[string]map[string]any {
	t.Helper()
	docs := map[string]map[string]any{}
	for _, l := range lines {
		topic, body, _ := strings.Cut(l, " ")
		var doc map[string]any
		if !strings.HasPrefix(topic, "ha/") {
			continue
		}
		if err := json.Unmarshal([]byte(body), &doc); err != nil {
			t.Fatalf("%s is not JSON: %v", topic, err)
		}
		docs[topic] = doc
	}
	return docs
}

func TestPublisher_HomeAssistantFindsMachines(t *testing.T) {
	m := brokertest.Start(t)
	live := m.Subscribe("%t %p", "millwright/#", "ha/#")
	p := New(Options{
		Link:    link.Options{Broker: &url.URL{Scheme: "tcp", Host: m.Address()}, ClientID: "c"},
		Gateway: "gw.1", Version: "1.0", Discovery: "ha",
		Machines: []Machine{{Name: "pump-1", Class: "pump", StaleAfter: 30 * time.Second}},
	}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	eventually(t, "online", func() bool { return slices.Contains(live.Lines(), "millwright/gw.1/status online") })

	// Home Assistant starts later: what is retained must be enough.
	late := m.Subscribe("%t %p", "ha/#", "millwright/+/status")
	eventually(t, "retained messages", func() bool { return len(late.Lines()) == 4 })
	if !slices.Contains(late.Lines(), "millwright/gw.1/status online") {
		t.Error("status is not retained")
	}
	docs := homeAssistant(t, late.Lines())
	id := "millwright_gw_d1_pump-1"
	// The keys and device classes are those of Home Assistant's documentation of the
	// MQTT sensor and binary sensor.
	score := docs["ha/sensor/"+id+"/score/config"]
	for key, want := range map[string]any{
		"state_topic": "millwright/gw.1/pump-1/score", "unique_id": id + "_score", "state_class": "measurement",
		"availability_topic": "millwright/gw.1/status", "expire_after": 30.0, "value_template": "{{ value_json.score | default(none) }}",
	} {
		if score[key] != want {
			t.Errorf("score has %s = %v, want %v", key, score[key], want)
		}
	}
	zone := docs["ha/sensor/"+id+"/zone/config"]
	if zone["device_class"] != "enum" || len(zone["options"].([]any)) != 4 {
		t.Errorf("zone is %v", zone)
	}
	alarm := docs["ha/binary_sensor/"+id+"/alarm/config"]
	if alarm["device_class"] != "problem" || alarm["unique_id"] == score["unique_id"] {
		t.Errorf("alarm is %v", alarm)
	}
	for _, d := range docs {
		device := d["device"].(map[string]any)
		if device["name"] != "pump-1" || device["model"] != "pump" || device["identifiers"].([]any)[0] != id {
			t.Errorf("device is %v", device)
		}
	}

	// A job with longer windows makes the entities live longer, before its first score.
	out := infer.Output{At: time.Unix(1, 0), State: infer.Running, Score: 0.5, Zone: "B"}
	p.Score("pump-1", "pump", "pumps", 2*time.Minute, &out)
	eventually(t, "score", func() bool {
		return strings.HasPrefix(live.Lines()[len(live.Lines())-1], "millwright/gw.1/pump-1/score ")
	})
	if d := homeAssistant(t, live.Lines())["ha/sensor/"+id+"/score/config"]; d["expire_after"] != 120.0 {
		t.Errorf("score expires after %v s, want 120", d["expire_after"])
	}

	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	eventually(t, "offline", func() bool { return slices.Contains(live.Lines(), "millwright/gw.1/status offline") })
}

// A machine that left the configuration leaves Home Assistant too, and all do when the
// announcing is turned off, even if the broker was away meanwhile.
func TestPublisher_HomeAssistantForgetsMachines(t *testing.T) {
	m := brokertest.Start(t)
	path := filepath.Join(t.TempDir(), "announced.json")
	retained := func() map[string]map[string]any {
		return homeAssistant(t, m.Subscribe("%t %p", "ha/#").Lines())
	}
	run := func(prefix string, names ...string) {
		t.Helper()
		o := Options{Link: link.Options{Broker: &url.URL{Scheme: "tcp", Host: m.Address()}, ClientID: "c", MinWait: 10 * time.Millisecond}, Gateway: "gw1", Discovery: prefix, AnnouncedPath: path}
		for _, n := range names {
			o.Machines = append(o.Machines, Machine{Name: n, Class: "pump"})
		}
		p := New(o, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		eventually(t, "connected", func() bool { return p.Stats().Connected })
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	run("ha", "pump-1", "pump-2")
	eventually(t, "two machines", func() bool { return len(retained()) == 6 })
	run("ha", "pump-2")
	eventually(t, "one machine", func() bool { return len(retained()) == 3 })
	for topic := range retained() {
		if !strings.Contains(topic, "pump-2") {
			t.Errorf("%s is left", topic)
		}
	}
	run("", "pump-2")
	eventually(t, "none", func() bool { return len(retained()) == 0 })
}

// The broker says it when nobody else can.
func TestPublisher_OfflineByBrokenConnection(t *testing.T) {
	m := brokertest.Start(t)
	live := m.Subscribe("%t %p", "millwright/#")
	p := New(Options{
		Link:    link.Options{Broker: &url.URL{Scheme: "tcp", Host: m.Address()}, ClientID: "c", MinWait: 10 * time.Millisecond},
		Gateway: "gw1",
	}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	defer func() { cancel(); <-done }()
	eventually(t, "online", func() bool { return slices.Contains(live.Lines(), "millwright/gw1/status online") })
	thief, err := link.Dial(t.Context(), link.Options{Broker: &url.URL{Scheme: "tcp", Host: m.Address()}, ClientID: "c"}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	eventually(t, "offline, then online again", func() bool {
		return strings.Join(live.Lines(), " ") == "millwright/gw1/status online millwright/gw1/status offline millwright/gw1/status online"
	})
}

// Two names that Home Assistant's topics cannot spell stay two names.
func TestPlain_KeepsNamesApart(t *testing.T) {
	names := []string{"a.b", "a_b", "a_db", "a__b", "a-b", "a._b", "a_.b"}
	seen := map[string]string{}
	for _, n := range names {
		p := plain(n)
		if other, ok := seen[p]; ok || strings.Contains(p, ".") {
			t.Errorf("%q and %q are both %q", n, other, p)
		}
		seen[p] = n
	}
}
