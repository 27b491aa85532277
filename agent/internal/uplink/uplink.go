package uplink

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millwright-iot/millwright/fedavg/fedpb"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// Uplink is an agent's line to the coordinator. It is made to fail: whatever
// happens out there, it tries again and the agent works on.
type Uplink struct {
	cfg    Config
	host   string // of the address, as certificates name it
	dir    string
	node   Node
	log    *slog.Logger
	diary  *diary
	shown  shownState
	line   *line
	models *modelCache
	memory *memory
	box    atomic.Pointer[outbox] // set when Run has read it

	trainer  *trainer
	releases *releases

	jobsMu sync.Mutex
	jobs   map[string]string // digest of each job's spec, by name
	specs  map[string]job.Spec
}

// New makes an Uplink of a node; Run starts it. Every problem of cfg is named in
// the error. What only fails for now (no token yet, no network, no disk) is none.
func New(cfg Config, node Node, log *slog.Logger) (*Uplink, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cfg.DataDir, "uplink")
	u := &Uplink{
		cfg: cfg, host: host, dir: dir, node: node, log: log, diary: newDiary(log),
		line:     newLine(),
		models:   newModelCache(filepath.Join(dir, "models"), cfg.MaxModelBytes, log),
		memory:   &memory{dir: filepath.Join(dir, "memory")},
		trainer:  newTrainer(),
		releases: newReleases(),
		jobs:     map[string]string{},
	}
	u.shown.s.Coordinator = cfg.Address
	u.shown.s.UpdatesDropped = map[string]uint64{dropRefused: 0, dropLate: 0, dropDamaged: 0}
	return u, nil
}

// State returns what there is to show. It may be called at any time.
func (u *Uplink) State() State {
	s := u.shown.get()
	if box := u.box.Load(); box != nil {
		for _, e := range box.list() {
			s.OutboxUpdates++
			s.OutboxBytes += e.Size
		}
	}
	s.Training = u.trainer.job()
	return s
}

// Run holds the line until ctx ends, then returns nil. It returns for no other
// reason: troubles go to the log, at most once a minute each, and to State.
func (u *Uplink) Run(ctx context.Context) error {
	if !u.openOutbox(ctx) {
		return nil
	}
	var workers sync.WaitGroup
	workers.Go(func() { u.train(ctx) })
	workers.Go(func() { u.upload(ctx) })
	workers.Go(func() { u.install(ctx) })
	u.connect(ctx)
	workers.Wait()
	return nil
}

// openOutbox reads the outbox as soon as the disk lets it.
func (u *Uplink) openOutbox(ctx context.Context) bool {
	var pause backoff
	for {
		box, bad, err := openOutbox(filepath.Join(u.dir, "outbox"))
		if err == nil {
			for name, reason := range bad {
				u.dropped(dropDamaged)
				u.log.Warn("removed an unusable file from the outbox", "file", name, "reason", reason)
			}
			u.box.Store(box)
			return true
		}
		d := pause.next()
		u.failed(localFailure, err, d)
		if !sleep(ctx, d) {
			return false
		}
	}
}

// steady is how long a session must last for the next pause to be short again.
const steady = 10 * time.Second

// welcomeTimeout bounds connecting and being greeted.
const welcomeTimeout = 30 * time.Second

var (
	errRenewed   = errors.New("certificate was renewed")
	errNoWelcome = errors.New("coordinator took the connection and said nothing")
)

// connect keeps a session open.
func (u *Uplink) connect(ctx context.Context) {
	var pause backoff
	var enrolment enrolment
	for ctx.Err() == nil {
		began := time.Now()
		seen, err := u.attempt(ctx, &enrolment)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errRenewed) {
			pause.reset()
			continue
		}
		t := diagnose(err, seen.seen(), time.Now())
		enrolment.refused = t.certificate
		if time.Since(began) >= steady {
			pause.reset()
		}
		d := pause.next()
		u.failed(t, err, d)
		if !sleep(ctx, d) {
			return
		}
	}
}

// attempt connects once and returns when that is over, never with a nil error.
func (u *Uplink) attempt(ctx context.Context, e *enrolment) (*observer, error) {
	id, seen, err := u.identity(ctx, e)
	if err != nil {
		return seen, err
	}
	conn, seen, err := u.dialAs(id)
	if err != nil {
		return seen, err
	}
	defer conn.Close()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	hurry := time.AfterFunc(welcomeTimeout, func() { end(errNoWelcome) })
	defer hurry.Stop()
	client := fedpb.NewFederationClient(conn)
	stream, err := client.Session(ctx)
	if err == nil {
		var renewal sync.WaitGroup
		err = u.converse(ctx, end, stream, func(offset time.Duration) {
			hurry.Stop()
			u.line.up(&connection{client: client, done: ctx.Done()})
			renewal.Go(func() {
				if u.renew(ctx, id, fedpb.NewEnrolmentClient(conn), offset) {
					end(errRenewed)
				}
			})
		})
		u.line.down()
		end(nil)
		renewal.Wait()
	}
	if cause := context.Cause(ctx); errors.Is(cause, errRenewed) || errors.Is(cause, errNoWelcome) {
		err = cause
	}
	return seen, err
}

// failed tells of a trouble that keeps the line down.
func (u *Uplink) failed(t trouble, err error, retry time.Duration) {
	u.diary.trouble(t, u.cfg.Address, err, retry)
	now := time.Now()
	u.shown.change(func(s *State) {
		if s.Connected {
			s.Connected, s.Since = false, now
		}
		s.LastError, s.LastErrorAt, s.Mend = t.what+": "+err.Error(), now, t.mend
	})
}

func (u *Uplink) dropped(reason string) {
	u.shown.change(func(s *State) { s.UpdatesDropped[reason]++ })
}

// line hands the present connection to whoever needs one.
type line struct {
	mu      sync.Mutex
	cur     *connection
	changed chan struct{} // closed when cur is set
}

// connection is a connection whose session was welcomed.
type connection struct {
	client fedpb.FederationClient
	done   <-chan struct{} // closed when it is over
}

func newLine() *line { return &line{changed: make(chan struct{})} }

func (l *line) up(c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cur = c
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *line) down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cur = nil
}

// wait returns a connection as soon as there is one, nil if ctx ends before.
func (l *line) wait(ctx context.Context) *connection {
	for {
		l.mu.Lock()
		cur, changed := l.cur, l.changed
		l.mu.Unlock()
		if cur != nil {
			return cur
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}
