package agent

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

func TestPulse_OnlyRealProgressCounts(t *testing.T) {
	var p pulse
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	for s := range 100 {
		p.look(at(s), "idle", 5, true)
		p.look(at(s), "busy", int64(s), false)
	}
	if list := p.stuck(at(100)); list != nil {
		t.Errorf("stuck: %v", list)
	}
	for s := 100; s < 140; s++ {
		p.look(at(s), "idle", 5, true)
		p.look(at(s), "busy", 99, false) // work waits, nothing happens
	}
	list := p.stuck(at(139))
	if len(list) != 1 || !strings.HasPrefix(list[0], "busy has work waiting and made no progress for 40s") {
		t.Errorf("stuck: %v", list)
	}
	p.look(at(140), "busy", 100, false)
	if list := p.stuck(at(141)); list != nil {
		t.Errorf("stuck after progress: %v", list)
	}
	// The one who looks may hang too.
	if list := p.stuck(at(200)); len(list) == 0 || !strings.Contains(list[len(list)-1], "nothing was checked") {
		t.Errorf("stuck: %v", list)
	}
}

// systemd hears READY once and is fed; when a machine is stuck, /healthz says so.
func TestAgent_TellsSystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "3000000")
	r := start(t, testConfig(t, "127.0.0.1:1", "pump-1"))
	buf := make([]byte, 256)
	for _, want := range []string{"READY=1", "WATCHDOG=1"} {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := c.Read(buf)
		if err != nil || string(buf[:n]) != want {
			t.Fatalf("systemd hears %q (%v), want %q", buf[:n], err, want)
		}
	}
	if status, _ := r.fetch("/healthz"); status != 200 {
		t.Errorf("healthz is %d", status)
	}
	long := time.Now().Add(-time.Minute)
	r.pulse.look(long, "machine pump-9", 1, false)
	r.pulse.mu.Lock()
	r.pulse.last = time.Now()
	r.pulse.mu.Unlock()
	status, doc := r.get("/healthz")
	if status != 503 || doc["status"] != "stuck" || !strings.Contains(doc["notes"].([]any)[0].(string), "machine pump-9") {
		t.Errorf("healthz of a stuck agent is %d %v", status, doc)
	}
}

func TestAgent_BlockOfAnUnknownMachineIsCounted(t *testing.T) {
	r := start(t, testConfig(t, "127.0.0.1:1", "pump-1"))
	r.accept(sensors.Block{Machine: "ghost", Channel: "x", Samples: []float64{1, 2}})
	if n := r.counts().Dropped["unknown_machine"]; n != 2 {
		t.Errorf("%d samples counted", n)
	}
}

func TestAgent_ProfilesOnlyWhenAskedFor(t *testing.T) {
	cfg := testConfig(t, "127.0.0.1:1", "pump-1")
	if status, _ := start(t, cfg).fetch("/debug/pprof/heap"); status != 404 {
		t.Errorf("profiles are served unasked: %d", status)
	}
	cfg = testConfig(t, "127.0.0.1:1", "pump-1")
	cfg.API.Pprof = true
	r := start(t, cfg)
	if status, body := r.fetch("/debug/pprof/goroutine?debug=1"); status != 200 || !strings.Contains(body, "goroutine profile") {
		t.Errorf("goroutines: %d %.80s", status, body)
	}
	if status, _ := r.fetch("/debug/pprof/none"); status != 404 {
		t.Errorf("unknown profile: %d", status)
	}
}

// The commonest mistake of a first day: a window too short for a slow sensor.
func TestAgent_HealthNamesTheSilentChannel(t *testing.T) {
	broker := startBroker(t, "")
	s := newSensor(t, broker)
	cfg := testConfig(t, broker, "pump-1")
	slow := &cfg.Machines[0].Channels[1]
	slow.Topic, cfg.Machines[0].StaleAfter = "plant/slow", 100*time.Millisecond
	r := start(t, cfg)
	eventually(t, "broker connected", func() bool { return r.messages().Connected })
	s.send("plant/slow", fmt.Sprintf(`{"ts": %d, "press": 4}`, s.now.Unix()))
	s.rows("pump-1", 60, 0)
	eventually(t, "note", func() bool {
		_, doc := r.get("/healthz")
		return strings.Contains(fmt.Sprint(doc["notes"]), "channel pressure was silent too long in")
	})
}
