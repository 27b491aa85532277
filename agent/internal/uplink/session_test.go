package uplink

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/millwright-iot/millwright/fedavg/fedpb"
)

// wire is a stream whose other end is the test.
type wire struct {
	ctx  context.Context
	in   chan *fedpb.FromCoordinator
	sent chan *fedpb.FromAgent
}

func (w *wire) Send(m *fedpb.FromAgent) error {
	select {
	case w.sent <- m:
		return nil
	case <-w.ctx.Done():
		return io.EOF
	}
}

func (w *wire) Recv() (*fedpb.FromCoordinator, error) {
	select {
	case m, ok := <-w.in:
		if !ok {
			return nil, io.EOF
		}
		return m, nil
	case <-w.ctx.Done():
		return nil, w.ctx.Err()
	}
}

// held runs test beside a session of n, in time that passes only when all wait.
func held(t *testing.T, n *node, test func(w *wire, sent func() []*fedpb.FromAgent)) {
	synctest.Test(t, func(t *testing.T) {
		n.changed = make(chan struct{}) // a bubble has its own channels
		u, err := New(Config{Address: "hq:1", Gateway: "g", DataDir: t.TempDir(), Version: "v1"}, n, quiet())
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancelCause(t.Context())
		w := &wire{ctx: ctx, in: make(chan *fedpb.FromCoordinator), sent: make(chan *fedpb.FromAgent, 10_000)}
		done := make(chan error, 1)
		go func() { done <- u.converse(ctx, end, w, func(time.Duration) {}) }()
		if m := <-w.sent; m.GetHello() == nil {
			t.Errorf("first message is %v", m)
		}
		w.in <- &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_Welcome{Welcome: &fedpb.Welcome{Now: timestamppb.New(time.Now().Add(time.Hour))}}}
		test(w, func() []*fedpb.FromAgent {
			synctest.Wait()
			var out []*fedpb.FromAgent
			for {
				select {
				case m := <-w.sent:
					out = append(out, m)
				default:
					return out
				}
			}
		})
		if s := u.State(); !s.Connected || s.ClockOffset != time.Hour {
			t.Errorf("state is %+v", s)
		}
		close(w.in)
		if err := <-done; err == nil {
			t.Error("the end of a session is no error")
		}
	})
}

func TestSession_StatusAtMostOnceASecond(t *testing.T) {
	n := newNode()
	held(t, n, func(_ *wire, sent func() []*fedpb.FromAgent) {
		if got := sent(); len(got) != 1 || got[0].GetStatus() == nil {
			t.Fatalf("at first %v was sent", got)
		}
		// 100 changes a second for ten seconds: ten or eleven messages, the last with the newest state.
		var all []*fedpb.FromAgent
		for i := range 1000 {
			time.Sleep(10 * time.Millisecond)
			n.change(func() { n.status.ReceivedSamples = uint64(i + 1) })
			all = append(all, sent()...)
		}
		time.Sleep(time.Second)
		all = append(all, sent()...)
		if len(all) < 10 || len(all) > 11 {
			t.Errorf("%d messages in 11 s", len(all))
		}
		if last := all[len(all)-1].GetStatus().GetReceivedSamplesTotal(); last != 1000 {
			t.Errorf("last status has %d samples, want 1000", last)
		}
		// Without a change, once in 15 s.
		time.Sleep(time.Minute)
		if got := sent(); len(got) != 4 {
			t.Errorf("%d messages in a quiet minute, want 4", len(got))
		}
		// A single change after a silence is told at once.
		time.Sleep(5 * time.Second)
		n.change(func() { n.status.ReceivedSamples = 2000 })
		if got := sent(); len(got) != 1 || got[0].GetStatus().GetReceivedSamplesTotal() != 2000 {
			t.Errorf("after a change: %v", got)
		}
	})
}

func alarmsIn(ms []*fedpb.FromAgent) (out []string) {
	for _, m := range ms {
		if a := m.GetAlarm(); a != nil {
			out = append(out, a.GetId()+string(rune('0'+a.GetRevision())))
		}
	}
	return out
}

func TestSession_AlarmUntilAcknowledged(t *testing.T) {
	n := newNode()
	n.alarms = []AlarmEvent{{ID: "a", Revision: 1}}
	held(t, n, func(w *wire, sent func() []*fedpb.FromAgent) {
		check := func(when string, want ...string) {
			t.Helper()
			if got := alarmsIn(sent()); !slices.Equal(got, want) {
				t.Errorf("%s: alarms %v, want %v", when, got, want)
			}
		}
		check("at first", "a1")
		time.Sleep(alarmRepeat - time.Millisecond)
		check("too early")
		time.Sleep(time.Millisecond)
		check("not acknowledged", "a1")
		// A new event goes out at once, and does not repeat the old one.
		n.change(func() { n.alarms = append(n.alarms, AlarmEvent{ID: "a", Revision: 2}) })
		check("new event", "a2")
		w.in <- &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_AlarmAck{AlarmAck: &fedpb.AlarmAck{Id: "a", Revision: 1}}}
		time.Sleep(alarmRepeat)
		check("first acknowledged", "a2")
		w.in <- &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_AlarmAck{AlarmAck: &fedpb.AlarmAck{Id: "a", Revision: 2}}}
		time.Sleep(10 * alarmRepeat)
		check("both acknowledged")
		// After a long time without a coordinator there are many: they come in
		// portions, the next as the first are acknowledged.
		n.change(func() {
			for i := range alarmsAtOnce + 1 {
				n.alarms = append(n.alarms, AlarmEvent{ID: string(rune('b' + i)), Revision: 1})
			}
		})
		if got := alarmsIn(sent()); len(got) != alarmsAtOnce {
			t.Errorf("%d alarms at once", len(got))
		}
		w.in <- &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_AlarmAck{AlarmAck: &fedpb.AlarmAck{Id: "b", Revision: 1}}}
		if got := alarmsIn(sent()); len(got) != 1 {
			t.Errorf("%d more alarms after one was acknowledged", len(got))
		}
	})
}

