package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millwright-iot/millwright/agent/internal/brokertest"
	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/agent/internal/link"
	"github.com/millwright-iot/millwright/sensors/mqttsource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topic = "millwright/hall-7/label"

// keeper is what an Inbox fills.
type keeper struct {
	mu      sync.Mutex
	kept    []string
	durable []string
	broken  bool // the disk
}

func (k *keeper) keep(body []byte) error {
	l, err := labels.Decode(body)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Contains(k.kept, l.ID) {
		k.kept = append(k.kept, l.ID)
	}
	return nil
}

func (k *keeper) flush() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken {
		return errors.New("no space left on device")
	}
	k.durable = append([]string(nil), k.kept...)
	return nil
}

func (k *keeper) have() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.durable)
}

func (k *keeper) breakDisk(broken bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.broken = broken
}

func newInbox(t *testing.T, m *brokertest.Mosquitto, k *keeper) *Inbox {
	t.Helper()
	broker, err := mqttsource.ParseBroker("tcp://" + m.Address())
	if err != nil {
		t.Fatal(err)
	}
	return New(link.Options{Broker: broker, ClientID: "labels", MinWait: 10 * time.Millisecond, MaxWait: 50 * time.Millisecond},
		topic, k.keep, k.flush, slog.New(slog.DiscardHandler))
}

// run runs an Inbox until stop.
func run(t *testing.T, i *Inbox) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- i.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func publish(t *testing.T, m *brokertest.Mosquitto, payload string, more ...string) {
	t.Helper()
	host, port, _ := strings.Cut(m.Address(), ":")
	args := append([]string{"-h", host, "-p", port, "-q", "1", "-t", topic, "-m", payload}, more...)
	if out, err := exec.Command("mosquitto_pub", args...).CombinedOutput(); err != nil {
		t.Fatalf("publish: %v: %s", err, out)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("did not happen: %s", what)
}

func TestInbox_AcknowledgesWhatIsDurable(t *testing.T) {
	m := brokertest.Start(t)
	k := &keeper{}
	stop := run(t, newInbox(t, m, k))
	eventually(t, "a label arrives", func() bool {
		publish(t, m, `{"id":"a","machine":"press-1","kind":"failure"}`) // until the inbox has subscribed
		return len(k.have()) == 1
	})

	// While the agent is away the broker keeps it.
	stop()
	publish(t, m, `{"id":"b","machine":"press-1","kind":"failure"}`)
	stop = run(t, newInbox(t, m, k))
	eventually(t, "a label sent meanwhile arrives", func() bool { return slices.Equal(k.have(), []string{"a", "b"}) })

	// While the disk fails nothing is acknowledged, and an agent that dies gets it again.
	k.breakDisk(true)
	publish(t, m, `{"id":"c","machine":"press-1","kind":"failure"}`)
	eventually(t, "it was tried", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return slices.Contains(k.kept, "c")
	})
	stop()
	after := &keeper{}
	run(t, newInbox(t, m, after))
	eventually(t, "the one that was not durable comes again", func() bool { return slices.Contains(after.have(), "c") })
	if slices.Contains(after.have(), "b") {
		t.Error("one that was durable came again")
	}
}

func TestInbox_AnswersWhatItCannotKeep(t *testing.T) {
	m := brokertest.Start(t)
	errorsHeard := m.Subscribe("%q %r %p", topic+"/error")
	k := &keeper{}
	i := newInbox(t, m, k)
	run(t, i)
	eventually(t, "a label arrives", func() bool {
		publish(t, m, `{"id":"a","machine":"press-1","kind":"failure"}`)
		return len(k.have()) == 1
	})
	publish(t, m, `{"machin":"press-1"}`)
	publish(t, m, `failure of press-1`)
	// A retained message is told from others only when it is sent at a subscription.
	publish(t, m, `{"machine":"press-1","kind":"failure"}`, "-r")
	publish(t, m, `{"id":"r","machine":"press-1","kind":"failure"}`)
	eventually(t, "two answers", func() bool { return len(errorsHeard.Lines()) >= 2 })
	want := []string{`did you mean "machine"?`, "not JSON"}
	for n, line := range errorsHeard.Lines()[:2] {
		text, ok := strings.CutPrefix(line, "1 0 ")
		var answer struct {
			Error string
			Label any
		}
		if err := json.Unmarshal([]byte(text), &answer); !ok || err != nil || !strings.Contains(answer.Error, want[n]) || answer.Label == nil {
			t.Errorf("answer %d is %s (%v), want one that says %q", n, line, err, want[n])
		}
	}
	eventually(t, "the good one", func() bool { return slices.Contains(k.have(), "r") })
	if st := i.Stats(); st.Refused != 2 || st.Received < 5 {
		t.Errorf("stats: %+v", st)
	}
	late := m.Subscribe("%p", topic+"/error")
	run(t, newInboxNamed(t, m, &keeper{}))
	eventually(t, "an answer to the retained one", func() bool {
		return slices.ContainsFunc(late.Lines(), func(l string) bool { return strings.Contains(l, "needs an id") })
	})
}

// newInboxNamed is another client, which the broker sends what it retains.
func newInboxNamed(t *testing.T, m *brokertest.Mosquitto, k *keeper) *Inbox {
	i := newInbox(t, m, k)
	i.opts.ClientID = "labels-2"
	return i
}
