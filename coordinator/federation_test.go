package coordinator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millwright-iot/millwright/coordinator/internal/enrol"
	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc/rpctest"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/boltstore"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// running is a whole coordinator on loopback.
type running struct {
	t      testing.TB
	c      *Coordinator
	cancel context.CancelFunc
	result chan error
}

func runCoordinator(t testing.TB, cfg Config, st store.Store) *running {
	t.Helper()
	cfg.Listen, cfg.Web.Listen = "127.0.0.1:0", "127.0.0.1:0"
	c, err := New(cfg, st, discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, c: c, cancel: cancel, result: make(chan error, 1)}
	go func() { r.result <- c.Run(ctx) }()
	select {
	case <-c.Ready():
	case err := <-r.result:
		cancel()
		t.Fatal(err)
	}
	return r
}

// stop ends Run and reports its error.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	if err := <-r.result; err != nil {
		r.t.Errorf("Run returned %v", err)
	}
}

// enrol makes a gateway with a token of its own.
func (r *running) enrol(name string) *rpctest.Gateway {
	r.t.Helper()
	token, err := r.c.authority.CreateToken(context.Background(), enrol.TokenOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	g, err := rpctest.Enrol(context.Background(), r.c.AgentAddr(), token, name)
	if err != nil {
		r.t.Fatal(err)
	}
	return g
}

// waitFor waits until the snapshot is as wanted; the test's own time limit ends it.
func (r *running) waitFor(what string, ok func(fleet.Snapshot) bool) fleet.Snapshot {
	r.t.Helper()
	limit := time.After(30 * time.Second)
	for {
		changed := r.c.Changed()
		s := r.c.Snapshot()
		if ok(s) {
			return s
		}
		select {
		case <-changed:
		case <-limit:
			r.t.Fatalf("waited in vain for %s: %+v", what, s)
		}
	}
}

// serve takes part in every round until the session or ctx ends: it downloads the
// model, checks its digest, and uploads what make returns.
func serve(ctx context.Context, g *rpctest.Gateway, spec job.Spec, make func(rpc.RoundStart) []byte) error {
	s, err := g.Open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Hello(rpc.Machine{Name: "pump-1", Class: spec.Class}); err != nil {
		return err
	}
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case rpc.Jobs:
			for _, j := range m {
				if err := s.Ready("A", rpc.Readiness{Job: spec.Name, Digest: j.Digest, Ready: true}); err != nil {
					return err
				}
			}
		case rpc.RoundStart:
			global, err := g.Download(ctx, m.Model.SHA256, 0)
			if err != nil {
				return err
			}
			if sum := sha256.Sum256(global); hex.EncodeToString(sum[:]) != m.Model.SHA256 {
				return fmt.Errorf("downloaded model has digest %x", sum)
			}
			if _, err := g.Upload(ctx, rpc.UploadHeader{Job: m.Job, Round: m.Round, Attempt: m.Attempt}, make(m)); err != nil {
				return err
			}
		}
	}
}

// learnedBy is the update that the fake agents of this package make, as bytes.
func learnedBy(c *Coordinator, name string) func(rpc.RoundStart) []byte {
	a := &agent{f: &fixture{c: c}, name: name}
	return func(s rpc.RoundStart) []byte {
		data, err := fedavg.EncodeUpdate(a.learned(s))
		if err != nil {
			panic(err)
		}
		return data
	}
}

