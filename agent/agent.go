package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/api"
	"github.com/millwright-iot/millwright/agent/internal/durable"
	"github.com/millwright-iot/millwright/agent/internal/inbox"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/journal"
	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/agent/internal/link"
	"github.com/millwright-iot/millwright/agent/internal/models"
	"github.com/millwright-iot/millwright/agent/internal/pipeline"
	"github.com/millwright-iot/millwright/agent/internal/publish"
	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/agent/internal/sparkplug"
	"github.com/millwright-iot/millwright/agent/internal/uplink"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource"
)

// Agent is the process of one gateway.
//
//	source → machines (queue → window → features → infer → alarm) → journal, publisher, API
//	                                ↓
//	                          sample store → Train, when the uplink asks
type Agent struct {
	cfg     Config
	log     *slog.Logger
	started time.Time

	store     *samples.Store
	journal   *journal.Journal
	labels    *labels.Book
	taught    lessonBook
	models    *models.Store
	machines  []*pipeline.Machine // in the order of the configuration
	byName    map[string]*pipeline.Machine
	sources   *sources
	feeds     []*feed
	ledger    *ledger
	histories *histories
	watches   *watches
	publisher *publish.Publisher // nil if results are not published
	inbox     *inbox.Inbox       // nil if no labels are taken from the broker
	sparkplug *sparkplug.Node    // nil if the gateway is no edge node
	server    *api.Server
	uplink    *uplink.Uplink // nil without a coordinator
	pulse     pulse
	changed   notifier
	unknown   counter // samples for a machine that is not configured
	newcomers newcomers
	again     chan struct{} // capacity 1: Reload was called
	reloads   atomic.Bool   // Run ends because of it

	jobsMu sync.Mutex // guards what follows; taken before a machine's lock
	jobs   map[string]*served
	// unsaved says that jobs could not be written yet.
	unsaved bool
	// training is held by the one training run there may be.
	training chan struct{}
}

// New makes an agent of a valid configuration. It reads what an earlier run left in
// cfg.DataDir; what it cannot read or write there is logged and worked without.
// Nothing listens, connects or runs before Run.
func New(cfg Config, log *slog.Logger) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	a := &Agent{
		cfg: cfg, log: log, started: time.Now(), byName: map[string]*pipeline.Machine{},
		jobs: map[string]*served{}, training: make(chan struct{}, 1), again: make(chan struct{}, 1),
	}
	a.cfg.remember(log)
	a.newcomers = newcomers{cfg: &a.cfg, log: log, wake: make(chan struct{}, 1), list: a.cfg.discovered, refused: map[string]bool{}}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		log.Error("data directory cannot be made; the agent works from memory and forgets at a restart", "data_dir", cfg.DataDir, "error", err)
	}
	if err := durable.Sweep(cfg.DataDir, "uplink"); err != nil { // the uplink sees to its own
		log.Warn("half-written files of an earlier run cannot be removed", "error", err)
	}
	var err error
	a.store, err = samples.Open(filepath.Join(cfg.DataDir, "samples.db"),
		samples.Options{MaxRecent: cfg.Store.MaxSamples, MaxBytes: int64(cfg.Store.MaxSize)}, log)
	if err != nil {
		return nil, err
	}
	a.journal = journal.Open(filepath.Join(cfg.DataDir, "alarms.json"), log)
	a.labels = labels.Open(filepath.Join(cfg.DataDir, "labels.json"), log)
	a.models = models.New(filepath.Join(cfg.DataDir, "models"), log)
	a.ledger = newLedger(filepath.Join(cfg.DataDir, "counts"), log)
	if err := a.connectors(); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	if err := a.makeMachines(); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	a.feeds = a.sources.feeds()
	a.ledger.feeds, a.ledger.machines, a.ledger.unknown = a.feeds, a.machines, &a.unknown
	var debug http.Handler
	if a.cfg.API.Pprof {
		debug = profiles()
	}
	a.server = api.New(api.Options{Listen: a.cfg.API.Listen, Metrics: a.metrics(), Debug: debug, Labels: view{a}}, view{a}, a.log)
	return a, nil
}

// connectors makes what talks to others.
func (a *Agent) connectors() error {
	var err error
	id := a.cfg.MQTT.ClientID
	if a.sources, err = a.cfg.sources(id, a.cfg.MQTT.PersistentSession, a.log, a.device, a.ledger.mark); err != nil {
		return err
	}
	if a.cfg.MQTT.Broker != "" {
		broker, err := a.cfg.MQTT.Link()
		if err != nil {
			return err
		}
		a.results(broker)
	}
	if c := a.cfg.Coordinator; c != nil {
		a.uplink, err = uplink.New(uplink.Config{
			Address: c.Address, Token: c.Token, TokenFile: c.TokenFile,
			Gateway: a.cfg.Gateway, DataDir: a.cfg.DataDir, Version: a.cfg.Version,
		}, node{a}, a.log)
		if err != nil {
			return err
		}
	}
	return nil
}

