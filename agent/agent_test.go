package agent

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAgent_FaultFromFirstRowToClearedAlarm(t *testing.T) {
	broker := startBroker(t, "")
	s := newSensor(t, broker)
	r := start(t, testConfig(t, broker, "pump-1"))
	eventually(t, "broker connected", func() bool { return r.messages().Connected && r.published().Connected })

	if got := r.machine("pump-1")["state"]; got != "waiting" {
		t.Errorf("state before the first window is %v", got)
	}
	s.rows("pump-1", 60, 0)
	eventually(t, "baseline", func() bool { return r.machine("pump-1")["state"] == "baseline" })
	s.rows("pump-1", 60, 0)
	eventually(t, "running", func() bool { return r.machine("pump-1")["state"] == "running" })
	eventually(t, "a score on MQTT", func() bool {
		docs := s.heard("millwright/gw1/pump-1/score")
		return len(docs) > 0 && docs[len(docs)-1]["state"] == "running"
	})

	s.rows("pump-1", 40, 1)
	eventually(t, "alarm on MQTT", func() bool { return len(s.heard("millwright/gw1/pump-1/alarm")) > 0 })
	raised := s.heard("millwright/gw1/pump-1/alarm")[0]
	reason := raised["reasons"].([]any)[0].(map[string]any)
	if raised["active"] != true || raised["zone"] != "D" || raised["revision"] != 1.0 || raised["class"] != "pump" ||
		!strings.HasPrefix(reason["feature"].(string), "pressure.") {
		t.Errorf("alarm is %v", raised)
	}
	_, alarms := r.get("/api/v1/alarms")
	if first := alarms["alarms"].([]any)[0].(map[string]any); first["id"] != raised["id"] || first["active"] != true {
		t.Errorf("API shows %v, want episode %v", first, raised["id"])
	}
	if m := r.machine("pump-1"); m["alarm"] != true || m["zone"] != "D" || m["episode"] == nil {
		t.Errorf("machine is %v", m)
	}

	s.rows("pump-1", 40, 0)
	eventually(t, "alarm cleared on MQTT", func() bool {
		docs := s.heard("millwright/gw1/pump-1/alarm")
		return docs[len(docs)-1]["active"] == false
	})
	docs := s.heard("millwright/gw1/pump-1/alarm")
	cleared := docs[len(docs)-1]
	if cleared["id"] != raised["id"] || cleared["revision"].(float64) < 2 || cleared["cleared"] == nil {
		t.Errorf("cleared alarm is %v, raised %v", cleared, raised)
	}
	// 5 s windows: raised at the third bad one, cleared at the third good one.
	begin, _ := time.Parse(time.RFC3339, raised["raised"].(string))
	end, _ := time.Parse(time.RFC3339, cleared["cleared"].(string))
	if d := end.Sub(begin); d != 40*time.Second {
		t.Errorf("alarm lasted %v, want 40s", d)
	}
	r.settled(200)
	if status, _ := r.fetch("/healthz"); status != http.StatusOK {
		t.Errorf("healthz is %d", status)
	}
	if _, body := r.fetch("/metrics"); !strings.Contains(body, `millwright_machine_state{machine="pump-1",state="running"} 1`) {
		t.Error("metrics lack the machine's state")
	}
}

func TestAgent_NoBrokerAtBoot(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	r := start(t, testConfig(t, address, "pump-1"))
	status, doc := r.get("/healthz")
	if status != http.StatusOK || doc["status"] != "idle" || !strings.Contains(doc["notes"].([]any)[0].(string), "broker is not connected") {
		t.Errorf("healthz without broker is %d %v", status, doc)
	}
	startBroker(t, address)
	s := newSensor(t, address)
	eventually(t, "broker connected", func() bool { return r.messages().Connected })
	s.rows("pump-1", 20, 0)
	eventually(t, "baseline", func() bool { return r.machine("pump-1")["state"] == "baseline" })
}

