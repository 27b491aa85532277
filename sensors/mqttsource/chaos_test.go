package mqttsource

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

// gated runs a Source that emits only after its gate is opened.
func gated(t *testing.T, broker string, o Options) (r *runner, open func()) {
	t.Helper()
	r = &runner{log: &logBuffer{}, blocks: make(chan sensors.Block, 10000)}
	var err error
	if r.Source, err = New(broker, scalarChannel(t), o, r.log.logger()); err != nil {
		t.Fatal(err)
	}
	gate := make(chan struct{})
	r.run(t, func(b sensors.Block) error {
		<-gate
		r.blocks <- b
		return nil
	})
	open = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open) // before Run's end is waited for
	return r, open
}

// openTo lets a broker that gives up its rights into a test's directory.
func openTo(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	for d := dir; strings.HasPrefix(d, os.TempDir()) && d != os.TempDir(); d, mode = filepath.Dir(d), 0o755 {
		if err := os.Chmod(d, mode); err != nil {
			t.Fatal(err)
		}
	}
}

// session are the options of a client whose messages the broker keeps.
func session() Options {
	o := quick
	o.ClientID, o.PersistentSession = "gateway-1", true
	return o
}

func publishNumbers(t *testing.T, broker string, from, to int) {
	t.Helper()
	c := publisher(t, broker)
	for i := from; i < to; i++ {
		publish(t, c, "v", false, fmt.Append(nil, i))
	}
	c.Disconnect(100)
}

// expectNumbers checks that the next blocks are from…to-1, each once and in order.
func (r *runner) expectNumbers(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if b := r.next(t); b.Samples[0] != float64(i) {
			t.Fatalf("got %v; want %d, each message once and in order", b.Samples, i)
		}
	}
}

// A process that dies with messages in its queue: the broker still has them.
func TestSource_CrashLosesNothing(t *testing.T) {
	m := newMosquitto(t, "allow_anonymous true")
	m.start(t)
	const sent, before = 60, 7
	seen := map[float64]int{}
	first, err := New(m.url(), scalarChannel(t), session(), (&logBuffer{}).logger())
	if err != nil {
		t.Fatal(err)
	}
	crash := errors.New("out of memory")
	done := make(chan error, 1)
	go func() {
		done <- first.Run(context.Background(), func(b sensors.Block) error {
			if len(seen) == before {
				return crash
			}
			seen[b.Samples[0]]++
			return nil
		})
	}()
	for deadline := time.Now().Add(20 * time.Second); !first.Stats().Connected; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not connected")
		}
	}
	publishNumbers(t, m.url(), 0, sent)
	if err := <-done; !errors.Is(err, crash) {
		t.Fatal(err)
	}
	s := first.Stats()
	checkSums(t, s)
	if s.Emitted != before || s.Dropped[Stopped] == 0 {
		t.Errorf("first life: got %+v; want %d emitted and some given back", s, before)
	}
	second := start(t, m.url(), scalarChannel(t), session())
	for len(seen) < sent {
		seen[second.next(t).Samples[0]]++
	}
	// What was acknowledged before the end need not come again; a real loss of power
	// may take acknowledgements along, so that twice is no mistake either.
	again := 0
	for _, n := range seen {
		again += n - 1
	}
	if again > before {
		t.Errorf("%d messages were emitted again; only %d were before", again, before)
	}
}

// The broker is killed with messages under way that it had saved; those we had in
// hand come again and are known.
func TestSource_MosquittoKilled(t *testing.T) {
	dir := t.TempDir()
	openTo(t, dir, 0o777)
	m := newMosquitto(t, "allow_anonymous true\npersistence true\npersistence_location "+dir+"/\nmax_inflight_messages 20")
	m.start(t)
	r, open := gated(t, m.url(), session())
	r.connected(t)
	const sent = 100
	publishNumbers(t, m.url(), 0, sent)
	r.eventually(t, "messages in the queue", func(s Stats) bool { return s.Queued >= 10 })
	m.signal(t, syscall.SIGUSR1) // save now
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if f, err := os.Stat(filepath.Join(dir, "mosquitto.db")); err == nil && f.Size() > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("mosquitto saved nothing")
		}
	}
	m.kill(t)
	r.eventually(t, "the loss", func(s Stats) bool { return !s.Connected })
	open()
	m.start(t)
	r.expectNumbers(t, 0, sent)
	s := r.eventually(t, "an empty queue", func(s Stats) bool { return s.Queued == 0 && s.Emitted == sent })
	if s.Dropped[Duplicate] == 0 || s.Received != sent+s.Dropped[Duplicate] {
		t.Errorf("got %+v; want each message once, and those in hand recognised when they came again", s)
	}
}

// A broker that stands still looks like a connection that is up.
func TestSource_MosquittoFrozen(t *testing.T) {
	m := newMosquitto(t, "allow_anonymous true")
	m.start(t)
	o := session()
	o.KeepAlive, o.ConnectTimeout = time.Second, time.Second
	r := start(t, m.url(), scalarChannel(t), o)
	r.connected(t)
	publishNumbers(t, m.url(), 0, 5)
	r.expectNumbers(t, 0, 5)
	m.signal(t, syscall.SIGSTOP)
	r.eventually(t, "the loss", func(s Stats) bool { return !s.Connected })
	m.signal(t, syscall.SIGCONT)
	r.connected(t)
	publishNumbers(t, m.url(), 5, 10)
	r.expectNumbers(t, 5, 10)
}

