package uplink

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/fedpb"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for something to happen at all.
const patience = 20 * time.Second

// node is an agent whose training is the test's.
type node struct {
	mu        sync.Mutex
	status    Status
	changed   chan struct{}
	jobs      []job.Spec
	alarms    []AlarmEvent
	installed map[string]uint64
	models    [][]byte
	trained   []string // jobs, one entry a call
	train     func(ctx context.Context, job string, global []fedavg.Vector, seed uint64) (fedavg.Update, error)
	started   func(Start) // when set, is told what training begins with
}

func newNode() *node {
	return &node{changed: make(chan struct{}), installed: map[string]uint64{}, train: answerWith(1)}
}

// answerWith learns x in every element.
func answerWith(x float32) func(context.Context, string, []fedavg.Vector, uint64) (fedavg.Update, error) {
	return func(_ context.Context, _ string, global []fedavg.Vector, seed uint64) (fedavg.Update, error) {
		vs := fedavg.LayoutOf(global).New()
		for _, v := range vs {
			for i := range v.F32 {
				v.F32[i] = global[0].F32[i] + x
			}
		}
		return fedavg.Update{Weight: float64(seed), Vectors: vs, Metrics: map[string]float64{"loss": 0.5}}, nil
	}
}

func (n *node) Machines() []Machine { return []Machine{{"pump-1", "pump"}, {"pump-2", "pump"}} }

func (n *node) Status() Status { n.mu.Lock(); defer n.mu.Unlock(); return n.status }

func (n *node) Changed() <-chan struct{} { n.mu.Lock(); defer n.mu.Unlock(); return n.changed }

func (n *node) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *node) SetJobs(specs []job.Spec) error {
	n.change(func() { n.jobs = specs })
	return nil
}

func (n *node) Train(ctx context.Context, job string, from Start) (Learned, error) {
	n.mu.Lock()
	n.trained = append(n.trained, job)
	train, started := n.train, n.started
	n.mu.Unlock()
	if started != nil {
		started(from)
	}
	u, err := train(ctx, job, from.Global, from.Seed)
	return Learned{Update: u, OwnControl: n.control(from)}, err
}

func (n *node) Install(job string, version uint64, blob []byte) error {
	n.change(func() { n.installed[job] = version; n.models = append(n.models, blob) })
	return nil
}

func (n *node) Installed(job string) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.installed[job]
}

func (n *node) Alarms() []AlarmEvent {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]AlarmEvent(nil), n.alarms...)
}

func (n *node) AckAlarm(id string, revision uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, a := range n.alarms {
		if a.ID == id && a.Revision == revision {
			n.alarms = append(n.alarms[:i], n.alarms[i+1:]...)
			return
		}
	}
}

func (n *node) trainings() int { n.mu.Lock(); defer n.mu.Unlock(); return len(n.trained) }

// rig is a coordinator and an uplink that talks to it.
type rig struct {
	*coordinator
	t     *testing.T
	node  *node
	cfg   Config
	up    *Uplink
	log   *logBook
	stop  func()
	specs map[string]job.Spec
}

func newRig(t *testing.T) *rig {
	t.Helper()
	c := newCoordinator(t)
	r := &rig{coordinator: c, t: t, node: newNode(), specs: map[string]job.Spec{}}
	r.cfg = Config{Address: c.addr, Token: c.token("first").String(), Gateway: "hall-3", DataDir: t.TempDir(), Version: "v1"}
	return r
}

// run starts the uplink; a second call starts a new one on the same directory.
func (r *rig) run() {
	r.t.Helper()
	r.log = &logBook{}
	up, err := New(r.cfg, r.node, slog.New(slog.NewJSONHandler(r.log, nil)))
	if err != nil {
		r.t.Fatal(err)
	}
	r.up = up
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- up.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				r.t.Errorf("Run returned %v", err)
			}
		case <-time.After(patience):
			r.t.Error("Run did not return")
		}
	})
	r.t.Cleanup(r.stop)
}

