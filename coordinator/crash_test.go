package coordinator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

var errPower = errors.New("power cut")

// mortal is a store that dies at its nth change: that change comes to pass or
// not, and everything after it fails. What survives is in Store.
type mortal struct {
	store.Store
	applyLast bool

	mu   sync.Mutex
	left int // changes to come
	dead bool
	died chan struct{}
}

func newMortal(st store.Store, changes int, applyLast bool) *mortal {
	return &mortal{Store: st, left: changes, applyLast: applyLast, died: make(chan struct{})}
}

// change reports whether the change happens and whether the caller may be told.
func (m *mortal) change() (apply, tell bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return false, false
	}
	if m.left > 0 {
		m.left--
		return true, true
	}
	m.dead = true
	close(m.died)
	return m.applyLast, false
}

func (m *mortal) isDead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dead
}

func (m *mortal) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	apply, tell := m.change()
	var rev uint64
	var err error
	if apply {
		rev, err = m.Store.Put(ctx, key, value, revision)
	}
	if !tell {
		return 0, errPower
	}
	return rev, err
}

func (m *mortal) Delete(ctx context.Context, key string, revision uint64) error {
	apply, tell := m.change()
	var err error
	if apply {
		err = m.Store.Delete(ctx, key, revision)
	}
	if !tell {
		return errPower
	}
	return err
}

func (m *mortal) PutBlob(ctx context.Context, r io.Reader) (store.Blob, error) {
	apply, tell := m.change()
	var b store.Blob
	var err error
	if apply {
		b, err = m.Store.PutBlob(ctx, r)
	}
	if !tell {
		return store.Blob{}, errPower
	}
	return b, err
}

func (m *mortal) DeleteBlob(ctx context.Context, sha256 string) error {
	apply, tell := m.change()
	var err error
	if apply {
		err = m.Store.DeleteBlob(ctx, sha256)
	}
	if !tell {
		return errPower
	}
	return err
}

func (m *mortal) Get(ctx context.Context, key string) (store.Record, error) {
	if m.isDead() {
		return store.Record{}, errPower
	}
	return m.Store.Get(ctx, key)
}

func (m *mortal) List(ctx context.Context, prefix string) ([]store.Record, error) {
	if m.isDead() {
		return nil, errPower
	}
	return m.Store.List(ctx, prefix)
}

func (m *mortal) OpenBlob(ctx context.Context, sha256 string, offset uint64) (io.ReadCloser, error) {
	if m.isDead() {
		return nil, errPower
	}
	return m.Store.OpenBlob(ctx, sha256, offset)
}

