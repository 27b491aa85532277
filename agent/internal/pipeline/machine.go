// Package pipeline runs what happens to one machine on a gateway: its blocks
// become windows, feature vectors, scores and alarms.
package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/life"
	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/features"
	"github.com/millwright-iot/millwright/sensors/window"
)

// Config is what a Machine needs to know of the plant engineer's configuration.
type Config struct {
	Name, Class string
	Channels    map[string]sensors.Quantity
	Contexts    map[string]features.Context // what is known of the machine around a channel
	Window      time.Duration               // of the local job
	Baseline    int                         // of the local job, in windows
	StaleAfter  time.Duration               // zero: the longer of 3 hops and 2 windows
	MaxRecent   int                         // how many recent healthy vectors Memory keeps
}

// Memory is where a machine keeps feature vectors. *samples.Store is one.
type Memory interface {
	Observe(key samples.Key, at time.Time, vector []float64, p samples.Prediction)
	Each(key samples.Key, kind samples.Kind, f func(samples.Row) bool) error
	Add(key samples.Key, kind samples.Kind, at time.Time, vector []float64)
	Rows(key samples.Key, kind samples.Kind) ([]samples.Row, error)
	Newest(key samples.Key, kind samples.Kind, n int) ([]samples.Row, error)
	Count(key samples.Key, kind samples.Kind) int
	Forget(key samples.Key, kind samples.Kind) error
}

// Listener hears what a machine does. Its methods are called with the machine
// locked: they must return at once and not call the Machine.
type Listener interface {
	// Scored is called for every window of the live job, Running or not. out is valid
	// during the call only.
	Scored(machine string, spec job.Spec, out *infer.Output)
	// Alarm is called when an episode begins, grows worse or ends, and, with no Change,
	// when the diagnosing job has come to name a fault. st is what to keep for the next
	// start.
	Alarm(machine string, spec job.Spec, out *infer.Output, st alarm.State)
}

// Tracer is what a Listener may be too: it sees every window with its feature vector.
// All it is given is valid during the call only.
type Tracer interface {
	// Window is called with the features' names and values, or why there are none.
	Window(machine string, w *window.Window, names []string, vector []float64, err error)
}

// Machine is one monitored machine. All methods are safe for concurrent use; Run is
// the only one that does the work.
type Machine struct {
	cfg      Config
	memory   Memory
	listener Listener
	tracer   Tracer  // nil: nobody looks
	watcher  Watcher // nil: nobody watches
	log      *slog.Logger
	queue    *queue
	beat     atomic.Int64 // blocks processed; grows while the machine makes progress

	mu      sync.Mutex
	fronts  []*front
	serving *track   // raises alarms; never nil
	next    *track   // takes over once it has its baseline; nil if none
	shadows []*track //
	watched *track   // of which the watcher knows the baseline

	diagnosing  *track       // the live job that names faults; nil if none
	diagnosis   *infer.Fault // what it said last; nil if nothing
	diagnosedAt time.Time    // end of the window it said that of
	named       infer.Fault  // scratch
	naming      naming       // of the alarm that lasts

	lives      []*lifeTrack // jobs to prognose
	prognosing *lifeTrack   // the live one of them; nil if none
	ends       []life.End   // of the machine's lives, in the order of time

	unserved map[string]string // job → why this machine cannot take part
	before   Counts            // of fronts that no longer serve
	refused  map[string]int64  // windows without a usable vector, by reason
	windows  int64             // windows with one
	panics   int64
	complain time.Time // of the newest log line about a refused window
	gone     []string  // devices that said they are gone, sorted
}

// New returns a Machine that serves its local job. state is the alarm state that the
// machine left under the job of that digest.
func New(cfg Config, memory Memory, listener Listener, digest string, state alarm.State, log *slog.Logger) (*Machine, error) {
	m := &Machine{
		cfg: cfg, memory: memory, listener: listener, log: log.With("machine", cfg.Name),
		queue: newQueue(), unserved: map[string]string{}, refused: map[string]int64{},
		before: Counts{Dropped: map[string]int64{}},
	}
	m.tracer, _ = listener.(Tracer)
	m.watcher, _ = listener.(Watcher)
	local := m.localJob()
	if local.Digest() != digest {
		state = alarm.State{}
	}
	t, err := m.newTrack(local, Release{}, state)
	if err != nil {
		return nil, err
	}
	m.serving = t
	return m, nil
}

// Name returns the machine's name.
func (m *Machine) Name() string { return m.cfg.Name }

// Class returns the machine's class.
func (m *Machine) Class() string { return m.cfg.Class }

// Offer hands a block over. While the queue is full it waits, at most about a second
// between two times that the machine takes what waits: one that makes progress loses
// nothing, and one that is stuck does not hold up the others. It reports whether there
// was room; what there was no room for is counted.
func (m *Machine) Offer(b sensors.Block) bool { return m.queue.put(b) }

// Device tells that a device which feeds the machine is gone, or back. While one is
// gone the machine is stale: what it showed last is not how it is.
func (m *Machine) Device(name string, gone bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, known := slices.BinarySearch(m.gone, name)
	switch {
	case gone && !known:
		m.gone = slices.Insert(m.gone, i, name)
	case !gone && known:
		m.gone = slices.Delete(m.gone, i, i+1)
	}
}

