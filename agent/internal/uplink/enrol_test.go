package uplink

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millwright-iot/millwright/fedavg/fedpb"
)

func TestUplink_Enrol(t *testing.T) {
	r := newRig(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(r.cfg.Token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.cfg.Token, r.cfg.TokenFile = "", file
	r.run()
	k := r.session()
	expect(t, k, statuses)

	hello := r.hellos[0]
	if hello.GetVersion() != "v1" || len(hello.GetMachines()) != 2 || hello.GetMachines()[1].GetName() != "pump-2" || hello.GetMachines()[1].GetClass() != "pump" {
		t.Errorf("hello is %v", hello)
	}
	s := r.up.State()
	if !s.Connected || !s.Enrolled || s.Version != "test" || s.Mend != "" || time.Until(s.CertificateExpires) < 11*time.Hour {
		t.Errorf("state is %+v", s)
	}
	info, err := os.Stat(r.file(identityFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("identity file: %v, %v", info, err)
	}
	if _, err := os.Stat(r.file(keyFile)); err == nil {
		t.Error("the pending key was not removed")
	}
	if strings.Contains(r.log.String(), "secret") {
		t.Errorf("the log shows the token's secret:\n%s", r.log)
	}

	// Enrolled once, the token is not needed again.
	r.stop()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r.run()
	expect(t, r.session(), statuses)
	if r.enrols != 1 {
		t.Errorf("enrolled %d times", r.enrols)
	}
}

func TestUplink_AnswerToEnrolmentLost(t *testing.T) {
	r := newRig(t)
	// The key of the first attempt was stored before the request was sent.
	if err := os.MkdirAll(r.file(""), 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := pendingKey(r.file(""))
	if err != nil {
		t.Fatal(err)
	}
	r.run()
	r.session()
	id, err := loadIdentity(r.file(""), "hall-3")
	if err != nil {
		t.Fatal(err)
	}
	if !id.key.Equal(key) {
		t.Error("another key was made: the coordinator would take it for another gateway")
	}
}

func TestUplink_WrongPin(t *testing.T) {
	r := newRig(t)
	token := r.token("first")
	token.CASHA256[0] ^= 1
	r.cfg.Token = token.String()
	r.run()
	r.eventually("refusal", func() bool { return r.up.State().Mend == pinMismatch.mend })
	// It goes on trying, and says so once a minute.
	first := r.up.State().LastErrorAt
	r.eventually("another attempt", func() bool { return r.up.State().LastErrorAt.After(first) })
	if n := r.log.count(pinMismatch.what); n != 1 {
		t.Errorf("logged %d times within a minute", n)
	}
	if r.enrols != 0 {
		t.Error("the token was sent to a coordinator that is not trusted")
	}
}

func TestUplink_UsedToken(t *testing.T) {
	r := newRig(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(r.token("used").String()), 0o600); err != nil {
		t.Fatal(err)
	}
	r.cfg.Token, r.cfg.TokenFile = "", file
	r.run()
	r.eventually("refusal", func() bool { return r.up.State().Mend == refusedToken.mend })
	if s := r.log.String(); !strings.Contains(s, "token was used up") || !strings.Contains(s, "token create") {
		t.Errorf("log does not name reason and mend:\n%s", s)
	}
	// A new token in the file is found without a restart.
	if err := os.WriteFile(file, []byte(r.token("first").String()), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, r.session(), statuses)
}

func TestUplink_NoToken(t *testing.T) {
	r := newRig(t)
	r.cfg.Token, r.cfg.TokenFile = "", filepath.Join(t.TempDir(), "absent")
	r.run()
	r.eventually("complaint", func() bool { return r.up.State().Mend == badToken.mend })
	if s := r.log.String(); !strings.Contains(s, "absent") {
		t.Errorf("log does not name the file:\n%s", s)
	}
}

// systemd hands a secret that is not there over as "-".
func TestUplink_TokenOfTheServiceAbsent(t *testing.T) {
	r := newRig(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("-"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.cfg.Token, r.cfg.TokenFile = "", file
	r.run()
	r.eventually("complaint", func() bool { return r.up.State().Mend == badToken.mend })
	if s := r.log.String(); !strings.Contains(s, errNoToken.Error()) {
		t.Errorf("log does not say that there is no token:\n%s", s)
	}
}

func TestUplink_Renew(t *testing.T) {
	r := newRig(t)
	r.lives = []time.Duration{3 * time.Hour} // of four: two thirds are over
	r.run()
	expect(t, r.session(), statuses)
	r.session() // with the new certificate
	if r.renewals != 1 || len(r.serials) != 2 || r.serials[0].Cmp(r.serials[1]) == 0 {
		t.Fatalf("%d renewals, sessions with serials %v", r.renewals, r.serials)
	}
	r.eventually("new expiry", func() bool { return time.Until(r.up.State().CertificateExpires) > 11*time.Hour })
	id, err := loadIdentity(r.file(""), "hall-3")
	if err != nil || id.cert.SerialNumber.Cmp(r.serials[1]) != 0 {
		t.Fatalf("stored identity: %v", err)
	}
}

// foreignIdentity stores a certificate of another CA.
func foreignIdentity(t *testing.T, r *rig, serverCA *x509.Certificate) {
	t.Helper()
	other := newAuthority(t)
	key := newKey(t)
	id := &identity{key: key, ca: serverCA, tokenID: "old",
		cert: other.gateway(t, key.Public(), "hall-3", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))}
	if serverCA == nil {
		id.ca = other.cert
	}
	if err := os.MkdirAll(r.file(""), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := id.save(r.file("")); err != nil {
		t.Fatal(err)
	}
}

func TestUplink_CoordinatorOfAnotherCA(t *testing.T) {
	r := newRig(t)
	foreignIdentity(t, r, nil)
	token := r.cfg.Token
	r.cfg.Token, r.cfg.TokenFile = "", filepath.Join(t.TempDir(), "token")
	r.run()
	r.eventually("refusal", func() bool { return r.up.State().Mend == foreignCA.mend })
	if r.enrols != 0 {
		t.Error("it enrolled without a token")
	}
	// A token of the coordinator that is there mends it.
	if err := os.WriteFile(r.cfg.TokenFile, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, r.session(), statuses)
}

func TestUplink_RevokedCertificate(t *testing.T) {
	r := newRig(t)
	r.run()
	k := r.session()
	k.end <- status.Error(codes.PermissionDenied, "gateway was removed")
	r.eventually("refusal", func() bool { return r.up.State().Mend == refusedCert.mend })
	if r.up.State().Connected {
		t.Error("state says connected")
	}
	r.session() // it keeps trying
	if r.enrols != 1 {
		t.Error("a token that was used was shown again for a certificate that has not expired")
	}
}

func TestUplink_DamagedIdentity(t *testing.T) {
	r := newRig(t)
	if err := os.MkdirAll(r.file(""), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.file(identityFile), []byte("-----BEGIN nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.run()
	expect(t, r.session(), statuses) // enrolled with the token
}

// A certificate the coordinator's TLS refuses comes back as an alert after the
// client's handshake is over. The alert can get lost when the connection is reset
// first, so the diagnosis may take more than one attempt.
func TestUplink_CertificateRefusedByTLS(t *testing.T) {
	r := newRig(t)
	key := newKey(t)
	other := newAuthority(t)
	cert := other.gateway(t, key.Public(), "hall-3", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	conn, seen, err := dial(r.addr, (&tls.Config{
		RootCAs: pool(r.ca.cert), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS13,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}, nil
		},
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r.up, r.log = &Uplink{}, &logBook{}
	r.up.trainer = newTrainer()
	r.eventually("alert", func() bool {
		conn.ResetConnectBackoff()
		conn.Connect()
		return seen.seen() != nil
	})
	if got := diagnose(status.Error(codes.Unavailable, ""), seen.seen(), time.Now()); got != refusedCert {
		t.Errorf("diagnosed %q", got.what)
	}
}

func pool(c *x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c)
	return p
}

func TestDiagnose_ByHandshake(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	for name, c := range map[string]struct {
		addr string
		cfg  *tls.Config
		now  time.Time
		want trouble
	}{
		"other host name": {r.addr, &tls.Config{RootCAs: pool(r.ca.cert), ServerName: "hq.example"}, now, wrongHost},
		"unknown CA":      {r.addr, &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1"}, now, foreignCA},
		"clock behind": {r.addr, &tls.Config{RootCAs: pool(r.ca.cert), ServerName: "127.0.0.1",
			Time: func() time.Time { return time.Unix(0, 0) }}, time.Unix(0, 0), clockBehind},
		"clock ahead": {r.addr, &tls.Config{RootCAs: pool(r.ca.cert), ServerName: "127.0.0.1",
			Time: func() time.Time { return now.AddDate(50, 0, 0) }}, now.AddDate(50, 0, 0), clockAhead},
		"a web page":   {web.Listener.Addr().String(), &tls.Config{ServerName: "127.0.0.1"}, now, notOurs},
		"nobody there": {closedPort(t), &tls.Config{ServerName: "127.0.0.1"}, now, unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			conn, seen, err := dial(c.addr, c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, err = fedpb.NewEnrolmentClient(conn).Renew(t.Context(), &fedpb.RenewRequest{})
			if got := diagnose(err, seen.seen(), c.now); got != c.want {
				t.Errorf("diagnosed %q from %v and %v", got.what, err, seen.seen())
			}
		})
	}
}

func TestIdentity_File(t *testing.T) {
	dir := t.TempDir()
	ca, key := newAuthority(t), newKey(t)
	cert := ca.gateway(t, key.Public(), "g", time.Unix(1e9, 0), time.Unix(1e9+9000, 0))
	id, err := newIdentity(key, cert.Raw, ca.cert.Raw, "g", "tok")
	if err != nil {
		t.Fatal(err)
	}
	if want := time.Unix(1e9+6000, 0); !id.renewAt().Equal(want) {
		t.Errorf("renewAt is %v, want %v", id.renewAt(), want)
	}
	if err := id.save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := loadIdentity(dir, "g")
	if err != nil || !got.key.Equal(key) || !bytes.Equal(got.cert.Raw, cert.Raw) || !bytes.Equal(got.ca.Raw, ca.cert.Raw) || got.tokenID != "tok" {
		t.Fatalf("loaded %+v, %v", got, err)
	}

	other := newAuthority(t)
	for name, c := range map[string]struct{ cert, ca []byte }{
		"other key":  {ca.gateway(t, newKey(t).Public(), "g", time.Now(), time.Now()).Raw, ca.cert.Raw},
		"other name": {ca.gateway(t, key.Public(), "h", time.Now(), time.Now()).Raw, ca.cert.Raw},
		"other CA":   {cert.Raw, other.cert.Raw},
		"no DER":     {[]byte("x"), ca.cert.Raw},
		"no CA DER":  {cert.Raw, nil},
	} {
		if _, err := newIdentity(key, c.cert, c.ca, "g", ""); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzLoadIdentity(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte(""))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte{0x30, 0}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, identityFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if id, err := loadIdentity(dir, "g"); err == nil && id.cert.Subject.CommonName != "g" {
			t.Fatal("accepted another gateway's certificate")
		}
	})
}

func TestNew_BadConfig(t *testing.T) {
	_, err := New(Config{Address: "hq", Gateway: "a/b", Token: "mw1.x", TokenFile: "f"}, newNode(), quiet())
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{`"hq" is not host:port`, `"a/b"`, "no data directory", "token and token_file", "copy it whole"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
	if _, err := New(Config{Address: net.JoinHostPort("::1", "7443"), Gateway: "g", DataDir: "d"}, newNode(), quiet()); err != nil {
		t.Errorf("good configuration refused: %v", err)
	}
}