// session returns the next session.
func (r *rig) session() *talk {
	r.t.Helper()
	select {
	case k := <-r.sessions:
		return k
	case <-time.After(patience):
		r.t.Fatalf("no session came; the log says\n%s", r.log)
		return nil
	}
}

// expect returns the next message of a session that pick takes.
func expect[M any](t *testing.T, k *talk, pick func(*fedpb.FromAgent) (M, bool)) M {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case m, ok := <-k.received:
			if !ok {
				t.Fatal("session ended before the message came")
			}
			if out, ok := pick(m); ok {
				return out
			}
		case <-timeout:
			t.Fatal("message did not come")
		}
	}
}

func answers(m *fedpb.FromAgent) (*fedpb.RoundAnswer, bool) {
	return m.GetRoundAnswer(), m.GetRoundAnswer() != nil
}

func statuses(m *fedpb.FromAgent) (*fedpb.Status, bool) { return m.GetStatus(), m.GetStatus() != nil }

// addJob defines a job; sendJobs announces all of them.
func (r *rig) addJob(name string) job.Spec {
	spec := job.Spec{
		Name: name, Class: "pump",
		Features: job.FeatureSpec{Window: time.Second, Channels: []job.ChannelFeatures{{Channel: "vibration", Features: []string{"rms"}}}},
		Model:    model.Spec{Kind: "autoencoder"},
	}.WithDefaults()
	r.specs[name] = spec
	return spec
}

func (r *rig) sendJobs(k *talk) {
	r.t.Helper()
	out := &fedpb.Jobs{}
	for _, s := range r.specs {
		data, err := json.Marshal(s)
		if err != nil {
			r.t.Fatal(err)
		}
		out.Jobs = append(out.Jobs, &fedpb.Job{SpecJson: data, Digest: s.Digest()})
	}
	r.say(k, &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_Jobs{Jobs: out}})
}

func (r *rig) say(k *talk, m *fedpb.FromCoordinator) {
	r.t.Helper()
	if err := k.send(m); err != nil {
		r.t.Fatal(err)
	}
}

// globalModel makes a model of n parameters, all x.
func (r *rig) globalModel(job string, version uint64, n int, x float32) *fedpb.Blob {
	r.t.Helper()
	v := fedavg.Vector{Name: "w", F32: make([]float32, n)}
	for i := range v.F32 {
		v.F32[i] = x
	}
	data, err := fedavg.EncodeGlobal(&fedavg.Global{Job: job, Version: version, SpecDigest: r.specs[job].Digest(), Vectors: []fedavg.Vector{v}})
	if err != nil {
		r.t.Fatal(err)
	}
	return r.keepModel(data)
}

func (r *rig) startRound(k *talk, id task, base *fedpb.Blob, deadline time.Duration) {
	r.t.Helper()
	r.say(k, &fedpb.FromCoordinator{Message: &fedpb.FromCoordinator_RoundStart{RoundStart: &fedpb.RoundStart{
		Job: id.Job, Digest: r.specs[id.Job].Digest(), Round: id.Round, Attempt: id.Attempt, Model: base,
		Deadline: timestamppb.New(time.Now().Add(r.clock + deadline)), Seed: 7,
	}}})
}

// eventually waits until cond holds.
func (r *rig) eventually(what string, cond func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%s did not happen; state %+v; the log says\n%s", what, r.up.State(), r.log)
		}
	}
}

// logBook keeps log lines.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBook) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.buf.String() }

func (l *logBook) count(text string) int { return strings.Count(l.String(), text) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (r *rig) file(name string) string { return filepath.Join(r.cfg.DataDir, "uplink", name) }

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// closedPort returns an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// control adds one to every number of the agent's own control variate.
func (n *node) control(from Start) []fedavg.Vector {
	if from.ServerControl == nil {
		return nil
	}
	next := fedavg.LayoutOf(from.ServerControl).New()
	for i := range next {
		for k := range next[i].F32 {
			next[i].F32[k] = 1
			if from.OwnControl != nil {
				next[i].F32[k] += from.OwnControl[i].F32[k]
			}
		}
	}
	return next
}
