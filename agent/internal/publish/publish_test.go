package publish

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"go.uber.org/goleak"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/journal"
	"github.com/millwright-iot/millwright/agent/internal/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker speaks just enough MQTT to be awkward: it decides for each alarm whether
// to acknowledge it or to cut the connection.
type broker struct {
	t  testing.TB
	ln net.Listener
	// alarm is asked for each PUBLISH at QoS 1: acknowledge, or hang up.
	alarm func(topic string, payload []byte) bool

	mu     sync.Mutex
	alarms []string // payloads in order of arrival
	scores []string
	wg     sync.WaitGroup
}

func newBroker(t testing.TB, alarm func(string, []byte) bool) *broker {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{t: t, ln: ln, alarm: alarm}
	b.wg.Go(b.accept)
	t.Cleanup(func() { _ = ln.Close(); b.wg.Wait() })
	return b
}

func (b *broker) accept() {
	for {
		c, err := b.ln.Accept()
		if err != nil {
			return
		}
		b.wg.Go(func() { b.serve(c) })
	}
}

func (b *broker) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		p, err := packets.ReadPacket(r)
		if err != nil {
			return
		}
		switch p := p.(type) {
		case *packets.ConnectPacket:
			_ = packets.NewControlPacket(packets.Connack).Write(c)
		case *packets.PublishPacket:
			if p.TopicName == "millwright/gw1/status" {
				ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
				ack.MessageID = p.MessageID
				_ = ack.Write(c)
				continue
			}
			if p.Qos == 0 {
				b.mu.Lock()
				b.scores = append(b.scores, string(p.Payload))
				b.mu.Unlock()
				continue
			}
			b.mu.Lock()
			b.alarms = append(b.alarms, string(p.Payload))
			b.mu.Unlock()
			if !p.Retain {
				b.t.Error("alarm is not retained")
			}
			if !b.alarm(p.TopicName, p.Payload) {
				return
			}
			ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			ack.MessageID = p.MessageID
			_ = ack.Write(c)
		case *packets.PingreqPacket:
			_ = packets.NewControlPacket(packets.Pingresp).Write(c)
		}
	}
}

func (b *broker) heard() (alarms, scores []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.alarms...), append([]string(nil), b.scores...)
}

func run(t testing.TB, b *broker) *Publisher {
	t.Helper()
	p := New(Options{
		Gateway: "gw1",
		Link: link.Options{
			Broker: &url.URL{Scheme: "tcp", Host: b.ln.Addr().String()}, ClientID: "c",
			MinWait: time.Millisecond, MaxWait: 10 * time.Millisecond,
		},
	}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("did not happen: %s", what)
}

// A connection that is cut before the acknowledgement must not lose the alarm, nor
// the order.
func TestPublisher_AlarmStaysUntilAcknowledged(t *testing.T) {
	var arrived atomic.Int64
	b := newBroker(t, func(topic string, _ []byte) bool {
		if topic != "millwright/gw1/pump-1/alarm" {
			t.Errorf("topic is %s", topic)
		}
		return arrived.Add(1) > 3
	})
	p := run(t, b)
	for i := range 3 {
		p.Alarm(journal.Episode{ID: fmt.Sprint(i), Machine: "pump-1", Revision: 1, Active: true})
	}
	eventually(t, "three alarms acknowledged", func() bool { return p.Stats().AlarmsDelivered == 3 })
	alarms, _ := b.heard()
	var ids string
	for _, a := range alarms {
		var e journal.Episode
		if err := json.Unmarshal([]byte(a), &e); err != nil {
			t.Fatal(err)
		}
		ids += e.ID
	}
	if ids != "000012" {
		t.Errorf("alarms arrived as %s, want the first one four times, then the others", ids)
	}
	if st := p.Stats(); st.AlarmsQueued != 0 || st.Connections != 4 {
		t.Errorf("stats are %+v", st)
	}
}

func TestPublisher_QueuesAreBounded(t *testing.T) {
	b := newBroker(t, func(string, []byte) bool { return false })
	p := run(t, b)
	for i := range maxAlarms + 7 {
		p.Alarm(journal.Episode{ID: fmt.Sprint(i), Machine: "m", Revision: 1})
	}
	if st := p.Stats(); st.AlarmsDropped != 7 || st.AlarmsQueued != maxAlarms {
		t.Errorf("stats are %+v", st)
	}
}

func TestPublisher_Scores(t *testing.T) {
	b := newBroker(t, func(string, []byte) bool { return true })
	p := run(t, b)
	out := infer.Output{At: time.Unix(1, 0), State: infer.Running, Score: 0.25, Zone: "A", Version: 3, Reasons: []infer.Reason{{Feature: "v.rms", Share: 0.5}}}
	eventually(t, "connected", func() bool { return p.Stats().Connected })
	p.Score("pump-1", "pump", "pumps", time.Minute, &out)
	out.Reasons[0].Feature = "overwritten" // the Publisher must have its own copy
	baseline := infer.Output{At: time.Unix(2, 0), State: infer.Baseline, Have: 3, Want: 20}
	p.Score("pump-1", "pump", "pumps", time.Minute, &baseline)
	eventually(t, "scores", func() bool { _, s := b.heard(); return len(s) == 2 })
	_, scores := b.heard()
	for i, want := range []string{
		`{"gateway":"gw1","machine":"pump-1","class":"pump","at":"1970-01-01T00:00:01Z","state":"running","score":0.25,"zone":"A","alarm":false,"reasons":[{"feature":"v.rms","share":0.5}],"job":"pumps","model_version":3}`,
		`{"gateway":"gw1","machine":"pump-1","class":"pump","at":"1970-01-01T00:00:02Z","state":"baseline","baseline":{"have":3,"want":20},"alarm":false,"job":"pumps","model_version":0}`,
	} {
		if scores[i] != want {
			t.Errorf("score is\n%s, want\n%s", scores[i], want)
		}
	}
}

func TestPublisher_ScoresWithoutAConnectionAreCounted(t *testing.T) {
	p := New(Options{Link: link.Options{Broker: &url.URL{Scheme: "tcp", Host: "127.0.0.1:1"}}}, slog.New(slog.DiscardHandler))
	out := infer.Output{State: infer.Running}
	for range 5 {
		p.Score("m", "c", "j", time.Minute, &out)
	}
	if st := p.Stats(); st.ScoresDropped != 5 || st.ScoresQueued != 0 {
		t.Errorf("stats are %+v", st)
	}
	p.connected(true)
	for range maxScores + 3 {
		p.Score("m", "c", "j", time.Minute, &out)
	}
	if st := p.Stats(); st.ScoresDropped != 8 || st.ScoresQueued != maxScores {
		t.Errorf("stats are %+v", st)
	}
	p.connected(false)
	if st := p.Stats(); st.ScoresDropped != 8+maxScores || st.ScoresQueued != 0 {
		t.Errorf("after the connection was lost: %+v", st)
	}
	if n := testing.AllocsPerRun(100, func() { p.Score("m", "c", "j", time.Minute, &out) }); n != 0 {
		t.Errorf("%v allocations a score", n)
	}
}
