package mqttsource

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// wire is a net.Conn that reads from a buffer and keeps what is written.
type wire struct {
	net.Conn // nil: what is not overridden must not be called
	in       io.Reader
	out      bytes.Buffer
}

func (w *wire) Read(p []byte) (int, error)       { return w.in.Read(p) }
func (w *wire) Write(p []byte) (int, error)      { return w.out.Write(p) }
func (w *wire) Close() error                     { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// withLimit are the options of a conn that never has to wait.
func withLimit(maxPayload int, timeout time.Duration, tooLarge func(string, int)) connOptions {
	return connOptions{maxPayload: maxPayload, timeout: timeout, tooLarge: tooLarge, await: func(<-chan struct{}) {}, before: func() {}}
}

// publishPacket builds a PUBLISH with the client library's own encoder.
func publishPacket(topic string, qos byte, id uint16, payload int) []byte {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Qos, p.MessageID, p.Payload = topic, qos, id, make([]byte, payload)
	var b bytes.Buffer
	_ = p.Write(&b)
	return b.Bytes()
}

func TestConn_SkipsWhatIsTooLarge(t *testing.T) {
	var stream []byte
	for _, p := range [][]byte{
		publishPacket("a", 1, 1, 100), publishPacket("too/big", 1, 0x0203, 101), publishPacket("a", 0, 0, 0),
		publishPacket("big/0", 0, 0, 5000), publishPacket("a-long-topic-that-must-not-count", 1, 4, 100),
	} {
		stream = append(stream, p...)
	}
	w := &wire{in: bytes.NewReader(stream)}
	var skipped []string
	c := newConn(w, withLimit(100, time.Second, func(topic string, n int) { skipped = append(skipped, topic) }))
	var got []int
	for {
		cp, err := packets.ReadPacket(c)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("read: %v", err)
			}
			break
		}
		got = append(got, len(cp.(*packets.PublishPacket).Payload))
	}
	c.Close()
	if len(got) != 3 || got[0] != 100 || got[1] != 0 || got[2] != 100 {
		t.Errorf("payloads handed on: %v; want 100, 0, 100 bytes", got)
	}
	if len(skipped) != 2 || skipped[0] != "too/big" || skipped[1] != "big/0" {
		t.Errorf("skipped %v", skipped)
	}
	if want := []byte{0x40, 2, 2, 3}; !bytes.Equal(w.out.Bytes(), want) {
		t.Errorf("wrote % x; want the PUBACK % x and nothing for QoS 0", w.out.Bytes(), want)
	}
	if _, err := c.Write([]byte{1}); err == nil {
		t.Error("Write after Close gave no error")
	}
}

func TestConn_BrokenStreams(t *testing.T) {
	for name, stream := range map[string][]byte{
		"length of five bytes":      {0x30, 0xff, 0xff, 0xff, 0xff, 1},
		"huge packet, not PUBLISH":  {0x20, 0xff, 0xff, 0x7f, 0, 0},
		"cut off in the header":     {0x30},
		"cut off in a huge payload": publishPacket("t", 1, 1, 1000)[:500],
	} {
		c := newConn(&wire{in: bytes.NewReader(stream)}, withLimit(100, time.Second, func(string, int) {}))
		if _, err := io.Copy(io.Discard, c); err == nil && len(stream) > 1 {
			t.Errorf("%s: no error", name)
		}
		c.Close()
	}
}

// FuzzConn feeds any byte stream: nothing panics, and no packet announcing more
// than the limit beside its envelope comes through.
func FuzzConn(f *testing.F) {
	f.Add(append(publishPacket("a/b", 1, 7, 10), publishPacket("c", 0, 0, 300)...))
	f.Add([]byte{0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, 'x'})
	f.Add([]byte{0x90, 3, 0, 1, 0})
	f.Fuzz(func(t *testing.T, stream []byte) {
		const limit = 64
		c := newConn(&wire{in: bytes.NewReader(stream)}, withLimit(limit, time.Second, func(_ string, n int) {
			if n <= limit {
				t.Errorf("skipped a payload of %d bytes", n)
			}
		}))
		defer c.Close()
		for {
			cp, err := packets.ReadPacket(c)
			if err != nil {
				return
			}
			if p, ok := cp.(*packets.PublishPacket); ok && len(p.Payload) > limit {
				t.Fatalf("payload of %d bytes came through", len(p.Payload))
			}
		}
	})
}

func TestConn_WriteErrorEndsReading(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	c := newConn(a, withLimit(100, 10*time.Millisecond, func(string, int) {}))
	defer c.Close()
	if _, err := c.Write(binary.BigEndian.AppendUint32(nil, 1)); err != nil { // nobody reads: the deadline passes
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("Read gave no error after a write timed out")
	}
	if _, err := c.Write([]byte{1}); err == nil {
		t.Error("Write gave no error after one timed out")
	}
}
