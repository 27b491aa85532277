package enrol

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// handshake connects to f over loopback and returns what the server saw, or the
// client's error.
func handshake(t *testing.T, f *fixture, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	served := make(chan tls.ConnectionState, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			served <- tls.ConnectionState{}
			return
		}
		conn := tls.Server(raw, f.ServerTLS())
		defer func() { _ = conn.Close() }()
		if conn.HandshakeContext(t.Context()) == nil {
			_, _ = conn.Write([]byte("x")) // the client reports what fails
		}
		served <- conn.ConnectionState()
	}()
	raw, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, client)
	defer func() { _ = conn.Close(); <-served }()
	// In TLS 1.3 the server's refusal of a client certificate shows at the first read.
	_, err = conn.Read(make([]byte, 1))
	if err != nil {
		return tls.ConnectionState{}, err
	}
	state := <-served
	served <- state
	return state, nil
}

// trusting is a client of f's CA, with a certificate if der is given.
func trusting(f *fixture, host string, der []byte, key crypto.Signer) *tls.Config {
	config := &tls.Config{RootCAs: f.roots(), ServerName: host, Time: f.clock.Now}
	if der != nil {
		config.Certificates = []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	}
	return config
}

func TestServerTLS(t *testing.T) {
	f := newFixture(t)
	issued, key := f.enrol(t, "gw")
	for _, host := range []string{"coordinator.example", "127.0.0.1", "::1"} {
		state, err := handshake(t, f, trusting(f, host, issued.CertificateDER, key))
		if err != nil {
			t.Fatalf("as %s: %v", host, err)
		}
		if state.Version != tls.VersionTLS13 {
			t.Errorf("TLS version is %#x", state.Version)
		}
		if name, err := f.Authenticate(t.Context(), state); err != nil || name != "gw" {
			t.Errorf("Authenticate = %q, %v", name, err)
		}
	}
	if _, err := handshake(t, f, trusting(f, "elsewhere.example", nil, nil)); err == nil {
		t.Error("the server passed for a host it was not configured for")
	}
	old := trusting(f, "127.0.0.1", nil, nil)
	old.MaxVersion = tls.VersionTLS12
	if _, err := handshake(t, f, old); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
	state, err := handshake(t, f, trusting(f, "127.0.0.1", nil, nil))
	if err != nil {
		t.Fatalf("without certificate, as for enrolment: %v", err)
	}
	if _, err := f.Authenticate(t.Context(), state); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("Authenticate without certificate: %v, want ErrNoCertificate", err)
	}

	stranger := newFixture(t) // another coordinator's gateway of the same name
	foreign, foreignKey := stranger.enrol(t, "gw")
	rude := trusting(f, "127.0.0.1", nil, nil)
	rude.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		// Sent although the server did not name its CA; a polite client sends none.
		return &tls.Certificate{Certificate: [][]byte{foreign.CertificateDER}, PrivateKey: foreignKey}, nil
	}
	if _, err := handshake(t, f, rude); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of another CA: %v, want a refusal", err)
	}
	f.clock.Add(366 * 24 * time.Hour)
	if _, err := handshake(t, f, trusting(f, "127.0.0.1", issued.CertificateDER, key)); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("an expired certificate: %v, want a refusal", err)
	}
}

func TestServerTLS_RenewsItself(t *testing.T) {
	f := newFixture(t)
	config := f.ServerTLS() // one for the server's whole life
	current := func() *x509.Certificate {
		t.Helper()
		c, err := config.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: f.roots(), CurrentTime: f.clock.Now(), DNSName: "coordinator.example"}); err != nil {
			t.Fatal(err)
		}
		return c.Leaf
	}
	first := current()
	if !first.NotBefore.Equal(f.ca.cert.NotBefore) {
		t.Errorf("it is valid from %v, want from the CA's beginning on", first.NotBefore)
	}
	f.clock.Add(59 * 24 * time.Hour)
	if !bytes.Equal(current().Raw, first.Raw) {
		t.Error("renewed with more than a third of its life left")
	}
	f.clock.Add(2 * 24 * time.Hour)
	second := current()
	if bytes.Equal(second.Raw, first.Raw) || !second.NotAfter.Equal(f.clock.Now().Add(90*24*time.Hour)) {
		t.Errorf("not renewed: valid until %v", second.NotAfter)
	}
	f.clock.Add(1000 * 24 * time.Hour) // nobody connected for years
	current()
}