func TestAgent_MalformedPayloadsAreCountedAndLoseNothingElse(t *testing.T) {
	broker := startBroker(t, "")
	s := newSensor(t, broker)
	cfg := testConfig(t, broker, "pump-1", "pump-2")
	cfg.MQTT.MaxPayload = 4096
	r := start(t, cfg)
	eventually(t, "broker connected", func() bool { return r.messages().Connected })
	s.send("plant/pump-1", "not json")
	s.send("plant/pump-1", `{"ts": 1, "temp": "NaN", "press": 3}`)
	s.send("plant/pump-1", `{"other": 1}`)
	s.send("plant/pump-1", strings.Repeat("x", 5000))
	s.rows("pump-2", 30, 0)
	r.settled(34)
	_, doc := r.get("/api/v1/status")
	dropped := doc["messages"].(map[string]any)["dropped_total"].(map[string]any)
	for _, reason := range []string{"malformed", "absent", "too_large"} {
		if dropped[reason] != 1.0 {
			t.Errorf("dropped for %s: %v, want 1 of %v", reason, dropped[reason], dropped)
		}
	}
	if m := r.machine("pump-2"); m["state"] != "baseline" {
		t.Errorf("the other machine is %v", m["state"])
	}
	if log := r.log.String(); !strings.Contains(log, "plant/pump-1") {
		t.Errorf("log does not name the topic:\n%s", log)
	}
}

func TestAgent_RestartKeepsBaselineAndAlarm(t *testing.T) {
	cfg, s, r := startAlarmed(t)
	r.stop()
	_, before := r.journal.State("pump-1")
	id := r.journal.Episodes(1)[0].ID

	r = start(t, cfg)
	m := r.machine("pump-1")
	if b := m["baseline"].(map[string]any); b["have"] != 20.0 || b["want"] != 20.0 {
		t.Errorf("baseline after restart is %v", b)
	}
	if m["alarm"] != true || m["episode"].(map[string]any)["id"] != id {
		t.Errorf("alarm after restart is %v, episode %v; want %s", m["alarm"], m["episode"], id)
	}
	if _, after := r.journal.State("pump-1"); after != before {
		t.Errorf("alarm state after restart is %+v, want %+v", after, before)
	}
	eventually(t, "broker connected", func() bool { return r.messages().Connected })
	s.rows("pump-1", 40, 0)
	eventually(t, "alarm clears", func() bool { return r.machine("pump-1")["alarm"] == false })
	if list := r.journal.Episodes(10); len(list) != 1 || list[0].ID != id || list[0].Active {
		t.Errorf("episodes are %+v, want the one that was cleared", list)
	}
}

func TestAgent_PortInUseLosesNothingElse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	broker := startBroker(t, "")
	cfg := testConfig(t, broker, "pump-1")
	cfg.API.Listen = l.Addr().String()
	r := startBlind(t, cfg)
	s := newSensor(t, broker)
	eventually(t, "broker connected", func() bool { return r.messages().Connected })
	s.rows("pump-1", 20, 0)
	eventually(t, "windows", func() bool { return r.machines[0].Status().Windows > 0 })
	if log := r.log.String(); !strings.Contains(log, l.Addr().String()) || !strings.Contains(log, "change api.listen") {
		t.Errorf("log does not name place and mend:\n%s", log)
	}
}

// An episode of a machine that was taken out of the configuration does not last for ever.
func TestAgent_MachineTakenOut(t *testing.T) {
	broker := startBroker(t, "")
	s := newSensor(t, broker)
	cfg := testConfig(t, broker, "pump-1", "pump-2")
	r := start(t, cfg)
	eventually(t, "broker connected", func() bool { return r.messages().Connected })
	s.rows("pump-2", 110, 0)
	s.rows("pump-2", 40, 1)
	eventually(t, "alarm", func() bool { return r.machine("pump-2")["alarm"] == true })
	r.stop()
	cfg.Machines = cfg.Machines[:1]
	r = start(t, cfg)
	if list := r.journal.Episodes(1); list[0].Active || list[0].Cleared.IsZero() || list[0].Machine != "pump-2" {
		t.Errorf("episode is %+v", list[0])
	}
}
