package coordinator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/fnv"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// pumpJob is a small job: two features, so a Gaussian update is a handful of sums.
func pumpJob(name string) job.Spec {
	return job.Spec{
		Name: name, Class: "pump",
		Features: job.FeatureSpec{
			Window:   10 * time.Second,
			Channels: []job.ChannelFeatures{{Channel: "vibration", Features: []string{"rms", "kurtosis"}}},
		},
		Model:  model.Spec{Kind: "gaussian"},
		Rounds: job.RoundPolicy{Every: time.Minute, MinParticipants: 2, Deadline: 30 * time.Second},
		// What agents here send is made up for adding: no rows have such sums.
		Quarantine: job.QuarantineSpec{Enabled: new(bool)},
	}
}

// gradientJob is a small job that learns by gradient.
func gradientJob(name string) job.Spec {
	spec := pumpJob(name)
	spec.Model = model.Spec{Kind: model.KindAutoencoder, Autoencoder: &model.AutoencoderSpec{Hidden: []int{1}}}
	return spec
}

var discard = slog.New(slog.DiscardHandler)

func testConfig(jobs ...job.Spec) Config {
	cfg := DefaultConfig()
	cfg.DataDir = "unused"
	cfg.Jobs = jobs
	return cfg
}

// fixture runs the jobs of a coordinator without any network. It is used inside
// a synctest bubble, where time passes only when everyone waits.
type fixture struct {
	t      *testing.T
	c      *Coordinator
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

func startFixture(t *testing.T, cfg Config, st store.Store) *fixture {
	t.Helper()
	return startFixtureLater(t, cfg, st, 0)
}

// startFixtureLater lets no round begin before wait is over, so that several
// agents can join first.
func startFixtureLater(t *testing.T, cfg Config, st store.Store, wait time.Duration) *fixture {
	t.Helper()
	c, err := newCoordinator(cfg, st, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, c: c}
	ctx, cancel := context.WithCancel(t.Context())
	f.cancel = cancel
	if err := c.load(ctx); err != nil {
		t.Fatal(err)
	}
	for _, j := range c.jobs {
		if wait > 0 {
			j.head.NotBefore = time.Now().Add(wait)
		}
		f.ended.Go(func() {
			if err := j.run(ctx); err != nil {
				t.Errorf("run job %q: %v", j.spec.Name, err)
			}
		})
	}
	return f
}

func (f *fixture) stop() {
	f.cancel()
	f.ended.Wait()
}

// rounds returns the rounds of a job, oldest first.
func (f *fixture) rounds(job string) []fleet.Round {
	var out []fleet.Round
	for _, r := range f.c.Snapshot().Rounds {
		if r.Job == job {
			out = append(out, r)
		}
	}
	slices.Reverse(out)
	return out
}

func (f *fixture) model(job string, version uint64) *fedavg.Global {
	f.t.Helper()
	data := f.modelBytes(job, version)
	g, err := fedavg.DecodeGlobal(data, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return g
}

func (f *fixture) modelBytes(job string, version uint64) []byte {
	f.t.Helper()
	data, ok, err := f.c.ModelBlob(job, version)
	if err != nil || !ok {
		f.t.Fatalf("model %s version %d: there is %t, error %v", job, version, ok, err)
	}
	return data
}

// agent is a fake gateway. It implements rpc.Peer.
type agent struct {
	f    *fixture
	name string
	// train answers a RoundStart; nil uploads learned(name, round).
	train func(rpc.RoundStart)

	mu     sync.Mutex
	got    []rpc.Message
	closed *rpc.Refusal
	wg     sync.WaitGroup
}

// join connects an agent with one pump and reports it ready for all its jobs.
func (f *fixture) join(name string) *agent {
	f.t.Helper()
	a := &agent{f: f, name: name}
	a.connect()
	a.ready()
	return a
}

func (a *agent) connect() {
	a.f.t.Helper()
	first, err := a.f.c.Join(a.f.t.Context(), rpc.Identity{Gateway: a.name}, rpc.Hello{
		Version: "test", Machines: []rpc.Machine{{Name: "pump-1", Class: "pump"}},
	}, a)
	if err != nil {
		a.f.t.Fatal(err)
	}
	for _, m := range first {
		a.Send(m)
	}
}

func (a *agent) ready() {
	a.f.c.Status(a.name, a.status(true, ""))
}

func (a *agent) status(ready bool, reason string) rpc.Status {
	var s rpc.Status
	for _, m := range a.messages() {
		if jobs, ok := m.(rpc.Jobs); ok {
			s.Jobs = nil
			for _, j := range jobs {
				var spec job.Spec
				if err := json.Unmarshal(j.SpecJSON, &spec); err != nil {
					a.f.t.Fatal(err)
				}
				s.Jobs = append(s.Jobs, rpc.Readiness{Job: spec.Name, Digest: j.Digest, Ready: ready, Reason: reason, Samples: 500})
			}
		}
	}
	return s
}

// Send implements rpc.Peer.
func (a *agent) Send(m rpc.Message) {
	a.mu.Lock()
	a.got = append(a.got, m)
	a.mu.Unlock()
	if start, ok := m.(rpc.RoundStart); ok {
		a.wg.Go(func() {
			if a.train != nil {
				a.train(start)
				return
			}
			a.deliver(start)
		})
	}
}

// Close implements rpc.Peer.
func (a *agent) Close(why *rpc.Refusal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = why
}

func (a *agent) messages() []rpc.Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.got)
}

