package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"github.com/millwright-iot/millwright/agent/internal/pipeline"
	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// balanced checks that every sample is accounted for.
func balanced(t testing.TB, c pipeline.Counts) {
	t.Helper()
	dropped := int64(0)
	for _, n := range c.Dropped {
		dropped += n
	}
	if c.Received != c.Used+c.Stored+dropped || c.Stored < 0 {
		t.Errorf("%d samples received, but %d used, %d stored and %d dropped: %v", c.Received, c.Used, c.Stored, dropped, c.Dropped)
	}
}

// While messages pour in, every look at the counts finds them balanced, and none of them
// ever goes back.
func TestAgent_CountsAddUpAtEveryInstant(t *testing.T) {
	broker := startBroker(t, "")
	s := newSensor(t, broker)
	r := start(t, testConfig(t, broker, "pump-1", "pump-2"))
	eventually(t, "broker connected", func() bool { return r.messages().Connected })
	var stop atomic.Bool
	var watch sync.WaitGroup
	looks, moved := 0, 0
	watch.Go(func() {
		var last pipeline.Counts
		for !stop.Load() {
			c := r.counts()
			balanced(t, c)
			if c.Received < last.Received || c.Used < last.Used {
				t.Errorf("counts went back from %+v to %+v", last, c)
			}
			if c.Received > last.Received {
				moved++
			}
			last = c
			looks++
		}
	})
	for range 30 {
		s.rows("pump-1", 10, 0)
		s.rows("pump-2", 10, 0)
		s.send("plant/pump-1", "not json")
	}
	r.settled(630)
	stop.Store(true)
	watch.Wait()
	if looks < 100 || moved < 5 {
		t.Errorf("looked %d times and saw the counts move %d times", looks, moved)
	}
	if c := r.counts(); c.Received != 2*600 {
		t.Errorf("%d samples received, 1200 were sent", c.Received)
	}
}

// Counts go on over a restart; what waited in memory is lost, and said to be.
func TestAgent_CountsOverRestarts(t *testing.T) {
	broker := startBroker(t, "")
	s := newSensor(t, broker)
	cfg := testConfig(t, broker, "pump-1")
	sent := int64(0)
	lost := int64(0)
	for range 3 {
		r := start(t, cfg)
		if c := r.counts(); c.Received != sent || c.Stored != 0 || c.Dropped["restart"] != lost {
			t.Errorf("a new life begins with %+v; %d samples were sent before, %d lost", c, sent, lost)
		}
		eventually(t, "broker connected", func() bool { return r.messages().Connected })
		s.rows("pump-1", 33, 0)
		sent += 66
		eventually(t, "samples arrive", func() bool { return r.counts().Received == sent })
		r.stop()
		c := r.counts()
		balanced(t, c)
		lost = c.Dropped["restart"] + c.Stored
		if c.Stored == 0 {
			t.Error("nothing waited at the end, so nothing is shown")
		}
	}
}

// A power cut leaves files cut off anywhere; the agent starts, says so, and predicts.
func TestAgent_TornFiles(t *testing.T) {
	cfg, s, r := startAlarmed(t)
	r.stop()
	for _, cut := range []struct {
		file string
		tail int64
		hurt bool // something that was in use is gone
	}{{"samples.db", 7, false}, {"samples.db", 24 << 10, true}, {"alarms.json", 7, true}, {"counts", 1, true}} {
		path := filepath.Join(cfg.DataDir, cut.file)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, info.Size()-cut.tail); err != nil {
			t.Fatal(err)
		}
		r = start(t, cfg)
		balanced(t, r.counts())
		eventually(t, "broker connected", func() bool { return r.messages().Connected })
		before := r.machines[0].Status().Windows
		s.rows("pump-1", 130, 0)
		eventually(t, "windows after "+cut.file+" was cut off", func() bool { return r.machines[0].Status().Windows > before+20 })
		eventually(t, "a score again", func() bool { return r.machine("pump-1")["state"] == "running" })
		if log := r.log.String(); cut.hurt && !strings.Contains(log, cut.file) {
			t.Errorf("the log does not name %s:\n%s", cut.file, log)
		}
		r.stop()
	}
}