// Run processes blocks until ctx ends, and then what is queued.
func (m *Machine) Run(ctx context.Context) error {
	var batch []sensors.Block
	for {
		select {
		case <-ctx.Done():
			m.batch(m.queue.take(batch))
			return nil
		case <-m.queue.wake:
		}
		batch = m.queue.take(batch)
		m.batch(batch)
	}
}

// Process takes a block at once, past the queue, for whoever tries a machine out: Run
// must not run.
func (m *Machine) Process(b sensors.Block) {
	m.queue.put(b)
	m.batch(m.queue.take(nil))
}

func (m *Machine) batch(blocks []sensors.Block) {
	for i := range blocks {
		m.process(blocks[i])
		m.beat.Add(1)
	}
}

// process gives one block to every front. A panic costs the windows under way and
// is logged: the other machines of the gateway go on, and so does this one.
func (m *Machine) process(b sensors.Block) {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.queue.done(len(b.Samples)) // with mu held, so that counts always add up
	given := 0
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		m.panics++
		for i, f := range m.fronts {
			if i > given {
				f.before.Received += int64(len(b.Samples)) // the restart drops them
			}
			f.restart(m.cfg.Name, "internal_error")
		}
		m.log.Error("machine failed on a block and begins a new window; please report this",
			"channel", b.Channel, "samples", len(b.Samples), "panic", p, "stack", string(debug.Stack()))
	}()
	for i, f := range m.fronts {
		given = i
		f.add(b)
	}
	if m.next != nil && m.next.detector.State() == infer.Running {
		m.takeOver()
	}
}

// window takes a complete window of front f. Called with mu held.
func (m *Machine) window(f *front, w *window.Window) {
	vector, err := f.extractor.Extract(f.vector, w)
	if m.tracer != nil && f == m.serving.front {
		m.tracer.Window(m.cfg.Name, w, f.extractor.Names(), vector, err)
	}
	if err != nil {
		m.refuse("feature", err)
		return
	}
	f.vector = vector
	quiet := !m.alarming()
	healthy, learned := false, false
	for _, t := range f.tracks {
		if t.detector.State() != infer.Running && t != m.serving && !quiet {
			continue // what happens during an alarm is not healthy
		}
		if t == m.serving {
			t.detector.Suspect(m.suspicion(w.End))
		}
		have, _ := t.detector.Progress()
		out, err := t.detector.Observe(w.End, vector)
		if err != nil {
			m.fault(t, have, err)
			continue
		}
		if out.Rewritten {
			m.rewrite(t)
		}
		healthy = healthy || (out.State == infer.Running && m.inOrder(t, &out))
		learned = learned || (out.State == infer.Baseline && out.Have > f.stored)
		out.Advice.Evidence = f.evidence(vector)
		if t == m.diagnosing && out.State == infer.Running {
			m.diagnose(t, w.End)
		}
		out.Advice.Fault, out.Advice.Life = m.faultBy(&out), m.remaining()
		m.note(t, out)
	}
	if f == m.serving.front {
		m.windows++
	}
	m.live(f, w.End, vector)
	healthy = healthy && quiet && !m.alarming()
	m.watch(f, w.End, healthy)
	switch {
	case learned:
		f.stored++
		m.memory.Add(f.key, samples.Baseline, w.End, vector)
	case healthy:
		f.recent = min(f.recent+1, m.cfg.MaxRecent)
		m.memory.Add(f.key, samples.Recent, w.End, vector)
	}
	m.observe(f, w.End, vector, learned || healthy, quiet && !m.alarming())
}

// fault handles a vector that a detector refused, or a baseline it could not use.
func (m *Machine) fault(t *track, have int, err error) {
	var bad *infer.VectorError
	if errors.As(err, &bad) {
		m.refuse("vector", err)
		return
	}
	m.log.Error("baseline cannot be used; it is collected anew", "job", t.spec.Name, "windows", have+1, "error", err)
	t.front.stored = 0
	if err := m.memory.Forget(t.front.key, samples.Baseline); err != nil {
		m.log.Error("baseline cannot be deleted", "error", err)
	}
}

// refuse counts a window that led to no vector, and logs it once a minute.
func (m *Machine) refuse(reason string, err error) {
	m.refused[reason]++
	if now := time.Now(); now.Sub(m.complain) > time.Minute {
		m.complain = now
		m.log.Warn("window not used", "reason", reason, "error", err, "windows_refused", m.refused[reason])
	}
}

// note keeps a track's output and tells the listener about the live one.
func (m *Machine) note(t *track, out infer.Output) {
	t.at = time.Now()
	t.out = out
	t.out.Reasons = t.reasons[:copy(t.reasons[:], out.Reasons)]
	if t != m.serving {
		return
	}
	if m.naming.settled(&t.out, t.spec.Alarm.OnDelay, m.inGoodOrder()) || out.Change != alarm.None {
		m.listener.Alarm(m.cfg.Name, t.spec, &t.out, t.detector.AlarmState())
	}
	m.listener.Scored(m.cfg.Name, t.spec, &t.out)
}

// alarming says whether the live job is in alarm or about to be.
func (m *Machine) alarming() bool {
	st := m.serving.detector.AlarmState()
	return st.Active || st.Run > 0
}