// results makes what tells others of the machines.
func (a *Agent) results(broker link.Options) {
	c := a.cfg.MQTT
	if c.Labels {
		a.inbox = a.newInbox(broker)
	}
	if a.cfg.publishes() {
		o := publish.Options{Link: broker, Gateway: a.cfg.Gateway, Version: a.cfg.Version, AnnouncedPath: filepath.Join(a.cfg.DataDir, "announced.json")}
		o.Link.ClientID = c.ClientID + "-results"
		if c.HomeAssistant != nil {
			o.Discovery = c.HomeAssistant.Prefix
		}
		for _, m := range a.cfg.Machines {
			o.Machines = append(o.Machines, publish.Machine{Name: m.Name, Class: m.Class, StaleAfter: pipeline.StaleAfter(m.StaleAfter, m.Window, m.Window)})
		}
		a.publisher = publish.New(o, a.log)
	}
	if c.Sparkplug != nil {
		o := sparkplug.Options{
			Link: broker, Group: c.Sparkplug.Group, Node: c.Sparkplug.Node, PrimaryHost: c.Sparkplug.PrimaryHost, Version: a.cfg.Version,
			SeqPath: filepath.Join(a.cfg.DataDir, "sparkplug-births"),
		}
		o.Link.ClientID = c.ClientID + "-sparkplug"
		var machines []sparkplug.Machine
		for _, m := range a.cfg.Machines {
			machines = append(machines, sparkplug.Machine{Name: m.Name, Class: m.Class})
		}
		a.sparkplug = sparkplug.New(o, machines, a.log)
	}
}

// makeMachines makes the machines, with the jobs, models and alarms of the last run.
func (a *Agent) makeMachines() error {
	a.cfg.conversions().begin(filepath.Join(a.cfg.DataDir, "conversions.json"), a.forgetMachine, a.log)
	for _, c := range a.cfg.Machines {
		digest, st := a.journal.State(c.Name)
		m, err := pipeline.New(c.pipeline(a.cfg.Store.MaxSamples), a.store, listener{a, c.Class, c.StaleAfter}, digest, st, a.log)
		if err != nil {
			return fmt.Errorf("set up machine %q: %w", c.Name, err)
		}
		if err := m.SetEnds(a.ends(c.Name)); err != nil {
			return fmt.Errorf("set up machine %q: %w", c.Name, err)
		}
		a.machines = append(a.machines, m)
		a.byName[c.Name] = m
	}
	a.jobsMu.Lock()
	defer a.jobsMu.Unlock()
	a.apply(a.models.LoadJobs(), true)
	a.histories = &histories{path: filepath.Join(a.cfg.DataDir, "scores.json"), machines: a.machines, log: a.log}
	a.histories.restore()
	a.watches = newWatches(filepath.Join(a.cfg.DataDir, "watched.json"), a)
	for _, e := range a.journal.Orphans(func(name string) bool { return a.byName[name] != nil }) {
		e.Active, e.Cleared = false, a.started.UTC()
		a.record(e, "", alarm.State{})
	}
	a.judgeAll()
	return nil
}

// Run works until ctx ends; then it stops reading, finishes what is queued, writes
// what is in memory and returns nil. It does the same and returns ErrReload when Reload
// is called or machines were discovered.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.log.Info("agent starts", "gateway", a.cfg.Gateway, "version", a.cfg.Version, "machines", len(a.machines))
	// Stopped in the order of the data: first what feeds the machines, then the
	// machines, then what keeps their results.
	keepCtx, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopKeeping()
	machineCtx, stopMachines := context.WithCancel(keepCtx)
	defer stopMachines()
	var feeders, machines, keepers group

	keepers.run(keepCtx, a.log, "sample store", a.store.Run)
	keepers.run(keepCtx, a.log, "alarm journal", a.journal.Run)
	keepers.run(keepCtx, a.log, "counts of samples", a.ledger.Run)
	keepers.run(keepCtx, a.log, "history of scores", a.histories.run)
	keepers.run(keepCtx, a.log, "monitors", a.watches.run)
	keepers.run(keepCtx, a.log, "labels", a.labels.Run)
	keepers.run(keepCtx, a.log, "ends of lives", a.followLabels)
	if a.publisher != nil {
		keepers.run(keepCtx, a.log, "publisher", a.publisher.Run)
	}
	if a.sparkplug != nil {
		keepers.run(keepCtx, a.log, "Sparkplug edge node", a.sparkplug.Run)
	}
	for _, m := range a.machines {
		machines.run(machineCtx, a.log, "machine "+m.Name(), m.Run)
	}
	feeders.run(ctx, a.log, "local interface", a.server.Run)
	if a.inbox != nil {
		feeders.run(ctx, a.log, "labels from the broker", a.inbox.Run)
	}
	feeders.run(ctx, a.log, "watchdog", a.watch)
	feeders.run(ctx, a.log, "newcomers", func(ctx context.Context) error { return a.newcomers.run(ctx, a.Reload) })
	if a.uplink != nil {
		feeders.run(ctx, a.log, "uplink", a.uplink.Run)
	}
	for _, f := range a.feeds {
		feeders.run(ctx, a.log, f.name, func(ctx context.Context) error { return f.run(ctx, a.accept) })
	}

	select {
	case <-ctx.Done():
	case <-a.again:
		a.reloads.Store(true)
		cancel()
	}
	feeders.wait()
	stopMachines()
	machines.wait()
	for _, m := range a.machines {
		digest, st := m.AlarmState()
		a.journal.SetState(m.Name(), digest, st)
	}
	stopKeeping()
	keepers.wait()
	if err := a.store.Close(); err != nil {
		a.log.Error("sample store closed with an error", "error", err)
	}
	if a.reloads.Load() {
		a.log.Info("agent begins anew")
		return ErrReload
	}
	a.log.Info("agent stopped")
	return nil
}

