package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/fedavg/fedpb"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// Options tune a Service.
type Options struct {
	Version string // of the coordinator, told to agents
	// QueueMessages is how many messages may wait for a slow gateway. Default 64.
	QueueMessages int
	// HelloTimeout is how long a new session may take to introduce itself. Default 10s.
	HelloTimeout time.Duration
	// Recheck is how often an open session's certificate is looked at again. Default 10m.
	Recheck time.Duration
	// Transfers is how many uploads and downloads go on at a time; the others wait
	// their turn. Default 64.
	Transfers int
	// Patience is after what time a slow transfer does not count among them. Default 2s.
	Patience time.Duration
}

// Service serves the Federation service over a Backend.
type Service struct {
	fedpb.UnimplementedFederationServer

	backend   Backend
	authority Authority
	opts      Options
	gate      *gate

	mu      sync.Mutex
	stopped *Refusal // set by Stop
	open    map[*session]struct{}
	pumps   sync.WaitGroup // readers and writers of sessions
}

// Register makes server serve both services.
func Register(server grpc.ServiceRegistrar, s *Service, e *Enrolment) {
	fedpb.RegisterFederationServer(server, s)
	fedpb.RegisterEnrolmentServer(server, e)
}

// NewService makes a Service.
func NewService(b Backend, a Authority, opts Options) *Service {
	if opts.QueueMessages <= 0 {
		opts.QueueMessages = 64
	}
	if opts.HelloTimeout <= 0 {
		opts.HelloTimeout = 10 * time.Second
	}
	if opts.Recheck <= 0 {
		opts.Recheck = 10 * time.Minute
	}
	if opts.Transfers <= 0 {
		opts.Transfers = 64
	}
	if opts.Patience <= 0 {
		opts.Patience = 2 * time.Second
	}
	return &Service{
		backend: b, authority: a, opts: opts, open: map[*session]struct{}{},
		gate: newGate(opts.Transfers, opts.Patience),
	}
}

// Stop tells every session that the coordinator is going down, and refuses new
// ones. It does not wait; see Wait.
func (s *Service) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = Refuse(Stopping, errors.New("coordinator is stopping; connect again"))
	for p := range s.open {
		p.Close(s.stopped)
	}
}

// Wait returns when the goroutines of all sessions have ended. Call it after
// the gRPC server has stopped.
func (s *Service) Wait() { s.pumps.Wait() }

// Session implements fedpb.FederationServer.
func (s *Service) Session(stream fedpb.Federation_SessionServer) error {
	who, err := identify(stream.Context(), s.authority)
	if err != nil {
		return err
	}
	gateway := who.Gateway
	p := newSession(gateway, s.opts.QueueMessages)
	if err := s.track(p); err != nil {
		return err
	}
	defer s.untrack(p)

	// The handler itself neither reads nor writes: only its return interrupts a
	// Recv or a Send that hangs on a gateway that is gone or asleep.
	hello := make(chan *fedpb.Hello, 1)
	s.pumps.Go(func() { p.end(s.read(stream, p, hello)) })
	patience := time.NewTimer(s.opts.HelloTimeout)
	defer patience.Stop()
	select {
	case <-p.done:
		return p.reason()
	case <-patience.C:
		return Refuse(Malformed, fmt.Errorf("session of gateway %q sent no Hello within %v", gateway, s.opts.HelloTimeout))
	case h := <-hello:
		greeting, err := toHello(h)
		if err != nil {
			return Refuse(Malformed, fmt.Errorf("hello of gateway %q: %w", gateway, err))
		}
		first, err := s.backend.Join(stream.Context(), who, greeting, p)
		if err != nil {
			return err
		}
		defer s.backend.Leave(gateway, p)
		close(p.joined)
		s.pumps.Go(func() { p.end(s.write(stream, p, first)) })
	}
	recheck := time.NewTicker(s.opts.Recheck)
	defer recheck.Stop()
	for {
		select {
		case <-p.done:
			return p.reason()
		case <-recheck.C:
			_, err := identify(stream.Context(), s.authority)
			if err != nil && status.Code(err) != codes.Unavailable {
				return err
			}
		}
	}
}

// read takes in messages until the stream ends. The first must be Hello; the
// others wait until the gateway has joined.
func (s *Service) read(stream fedpb.Federation_SessionServer, p *session, hello chan<- *fedpb.Hello) error {
	m, err := stream.Recv()
	if err != nil {
		return streamEnd(err)
	}
	if m.GetHello() == nil {
		return Refuse(Malformed, fmt.Errorf("session of gateway %q does not begin with Hello", p.gateway))
	}
	hello <- m.GetHello()
	select {
	case <-p.joined:
	case <-p.done:
		return nil
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return streamEnd(err)
		}
		if err := s.handle(stream.Context(), p, m); err != nil {
			return err
		}
	}
}

