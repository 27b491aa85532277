// Package coordinator is headquarters' process: it holds a session with every
// gateway, runs rounds, commits global models and releases them.
//
// Rounds live in round.go, who takes part in select.go. The store remembers
// everything that matters; a Coordinator that is killed at any instant and
// started again on the same store goes on where it was.
package coordinator

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/enrol"
	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store"
)

// Coordinator runs the federation. Make it with New, then call Run once.
// It implements fleet.Viewer, safely at any time.
type Coordinator struct {
	cfg       Config
	st        store.Store
	log       *slog.Logger
	authority *enrol.Authority // nil in tests of the rounds alone
	metrics   *metrics
	pins      *pins
	spool     *spool
	decoding  chan struct{} // bounds how many updates are in memory at once
	ready     chan struct{} // closed when Run accepts connections
	addresses struct{ agents, web string }

	jobs []*jobState // by name; the slice is fixed by New

	// mu guards everything below, the fields of jobs that say so, and nothing
	// slow: no call of the store is made under it.
	mu       sync.Mutex
	started  time.Time
	gateways map[string]*gateway
	enrolled map[string]enrol.Gateway // newest list read, see Snapshot
	alarms   alarmBook
	changed  chan struct{}
}

// gateway is what is known of one agent since the start.
type gateway struct {
	peer      rpc.Peer // nil while it is not connected
	classes   map[string]bool
	readiness map[string]rpc.Readiness   // by job, as of the present session
	installed map[string]map[uint64]bool // versions in use, by job
	view      fleet.Gateway
}

// New makes a coordinator that keeps its state in st, and opens the certificate
// authority in cfg.DataDir, creating it the first time. st stays the caller's to
// close, after Run. The error lists everything wrong with cfg.
func New(cfg Config, st store.Store, log *slog.Logger) (*Coordinator, error) {
	c, err := newCoordinator(cfg, st, log)
	if err != nil {
		return nil, err
	}
	c.authority, err = enrol.Open(filepath.Join(cfg.DataDir, "ca"), st, enrol.Options{Hosts: cfg.Hosts, OnRemove: c.expel}, log)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// newCoordinator makes one without a certificate authority.
func newCoordinator(cfg Config, st store.Store, log *slog.Logger) (*Coordinator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Coordinator{
		cfg: cfg, st: st, log: log,
		pins:     newPins(),
		spool:    newSpool(filepath.Join(cfg.DataDir, "incoming")),
		decoding: make(chan struct{}, 4),
		ready:    make(chan struct{}),
		started:  time.Now(),
		gateways: map[string]*gateway{},
		changed:  make(chan struct{}),
	}
	for _, spec := range cfg.Jobs {
		j, err := newJob(c, spec)
		if err != nil {
			return nil, fmt.Errorf("set up job %q: %w", spec.Name, err)
		}
		c.jobs = append(c.jobs, j)
	}
	slices.SortFunc(c.jobs, func(a, b *jobState) int { return strings.Compare(a.spec.Name, b.spec.Name) })
	c.metrics = newMetrics(c)
	return c, nil
}

// Ready returns a channel that is closed when Run accepts connections.
func (c *Coordinator) Ready() <-chan struct{} { return c.ready }

// AgentAddr returns the address agents connect to, valid once Ready; it tells
// the port when the configuration left the choice open.
func (c *Coordinator) AgentAddr() string { return c.addresses.agents }

// WebAddr returns the page's address, valid once Ready.
func (c *Coordinator) WebAddr() string { return c.addresses.web }

// load brings the state in the store into memory and finishes what a crash left
// half done. It is called once, before anything is served.
func (c *Coordinator) load(ctx context.Context) error {
	for _, j := range c.jobs {
		if err := j.load(ctx); err != nil {
			return fmt.Errorf("load job %q: %w", j.spec.Name, err)
		}
	}
	if err := c.loadAlarms(ctx); err != nil {
		return err
	}
	if err := c.loadGateways(ctx); err != nil {
		return err
	}
	if err := c.spool.sweep(); err != nil {
		return err
	}
	return c.collectGarbage(ctx)
}

// job returns the job of that name, or nil.
func (c *Coordinator) job(name string) *jobState {
	for _, j := range c.jobs {
		if j.spec.Name == name {
			return j
		}
	}
	return nil
}

// notify says that the Snapshot changed. c.mu is held.
func (c *Coordinator) notify() {
	close(c.changed)
	c.changed = make(chan struct{})
}