// accept hands a block to its machine.
func (a *Agent) accept(b sensors.Block) {
	if m, ok := a.byName[b.Machine]; ok {
		m.Offer(b)
	} else {
		a.unknown.Add(int64(len(b.Samples)))
		if a.sources.mqtt != nil {
			a.newcomers.met(b, a.sources.mqtt.Captured)
		}
	}
}

// device passes on that a device is gone or back.
func (a *Agent) device(d mqttsource.DeviceStats) {
	for _, name := range d.Machines {
		if m, ok := a.byName[name]; ok {
			m.Device(d.Name, d.State == mqttsource.Stale)
		}
	}
	a.changed.notify()
}

// APIAddress waits until the local interface listens and returns its address, once;
// it is for those who configured port 0.
func (a *Agent) APIAddress(ctx context.Context) (string, error) {
	select {
	case address := <-a.server.Bound():
		return address, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// listener passes on what one machine does. Its methods must not wait.
type listener struct {
	a     *Agent
	class string
	stale time.Duration // as configured
}

// Scored implements pipeline.Listener.
func (l listener) Scored(machine string, spec job.Spec, out *infer.Output) {
	if l.a.publisher != nil {
		stale := pipeline.StaleAfter(l.stale, spec.Features.Window, spec.Features.Hop)
		l.a.publisher.Score(machine, l.class, spec.Name, stale, out)
	}
	if l.a.sparkplug != nil {
		l.a.sparkplug.Score(machine, spec.Name, out)
	}
	l.a.changed.notify()
}

// Alarm implements pipeline.Listener.
func (l listener) Alarm(machine string, spec job.Spec, out *infer.Output, st alarm.State) {
	e, ok := l.a.journal.Lasting(machine)
	if f := out.Advice.Fault; ok && out.Change == alarm.None && f != nil && e.Fault != nil && e.Fault.Class == f.Class {
		return // told before a restart
	}
	if !ok {
		e = journal.Episode{
			ID: journal.NewID(), Gateway: l.a.cfg.Gateway, Machine: machine, Class: l.class, Raised: st.Raised.UTC(),
		}
	}
	e.Active, e.Zone, e.PeakScore = st.Active, st.Zone, st.Peak
	e.Job, e.ModelVersion = spec.Name, out.Version
	if out.Change == alarm.Cleared {
		e.Cleared = out.At.UTC()
	} else {
		e.Reasons, e.Advice = reasons(out.Reasons), out.Advice.Clone()
	}
	l.a.record(e, spec.Digest(), st)
}

// record keeps and publishes an episode's next revision.
func (a *Agent) record(e journal.Episode, digest string, st alarm.State) {
	e = a.journal.Put(e, digest, st)
	if !e.Active {
		a.labels.Ended(e.ID, e.Cleared)
	}
	a.log.Warn("alarm", "machine", e.Machine, "active", e.Active, "zone", string(e.Zone), "peak_score", e.PeakScore, "episode", e.ID, "revision", e.Revision)
	if a.publisher != nil {
		a.publisher.Alarm(e)
	}
	a.changed.notify()
}

func reasons(list []infer.Reason) []journal.Reason {
	out := make([]journal.Reason, len(list))
	for i, r := range list {
		out[i] = journal.Reason(r)
	}
	return out
}

// group waits for goroutines. One that ends with an error is logged: the others do
// not depend on it.
type group struct{ wg sync.WaitGroup }

func (g *group) run(ctx context.Context, log *slog.Logger, name string, f func(context.Context) error) {
	g.wg.Go(func() {
		if err := f(ctx); err != nil {
			log.Error("part of the agent ended", "part", name, "error", err)
		}
	})
}

func (g *group) wait() { g.wg.Wait() }
