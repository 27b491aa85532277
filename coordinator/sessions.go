package coordinator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store"
)

var _ rpc.Backend = (*Coordinator)(nil)

// Join implements rpc.Backend. A gateway has one session: a new one replaces
// the old, whose connection may be half open for minutes.
func (c *Coordinator) Join(_ context.Context, who rpc.Identity, hello rpc.Hello, peer rpc.Peer) ([]rpc.Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.gateways[who.Gateway]
	if g == nil {
		g = &gateway{}
	}
	if g.peer == nil && c.connected() >= c.cfg.Limits.MaxAgents {
		return nil, rpc.Refuse(rpc.Busy, fmt.Errorf("coordinator has %d gateways connected, its limit; raise limits.max_agents", c.cfg.Limits.MaxAgents))
	}
	if g.peer != nil {
		g.peer.Close(rpc.Refuse(rpc.Replaced, fmt.Errorf("a newer session of gateway %q took over", who.Gateway)))
	}
	c.gateways[who.Gateway] = g
	g.peer, g.classes, g.readiness, g.installed = peer, map[string]bool{}, map[string]rpc.Readiness{}, nil
	g.view.Name, g.view.Version, g.view.CertExpires = who.Gateway, hello.Version, who.CertExpires
	g.view.Connected, g.view.LastSeen = true, time.Now()
	g.introduce(hello.Machines)
	c.notify()
	c.log.Info("gateway connected", "gateway", who.Gateway, "version", hello.Version, "machines", len(hello.Machines))
	return c.firstMessages(who.Gateway, g), nil
}

// introduce replaces the machines of g, keeping what is known of those it had.
func (g *gateway) introduce(machines []rpc.Machine) {
	known := map[string]fleet.Machine{}
	for _, m := range g.view.Machines {
		known[m.Name+"\x00"+m.Class] = m
	}
	g.view.Machines = make([]fleet.Machine, 0, len(machines))
	for _, m := range machines {
		g.classes[m.Class] = true
		have, ok := known[m.Name+"\x00"+m.Class]
		if !ok {
			have = fleet.Machine{Name: m.Name, Class: m.Class, State: "waiting"}
		}
		g.view.Machines = append(g.view.Machines, have)
	}
	sortMachines(g.view.Machines)
}

func sortMachines(ms []fleet.Machine) {
	slices.SortFunc(ms, func(a, b fleet.Machine) int { return cmp.Compare(a.Name, b.Name) })
}

// firstMessages is what a gateway needs to know when it connects: its jobs, the
// model to run of each, and every open round that still awaits it. c.mu is held.
func (c *Coordinator) firstMessages(name string, g *gateway) []rpc.Message {
	jobs := rpc.Jobs{}
	var rest []rpc.Message
	for _, j := range c.jobs {
		if !g.classes[j.spec.Class] {
			continue
		}
		jobs = append(jobs, rpc.Job{SpecJSON: j.json, Digest: j.digest})
		if j.book == nil { // not loaded: nothing is known of its rounds yet
			continue
		}
		if live, ok := j.book.Live(j.lineage); ok {
			rest = append(rest, j.releaseOf(live))
		}
		switch _, busy := j.tasks[name]; {
		case busy:
			rest = append(rest, j.taskOf(name))
		case j.async():
			// It gets a task when it says that it is ready.
		case j.cur != nil && !j.cur.Closed && j.cur.parts[name] != nil && j.cur.parts[name].State == training:
			rest = append(rest, j.announcement())
		}
	}
	return append([]rpc.Message{jobs}, rest...)
}

// Leave implements rpc.Backend.
func (c *Coordinator) Leave(name string, peer rpc.Peer) {
	c.mu.Lock()
	g := c.gateways[name]
	if g == nil || g.peer != peer {
		c.mu.Unlock()
		return // replaced meanwhile
	}
	g.peer, g.readiness, g.installed = nil, nil, nil
	g.view.Connected, g.view.LastSeen = false, time.Now()
	view := g.cloneView()
	c.notify()
	c.mu.Unlock()
	c.log.Info("gateway disconnected", "gateway", name)
	c.rememberGateway(name, view)
}