// twoRounds runs until two versions are committed, with agents that repeat an
// upload until it is acknowledged, on a store that dies at the given change. It
// returns both models and whether the store died at all.
func twoRounds(t *testing.T, spec job.Spec, dieAt int, applyLast bool) (models [2][]byte, died bool) {
	synctest.Test(t, func(t *testing.T) {
		spec.Rounds.MinParticipants = 3
		spec.Rounds.Count = 2
		cfg := testConfig(spec)
		disk := memstore.New()
		dying := newMortal(disk, dieAt, applyLast)

		ctx, cancel := context.WithCancel(t.Context())
		c, err := newCoordinator(cfg, dying, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		first := &fixture{t: t, c: c, cancel: cancel}
		if err := c.load(ctx); err == nil {
			for _, j := range c.jobs {
				first.ended.Go(func() { _ = j.run(ctx) })
			}
			connectPersistent(first, dying)
			select {
			case <-dying.died:
			case <-time.After(10 * time.Minute):
			}
		} else if !errors.Is(err, errPower) {
			t.Fatal(err)
		}
		died = dying.isDead()
		first.stop()
		synctest.Wait()

		second := startFixture(t, cfg, disk)
		defer second.stop()
		connectPersistent(second, nil)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := second.c.Snapshot().Jobs[0].Version; got != 2 {
			t.Fatalf("version %d after the restart, want 2: %+v", got, second.rounds("pump"))
		}
		for i := range models {
			models[i] = second.modelBytes("pump", uint64(i+1))
		}
		for i, r := range second.rounds("pump") {
			if r.State != "committed" || r.Round != uint64(i+1) || r.Attempt != 1 {
				t.Errorf("round %d of the history = %+v", i, r)
			}
		}
		if spec.Model.Kind == model.KindGaussian {
			checkSum(t, second, "pump", 2, "a", "b", "c")
		}
		checkNothingLeft(t, second, disk)
	})
	return models, died
}

// connectPersistent joins three agents that keep offering their update, as the
// outbox of a real one does, until it is acknowledged or dying is dead.
func connectPersistent(f *fixture, dying *mortal) {
	for _, name := range []string{"a", "b", "c"} {
		a := &agent{f: f, name: name}
		a.train = func(s rpc.RoundStart) {
			for dying == nil || !dying.isDead() {
				if _, err := a.deliver(s); err == nil {
					return
				}
				time.Sleep(time.Second)
			}
		}
		a.connect()
		a.ready()
	}
}

// checkNothingLeft says that the store holds two versions and their history, and
// no update or blob beside them.
func checkNothingLeft(t *testing.T, f *fixture, st store.Store) {
	t.Helper()
	if updates, err := st.List(t.Context(), "update/"); err != nil || len(updates) != 0 {
		t.Errorf("%d updates left, %v", len(updates), err)
	}
	want := 2
	if f.c.jobs[0].head.State != (store.Blob{}) {
		want = 3
	}
	if blobs := blobsBeside(t, st); len(blobs) != want {
		t.Errorf("%d blobs left, want %d: 2 versions and the strategy's state, if it has one", len(blobs), want)
	}
	for _, m := range f.c.Snapshot().Models {
		if _, err := st.StatBlob(t.Context(), m.Digest); err != nil {
			t.Errorf("version %d: %v", m.Version, err)
		}
	}
}

// However many changes the store lives to see, the restarted coordinator commits
// the same bytes as one that never died.
func TestCrash_AtEveryWriteGivesTheSameModels(t *testing.T) {
	adam, buffered := gradientJob("pump"), gradientJob("pump")
	adam.Strategy.Name = job.NameFedAdam
	buffered.Strategy = job.StrategySpec{Name: job.NameFedBuff, Buffer: 3}
	for name, spec := range map[string]job.Spec{"sum": pumpJob("pump"), "fedadam": adam, "fedbuff": buffered} {
		t.Run(name, func(t *testing.T) { crashAtEveryWrite(t, spec) })
	}
}

func crashAtEveryWrite(t *testing.T, spec job.Spec) {
	want, died := twoRounds(t, spec, 1<<30, false)
	if died {
		t.Fatal("the store died in the reference run")
	}
	deaths := 0
	for dieAt := 0; ; dieAt++ {
		anyDied := false
		for _, applyLast := range []bool{false, true} {
			t.Run(fmt.Sprintf("change=%d,applied=%t", dieAt, applyLast), func(t *testing.T) {
				got, died := twoRounds(t, spec, dieAt, applyLast)
				anyDied = anyDied || died
				for i := range want {
					if !bytes.Equal(got[i], want[i]) {
						t.Errorf("version %d differs after a crash", i+1)
					}
				}
			})
		}
		if !anyDied {
			break
		}
		deaths++
	}
	// Start (2), two rounds of start, 3×(blob, record), close, blob, commit, history
	// (2) and tidying: fewer would mean the test lost its subject.
	if deaths < 25 {
		t.Errorf("only %d crash points tried", deaths)
	}
}

func TestResume_OpenRoundGoesOnWithStoredUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := pumpJob("pump")
		spec.Rounds.MinParticipants = 3
		st := memstore.New()
		f := startFixture(t, testConfig(spec), st)
		f.join("a")
		f.join("b")
		hung := &agent{f: f, name: "c", train: func(rpc.RoundStart) {}}
		hung.connect()
		hung.ready()
		synctest.Wait()
		f.stop()

		f = startFixture(t, testConfig(spec), st)
		defer f.stop()
		a := &agent{f: f, name: "a"}
		a.connect()
		if starts := messagesOf[rpc.RoundStart](a); len(starts) != 0 {
			t.Errorf("an agent that has delivered was asked again: %+v", starts)
		}
		round := f.rounds("pump")[0]
		if round.State != "open" || round.Attempt != 1 || countReceived(round) != 2 {
			t.Fatalf("round = %+v", round)
		}
		f.join("c") // is asked on connecting, delivers, and that completes the round
		synctest.Wait()
		checkSum(t, f, "pump", 1, "a", "b", "c")
	})
}

func TestRun_TwoCoordinatorsOnOneStoreAreNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		cfg := testConfig(pumpJob("pump"))
		one := startFixture(t, cfg, st)
		defer one.stop()
		c, err := newCoordinator(cfg, st, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		two := &fixture{t: t, c: c}
		if err := c.load(t.Context()); err != nil {
			t.Fatal(err)
		}
		one.join("a")
		one.join("b")
		synctest.Wait()
		checkSum(t, one, "pump", 1, "a", "b")
		two.join("a")
		two.join("b")
		if err := c.jobs[0].run(t.Context()); !isConflict(err) {
			t.Errorf("the second coordinator's run returned %v, want a conflict", err)
		}
	})
}

// hiccup is a store whose nth Put fails once, whether or not it came to pass.
type hiccup struct {
	store.Store
	apply bool

	mu   sync.Mutex
	left int
}

func (h *hiccup) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	h.mu.Lock()
	fail := h.left == 0
	h.left--
	h.mu.Unlock()
	if fail && !h.apply {
		return 0, errPower
	}
	rev, err := h.Store.Put(ctx, key, value, revision)
	if fail {
		return 0, errPower
	}
	return rev, err
}

// One failed write is waited out; nothing is lost, counted twice or taken for
// the work of another coordinator.
func TestRound_OneFailedWriteIsWaitedOut(t *testing.T) {
	for n := 1; n <= 16; n++ { // the first creates the head, before anything is served
		for _, apply := range []bool{false, true} {
			t.Run(fmt.Sprintf("put=%d,applied=%t", n, apply), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					spec := pumpJob("pump")
					spec.Rounds.MinParticipants, spec.Rounds.Count = 3, 2
					f := startFixture(t, testConfig(spec), &hiccup{Store: memstore.New(), left: n, apply: apply})
					defer f.stop()
					connectPersistent(f, nil)
					time.Sleep(10 * time.Minute)
					synctest.Wait()
					if v := f.c.Snapshot().Jobs[0].Version; v != 2 {
						t.Fatalf("version %d, want 2: %+v", v, f.rounds("pump"))
					}
					checkSum(t, f, "pump", 2, "a", "b", "c")
					for _, r := range f.rounds("pump") {
						if r.State != "committed" || r.Attempt != 1 {
							t.Errorf("round = %+v", r)
						}
					}
					checkNothingLeft(t, f, f.c.st)
				})
			})
		}
	}
}
