package main

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/brokertest"
	"github.com/millwright-iot/millwright/agent/internal/link"
)

// publisher sends rows at QoS 1 and sends again what the broker did not acknowledge.
type publisher struct {
	t    *testing.T
	opts link.Options
	conn *link.Conn
	rng  *rand.Rand
	now  time.Time
	rows int64
}

func (p *publisher) send(payload string) {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if p.conn == nil {
			p.conn, _ = link.Dial(p.t.Context(), p.opts, nil, nil)
		}
		if p.conn != nil {
			if p.conn.Send(p.t.Context(), link.Message{Topic: "plant/pump-1", Payload: []byte(payload), QoS: 1}) == nil {
				return
			}
			p.conn.Close()
			p.conn = nil
		}
		if time.Now().After(deadline) {
			p.t.Fatal("the broker acknowledges nothing")
		}
	}
}

// row sends one row, a second after the one before, and sometimes something broken.
func (p *publisher) row() {
	p.now = p.now.Add(time.Second)
	p.rows++
	p.send(fmt.Sprintf(`{"ts":%d,"temp":%g,"press":%g}`, p.now.Unix(), 60+p.rng.NormFloat64(), 4+0.1*p.rng.NormFloat64()))
}

// Everything fails, one thing after the other, under load; the counts add up at every
// look in every life, and what the broker has acknowledged while the agent or the broker
// was away arrives.
func TestRun_Chaos(t *testing.T) {
	if testing.Short() {
		t.Skip("takes several seconds")
	}
	dir := t.TempDir()
	// Mosquitto writes at every message here, so that SIGKILL costs it nothing.
	broker := brokertest.New(t, "persistence true", "persistence_location "+dir+"/", "autosave_on_changes true", "autosave_interval 1",
		"max_queued_messages 0", "max_inflight_messages 100")
	broker.Run()
	api := freeAddress(t)
	config := filepath.Join(dir, "agent.yaml")
	text := fmt.Sprintf(`gateway: gw1
data_dir: %s/data
mqtt: {broker: "tcp://%s"}
api: {listen: "%s"}
machines:
  - name: pump-1
    class: pump
    window: 5s
    baseline: 10
    channels:
      - {name: temperature, topic: plant/pump-1, unit: degC, format: json, path: temp, time_path: ts}
      - {name: pressure, topic: plant/pump-1, unit: bar, format: json, path: press, time_path: ts}
`, dir, broker.Address(), api)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	pub := &publisher{
		t: t, opts: link.Options{Broker: &url.URL{Scheme: "tcp", Host: broker.Address()}, ClientID: "pub"},
		rng: rand.New(rand.NewPCG(1, 2)), now: time.Now().Add(-24 * time.Hour),
	}
	received := func(p *process) int64 { s, _ := p.status(); return s.Samples.Received }
	arrived := func(p *process, what string, want int64) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s: %d samples received, %d so far", what, want, received(p)), func() bool { return received(p) >= want })
	}

	a := launch(t, config, api)
	for i := range 200 {
		pub.row()
		if i%20 == 0 {
			pub.send([]string{"{", "\xff\xfe", strings.Repeat("[", 10000), `{"ts":1,"temp":"NaN","press":1e999}`}[i/20%4])
		}
	}
	arrived(a, "at rest", 400)

	// An orderly restart: rows sent meanwhile wait at the broker, totals go on.
	a.end(syscall.SIGTERM)
	before := a.last
	for range 50 {
		pub.row()
	}
	a = launch(t, config, api)
	arrived(a, "after a restart", 500)
	if s, _ := a.status(); s.Samples.Dropped["restart"] > before.Stored+2 {
		t.Errorf("%d samples lost at the restart, %d were waiting", s.Samples.Dropped["restart"], before.Stored)
	}

	// The agent is killed in the middle of the flow, again and again; rows wait at the
	// broker. What it acknowledged it still knows, and what it did not comes again: of
	// each life, at most what may be under way without an acknowledgement counts twice.
	const lives, inflight, garbage = 4, 100, 10
	sent := int64(500)
	for range lives {
		for range 50 {
			pub.row()
		}
		a.end(os.Kill)
		for range 50 {
			pub.row()
		}
		sent += 200
		a = launch(t, config, api)
		arrived(a, "after it was killed", sent)
	}
	eventually(t, "at rest", func() bool { x := received(a); time.Sleep(300 * time.Millisecond); return received(a) == x })
	if s, err := a.status(); err != nil || s.Samples.Received > sent+2*(lives*inflight+garbage) {
		t.Errorf("%d samples received, %d were sent (%v)", s.Samples.Received, sent, err)
	} else {
		t.Logf("killed %d times: %d samples sent, %d received, %d of them with an unknown end", lives, sent, s.Samples.Received, s.Samples.Dropped["killed"])
	}

	// The broker restarts in the middle of the flow, with what it has on its disk, and is
	// then killed: what it had acknowledged and not yet passed on is then its own loss,
	// so the agent has to have everything before.
	base, rows := received(a), pub.rows
	for _, kill := range []bool{false, true} {
		for range 60 {
			pub.row()
		}
		if kill {
			arrived(a, "before the broker is killed", base+2*(pub.rows-rows))
			broker.Kill()
		} else {
			broker.Stop()
		}
		broker.Run()
		for range 20 {
			pub.row()
		}
	}
	arrived(a, "after the broker was killed", base+2*(pub.rows-rows))

	// The senders' clock jumps ahead by two days, and the agent is frozen for a moment.
	pub.now = pub.now.Add(48 * time.Hour)
	if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	base, rows = base+2*(pub.rows-rows), pub.rows
	for range 40 {
		pub.row()
	}
	if err := a.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	arrived(a, "after the clock jumped", base+2*(pub.rows-rows))
	s, err := a.status()
	if err != nil {
		t.Fatal(err)
	}
	for reason, n := range s.Samples.Dropped {
		if n > 0 && !map[string]bool{
			"restart": true, "killed": true, "clock": true, "reset": true, "duplicate": true, "late": true, "overlap": true, "incomplete": true,
			"not_finite": true, "not_number": true, "malformed": true,
		}[reason] {
			t.Errorf("%d samples dropped for %s", n, reason)
		}
	}
	a.end(syscall.SIGTERM)
	if a.looks < 20 {
		t.Errorf("the counts were looked at %d times only", a.looks)
	}
}

