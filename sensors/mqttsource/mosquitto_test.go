package mqttsource

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// freePort returns a loopback port that was free a moment ago: Mosquitto cannot
// be told to choose one and say which.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// mosquitto is a real broker that a test starts and stops.
type mosquitto struct {
	path, conf string
	port       int
	cmd        *exec.Cmd
}

// newMosquitto prepares a broker with extra lines of configuration; it skips
// the test where Mosquitto is not installed.
func newMosquitto(t testing.TB, extra string) *mosquitto {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if path = "/usr/sbin/mosquitto"; exec.Command(path, "-h").Run() != nil {
			if _, err := os.Stat(path); err != nil {
				t.Skip("mosquitto is not installed")
			}
		}
	}
	m := &mosquitto{path: path, port: freePort(t)}
	m.conf = filepath.Join(t.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %d 127.0.0.1\n%s\n", m.port, extra)
	if err := os.WriteFile(m.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.stop() })
	return m
}

func (m *mosquitto) url() string { return fmt.Sprintf("tcp://127.0.0.1:%d", m.port) }

func (m *mosquitto) start(t testing.TB) {
	t.Helper()
	m.cmd = exec.Command(m.path, "-c", m.conf)
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("tcp", m.url()[len("tcp://"):])
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("mosquitto does not listen: %v", err)
		}
	}
}

func (m *mosquitto) stop() {
	if m.cmd != nil {
		_ = m.cmd.Process.Signal(syscall.SIGTERM)
		_ = m.cmd.Wait()
		m.cmd = nil
	}
}

// kill ends the broker as a loss of power would.
func (m *mosquitto) kill(t testing.TB) {
	t.Helper()
	m.signal(t, syscall.SIGKILL)
	_ = m.cmd.Wait()
	m.cmd = nil
}

func (m *mosquitto) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// rawPublisher writes PUBLISH packets at QoS 1 with next to no cost, so that a
// benchmark measures the Source and the broker.
type rawPublisher struct {
	conn net.Conn
	id   uint16
	buf  []byte
}

func newRawPublisher(t testing.TB, m *mosquitto) *rawPublisher {
	t.Helper()
	c, err := net.Dial("tcp", m.url()[len("tcp://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	// CONNECT, clean session, no keep-alive, client id "raw" (MQTT 3.1.1, 3.1).
	if _, err := c.Write([]byte("\x10\x0f\x00\x04MQTT\x04\x02\x00\x00\x00\x03raw")); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	if _, err := io.ReadFull(r, make([]byte, 4)); err != nil { // CONNACK
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }() // PUBACKs; ends with the connection
	return &rawPublisher{conn: c}
}

func (p *rawPublisher) add(topic string, payload []byte) {
	if p.id++; p.id == 0 {
		p.id = 1
	}
	n := 2 + len(topic) + 2 + len(payload)
	p.buf = append(p.buf, 0x32, byte(n&0x7f|0x80), byte(n>>7))
	p.buf = binary.BigEndian.AppendUint16(p.buf, uint16(len(topic)))
	p.buf = append(p.buf, topic...)
	p.buf = binary.BigEndian.AppendUint16(p.buf, p.id)
	p.buf = append(p.buf, payload...)
}

func (p *rawPublisher) flush(t testing.TB) {
	if _, err := p.conn.Write(p.buf); err != nil {
		t.Fatal(err)
	}
	p.buf = p.buf[:0]
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// payload148 is a message of 148 bytes with eight values and a time.
func payload148(i int) []byte {
	b := fmt.Appendf(nil, `{"t":%d.250,"a1":0.0265878,"a2":0.0401113,"current":1.3302,"pressure":0.054711,"temp":79.3366,"thermo":26.0199,"voltage":233.062,"flow":%2d.0}`,
		1700000000+i, 10+i%90)
	for len(b) < 148 {
		b = append(b, ' ')
	}
	return b
}

func channels148(t testing.TB) []Channel {
	var cs []Channel
	for _, n := range []string{"a1", "a2", "current", "pressure", "temp", "thermo", "voltage", "flow"} {
		cs = append(cs, Channel{Machine: "m", Channel: n, Topic: "plant/m/row", Unit: unit(t, "1"),
			Decode: decode.Spec{Format: decode.JSON, Path: n, TimePath: "t"}})
	}
	return cs
}

// BenchmarkSource_Mosquitto carries 148-byte JSON messages of eight channels at
// QoS 1 through a real broker, at most 500 of them under way (Mosquitto drops
// beyond 1000). CPU is that of this process: Source and publisher.
func BenchmarkSource_Mosquitto(b *testing.B) {
	m := newMosquitto(b, "allow_anonymous true")
	m.start(b)
	for _, count := range []int{8} {
		b.Run(fmt.Sprintf("channels=%d", count), func(b *testing.B) {
			src, err := New(m.url(), channels148(b)[:count], Options{}, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			r := &runner{Source: src, log: &logBuffer{}}
			r.run(b, func(sensors.Block) error { return nil })
			r.connected(b)
			p := newRawPublisher(b, m)
			b.ReportAllocs()
			b.ResetTimer()
			cpu := cpuTime()
			for sent := 0; sent < b.N; {
				n := min(50, b.N-sent)
				for i := range n {
					p.add("plant/m/row", payload148(sent+i))
				}
				p.flush(b)
				sent += n
				for int64(sent)-src.Stats().Received > 450 {
					time.Sleep(100 * time.Microsecond)
				}
			}
			for src.Stats().Emitted < int64(b.N) {
				time.Sleep(time.Millisecond)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-µs/msg")
			if s := src.Stats(); s.Emitted != int64(b.N) || s.SamplesEmitted != int64(b.N*count) {
				b.Errorf("lost messages: %+v", s)
			}
		})
	}
}
