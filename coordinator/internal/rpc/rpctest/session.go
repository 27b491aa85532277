package rpctest

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/fedavg/fedpb"
)

// Session is an open session. Send and Recv may be called at the same time, each
// from one goroutine.
type Session struct {
	g      *Gateway
	stream fedpb.Federation_SessionClient
	cancel context.CancelFunc
}

// Welcome is what Recv returns first.
type Welcome struct{ Version string }

// AlarmAck is what Recv returns besides Welcome and the messages of package rpc.
type AlarmAck struct {
	ID       string
	Revision uint32
}

// Open opens a session; Hello is for the caller to send.
func (g *Gateway) Open(ctx context.Context) (*Session, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := fedpb.NewFederationClient(g.conn).Session(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	return &Session{g: g, stream: stream, cancel: cancel}, nil
}

// Close breaks the session off.
func (s *Session) Close() { s.cancel() }

// Hello introduces the gateway.
func (s *Session) Hello(machines ...rpc.Machine) error {
	h := &fedpb.Hello{Version: "rpctest"}
	for _, m := range machines {
		h.Machines = append(h.Machines, &fedpb.MachineInfo{Name: m.Name, Class: m.Class})
	}
	return s.stream.Send(&fedpb.FromAgent{Message: &fedpb.FromAgent_Hello{Hello: h}})
}

// Ready reports readiness for every job named, and one machine in zone.
func (s *Session) Ready(zone string, jobs ...rpc.Readiness) error {
	st := &fedpb.Status{Machines: []*fedpb.MachineStatus{{
		Name: "pump-1", Class: "pump", State: "running", Zone: zone, Score: 0.2, At: timestamppb.Now()}}}
	for _, j := range jobs {
		st.Jobs = append(st.Jobs, &fedpb.JobReadiness{Job: j.Job, Digest: j.Digest, Ready: j.Ready, Samples: j.Samples, Reason: j.Reason})
	}
	return s.SendStatus(st)
}

// SendStatus sends any status, possible or not.
func (s *Session) SendStatus(st *fedpb.Status) error {
	return s.stream.Send(&fedpb.FromAgent{Message: &fedpb.FromAgent_Status{Status: st}})
}

// Score reports a machine with any score.
func (s *Session) Score(machine string, score float64) error {
	return s.SendStatus(&fedpb.Status{Machines: []*fedpb.MachineStatus{{Name: machine, Class: "pump", Score: score}}})
}

// Alarm raises an alarm on pump-1.
func (s *Session) Alarm(id string, revision uint32, peak float64, raised time.Time) error {
	return s.stream.Send(&fedpb.FromAgent{Message: &fedpb.FromAgent_Alarm{Alarm: &fedpb.AlarmEvent{
		Id: id, Revision: revision, Machine: "pump-1", Class: "pump", Zone: "C", PeakScore: peak, Raised: timestamppb.New(raised)}}})
}

// Recv returns the next message: a Welcome, an AlarmAck or one of package rpc's.
func (s *Session) Recv() (any, error) {
	m, err := s.stream.Recv()
	if err != nil {
		return nil, err
	}
	switch m := m.Message.(type) {
	case *fedpb.FromCoordinator_Welcome:
		return Welcome{m.Welcome.GetVersion()}, nil
	case *fedpb.FromCoordinator_AlarmAck:
		return AlarmAck{m.AlarmAck.GetId(), m.AlarmAck.GetRevision()}, nil
	case *fedpb.FromCoordinator_Jobs:
		var jobs rpc.Jobs
		for _, j := range m.Jobs.GetJobs() {
			jobs = append(jobs, rpc.Job{SpecJSON: j.GetSpecJson(), Digest: j.GetDigest()})
		}
		return jobs, nil
	case *fedpb.FromCoordinator_RoundStart:
		r := m.RoundStart
		return rpc.RoundStart{Job: r.GetJob(), Digest: r.GetDigest(), Round: r.GetRound(), Attempt: r.GetAttempt(),
			Model: blob(r.GetModel()), Deadline: r.GetDeadline().AsTime(), Seed: r.GetSeed()}, nil
	case *fedpb.FromCoordinator_RoundEnd:
		r := m.RoundEnd
		return rpc.RoundEnd{Job: r.GetJob(), Round: r.GetRound(), Attempt: r.GetAttempt(), Committed: r.GetCommitted(), Reason: r.GetReason()}, nil
	case *fedpb.FromCoordinator_Release:
		r := m.Release
		return rpc.Release{Job: r.GetJob(), Digest: r.GetDigest(), Version: r.GetVersion(), Model: blob(r.GetModel())}, nil
	}
	return nil, s.g.errorf("unknown message %T", m.Message)
}

func blob(b *fedpb.Blob) store.Blob { return store.Blob{SHA256: b.GetSha256(), Size: b.GetSize()} }