func openBolt(t testing.TB, dir string) *boltstore.Store {
	t.Helper()
	st, err := boltstore.Open(dir, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestRun_RoundsOverMutualTLS(t *testing.T) {
	defer goleak.VerifyNone(t)
	spec := pumpJob("pump")
	spec.Rounds.MinParticipants, spec.Rounds.Every, spec.Rounds.Count = 3, time.Millisecond, 3
	cfg := testConfig(spec)
	cfg.DataDir = t.TempDir()
	st := openBolt(t, cfg.DataDir)
	defer st.Close()
	r := runCoordinator(t, cfg, st)
	ctx, cancel := context.WithCancel(context.Background())
	var gateways sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		g := r.enrol(name)
		defer g.Close()
		gateways.Go(func() {
			if err := serve(ctx, g, spec, learnedBy(r.c, name)); ctx.Err() == nil {
				t.Errorf("gateway %s: %v", name, err)
			}
		})
	}
	s := r.waitFor("three rounds", func(s fleet.Snapshot) bool { return len(s.Jobs) == 1 && s.Jobs[0].Done })
	f := &fixture{t: t, c: r.c}
	for version := uint64(1); version <= 3; version++ {
		checkSum(t, f, "pump", version, "a", "b", "c")
	}
	if round := s.Rounds[0]; round.BytesIn == 0 || round.BytesOut == 0 || countReceived(round) != 3 {
		t.Errorf("round = %+v", round)
	}
	for path, want := range map[string]string{
		"/healthz": "ok",
		"/metrics": `millwright_coordinator_rounds_total{job="pump",state="committed"} 3`,
		"/":        "pump",
	} {
		if body := get(t, "http://"+r.c.WebAddr()+path); !strings.Contains(body, want) {
			t.Errorf("%s does not contain %q:\n%.2000s", path, want, body)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	gateways.Wait()
	r.stop()
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// A coordinator stopped in mid-round and started again on the same file commits
// the same bytes as one that ran through.
func TestRun_RestartInMidRoundGivesTheSameModel(t *testing.T) {
	defer goleak.VerifyNone(t)
	spec := pumpJob("pump")
	spec.Rounds.MinParticipants, spec.Rounds.Count = 3, 1
	names := []string{"a", "b", "c"}
	model := func(restart bool) []byte {
		cfg := testConfig(spec)
		cfg.DataDir = t.TempDir()
		st := openBolt(t, cfg.DataDir)
		r := runCoordinator(t, cfg, st)
		join := func(names ...string) (leave func()) {
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			for _, name := range names {
				g := r.enrol(name)
				wg.Go(func() {
					defer g.Close()
					_ = serve(ctx, g, spec, learnedBy(r.c, name)) // ends with the coordinator or with leave
				})
			}
			return func() { cancel(); wg.Wait() }
		}
		if restart {
			leaveTwo := join(names[:2]...)
			s := r.enrol("c") // ready, so the round begins; but it never delivers
			quiet, err := s.Open(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if err := quiet.Hello(rpc.Machine{Name: "pump-1", Class: "pump"}); err != nil {
				t.Fatal(err)
			}
			if err := quiet.Ready("A", rpc.Readiness{Job: "pump", Digest: spec.Digest(), Ready: true}); err != nil {
				t.Fatal(err)
			}
			r.waitFor("two updates", func(s fleet.Snapshot) bool { return len(s.Rounds) == 1 && countReceived(s.Rounds[0]) == 2 })
			r.stop()
			leaveTwo()
			s.Close()
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
			st = openBolt(t, cfg.DataDir)
			r = runCoordinator(t, cfg, st)
			// Only the third is needed now. Its name is enrolled with another key.
			if err := r.c.authority.Remove(context.Background(), "c"); err != nil {
				t.Fatal(err)
			}
			names = names[2:]
		}
		leave := join(names...)
		r.waitFor("a commit", func(s fleet.Snapshot) bool { return s.Jobs[0].Done })
		data, ok, err := r.c.ModelBlob("pump", 1)
		if !ok || err != nil {
			t.Fatalf("version 1: %t, %v", ok, err)
		}
		leave()
		r.stop()
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		return data
	}
	through, restarted := model(false), model(true)
	if !bytes.Equal(through, restarted) {
		t.Error("the restarted coordinator committed other bytes")
	}
}

func TestRun_PortInUseNamesThePortAndTheMend(t *testing.T) {
	defer goleak.VerifyNone(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for key, set := range map[string]func(*Config){
		"listen":     func(c *Config) { c.Listen = taken.Addr().String() },
		"web.listen": func(c *Config) { c.Web.Listen = taken.Addr().String() },
	} {
		cfg := testConfig()
		cfg.DataDir, cfg.Listen, cfg.Web.Listen = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
		set(&cfg)
		c, err := New(cfg, memstore.New(), discard)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(err.Error(), "set `"+key+":`") {
			t.Errorf("error = %v; want the address and `%s:`", err, key)
		}
	}
}

func TestRun_ImpossibleMessagesAreIgnoredAndCounted(t *testing.T) {
	defer goleak.VerifyNone(t)
	cfg := testConfig(pumpJob("pump"))
	cfg.DataDir = t.TempDir()
	r := runCoordinator(t, cfg, memstore.New())
	defer r.stop()
	g := r.enrol("a")
	defer g.Close()
	s, err := g.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var nan float64
	nan /= nan
	at := time.Now()
	for _, err := range []error{
		s.Hello(rpc.Machine{Name: "pump-1", Class: "pump"}),
		s.Score("pump-1", nan), s.Score("", 1), s.Score("pump-1", -3),
		s.Alarm("bad", 1, nan, at),
		s.Alarm("good", 1, 1.5, at), s.Alarm("good", 1, 1.5, at),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for acks := 0; acks < 2; { // both times: the first acknowledgement may get lost
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if ack, ok := m.(rpctest.AlarmAck); ok {
			if acks++; ack != (rpctest.AlarmAck{ID: "good", Revision: 1}) {
				t.Errorf("acknowledged %+v", ack)
			}
		}
	}
	snap := r.c.Snapshot()
	if len(snap.Alarms) != 1 || snap.Gateways[0].Machines[0].Score != 0 {
		t.Errorf("alarms %+v, machines %+v", snap.Alarms, snap.Gateways[0].Machines)
	}
	if _, err := json.Marshal(snap); err != nil {
		t.Error(err)
	}
	metrics := get(t, "http://"+r.c.WebAddr()+"/metrics")
	http.DefaultClient.CloseIdleConnections()
	for _, want := range []string{`messages_ignored_total{kind="alarm"} 1`, `messages_ignored_total{kind="status"} 3`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}
