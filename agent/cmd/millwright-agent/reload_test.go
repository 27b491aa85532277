package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/brokertest"
	"github.com/millwright-iot/millwright/agent/internal/link"
)

// plant is a broker, a configuration file and a client that publishes.
type plant struct {
	t      *testing.T
	broker *brokertest.Mosquitto
	config string
	api    string
	dir    string
	conn   *link.Conn
}

func newPlant(t *testing.T) *plant {
	t.Helper()
	p := &plant{t: t, broker: brokertest.Start(t), dir: t.TempDir()}
	p.api = freeAddress(t)
	p.config = filepath.Join(p.dir, "agent.yaml")
	var err error
	if p.conn, err = link.Dial(t.Context(), link.Options{Broker: &url.URL{Scheme: "tcp", Host: p.broker.Address()}}, nil, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.conn.Close)
	return p
}

// configure writes the file with these machines.
func (p *plant) configure(machines string) {
	p.t.Helper()
	text := fmt.Sprintf("gateway: gw1\ndata_dir: %s/data\nmqtt: {broker: \"tcp://%s\"}\napi: {listen: \"%s\"}\nmachines:\n%s",
		p.dir, p.broker.Address(), p.api, machines)
	if err := os.WriteFile(p.config, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plant) publish(topic, payload string) {
	p.t.Helper()
	if err := p.conn.Send(p.t.Context(), link.Message{Topic: topic, Payload: []byte(payload), QoS: 1}); err != nil {
		p.t.Fatal(err)
	}
}

// machines returns the windows of each machine, nil while nobody answers.
func (p *plant) machines() map[string]float64 {
	resp, err := http.Get("http://" + p.api + "/api/v1/machines")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var doc struct {
		Machines []map[string]any `json:"machines"`
	}
	if json.NewDecoder(resp.Body).Decode(&doc) != nil {
		return nil
	}
	all := map[string]float64{}
	for _, m := range doc.Machines {
		all[m["name"].(string)], _ = m["windows_total"].(float64)
	}
	return all
}

// Machines that nobody listed name themselves in their topics: they are taken in within
// seconds, up to the bound, remembered, and the process goes on.
func TestRun_DiscoversMachines(t *testing.T) {
	p := newPlant(t)
	p.configure(`  - discover: 2
    class: fan
    window: 1s
    channels: [{name: temperature, topic: "hall/{machine}/temp", unit: degC, format: json, path: t, time_path: ts}]
  - name: fan-0
    class: fan
    window: 1s
    channels: [{name: temperature, topic: hall/fan-0/temp, unit: degF, format: json, path: t, time_path: ts}]
`)
	a := launch(t, p.config, p.api)
	at := time.Now().Add(-time.Hour).Unix()
	speak := func(names ...string) {
		for range 20 {
			at++
			for _, name := range names {
				p.publish("hall/"+name+"/temp", fmt.Sprintf(`{"ts":%d,"t":41.5}`, at))
			}
		}
	}
	speak("fan-0", "fan-1", "..", "fan-2", "fan 3")
	eventually(t, "two machines are taken in", func() bool { return len(p.machines()) == 3 })
	eventually(t, "windows of all", func() bool {
		speak("fan-0", "fan-1", "fan-2", "fan-9")
		m := p.machines()
		return m["fan-0"] > 2 && m["fan-1"] > 2 && m["fan-2"] > 2
	})
	if m := p.machines(); len(m) != 3 {
		t.Errorf("machines are %v; fan-9 is one too many", m)
	}
	eventually(t, "the note about fan-9", func() bool {
		resp, err := http.Get("http://" + p.api + "/healthz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		var doc struct{ Notes []string }
		return json.NewDecoder(resp.Body).Decode(&doc) == nil && strings.Contains(strings.Join(doc.Notes, "\n"), "machines fan-9 are heard of")
	})
	pid := a.cmd.Process.Pid
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("the process is gone: %v", err)
	}
	a.end(syscall.SIGTERM)
	if log := a.log.String(); strings.Count(log, "machine is not taken in") != 1 || !strings.Contains(log, "machine discovered") {
		t.Errorf("the log does not tell:\n%s", log)
	}

	// They are there at the next start, before they speak.
	a = launch(t, p.config, p.api)
	eventually(t, "remembered machines", func() bool { return len(p.machines()) == 3 })
	a.end(syscall.SIGTERM)

	// A person takes one out of the file: the others stay.
	path := filepath.Join(p.dir, "data", "discovered.json")
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	edited := regexp.MustCompile(`(?s)\{\s*"name": "fan-1".*?Z"\s*\},\s*`).ReplaceAll(body, nil)
	if err := os.WriteFile(path, edited, 0o600); err != nil || len(edited) == len(body) {
		t.Fatalf("fan-1 is not taken out of %s: %v", body, err)
	}
	launch(t, p.config, p.api)
	eventually(t, "machines after the edit", func() bool { return p.machines() != nil })
	if _, ok := p.machines()["fan-2"]; !ok || len(p.machines()) != 2 {
		t.Errorf("machines are %v; want fan-0 and fan-2", p.machines())
	}
}

// SIGHUP takes over the configuration as it is now, unless it has mistakes; the process
// stays.
func TestRun_Reload(t *testing.T) {
	p := newPlant(t)
	one := "  - name: fan-1\n    class: fan\n    window: 1s\n    channels: [{name: temperature, topic: hall/fan-1, unit: degC, format: scalar}]\n"
	p.configure(one)
	a := launch(t, p.config, p.api)
	p.configure(one + strings.Replace(strings.ReplaceAll(one, "fan-1", "fan-2"), "degC", "degX", 1))
	hup := func() {
		t.Helper()
		if err := a.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hup()
	eventually(t, "the complaint", func() bool { return strings.Contains(a.log.String(), `unknown unit \"degX\"`) })
	p.publish("hall/fan-1", "41")
	eventually(t, "the old configuration at work", func() bool { s, err := a.status(); return err == nil && s.Samples.Received == 1 })
	p.configure(one + strings.ReplaceAll(one, "fan-1", "fan-2"))
	hup()
	eventually(t, "the new machine", func() bool { return len(p.machines()) == 2 })
	eventually(t, "its topic is subscribed to", func() bool { s, err := a.status(); return err == nil && s.Broker.Reading })
	p.publish("hall/fan-2", "41")
	eventually(t, "both lives' samples", func() bool { s, err := a.status(); return err == nil && s.Samples.Received == 2 })
	a.end(syscall.SIGTERM)
}