// A broker keeps only so many messages: what it drops we never had, and everything
// it gave us is accounted for.
func TestSource_MosquittoQueueLimit(t *testing.T) {
	m := newMosquitto(t, "allow_anonymous true\nmax_inflight_messages 5\nmax_queued_messages 10")
	m.start(t)
	r, open := gated(t, m.url(), session())
	r.connected(t)
	publishNumbers(t, m.url(), 0, 100)
	if s := r.Stats(); s.Received > 5 {
		t.Errorf("%d messages received without an acknowledgement; the broker may send 5", s.Received)
	}
	open()
	r.expectNumbers(t, 0, 15)
	for i := 100; i < 110; i++ { // one at a time, so that the broker has room
		publishNumbers(t, m.url(), i, i+1)
		r.expectNumbers(t, i, i+1)
	}
	if s := r.eventually(t, "an empty queue", func(s Stats) bool { return s.Queued == 0 }); s.Received != 25 || s.Emitted != 25 {
		t.Errorf("got %+v; want 25 received and emitted", s)
	}
}

// A broker whose disk is full goes on from memory, and so do we.
func TestSource_MosquittoDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("cannot mount a small filesystem: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	openTo(t, dir, 0o777)
	m := newMosquitto(t, "allow_anonymous true\npersistence true\npersistence_location "+dir+"/")
	m.start(t)
	r := start(t, m.url(), scalarChannel(t), session())
	r.connected(t)
	f, err := os.Create(filepath.Join(dir, "full"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if f.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	publishNumbers(t, m.url(), 0, 20)
	r.expectNumbers(t, 0, 20)
	m.signal(t, syscall.SIGUSR1) // cannot save
	publishNumbers(t, m.url(), 20, 40)
	r.expectNumbers(t, 20, 40)
	m.stop()
	r.eventually(t, "the loss", func(s Stats) bool { return !s.Connected })
	m.start(t)
	r.connected(t) // without the session it could not save, so subscribed anew
	publishNumbers(t, m.url(), 40, 60)
	r.expectNumbers(t, 40, 60)
	if s := r.eventually(t, "an empty queue", func(s Stats) bool { return s.Queued == 0 }); s.Emitted != 60 {
		t.Errorf("got %+v; want 60 emitted", s)
	}
}

// 100 MB in one message: skipped on the wire, its channel's neighbours unharmed.
func TestSource_Mosquitto100MB(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 100 MB twice")
	}
	m := newMosquitto(t, "allow_anonymous true")
	m.start(t)
	r := start(t, m.url(), scalarChannel(t), quick)
	r.connected(t)
	c := publisher(t, m.url())
	publish(t, c, "v", false, make([]byte, 100<<20))
	publish(t, c, "v", false, []byte("7"))
	if b := r.next(t); b.Samples[0] != 7 || b.Quality&sensors.QualityGap == 0 {
		t.Errorf("got %+v; want the message after the huge one, with a gap", b)
	}
	if s := r.Stats(); s.Dropped[TooLarge] != 1 || s.Connections != 1 {
		t.Errorf("got %+v", s)
	}
}

// authority issues certificates for a test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (a *authority) issue(t *testing.T, name string, isCA bool) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: isCA, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := a.cert, a.key
	if isCA {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	if isCA {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		a.key = key
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(a.dir, file), pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A broker that knows its clients by certificate, and a client whose certificate is
// renewed while it runs: the next connection shows the new one.
func TestSource_MosquittoClientCertificate(t *testing.T) {
	a := &authority{dir: t.TempDir()}
	openTo(t, a.dir, 0o755)
	a.issue(t, "ca", true)
	a.issue(t, "broker", false)
	mine := a.issue(t, "gateway-1", false)
	m := newMosquitto(t, fmt.Sprintf("cafile %[1]s/ca.crt\ncertfile %[1]s/broker.crt\nkeyfile %[1]s/broker.key\nrequire_certificate true\nuse_identity_as_username true", a.dir))
	m.start(t)
	broker := strings.Replace(m.url(), "tcp:", "tls:", 1)
	o := quick
	var config atomic.Pointer[tls.Config]
	config.Store(&tls.Config{RootCAs: x509.NewCertPool()})
	config.Load().RootCAs.AddCert(a.cert)
	o.Login = func() (Login, error) {
		if c := config.Load(); c != nil {
			return Login{TLS: c}, nil
		}
		return Login{}, errors.New("read key: half written")
	}
	r := start(t, broker, scalarChannel(t), o)
	says := func(text string) func(Stats) bool {
		return func(Stats) bool { return strings.Contains(r.log.String(), text) }
	}
	r.eventually(t, "a complaint", says("give a client certificate and key"))
	bare := config.Swap(nil)
	r.eventually(t, "a complaint about the file", says("cannot say who we are: read key: half written"))
	if r.Stats().Connections != 0 {
		t.Error("connected without a certificate")
	}
	renewed := bare.Clone()
	renewed.Certificates = []tls.Certificate{mine}
	config.Store(renewed)
	r.connected(t)
}
