package fedrpc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate from tmpl, signed by a, or by itself if a is nil.
func issue(t *testing.T, a *authority, tmpl x509.Certificate) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl.SerialNumber = big.NewInt(1)
	if tmpl.NotBefore.IsZero() {
		tmpl.NotBefore = time.Now().Add(-time.Hour)
	}
	tmpl.NotAfter = tmpl.NotBefore.Add(24 * time.Hour)
	signer, parent := key, &tmpl
	if a != nil {
		signer, parent = a.key, a.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

func newCA(t *testing.T) authority {
	return issue(t, nil, x509.Certificate{
		Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
}

func (a authority) server(t *testing.T, hosts ...string) authority {
	tmpl := x509.Certificate{Subject: pkix.Name{CommonName: "coordinator"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	return issue(t, &a, tmpl)
}

func (a authority) gateway(t *testing.T, name string) authority {
	return issue(t, &a, x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

func (a authority) tls(chain ...authority) tls.Certificate {
	c := tls.Certificate{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.key}
	for _, x := range chain {
		c.Certificate = append(c.Certificate, x.cert.Raw)
	}
	return c
}

// handshake connects the two sides and returns the server's view and both errors.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type result struct {
		state tls.ConnectionState
		err   error
	}
	served := make(chan result, 1)
	go func() {
		raw, err := l.Accept()
		if err != nil {
			served <- result{err: err}
			return
		}
		defer raw.Close()
		c := tls.Server(raw, server)
		if err = c.Handshake(); err == nil {
			_, err = c.Write([]byte("x"))
		}
		served <- result{c.ConnectionState(), err}
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c := tls.Client(raw, client)
	clientErr := c.Handshake()
	if clientErr == nil {
		// In TLS 1.3 a refused client certificate shows at the first read.
		_, clientErr = io.ReadFull(c, make([]byte, 1))
	} else {
		raw.Close()
	}
	r := <-served
	return r.state, r.err, clientErr
}

func serving(ca authority, cert tls.Certificate) *tls.Config {
	return ServerTLS(func() (*tls.Certificate, error) { return &cert, nil }, ca.cert)
}

func TestEnrolmentTLS_PinnedCA(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	pin := sha256.Sum256(ca.cert.Raw)
	leaf := ca.server(t, "127.0.0.1", "hq.example")
	good := leaf.tls(ca)

	for _, name := range []string{"127.0.0.1", "hq.example"} {
		if _, serverErr, err := handshake(t, serving(ca, good), EnrolmentTLS(name, pin)); err != nil || serverErr != nil {
			t.Errorf("%s: client %v, server %v", name, err, serverErr)
		}
	}

	var pinErr *PinError
	if _, _, err := handshake(t, serving(other, other.server(t, "127.0.0.1").tls(other)), EnrolmentTLS("127.0.0.1", pin)); !errors.As(err, &pinErr) {
		t.Errorf("other CA: got %v, want *PinError", err)
	} else if pinErr.Got != sha256.Sum256(other.cert.Raw) {
		t.Errorf("other CA: error names %x", pinErr.Got)
	}
	// A certificate of another CA, with the pinned CA's merely shown along.
	var unknown x509.UnknownAuthorityError
	if _, _, err := handshake(t, serving(ca, other.server(t, "127.0.0.1").tls(ca)), EnrolmentTLS("127.0.0.1", pin)); !errors.As(err, &unknown) {
		t.Errorf("forged chain: got %v, want UnknownAuthorityError", err)
	}
	var host x509.HostnameError
	if _, _, err := handshake(t, serving(ca, good), EnrolmentTLS("evil.example", pin)); !errors.As(err, &host) {
		t.Errorf("other host: got %v, want HostnameError", err)
	}
	// A gateway's certificate must not serve as the coordinator's.
	var invalid x509.CertificateInvalidError
	if _, _, err := handshake(t, serving(ca, ca.gateway(t, "g").tls(ca)), EnrolmentTLS("127.0.0.1", pin)); err == nil {
		t.Error("a client certificate was accepted from a server")
	}
	// The pin of a certificate that is no CA's.
	selfPin := sha256.Sum256(leaf.cert.Raw)
	if _, _, err := handshake(t, serving(ca, leaf.tls(leaf)), EnrolmentTLS("127.0.0.1", selfPin)); err == nil {
		t.Error("a pinned leaf was accepted as CA")
	}
	// A coordinator certificate that is not valid yet: the gateway's clock is behind.
	future := issue(t, &ca, x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if _, _, err := handshake(t, serving(ca, future.tls(ca)), EnrolmentTLS("127.0.0.1", pin)); !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		t.Errorf("not valid yet: got %v", err)
	}
}

func TestAgentTLS_Mutual(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	server := serving(ca, ca.server(t, "127.0.0.1").tls(ca))

	state, serverErr, err := handshake(t, server, AgentTLS("127.0.0.1", ca.gateway(t, "hall-3").tls(), ca.cert))
	if err != nil || serverErr != nil {
		t.Fatalf("client %v, server %v", err, serverErr)
	}
	if state.Version != tls.VersionTLS13 {
		t.Errorf("version %x", state.Version)
	}
	name, cert, err := PeerName(peerContext(state))
	if err != nil || name != "hall-3" || cert.Subject.CommonName != "hall-3" {
		t.Errorf("PeerName = %q, %v", name, err)
	}

	// A certificate of another CA is refused, and not just ignored as optional.
	var alert *net.OpError
	_, serverErr, err = handshake(t, server, AgentTLS("127.0.0.1", other.gateway(t, "hall-3").tls(), ca.cert))
	if serverErr == nil || !errors.As(err, &alert) || alert.Op != "remote error" {
		t.Errorf("other CA's gateway: client %v, server %v", err, serverErr)
	}
	var unknown x509.UnknownAuthorityError
	if _, _, err := handshake(t, server, AgentTLS("127.0.0.1", ca.gateway(t, "hall-3").tls(), other.cert)); !errors.As(err, &unknown) {
		t.Errorf("coordinator of another CA: got %v", err)
	}
	// TLS 1.2 is refused by both.
	old := server.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, _, err := handshake(t, old, AgentTLS("127.0.0.1", ca.gateway(t, "g").tls(), ca.cert)); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
}

func peerContext(state tls.ConnectionState) context.Context {
	return peer.NewContext(context.Background(), &peer.Peer{AuthInfo: credentials.TLSInfo{State: state}})
}

func TestPeerName_WithoutCertificate(t *testing.T) {
	ca := newCA(t)
	server := serving(ca, ca.server(t, "127.0.0.1").tls(ca))
	state, serverErr, err := handshake(t, server, EnrolmentTLS("127.0.0.1", sha256.Sum256(ca.cert.Raw)))
	if err != nil || serverErr != nil {
		t.Fatalf("client %v, server %v", err, serverErr)
	}
	for name, ctx := range map[string]context.Context{
		"no client certificate": peerContext(state),
		"no TLS":                peer.NewContext(context.Background(), &peer.Peer{}),
		"no peer":               context.Background(),
	} {
		if name2, _, err := PeerName(ctx); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: %q, %v", name, name2, err)
		}
	}
	// A verified certificate whose name could not be a gateway's.
	state.VerifiedChains = [][]*x509.Certificate{{ca.gateway(t, "a/../b").cert}}
	if _, _, err := PeerName(peerContext(state)); status.Code(err) != codes.Unauthenticated {
		t.Errorf("bad common name: %v", err)
	}
}

func TestRefused(t *testing.T) {
	for code, want := range map[codes.Code]bool{
		codes.InvalidArgument: true, codes.NotFound: true, codes.FailedPrecondition: true, codes.OutOfRange: true,
		codes.DataLoss: false, codes.Unavailable: false, codes.ResourceExhausted: false, codes.Internal: false,
		codes.Unauthenticated: false, codes.PermissionDenied: false, codes.Unknown: false, codes.DeadlineExceeded: false,
	} {
		if got := Refused(status.Error(code, "x")); got != want {
			t.Errorf("Refused(%v) = %v, want %v", code, got, want)
		}
	}
	if Refused(io.ErrUnexpectedEOF) || Refused(nil) {
		t.Error("errors without a status must be tried again")
	}
}
