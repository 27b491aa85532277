package uplink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/fedavg/fedpb"
)

const (
	statusAtMost  = time.Second      // between two messages
	statusAtLeast = 15 * time.Second // without a change
	alarmRepeat   = 10 * time.Second // until acknowledged
	alarmsAtOnce  = 64               // not acknowledged
)

// stream is the agent's end of fedpb.Federation_Session.
type stream interface {
	Send(*fedpb.FromAgent) error
	Recv() (*fedpb.FromCoordinator, error)
}

// session is one stream: a goroutine that receives and one that sends. Neither
// waits for training or transfers.
type session struct {
	u      *Uplink
	stream stream
	offset time.Duration // the coordinator's clock minus ours

	mu      sync.Mutex
	answers []*fedpb.RoundAnswer
	wake    chan struct{} // one slot: answers or acknowledgements are there
}

// converse holds a session on s until it ends; the error says why and is never
// nil. connected is called once the coordinator has welcomed us, with its clock
// minus ours. When ctx ends s must end; end makes ctx end.
func (u *Uplink) converse(ctx context.Context, end func(error), s stream, connected func(offset time.Duration)) error {
	t := &session{u: u, stream: s, wake: make(chan struct{}, 1)}
	// An error of Send often only says that the stream is over; Recv says why.
	if err := s.Send(fromAgent(helloOf(u.cfg.Version, u.node.Machines()))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	first, err := s.Recv()
	if err != nil {
		return ended(err)
	}
	welcome := first.GetWelcome()
	if welcome == nil {
		return fmt.Errorf("session begins with %T instead of a welcome", first.Message)
	}
	t.welcomed(welcome)
	connected(t.offset)
	u.trainer.attach(t)
	defer u.trainer.detach(t)

	var sender sync.WaitGroup
	defer sender.Wait()
	sending, stop := context.WithCancel(ctx)
	defer stop()
	sender.Go(func() {
		if err := t.send(sending); err != nil && !errors.Is(err, io.EOF) {
			end(err)
		}
	})
	for {
		m, err := s.Recv()
		if err != nil {
			end(err) // a Send that hangs on flow control would outlast stop
			return ended(err)
		}
		t.handle(m)
	}
}

// ended makes the orderly end of a stream an error too: the coordinator is not
// to end sessions without a reason.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("coordinator ended the session")
	}
	return err
}

func (t *session) welcomed(w *fedpb.Welcome) {
	now := time.Now()
	if at := w.GetNow(); at != nil && at.CheckValid() == nil {
		t.offset = at.AsTime().Sub(now)
	}
	t.u.shown.change(func(s *State) {
		s.Connected, s.Since, s.Mend = true, now, ""
		s.Version, s.ClockOffset = w.GetVersion(), t.offset
		s.Sessions++
	})
	t.u.log.Info("connected to the coordinator", "coordinator", t.u.cfg.Address, "version", w.GetVersion(), "clock_offset_ms", t.offset.Milliseconds())
}

// handle takes in one message. Messages of a newer coordinator are ignored.
func (t *session) handle(m *fedpb.FromCoordinator) {
	switch m := m.Message.(type) {
	case *fedpb.FromCoordinator_Jobs:
		t.u.setJobs(m.Jobs)
	case *fedpb.FromCoordinator_RoundStart:
		if a := t.u.announced(m.RoundStart, t.offset); a != nil {
			t.answer(a)
		}
	case *fedpb.FromCoordinator_RoundEnd:
		t.u.roundEnded(m.RoundEnd)
	case *fedpb.FromCoordinator_Release:
		t.u.releases.put(m.Release)
	case *fedpb.FromCoordinator_AlarmAck:
		t.u.node.AckAlarm(m.AlarmAck.GetId(), m.AlarmAck.GetRevision())
		t.nudge()
	}
}

func (t *session) answer(a *fedpb.RoundAnswer) {
	t.mu.Lock()
	t.answers = append(t.answers, a)
	t.mu.Unlock()
	t.nudge()
}

func (t *session) nudge() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// send keeps the coordinator informed until ctx ends or the stream fails.
func (t *session) send(ctx context.Context) error {
	changed := t.u.node.Changed()
	dirty := true
	var sentAt time.Time // of the last status
	alarms := alarmSender{sent: map[alarmKey]time.Time{}}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-t.wake:
		case <-changed:
			// Taken before the status is read, so no change can slip between.
			changed = t.u.node.Changed()
			dirty = true
		}
		if err := t.sendAnswers(); err != nil {
			return err
		}
		nextAlarm, err := alarms.send(t.stream, t.u.node.Alarms())
		if err != nil {
			return err
		}
		pause := statusAtLeast
		if dirty {
			pause = statusAtMost
		}
		if sentAt.IsZero() || time.Since(sentAt) >= pause {
			if err := t.stream.Send(fromAgent(statusOf(t.u.node.Status()))); err != nil {
				return err
			}
			sentAt, dirty, pause = time.Now(), false, statusAtLeast
		}
		timer.Reset(min(nextAlarm, max(0, pause-time.Since(sentAt))))
	}
}

func (t *session) sendAnswers() error {
	t.mu.Lock()
	answers := t.answers
	t.answers = nil
	t.mu.Unlock()
	for _, a := range answers {
		if err := t.stream.Send(fromAgent(a)); err != nil {
			return err
		}
	}
	return nil
}

type alarmKey struct {
	id       string
	revision uint32
}

// alarmSender sends alarm events of one session and repeats them until the node
// forgets them, which is when they were acknowledged.
type alarmSender struct {
	sent map[alarmKey]time.Time
}

// send sends what is due and returns how long until it should be called again.
func (a *alarmSender) send(s stream, events []AlarmEvent) (time.Duration, error) {
	next := alarmRepeat
	open := map[alarmKey]time.Time{}
	for _, e := range events[:min(len(events), alarmsAtOnce)] {
		key := alarmKey{e.ID, e.Revision}
		at, ok := a.sent[key]
		if !ok || time.Since(at) >= alarmRepeat {
			if err := s.Send(fromAgent(alarmOf(e))); err != nil {
				return 0, err
			}
			at = time.Now()
		}
		open[key] = at
		next = min(next, max(0, alarmRepeat-time.Since(at)))
	}
	a.sent = open
	return next, nil
}
