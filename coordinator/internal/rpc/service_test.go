package rpc_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/millwright-iot/millwright/coordinator/internal/enrol"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc/rpctest"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// backend lets everybody join and records who is there.
type backend struct {
	mu    sync.Mutex
	peers map[string]rpc.Peer
	left  chan string
	join  chan string
}

func newBackend() *backend {
	return &backend{peers: map[string]rpc.Peer{}, left: make(chan string, 8), join: make(chan string, 8)}
}

func (b *backend) Join(_ context.Context, who rpc.Identity, _ rpc.Hello, p rpc.Peer) ([]rpc.Message, error) {
	if who.Gateway == "unwelcome" {
		return nil, rpc.Refuse(rpc.Busy, errors.New("house full"))
	}
	b.mu.Lock()
	b.peers[who.Gateway] = p
	b.mu.Unlock()
	b.join <- who.Gateway
	return []rpc.Message{rpc.Jobs{{SpecJSON: []byte("{}"), Digest: who.Gateway}}}, nil
}

func (b *backend) peer(name string) rpc.Peer {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.peers[name]
}

func (b *backend) Leave(gateway string, _ rpc.Peer)                    { b.left <- gateway }
func (b *backend) Status(string, rpc.Status)                           {}
func (b *backend) Answer(string, rpc.RoundAnswer)                      {}
func (b *backend) Alarm(context.Context, string, rpc.AlarmEvent) error { return nil }
func (b *backend) Invalid(string, string, error)                       {}
func (b *backend) OpenModel(context.Context, string, string, uint64) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("model")), nil
}
func (b *backend) UploadStatus(context.Context, string, rpc.UploadHeader) (uint64, error) {
	return 7, nil
}

func (b *backend) Upload(_ context.Context, _ string, _ rpc.UploadHeader, recv func() ([]byte, error)) (rpc.Receipt, error) {
	for {
		if _, err := recv(); errors.Is(err, io.EOF) {
			return rpc.Receipt{}, nil
		} else if err != nil {
			return rpc.Receipt{}, err
		}
	}
}

// server is a Service on loopback with a certificate authority of its own.
type server struct {
	t         *testing.T
	service   *rpc.Service
	authority *enrol.Authority
	grpc      *grpc.Server
	addr      string
	done      sync.WaitGroup
}

func serve(t *testing.T, b rpc.Backend, opts rpc.Options) *server {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	a, err := enrol.Open(t.TempDir()+"/ca", memstore.New(), enrol.Options{}, log)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, authority: a, service: rpc.NewService(b, a, opts), addr: l.Addr().String()}
	s.grpc = grpc.NewServer(append(fedrpc.ServerOptions(), grpc.Creds(credentials.NewTLS(a.ServerTLS())))...)
	rpc.Register(s.grpc, s.service, rpc.NewEnrolment(a, log))
	s.done.Go(func() {
		if err := s.grpc.Serve(l); err != nil {
			t.Error(err)
		}
	})
	return s
}

// stop ends everything; a hanging session would hang the test.
func (s *server) stop() {
	s.service.Stop()
	s.grpc.GracefulStop()
	s.service.Wait()
	s.done.Wait()
}