func (s *Service) handle(ctx context.Context, p *session, m *fedpb.FromAgent) error {
	switch m := m.Message.(type) {
	case *fedpb.FromAgent_Status:
		if st, err := toStatus(m.Status); err != nil {
			s.backend.Invalid(p.gateway, "status", err)
		} else {
			s.backend.Status(p.gateway, st)
		}
	case *fedpb.FromAgent_RoundAnswer:
		a := m.RoundAnswer
		s.backend.Answer(p.gateway, RoundAnswer{a.GetJob(), a.GetRound(), a.GetAttempt(), a.GetAccepted(), clip(a.GetReason())})
	case *fedpb.FromAgent_Alarm:
		event, err := toAlarm(m.Alarm)
		if err != nil {
			s.backend.Invalid(p.gateway, "alarm", err)
			return nil
		}
		if err := s.backend.Alarm(ctx, p.gateway, event); err != nil {
			return nil //nolint:nilerr // counted there; the agent repeats it
		}
		p.queue(&fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_AlarmAck{
			AlarmAck: &fedpb.AlarmAck{Id: event.Alarm.ID, Revision: event.Revision}}})
	case *fedpb.FromAgent_Hello:
		return Refuse(Malformed, fmt.Errorf("session of gateway %q sent Hello twice", p.gateway))
	}
	return nil // a message newer than this coordinator is none of its business
}

// write sends the welcome, the first messages and then the queue.
func (s *Service) write(stream fedpb.Federation_SessionServer, p *session, first []Message) error {
	welcome := &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_Welcome{
		Welcome: &fedpb.Welcome{Version: s.opts.Version, Now: timestamppb.Now()}}}
	if err := stream.Send(welcome); err != nil {
		return err
	}
	for _, m := range first {
		if err := stream.Send(fromMessage(m)); err != nil {
			return err
		}
	}
	for {
		select {
		case m := <-p.out:
			if err := stream.Send(m); err != nil {
				return err
			}
		case <-p.done:
			return nil
		}
	}
}

// Upload implements fedpb.FederationServer.
func (s *Service) Upload(stream fedpb.Federation_UploadServer) error {
	who, err := identify(stream.Context(), s.authority)
	if err != nil {
		return err
	}
	leave, err := s.gate.enter(stream.Context(), upload)
	if err != nil {
		return err // the gateway is gone
	}
	defer leave()
	first, err := stream.Recv()
	if err != nil {
		return streamEnd(err)
	}
	h := first.GetHeader()
	if h.GetBlob() == nil {
		return Refuse(Malformed, fmt.Errorf("upload of gateway %q does not begin with a header that names its blob", who.Gateway))
	}
	pending := first.GetData()
	recv := func() ([]byte, error) {
		if pending != nil {
			data := pending
			pending = nil
			return data, nil
		}
		c, err := stream.Recv()
		return c.GetData(), err
	}
	if h.GetOffset() > h.GetBlob().GetSize() {
		return Refuse(Malformed, fmt.Errorf("upload of gateway %q goes on at byte %d of %d", who.Gateway, h.GetOffset(), h.GetBlob().GetSize()))
	}
	receipt, err := s.backend.Upload(stream.Context(), who.Gateway, toUploadHeader(h), recv)
	if err != nil {
		return err
	}
	return stream.SendAndClose(&fedpb.UploadReceipt{Duplicate: receipt.Duplicate, Late: receipt.Late})
}

// UploadStatus implements fedpb.FederationServer.
func (s *Service) UploadStatus(ctx context.Context, h *fedpb.UploadHeader) (*fedpb.UploadState, error) {
	who, err := identify(ctx, s.authority)
	if err != nil {
		return nil, err
	}
	offset, err := s.backend.UploadStatus(ctx, who.Gateway, toUploadHeader(h))
	if err != nil {
		return nil, err
	}
	return &fedpb.UploadState{Offset: offset}, nil
}

func toUploadHeader(h *fedpb.UploadHeader) UploadHeader {
	return UploadHeader{
		Job: h.GetJob(), Round: h.GetRound(), Attempt: h.GetAttempt(), Offset: h.GetOffset(),
		Blob: store.Blob{SHA256: h.GetBlob().GetSha256(), Size: h.GetBlob().GetSize()},
	}
}

// Download implements fedpb.FederationServer.
func (s *Service) Download(req *fedpb.DownloadRequest, stream fedpb.Federation_DownloadServer) error {
	who, err := identify(stream.Context(), s.authority)
	if err != nil {
		return err
	}
	if _, err := fedrpc.ParseDigest(req.GetSha256()); err != nil {
		return Refuse(Malformed, err)
	}
	leave, err := s.gate.enter(stream.Context(), download)
	if err != nil {
		return err // the gateway is gone
	}
	defer leave()
	r, err := s.backend.OpenModel(stream.Context(), who.Gateway, req.GetSha256(), req.GetOffset())
	if err != nil {
		return err
	}
	defer r.Close()
	return fedrpc.SendBlob(func(data []byte) error {
		return stream.Send(&fedpb.BlobChunk{Data: data})
	}, r)
}

func (s *Service) track(p *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped != nil {
		return s.stopped
	}
	s.open[p] = struct{}{}
	return nil
}

func (s *Service) untrack(p *session) {
	p.end(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, p)
}

// streamEnd makes the end of a stream by the agent's wish no error.
func streamEnd(err error) error {
	if errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled {
		return nil
	}
	return err
}
