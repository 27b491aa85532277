package uplink

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/millwright-iot/millwright/fedavg/fedpb"
	"github.com/millwright-iot/millwright/fedavg/fedrpc"
)

// authority is a CA made for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newKey(t)}
	a.cert = a.sign(t, a.key.Public(), &x509.Certificate{
		Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	})
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(t *testing.T, pub any, tmpl *x509.Certificate) *x509.Certificate {
	t.Helper()
	parent := a.cert
	if parent == nil {
		parent = tmpl
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	tmpl.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func (a *authority) gateway(t *testing.T, pub any, name string, from, to time.Time) *x509.Certificate {
	return a.sign(t, pub, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

func (a *authority) pin() [32]byte { return sha256.Sum256(a.cert.Raw) }

// coordinator is a small one: it keeps what a real one keeps in its store and
// leaves decisions to the test.
type coordinator struct {
	fedpb.UnimplementedEnrolmentServer
	fedpb.UnimplementedFederationServer

	t      *testing.T
	ca     *authority
	server tls.Certificate
	addr   string

	mu       sync.Mutex
	grpc     *grpc.Server
	running  sync.WaitGroup
	tokens   map[string]int // uses left by id; the secret is always "secret"
	lives    []time.Duration
	serials  []*big.Int // of sessions
	hellos   []*fedpb.Hello
	enrols   int
	renewals int
	models   map[string][]byte
	updates  map[task][]byte
	receipts []*fedpb.UploadReceipt // sent out
	offsets  []uint64               // asked for by downloads
	clock    time.Duration          // ahead of ours
	late     bool                   // every update is

	sessions chan *talk // each new session, after its Hello
	// upload, when set, is called with each chunk before it is used.
	upload func(task, []byte) error
	// receipt, when set, is called when an update is durable, before it is acknowledged.
	receipt func(task) error
	// download, when set, may change what is sent.
	download func(blob []byte) []byte
}

// talk is the coordinator's end of a session.
type talk struct {
	send     func(*fedpb.FromCoordinator) error
	received chan *fedpb.FromAgent
	end      chan error
}

func newCoordinator(t *testing.T) *coordinator {
	t.Helper()
	ca := newAuthority(t)
	key := newKey(t)
	leaf := ca.sign(t, key.Public(), &x509.Certificate{
		Subject: pkix.Name{CommonName: "coordinator"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	c := &coordinator{
		t: t, ca: ca, addr: "127.0.0.1:0",
		server:   tls.Certificate{Certificate: [][]byte{leaf.Raw, ca.cert.Raw}, PrivateKey: key},
		tokens:   map[string]int{"first": 1},
		models:   map[string][]byte{},
		updates:  map[task][]byte{},
		sessions: make(chan *talk, 16),
	}
	c.start()
	t.Cleanup(c.kill)
	return c
}

func (c *coordinator) token(id string) fedrpc.Token {
	return fedrpc.Token{ID: id, Secret: "secret", CASHA256: c.ca.pin()}
}

func (c *coordinator) start() {
	c.t.Helper()
	var l net.Listener
	var err error
	for range 50 { // another process may hold the port for a moment
		if l, err = net.Listen("tcp", c.addr); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.addr = l.Addr().String()
	creds := credentials.NewTLS(fedrpc.ServerTLS(func() (*tls.Certificate, error) { return &c.server, nil }, c.ca.cert))
	s := grpc.NewServer(append(fedrpc.ServerOptions(), grpc.Creds(creds))...)
	fedpb.RegisterEnrolmentServer(s, c)
	fedpb.RegisterFederationServer(s, c)
	c.mu.Lock()
	c.grpc = s
	c.mu.Unlock()
	c.running.Go(func() { _ = s.Serve(l) }) // ends with Stop
}

// kill closes all connections at once, as the end of the process would.
func (c *coordinator) kill() {
	c.mu.Lock()
	s := c.grpc
	c.mu.Unlock()
	s.Stop()
	c.running.Wait()
}

func (c *coordinator) issue(csrDER []byte, name string) (*fedpb.EnrolResponse, error) {
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil || csr.CheckSignature() != nil {
		return nil, status.Error(codes.InvalidArgument, "bad request")
	}
	if name == "" {
		name = csr.Subject.CommonName
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(12*time.Hour)
	if len(c.lives) > 0 { // the certificate is that old
		from, to = time.Now().Add(-c.lives[0]), time.Now().Add(time.Hour)
		c.lives = c.lives[1:]
	}
	return &fedpb.EnrolResponse{
		CertificateDer:   c.ca.gateway(c.t, csr.PublicKey, name, from, to).Raw,
		CaCertificateDer: c.ca.cert.Raw,
	}, nil
}

func (c *coordinator) Enrol(_ context.Context, r *fedpb.EnrolRequest) (*fedpb.EnrolResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enrols++
	if r.GetTokenSecret() != "secret" || c.tokens[r.GetTokenId()] == 0 {
		return nil, status.Error(codes.PermissionDenied, "token was used up")
	}
	c.tokens[r.GetTokenId()]--
	return c.issue(r.GetCertificateRequestDer(), "")
}

func (c *coordinator) Renew(ctx context.Context, r *fedpb.RenewRequest) (*fedpb.EnrolResponse, error) {
	name, _, err := fedrpc.PeerName(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.renewals++
	return c.issue(r.GetCertificateRequestDer(), name)
}

func (c *coordinator) Session(s fedpb.Federation_SessionServer) error {
	_, cert, err := fedrpc.PeerName(s.Context())
	if err != nil {
		return err
	}
	first, err := s.Recv()
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.hellos = append(c.hellos, first.GetHello())
	c.serials = append(c.serials, cert.SerialNumber)
	now := time.Now().Add(c.clock)
	c.mu.Unlock()
	w := &fedpb.Welcome{Version: "test", Now: timestamppb.New(now)}
	if err := s.Send(&fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_Welcome{Welcome: w}}); err != nil {
		return err
	}
	k := &talk{send: s.Send, received: make(chan *fedpb.FromAgent, 1000), end: make(chan error, 1)}
	c.running.Go(func() {
		defer close(k.received)
		for {
			m, err := s.Recv()
			if err != nil {
				return
			}
			k.received <- m
		}
	})
	c.sessions <- k
	select {
	case err := <-k.end:
		return err
	case <-s.Context().Done():
		return nil
	}
}

func (c *coordinator) Upload(s fedpb.Federation_UploadServer) error {
	if _, _, err := fedrpc.PeerName(s.Context()); err != nil {
		return err
	}
	first, err := s.Recv()
	if err != nil {
		return err
	}
	h := first.GetHeader()
	k := task{h.GetJob(), h.GetRound(), h.GetAttempt()}
	c.mu.Lock()
	onChunk, onReceipt := c.upload, c.receipt
	c.mu.Unlock()
	chunk := first.GetData()
	recv := func() ([]byte, error) {
		if chunk == nil {
			m, err := s.Recv()
			if err != nil {
				return nil, err
			}
			chunk = m.GetData()
		}
		out := chunk
		chunk = nil
		if onChunk != nil {
			if err := onChunk(k, out); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	var blob bytes.Buffer
	if err := fedrpc.ReceiveBlob(recv, h.GetBlob().GetSha256(), h.GetBlob().GetSize(), 1<<30, &blob); err != nil {
		return err
	}
	c.mu.Lock()
	held, dup := c.updates[k]
	if dup && !bytes.Equal(held, blob.Bytes()) {
		c.t.Errorf("two different updates arrived for %+v", k)
	}
	c.updates[k] = blob.Bytes()
	r := &fedpb.UploadReceipt{Duplicate: dup, Late: c.late}
	c.mu.Unlock()
	if onReceipt != nil {
		if err := onReceipt(k); err != nil {
			return err
		}
	}
	c.mu.Lock()
	c.receipts = append(c.receipts, r)
	c.mu.Unlock()
	return s.SendAndClose(r)
}

func (c *coordinator) Download(r *fedpb.DownloadRequest, s fedpb.Federation_DownloadServer) error {
	c.mu.Lock()
	blob, ok := c.models[r.GetSha256()]
	c.offsets = append(c.offsets, r.GetOffset())
	change := c.download
	c.mu.Unlock()
	if !ok {
		return status.Error(codes.NotFound, "no such model")
	}
	if change != nil {
		blob = change(blob)
	}
	if r.GetOffset() > uint64(len(blob)) {
		return status.Error(codes.OutOfRange, "offset is beyond the end")
	}
	return fedrpc.SendBlob(func(b []byte) error { return s.Send(&fedpb.BlobChunk{Data: b}) }, io.NewSectionReader(bytes.NewReader(blob), int64(r.GetOffset()), int64(len(blob))))
}

// keepModel stores a model and names it.
func (c *coordinator) keepModel(data []byte) *fedpb.Blob {
	d := sha256.Sum256(data)
	b := &fedpb.Blob{Sha256: hex.EncodeToString(d[:]), Size: uint64(len(data))}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.models[b.Sha256] = data
	return b
}

func (c *coordinator) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *coordinator) update(k task) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.updates[k]
}