func (s *server) open(name string) (*rpctest.Gateway, *rpctest.Session) {
	s.t.Helper()
	token, err := s.authority.CreateToken(s.t.Context(), enrol.TokenOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	g, err := rpctest.Enrol(s.t.Context(), s.addr, token, name)
	if err != nil {
		s.t.Fatal(err)
	}
	session, err := g.Open(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return g, session
}

func TestSession_SlowReaderIsClosedAndHoldsUpNobody(t *testing.T) {
	defer goleak.VerifyNone(t)
	b := newBackend()
	s := serve(t, b, rpc.Options{QueueMessages: 8})
	defer s.stop()
	asleep, session := s.open("asleep")
	defer asleep.Close()
	awake, listening := s.open("awake")
	defer awake.Close()
	for _, x := range []*rpctest.Session{session, listening} {
		if err := x.Hello(rpc.Machine{Name: "p", Class: "c"}); err != nil {
			t.Fatal(err)
		}
		<-b.join
	}
	// The reader reads nothing; its flow-control window and the queue fill up. Send
	// must go on returning at once, or this loop would hang.
	big := rpc.RoundEnd{Job: "j", Reason: strings.Repeat("x", 256<<10)}
	for closed := false; !closed; {
		b.peer("asleep").Send(big)
		select {
		case name := <-b.left:
			closed = name == "asleep"
		default:
		}
	}
	b.peer("awake").Send(rpc.RoundEnd{Job: "still here"})
	for {
		m, err := listening.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if end, ok := m.(rpc.RoundEnd); ok && end.Job == "still here" {
			break
		}
	}
	b.peer("asleep").Send(big) // after the end: no effect, no panic
	var err error
	for err == nil {
		_, err = session.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "too slowly") {
		t.Errorf("session ended with %v", err)
	}
}

func TestSession_GreetsInOrder(t *testing.T) {
	defer goleak.VerifyNone(t)
	b := newBackend()
	s := serve(t, b, rpc.Options{Version: "9.9"})
	defer s.stop()
	g, session := s.open("a")
	defer g.Close()
	if err := session.Hello(); err != nil {
		t.Fatal(err)
	}
	first, err := session.Recv()
	if err != nil || first != (rpctest.Welcome{Version: "9.9"}) {
		t.Errorf("first message %+v, %v", first, err)
	}
	second, err := session.Recv()
	if jobs, ok := second.(rpc.Jobs); err != nil || !ok || jobs[0].Digest != "a" {
		t.Errorf("second message %+v, %v", second, err)
	}
	b.peer("a").Close(rpc.Refuse(rpc.Replaced, errors.New("another came")))
	if _, err := session.Recv(); status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), "another came") {
		t.Errorf("closed session ended with %v", err)
	}
	if name := <-b.left; name != "a" {
		t.Errorf("%q left", name)
	}
}

func TestSession_WhoDoesNotKeepTheProtocolIsTold(t *testing.T) {
	defer goleak.VerifyNone(t)
	for name, tt := range map[string]struct {
		gateway string
		say     func(*rpctest.Session) error
		code    codes.Code
	}{
		"nothing":      {"a", func(*rpctest.Session) error { return nil }, codes.InvalidArgument},
		"status first": {"a", func(s *rpctest.Session) error { return s.Ready("A") }, codes.InvalidArgument},
		"hello twice":  {"a", func(s *rpctest.Session) error { return errors.Join(s.Hello(), s.Hello()) }, codes.InvalidArgument},
		"bad hello":    {"a", func(s *rpctest.Session) error { return s.Hello(rpc.Machine{}) }, codes.InvalidArgument},
		"refused":      {"unwelcome", func(s *rpctest.Session) error { return s.Hello() }, codes.ResourceExhausted},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, newBackend(), rpc.Options{HelloTimeout: 300 * time.Millisecond})
			defer s.stop()
			g, session := s.open(tt.gateway)
			defer g.Close()
			if err := tt.say(session); err != nil {
				t.Fatal(err)
			}
			var err error
			for err == nil {
				_, err = session.Recv()
			}
			if status.Code(err) != tt.code {
				t.Errorf("session ended with %v, want %v", err, tt.code)
			}
		})
	}
}

func TestStop_TellsEverySessionAndTakesNoMore(t *testing.T) {
	defer goleak.VerifyNone(t)
	b := newBackend()
	s := serve(t, b, rpc.Options{})
	g, session := s.open("a")
	defer g.Close()
	if err := session.Hello(); err != nil {
		t.Fatal(err)
	}
	<-b.join
	s.service.Stop()
	var err error
	for err == nil {
		_, err = session.Recv()
	}
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("session ended with %v", err)
	}
	late, err := g.Open(t.Context())
	if err == nil {
		_, err = late.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a session opened while stopping: %v", err)
	}
	s.stop()
}

func TestSession_RecheckEndsThoseWhoseCertificateCeasedToCount(t *testing.T) {
	defer goleak.VerifyNone(t)
	b := newBackend()
	s := serve(t, b, rpc.Options{Recheck: 50 * time.Millisecond})
	defer s.stop()
	g, session := s.open("a")
	defer g.Close()
	if err := session.Hello(); err != nil {
		t.Fatal(err)
	}
	<-b.join
	if err := s.authority.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	var err error
	for err == nil {
		_, err = session.Recv()
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("session ended with %v", err)
	}
}
