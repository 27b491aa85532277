package enrol

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
)

// clock is a time that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fixture is an authority with what surrounds it.
type fixture struct {
	*Authority
	st      store.Store
	dir     string
	clock   *clock
	removed []string // by OnRemove, in order; read it when nothing runs
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{st: memstore.New(), dir: filepath.Join(t.TempDir(), "ca"), clock: newClock()}
	var err error
	f.Authority, err = f.open()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// open opens the authority, again if need be.
func (f *fixture) open() (*Authority, error) {
	var mu sync.Mutex
	return Open(f.dir, f.st, Options{
		Hosts: []string{"coordinator.example", "127.0.0.1", "::1"},
		Now:   f.clock.Now,
		OnRemove: func(name string) {
			mu.Lock()
			defer mu.Unlock()
			f.removed = append(f.removed, name)
		},
	}, slog.New(slog.DiscardHandler))
}

// token creates a token and returns its id and secret.
func (f *fixture) token(t *testing.T, opts TokenOptions) (id, secret string) {
	t.Helper()
	text, err := f.CreateToken(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(text, ".")
	if len(parts) != 4 || parts[0] != "mw1" || parts[3] != f.CADigest() {
		t.Fatalf("token is %q", text)
	}
	return parts[1], parts[2]
}

// enrol enrols name with a fresh token and key.
func (f *fixture) enrol(t *testing.T, name string) (Issued, crypto.Signer) {
	t.Helper()
	key := newKey(t)
	id, secret := f.token(t, TokenOptions{})
	issued, err := f.Enrol(t.Context(), id, secret, request(t, name, key))
	if err != nil {
		t.Fatal(err)
	}
	return issued, key
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func request(t testing.TB, name string, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// roots is what trusts the CA and nothing else.
func (f *fixture) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(f.ca.cert)
	return pool
}

// connection is what the server sees of a gateway that shows der, after TLS
// verified it.
func (f *fixture) connection(t *testing.T, der []byte) tls.ConnectionState {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	chains, err := cert.Verify(x509.VerifyOptions{
		Roots: f.roots(), CurrentTime: f.clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		t.Fatalf("certificate does not verify: %v", err)
	}
	return tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: chains}
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
