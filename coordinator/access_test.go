package coordinator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc/rpctest"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
)

func TestRun_StrangersAreKeptOut(t *testing.T) {
	defer goleak.VerifyNone(t)
	cfg := testConfig(pumpJob("pump"))
	cfg.DataDir = t.TempDir()
	r := runCoordinator(t, cfg, memstore.New())
	defer r.stop()
	ctx := t.Context()
	try := func(g *rpctest.Gateway) error {
		s, err := g.Open(ctx)
		if err != nil {
			return err
		}
		defer s.Close()
		_ = s.Hello() // an error shows in Recv
		_, err = s.Recv()
		return err
	}
	anyone, err := rpctest.Stranger(r.c.AgentAddr(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer anyone.Close()
	_, uploadErr := anyone.Upload(ctx, rpc.UploadHeader{Job: "pump", Round: 1, Attempt: 1}, []byte("x"))
	_, downloadErr := anyone.Download(ctx, strings.Repeat("a", 64), 0)
	for call, err := range map[string]error{"session": try(anyone), "upload": uploadErr, "download": downloadErr, "renew": anyone.Renew(ctx, nil)} {
		if status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s without a certificate: %v", call, err)
		}
	}
	foreign, err := rpctest.Stranger(r.c.AgentAddr(), foreignCertificate(t, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	if err := try(foreign); status.Code(err) != codes.Unavailable { // the handshake fails
		t.Errorf("certificate of another CA: %v", err)
	}

	a := r.enrol("a")
	defer a.Close()
	s, err := a.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Hello(rpc.Machine{Name: "pump-1", Class: "pump"}); err != nil {
		t.Fatal(err)
	}
	r.waitFor("the session", func(s fleet.Snapshot) bool { return len(s.Gateways) == 1 && s.Gateways[0].Connected })
	if err := r.c.authority.Remove(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; {
		_, err = s.Recv()
	}
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("the open session of a removed gateway ended with %v", err)
	}
	if err := try(a); status.Code(err) != codes.PermissionDenied {
		t.Errorf("removed gateway: %v", err)
	}
	if _, err := rpctest.Enrol(ctx, r.c.AgentAddr(), "mw1.nope.nope."+r.c.authority.CADigest(), "b"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("wrong token: %v", err)
	}
}

// foreignCertificate is a client certificate nobody here vouches for.
func foreignCertificate(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