// Status implements rpc.Backend.
func (c *Coordinator) Status(name string, s rpc.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.gateways[name]
	if g == nil || g.peer == nil {
		return
	}
	g.view.LastSeen = time.Now()
	g.view.ReceivedTotal, g.view.DroppedTotal = s.ReceivedTotal, s.DroppedTotal
	g.installed = s.Installed
	for _, m := range s.Machines {
		i := slices.IndexFunc(g.view.Machines, func(have fleet.Machine) bool { return have.Name == m.Name })
		if i >= 0 { // only machines named in Hello: its classes decided which jobs the gateway got
			g.view.Machines[i] = m
		}
	}
	for _, r := range s.Jobs {
		j := c.job(r.Job)
		if j == nil {
			continue
		}
		before := g.readiness[r.Job]
		g.readiness[r.Job] = r
		if before.Ready != r.Ready || before.Digest != r.Digest {
			j.poke()
		}
	}
	c.notify()
}

// Answer implements rpc.Backend.
func (c *Coordinator) Answer(name string, a rpc.RoundAnswer) {
	j := c.job(a.Job)
	if j == nil || a.Accepted {
		return // silence means consent: the update or the deadline will tell
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	j.excuse(name, try{a.Round, a.Attempt}, declined, a.Reason)
}

// Invalid implements rpc.Backend.
func (c *Coordinator) Invalid(name, kind string, err error) {
	c.metrics.invalid.WithLabelValues(kind).Inc()
	c.log.Debug("ignored message", "gateway", name, "kind", kind, "error", err)
}

// OpenModel implements rpc.Backend: global models only, never an update, for an
// update is one plant's own.
func (c *Coordinator) OpenModel(ctx context.Context, name, sha256 string, offset uint64) (io.ReadCloser, error) {
	var counter *round
	known := false
	c.mu.Lock()
	for _, j := range c.jobs {
		if j.book == nil {
			continue
		}
		if j.cur != nil && j.cur.base.SHA256 == sha256 && j.cur.parts[name] != nil {
			counter = j.cur
		}
		known = known || j.head.Model.SHA256 == sha256 || j.sharedState().SHA256 == sha256 || j.book.Holds(sha256)
	}
	c.mu.Unlock()
	if !known {
		return nil, rpc.Refuse(rpc.UnknownModel, fmt.Errorf("there is no global model %.16s…, or no longer", sha256))
	}
	r, err := c.st.OpenBlob(ctx, sha256, offset)
	var beyond *store.OffsetError
	switch {
	case errors.As(err, &beyond):
		return nil, rpc.Refuse(rpc.Malformed, err)
	case errors.Is(err, store.ErrNotFound):
		return nil, rpc.Refuse(rpc.UnknownModel, fmt.Errorf("global model %.16s… is gone", sha256))
	case err != nil:
		c.metrics.storeErrors.Inc()
		c.log.Error("cannot read global model", "sha256", sha256, "error", err)
		return nil, rpc.Refuse(rpc.StoreFailed, errors.New("coordinator cannot read the model from its store; try again later"))
	}
	return &countingReader{ReadCloser: r, count: func(n int) {
		c.metrics.bytesOut.Add(float64(n))
		if counter != nil {
			counter.bytesOut.Add(int64(n))
		}
	}}, nil
}

type countingReader struct {
	io.ReadCloser
	count func(n int)
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.count(n)
	return n, err
}

// connected counts open sessions. c.mu is held.
func (c *Coordinator) connected() int {
	n := 0
	for _, g := range c.gateways {
		if g.peer != nil {
			n++
		}
	}
	return n
}

// expel ends the session of a gateway whose certificates ceased to count.
func (c *Coordinator) expel(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.gateways[name]; g != nil && g.peer != nil {
		g.peer.Close(rpc.Refuse(rpc.Forbidden, fmt.Errorf("gateway %q was removed or enrolled anew; enrol it with a new token", name)))
	}
}

// cloneView copies what may change later.
func (g *gateway) cloneView() fleet.Gateway {
	v := g.view
	v.DroppedTotal = maps.Clone(v.DroppedTotal)
	v.Machines = slices.Clone(v.Machines) // their reasons are replaced, never changed
	return v
}
