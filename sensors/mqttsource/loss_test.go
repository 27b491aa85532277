package mqttsource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/millwright-iot/millwright/sensors"
)

// save makes the broker write down what it has, and waits until it did.
func (m *mosquitto) save(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "mosquitto.db")
	before, _ := os.ReadFile(path)
	m.signal(t, syscall.SIGUSR1)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		// It writes another file and renames it.
		if now, err := os.ReadFile(path); err == nil && len(now) > 0 && !bytes.Equal(now, before) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("mosquitto saved nothing")
		}
	}
}

// Broker and gateway are killed in turns with messages under way: all that the broker
// acknowledged to the publisher is emitted in one of the gateway's lives, and none of it
// is left at the end. Published and acknowledged = emitted, and what came twice is no
// more than a life had emitted before the acknowledgement left.
func TestSource_NothingAcknowledgedIsLost(t *testing.T) {
	dir := t.TempDir()
	openTo(t, dir, 0o777)
	const inflight = 20
	m := newMosquitto(t, fmt.Sprintf("allow_anonymous true\npersistence true\npersistence_location %s/\nmax_inflight_messages %d", dir, inflight))
	m.start(t)
	crash := errors.New("killed")
	seen := map[float64]int{}
	// live runs a gateway until it has emitted some more, or all that was published.
	live := func(emits, published int) {
		t.Helper()
		s, err := New(m.url(), scalarChannel(t), session(), (&logBuffer{}).logger())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		err = s.Run(ctx, func(b sensors.Block) error {
			if emits == 0 {
				return crash
			}
			emits--
			seen[b.Samples[0]]++
			if len(seen) == published {
				cancel()
			}
			return nil
		})
		checkSums(t, s.Stats())
		if errors.Is(err, context.DeadlineExceeded) || ctx.Err() == context.DeadlineExceeded {
			t.Fatalf("%d of %d messages arrived", len(seen), published)
		}
	}
	// The session has to be known before anything is kept for it.
	t.Run("session", func(t *testing.T) { start(t, m.url(), scalarChannel(t), session()).connected(t) })

	acknowledged := 0
	for life := range 6 {
		publishNumbers(t, m.url(), acknowledged, acknowledged+60)
		acknowledged += 60
		live(17+life, acknowledged) // dies with messages in its hands
		m.save(t, dir)
		m.kill(t)
		m.start(t)
	}
	live(1<<30, acknowledged)
	twice := 0
	for _, n := range seen {
		twice += n - 1
	}
	if len(seen) != acknowledged || twice > 6*inflight {
		t.Errorf("%d messages acknowledged to the publisher, %d of them emitted, %d more than once", acknowledged, len(seen), twice)
	}
	t.Logf("%d acknowledged, %d emitted, %d twice, over 6 kills of gateway and broker", acknowledged, len(seen), twice)
}

// counter reads one of the broker's own counts.
func (m *mosquitto) counter(t *testing.T, topic string) func() int {
	t.Helper()
	var mu sync.Mutex
	n := -1
	c := publisher(t, m.url())
	token := c.Subscribe(topic, 0, func(_ mqtt.Client, msg mqtt.Message) {
		mu.Lock()
		defer mu.Unlock()
		n, _ = strconv.Atoi(string(msg.Payload()))
	})
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// What a broker throws away for its queue limit, it says: acknowledged to the publisher =
// received by us + dropped by the broker.
func TestSource_MosquittoQueueLimitAddsUp(t *testing.T) {
	m := newMosquitto(t, "allow_anonymous true\nmax_inflight_messages 5\nmax_queued_messages 10\nsys_interval 1")
	m.start(t)
	dropped := m.counter(t, "$SYS/broker/publish/messages/dropped")
	r, open := gated(t, m.url(), session())
	r.connected(t)
	const acknowledged = 100
	publishNumbers(t, m.url(), 0, acknowledged)
	open()
	r.eventually(t, "both counts", func(s Stats) bool {
		return s.Queued == 0 && s.Emitted > 0 && int(s.Emitted)+dropped() == acknowledged
	})
	t.Logf("%d acknowledged, %d received, %d dropped by the broker", acknowledged, r.Stats().Received, dropped())
}