// Under a limit on its memory the agent takes a flood of large bursts and stays within.
func TestRun_MemoryLimit(t *testing.T) {
	broker := brokertest.Start(t, "max_queued_messages 0")
	dir := t.TempDir()
	api := freeAddress(t)
	config := filepath.Join(dir, "agent.yaml")
	text := fmt.Sprintf(`gateway: gw1
data_dir: %s/data
mqtt: {broker: "tcp://%s", queue: {size: 4MiB}}
api: {listen: "%s"}
machines:
  - name: pump-1
    class: pump
    channels: [{name: vibration, topic: plant/pump-1, unit: g, format: float32, rate_hz: 25600}]
`, dir, broker.Address(), api)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a := launch(t, config, api, "GOMEMLIMIT=32MiB")
	conn, err := link.Dial(t.Context(), link.Options{Broker: &url.URL{Scheme: "tcp", Host: broker.Address()}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const bursts, bytesEach = 300, 4 * 25600
	burst := make([]byte, bytesEach)
	for range bursts {
		if err := conn.Send(t.Context(), link.Message{Topic: "plant/pump-1", Payload: burst, QoS: 1}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all bursts are received", func() bool { s, err := a.status(); return err == nil && s.Samples.Received == bursts*bytesEach/4 })
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil {
		t.Skip("no /proc here")
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			var kb int
			if _, err := fmt.Sscan(rest, &kb); err != nil {
				t.Fatal(err)
			}
			// The test binary is larger than the agent's, the more with the race detector.
			if limit := 64 << 10; kb > limit && !raceEnabled {
				t.Errorf("resident set reached %d kB, want at most %d", kb, limit)
			}
			t.Logf("resident set reached %d kB after %d MB of bursts", kb, bursts*bytesEach>>20)
		}
	}
	a.end(syscall.SIGTERM)
}