// The senders' clock jumps, far ahead and back: windows go on, the lost samples are
// counted, and the other machine notices nothing.
func TestAgent_ClockJumps(t *testing.T) {
	broker := startBroker(t, "")
	s := newSensor(t, broker)
	r := start(t, testConfig(t, broker, "pump-1", "pump-2"))
	eventually(t, "broker connected", func() bool { return r.messages().Connected })
	real := s.now
	for i, jump := range []time.Duration{0, -40 * 24 * time.Hour, 0, -3 * time.Hour, 2 * time.Hour} {
		s.now = real.Add(jump)
		real = real.Add(70 * time.Second)
		before := r.machines[0].Status().Windows
		s.rows("pump-1", 70, 0)
		eventually(t, fmt.Sprintf("windows after jump %d to %v", i, jump), func() bool { return r.machines[0].Status().Windows >= before+8 })
	}
	s.now = real
	s.rows("pump-2", 60, 0)
	r.settled(410)
	balanced(t, r.counts())
	if st := r.machines[1].Status(); st.Windows < 10 || st.Skipped > 0 {
		t.Errorf("the other machine: %d windows, %d skipped", st.Windows, st.Skipped)
	}
}

// A disk that is full from the start and stays full: the agent predicts from memory, and
// raises the alarm.
func TestAgent_DiskFull(t *testing.T) {
	dir := smallDisk(t)
	broker := startBroker(t, "")
	s := newSensor(t, broker)
	cfg := testConfig(t, broker, "pump-1")
	cfg.DataDir = filepath.Join(dir, "data")
	if err := os.Mkdir(cfg.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	fillDisk(t, dir)
	r := start(t, cfg)
	eventually(t, "broker connected", func() bool { return r.messages().Connected })
	s.rows("pump-1", 110, 0)
	eventually(t, "running", func() bool { return r.machine("pump-1")["state"] == "running" })
	s.rows("pump-1", 40, 1)
	eventually(t, "alarm on MQTT", func() bool { return len(s.heard("millwright/gw1/pump-1/alarm")) > 0 })
	balanced(t, r.counts())
	status, doc := r.get("/healthz")
	if status != 200 || doc["status"] != "degraded" {
		t.Errorf("healthz on a full disk is %d %v", status, doc)
	}
	r.stop() // must not hang, panic or fail
}

// chip is an MCP9808 at 25.25 °C (data sheet DS25095A, p. 24 to 28) on a bus from which
// it can be pulled.
type chip struct{ gone, hung atomic.Bool }

var errNAK = errors.New("remote I/O error")

func (c *chip) open(string, time.Duration) (i2c.BusCloser, error) { return c, nil }
func (c *chip) String() string                                    { return "chip" }
func (c *chip) Close() error                                      { return nil }
func (c *chip) SetSpeed(physic.Frequency) error                   { return nil }

func (c *chip) Tx(_ uint16, w, r []byte) error {
	for c.hung.Load() {
		time.Sleep(time.Millisecond) // an ioctl that cannot be cancelled
	}
	if c.gone.Load() {
		return errNAK
	}
	if len(r) > 0 {
		copy(r, map[byte][]byte{0x05: {0xC1, 0x94}, 0x06: {0x00, 0x54}, 0x07: {0x04, 0x00}}[w[0]])
	}
	return nil
}

// A sensor is pulled out and put back, its bus hangs and comes back: its machine goes on
// afterwards, the device says why it was away, and the machine on MQTT notices nothing.
func TestAgent_SensorUnpluggedAndBusStuck(t *testing.T) {
	broker := startBroker(t, "")
	s := newSensor(t, broker)
	cfg := testConfig(t, broker, "pump-1")
	c := &chip{}
	cfg.Buses.I2C.Open = c.open
	cfg.Buses.I2C.CallTimeout, cfg.Buses.I2C.MinBackoff, cfg.Buses.I2C.MaxBackoff = 50*time.Millisecond, 5*time.Millisecond, 20*time.Millisecond
	cfg.Machines = append(cfg.Machines, MachineConfig{
		Name: "fan-1", Class: "fan", Window: 100 * time.Millisecond, Baseline: 10,
		Channels: []ChannelConfig{{Name: "temperature", Unit: "degC", Wiring: chips.Wiring{
			Bus: chips.I2C, Device: "I2C1", Chip: "mcp9808", Every: 10 * time.Millisecond,
		}}},
	})
	r := start(t, cfg)
	device := func() map[string]any {
		_, doc := r.get("/api/v1/sensors")
		for _, d := range doc["devices"].([]any) {
			if m := d.(map[string]any); m["bus"] == "i2c" {
				return m
			}
		}
		t.Fatalf("no device on i2c in %v", doc)
		return nil
	}
	windows := func() int64 { return r.byName["fan-1"].Status().Windows }
	eventually(t, "windows", func() bool { return windows() > 3 })
	for name, failing := range map[string]*atomic.Bool{"unplugged": &c.gone, "stuck": &c.hung} {
		failing.Store(true)
		eventually(t, name, func() bool { return device()["up"] == false && device()["last_error"] != nil })
		_, health := r.get("/healthz")
		if !strings.Contains(fmt.Sprint(health["notes"]), "device I2C1 0x18 mcp9808 is down: ") {
			t.Errorf("notes while %s: %v", name, health["notes"])
		}
		before := r.byName["pump-1"].Status().Windows
		s.rows("pump-1", 30, 0)
		eventually(t, "the other machine goes on", func() bool { return r.byName["pump-1"].Status().Windows >= before+3 })
		balanced(t, r.counts())
		failing.Store(false)
		before = windows()
		eventually(t, "windows after "+name, func() bool { return windows() > before+3 && device()["up"] == true })
	}
	if _, body := r.fetch("/metrics"); !strings.Contains(body, `millwright_device_up{device="I2C1 0x18 mcp9808",bus="i2c"} 1`) {
		t.Error("metrics lack the device")
	}
	if _, body := r.fetch("/api/v1/config"); !strings.Contains(body, `"chip": "mcp9808"`) {
		t.Errorf("configuration lacks the chip: %s", body)
	}
}

// A device that says it is gone makes its machine stale at once, and what the broker
// remembers of it is no news.
func TestAgent_LastWillMakesAMachineStale(t *testing.T) {
	broker := startBroker(t, "")
	s := newSensor(t, broker)
	cfg := testConfig(t, broker)
	cfg.Machines = []MachineConfig{{
		Names: []string{"fan-1", "fan-2"}, IDs: map[string]string{"fan-1": "a", "fan-2": "b"}, Class: "fan", Window: 5 * time.Second, Baseline: 10,
		StaleAfter: time.Hour,
		Channels: []ChannelConfig{{
			Name: "temperature", Topic: "dev/{id}/temp", Unit: "degC", Availability: []string{"dev/{id}/LWT"},
			Wiring: chips.Wiring{Device: "dev-{id}"}, Decode: decode.Spec{Format: decode.JSON, Path: "x", TimePath: "ts", TimeFormat: decode.TimeSeconds},
		}},
	}}
	r := start(t, cfg)
	eventually(t, "broker connected", func() bool { return r.messages().Connected })
	for _, id := range []string{"a", "b"} {
		s.send("dev/"+id+"/LWT", "Online")
		for i := range 100 {
			s.send("dev/"+id+"/temp", fmt.Sprintf(`{"ts": %d, "x": %g}`, s.now.Unix()+int64(i), 60+s.rng.NormFloat64()))
		}
	}
	for _, name := range []string{"fan-1", "fan-2"} {
		eventually(t, name+" runs", func() bool { return r.machine(name)["state"] == "running" })
	}
	s.send("dev/a/LWT", "Offline")
	eventually(t, "fan-1 is stale", func() bool { return r.machine("fan-1")["state"] == "stale" })
	if got := r.machine("fan-2")["state"]; got != "running" {
		t.Errorf("fan-2 is %v", got)
	}
	_, health := r.get("/healthz")
	if !strings.Contains(fmt.Sprint(health["notes"]), "machine fan-1 is stale: gone by their own word: dev-a") {
		t.Errorf("notes are %v", health["notes"])
	}
	s.send("dev/a/LWT", "Online")
	eventually(t, "fan-1 is back", func() bool { return r.machine("fan-1")["state"] == "running" })
}