// deliver uploads what the agent is expected to have learned.
func (a *agent) deliver(start rpc.RoundStart) (rpc.Receipt, error) {
	return a.upload(start, encoded(a.f.t, a.learned(start)))
}

func (a *agent) upload(start rpc.RoundStart, data []byte) (rpc.Receipt, error) {
	sum := sha256.Sum256(data)
	return a.f.c.Upload(context.Background(), a.name, rpc.UploadHeader{
		Job: start.Job, Round: start.Round, Attempt: start.Attempt,
		Blob: store.Blob{SHA256: hex.EncodeToString(sum[:]), Size: uint64(len(data))},
	}, chunksOf(data))
}

func chunksOf(data []byte) func() ([]byte, error) {
	r := bytes.NewReader(data)
	return func() ([]byte, error) {
		chunk := make([]byte, 100)
		n, err := r.Read(chunk)
		return chunk[:n], err
	}
}

// learned makes an update of small whole numbers, so that sums of them are exact
// and can be checked by plain addition.
func (a *agent) learned(start rpc.RoundStart) *fedavg.Update {
	j := a.f.c.job(start.Job)
	u := &fedavg.Update{
		Job: start.Job, Round: start.Round, Attempt: start.Attempt, Agent: a.name, Base: start.Model.SHA256,
		Weight: float64(10 * (1 + number(a.name)%3)), Vectors: j.updates.New(), Metrics: map[string]float64{"loss": float64(number(a.name) % 5)},
	}
	for v := range u.Vectors {
		for i := range u.Vectors[v].F64 {
			u.Vectors[v].F64[i] = value(a.name, start.Round, v, i)
		}
		for i := range u.Vectors[v].F32 {
			u.Vectors[v].F32[i] = float32(value(a.name, start.Round, v, i))
		}
	}
	return u
}

func value(name string, round uint64, vector, i int) float64 {
	return float64((number(name)+uint32(round)*7+uint32(vector)*13+uint32(i)*3)%50 + 1)
}

func number(name string) uint32 {
	h := fnv.New32a()
	io.WriteString(h, name)
	return h.Sum32() % 1000
}

func encoded(t *testing.T, u *fedavg.Update) []byte {
	t.Helper()
	data, err := fedavg.EncodeUpdate(u)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// blobsBeside returns the blobs in the store that are not the newest contribution
// of a gateway, each of which must be there.
func blobsBeside(t *testing.T, st store.Store) []store.Blob {
	t.Helper()
	blobs, err := st.ListBlobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	records, err := st.List(t.Context(), "ledger/")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		var c struct{ Blob store.Blob }
		if err := json.Unmarshal(r.Value, &c); err != nil {
			t.Fatal(err)
		}
		i := slices.Index(blobs, c.Blob)
		if i < 0 {
			t.Errorf("blob of %s is not there", r.Key)
			continue
		}
		blobs = slices.Delete(blobs, i, i+1)
	}
	return blobs
}

// messagesOf returns the messages of one type that an agent got.
func messagesOf[M rpc.Message](a *agent) []M {
	var out []M
	for _, m := range a.messages() {
		if m, ok := m.(M); ok {
			out = append(out, m)
		}
	}
	return out
}

func wantRefusal(t *testing.T, err error, reason rpc.Reason) {
	t.Helper()
	var r *rpc.Refusal
	if !errors.As(err, &r) || r.Reason != reason {
		t.Errorf("got error %v, want a refusal with reason %q", err, reason)
	}
}