func TestSession_NoWelcome(t *testing.T) {
	u, err := New(Config{Address: "hq:1", Gateway: "g", DataDir: t.TempDir()}, newNode(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{ctx: t.Context(), in: make(chan *fedpb.FromCoordinator, 1), sent: make(chan *fedpb.FromAgent, 9)}
	w.in <- &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_Jobs{Jobs: &fedpb.Jobs{}}}
	if err := u.converse(t.Context(), func(error) {}, w, func(time.Duration) { t.Error("connected") }); err == nil {
		t.Error("a session without a welcome was held")
	}
}

// A message of a newer coordinator, or one that is empty, must not break the session.
func TestSession_UnknownMessages(t *testing.T) {
	n := newNode()
	held(t, n, func(w *wire, sent func() []*fedpb.FromAgent) {
		w.in <- &fedpb.FromCoordinator{}
		w.in <- &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_Jobs{Jobs: &fedpb.Jobs{Jobs: []*fedpb.Job{
			{}, {SpecJson: []byte("not JSON")}, {SpecJson: []byte(`{"name":"../../etc"}`)},
		}}}}
		w.in <- &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_RoundStart{RoundStart: &fedpb.RoundStart{Job: "../../etc"}}}
		w.in <- &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_RoundEnd{RoundEnd: &fedpb.RoundEnd{}}}
		w.in <- &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_AlarmAck{}}
		var declined int
		for _, m := range sent() {
			if a := m.GetRoundAnswer(); a != nil && !a.GetAccepted() {
				declined++
			}
		}
		if declined != 1 || len(n.jobs) != 0 {
			t.Errorf("%d rounds declined, jobs %v", declined, n.jobs)
		}
	})
}

func TestStatusOf(t *testing.T) {
	at := time.Unix(1700000000, 5)
	got := statusOf(Status{
		Machines: []MachineStatus{{
			Name: "p", Class: "pump", State: "running", Zone: "B", Score: 0.7, Alarm: true, At: at, Job: "j", ModelVersion: 3,
			Reasons: []Contribution{{"vibration.rms", 0.6}}, JobVersions: map[string]uint64{"j": 3, "s": 1},
		}, {Name: "q", State: "waiting"}},
		Jobs:            []JobReadiness{{Job: "j", Digest: "d", Ready: true, Samples: 9, Reason: "bad \xff"}},
		ReceivedSamples: math.MaxUint64, DroppedSamples: map[string]uint64{"late": 2},
	})
	want := &fedpb.Status{
		Machines: []*fedpb.MachineStatus{{
			Name: "p", Class: "pump", State: "running", Zone: "B", Score: 0.7, Alarm: true, At: &timestamppb.Timestamp{Seconds: 1700000000, Nanos: 5},
			Job: "j", ModelVersion: 3, Reasons: []*fedpb.Contribution{{Feature: "vibration.rms", Share: 0.6}}, JobVersions: map[string]uint64{"j": 3, "s": 1},
		}, {Name: "q", State: "waiting"}}, // no time was made of the zero time
		Jobs:                 []*fedpb.JobReadiness{{Job: "j", Digest: "d", Ready: true, Samples: 9, Reason: "bad \uFFFD"}},
		ReceivedSamplesTotal: math.MaxUint64, DroppedSamplesTotal: map[string]uint64{"late": 2},
	}
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Errorf("status differs (-want +got):\n%s", d)
	}
	alarm := alarmOf(AlarmEvent{ID: "i", Revision: 2, Machine: "p", Class: "pump", Zone: "D", PeakScore: 3, Raised: at, Job: "j", ModelVersion: 4})
	if d := cmp.Diff(&fedpb.AlarmEvent{
		Id: "i", Revision: 2, Machine: "p", Class: "pump", Zone: "D", PeakScore: 3,
		Raised: &timestamppb.Timestamp{Seconds: 1700000000, Nanos: 5}, Job: "j", ModelVersion: 4,
	}, alarm, protocmp.Transform()); d != "" {
		t.Errorf("alarm differs (-want +got):\n%s", d)
	}
}

func TestDiary_OnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var buf bytes.Buffer
		d := newDiary(slog.New(slog.NewTextHandler(&buf, nil)))
		for range 150 { // seconds
			d.trouble(unreachable, "hq:1", errors.New("refused"), time.Second)
			time.Sleep(time.Second)
		}
		d.trouble(wrongHost, "hq:1", errors.New("other"), time.Second)
		if n := bytes.Count(buf.Bytes(), []byte(unreachable.what)); n != 3 { // at 0, 60 and 120 s
			t.Errorf("logged %d times in 150 s, want 3", n)
		}
		if !bytes.Contains(buf.Bytes(), []byte(wrongHost.mend)) {
			t.Error("another trouble had to wait, or has no mend")
		}
	})
}

func TestBackoff(t *testing.T) {
	var b backoff
	// 0.5 s · 1.6ⁿ, at most 20 s; each drawn from its upper half.
	for i, limit := range []float64{0.5, 0.8, 1.28, 2.048, 3.2768, 5.24288, 8.388608, 13.4217728, 20, 20, 20} {
		d := b.next().Seconds()
		if d < limit/2-1e-9 || d > limit+1e-9 {
			t.Errorf("pause %d is %v s, want %v..%v", i, d, limit/2, limit)
		}
	}
	b.reset()
	if d := b.next(); d > 500*time.Millisecond {
		t.Errorf("after a reset: %v", d)
	}
}
