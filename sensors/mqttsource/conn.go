package mqttsource

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// conn stands between the MQTT client and the socket, for five reasons.
//
// The client allocates whatever length a packet announces, up to 256 MB, before
// it looks at it. conn reads the headers along and skips a PUBLISH whose
// payload is over the limit, acknowledging it so that the broker does not send
// it again.
//
// The client reads a packet in four small reads and writes each acknowledgement
// by itself. conn buffers both ways; acknowledgements made while a write is
// under way leave together in the next one.
//
// The client's write timeout does not cover acknowledgements. Here every write
// has a deadline.
//
// The client hands a message to a handler that must not wait. conn waits in the
// handler's stead, before it reads the message from the socket: a queue that is
// full for a moment makes the broker keep messages, not us lose them. Brokers
// that limit what is unacknowledged never let it come to that; messages of QoS 0
// and large bursts do.
//
// The client's own Ack waits for its writer, which a lost connection may have
// ended. Here an acknowledgement never waits, and one on a connection that is
// over is forgotten: the broker sends the message again.
type conn struct {
	net.Conn
	connOptions

	in      *bufio.Reader
	pending int // bytes of the current packet still to hand on

	// resumed says that the broker kept our session, so that nothing sent at QoS 1
	// was missed.
	resumed atomic.Bool

	mu      sync.Mutex
	out     []byte
	err     error // why writing ended
	wake    chan struct{}
	closing chan struct{} // Close was called
	closed  chan struct{} // writing is over and the socket closed
}

type connOptions struct {
	maxPayload int
	timeout    time.Duration // of a write
	number     uint64        // of the connection, from 1
	tooLarge   func(topic string, payloadBytes int)
	// await returns when there is room for a message, when closed is, or when it
	// has waited for long enough.
	await func(closed <-chan struct{})
	// before is called before each write.
	before func()
}

// newConn wraps c and starts the goroutine that writes; it ends with Close.
func newConn(c net.Conn, o connOptions) *conn {
	w := &conn{
		Conn: c, connOptions: o,
		in:   bufio.NewReaderSize(c, 32<<10),
		wake: make(chan struct{}, 1), closing: make(chan struct{}), closed: make(chan struct{}),
	}
	go w.writeOut()
	return w
}

// Read hands on bytes of packets that are within the limit. It ends at the end
// of a packet, so that the next header is always seen.
func (c *conn) Read(p []byte) (int, error) {
	if c.pending == 0 {
		if err := c.nextPacket(); err != nil {
			return 0, err
		}
	}
	n, err := c.in.Read(p[:min(len(p), c.pending)])
	c.pending -= n
	return n, err
}

// nextPacket looks at headers until one announces a packet to hand on, and
// leaves it unread. Fixed header: MQTT 3.1.1, section 2.2; PUBLISH: 3.3.
func (c *conn) nextPacket() error {
	const publish = 3
	for {
		header, remaining, err := c.peekHeader()
		if err != nil {
			return err
		}
		first, _ := c.in.Peek(1)
		if first[0]>>4 == publish {
			c.await(c.closing)
		}
		if remaining <= c.maxPayload {
			c.pending = header + remaining
			return nil
		}
		if first[0]>>4 != publish {
			return fmt.Errorf("packet of type %d announces %d bytes: broken stream", first[0]>>4, remaining)
		}
		head, err := c.in.Peek(header + 2)
		if err != nil {
			return err
		}
		qos := first[0] >> 1 & 3
		topicLen := int(binary.BigEndian.Uint16(head[header:]))
		envelope := 2 + topicLen
		if qos > 0 {
			envelope += 2
		}
		if remaining-envelope <= c.maxPayload {
			c.pending = header + remaining
			return nil
		}
		if err := c.skip(header, envelope, remaining, topicLen, qos); err != nil {
			return err
		}
	}
}

// peekHeader returns the length of the fixed header and of what follows it.
func (c *conn) peekHeader() (header, remaining int, err error) {
	for i := 1; i <= 4; i++ {
		b, err := c.in.Peek(i + 1)
		if err != nil {
			if err == io.EOF && len(b) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return 0, 0, err
		}
		remaining |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i]&0x80 == 0 {
			return i + 1, remaining, nil
		}
	}
	return 0, 0, fmt.Errorf("packet length has more than four bytes: broken stream")
}

// skip reads a PUBLISH past its payload without keeping it, and acknowledges it.
func (c *conn) skip(header, envelope, remaining, topicLen int, qos byte) error {
	head := make([]byte, header+envelope)
	if _, err := io.ReadFull(c.in, head); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, c.in, int64(remaining-envelope)); errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	} else if err != nil {
		return err
	}
	c.tooLarge(string(head[header+2:header+2+topicLen]), remaining-envelope)
	if qos == 1 {
		c.ack(binary.BigEndian.Uint16(head[len(head)-2:]))
	}
	return nil
}

// ack acknowledges the QoS 1 message with a packet identifier (PUBACK, 3.4). It
// never waits and may be called at any time, also when the connection is over.
func (c *conn) ack(id uint16) {
	_, _ = c.Write([]byte{0x40, 2, byte(id >> 8), byte(id)})
}

// Write queues p for the writing goroutine; it reports an earlier write's error.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return 0, c.err
	}
	c.out = append(c.out, p...)
	c.mu.Unlock()
	c.signal()
	return len(p), nil
}

func (c *conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Close sends what is queued, giving the peer a moment to take it, and closes
// the socket. It may be called by several goroutines, and again.
func (c *conn) Close() error {
	c.mu.Lock()
	if c.err == nil {
		c.err = net.ErrClosed
	}
	select {
	case <-c.closing:
	default:
		close(c.closing)
	}
	c.mu.Unlock()
	_ = c.SetWriteDeadline(time.Now().Add(min(c.timeout, 250*time.Millisecond)))
	c.signal()
	<-c.closed
	return nil
}

// writeOut writes what is queued until Close or an error.
func (c *conn) writeOut() {
	defer close(c.closed)
	defer c.Conn.Close()
	var batch []byte
	for range c.wake {
		// Acknowledgements come in flocks: letting the ones being made join this
		// write saves a sixth of all CPU time (BenchmarkSource_Mosquitto).
		runtime.Gosched()
		c.mu.Lock()
		batch, c.out = c.out, batch[:0]
		ending := c.err != nil
		c.mu.Unlock()
		if len(batch) > 0 {
			c.before()
			if !ending {
				_ = c.SetWriteDeadline(time.Now().Add(c.timeout))
			}
			if _, err := c.Conn.Write(batch); err != nil {
				c.mu.Lock()
				if c.err == nil {
					c.err = err
				}
				c.mu.Unlock()
				return
			}
		}
		if ending {
			c.linger()
			return
		}
	}
}

// linger waits a moment for the peer to end too. A socket closed with messages
// unread is reset, and a reset takes the acknowledgements along that the peer has
// not read yet.
func (c *conn) linger() {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(250 * time.Millisecond))
	_, _ = io.Copy(io.Discard, c.Conn)
}
