// Package sparkplug presents a gateway as an edge node of Eclipse Sparkplug B 3.0.0:
// a birth with every metric at each connection, data when a value changes, and a death
// that the broker publishes when the connection breaks. The README of agent lists the
// metrics.
package sparkplug

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/millwright-iot/millwright/agent/internal/durable"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/link"
)

// rebirth is the metric by which a host asks for a new birth (section 6.4.14).
const rebirth = "Node Control/Rebirth"

// Options says where the edge node stands.
type Options struct {
	Link    link.Options
	Group   string // group id, a level of the topics
	Node    string // edge node id, likewise
	Version string // of the program
	// PrimaryHost is the host application without which the edge node is not born: it
	// waits for it to be online, and dies when it goes offline (section 5.4). Default
	// none.
	PrimaryHost string
	// SeqPath is the file that keeps the number of the newest birth, so that a death
	// of an earlier life is not taken for one of this.
	SeqPath string
}

// Stats counts messages since New.
type Stats struct {
	Connected bool
	Births    int64 // connections, and births that a host asked for
	Data      int64 // handed to the connection
}

// Node is the edge node. Score never waits.
type Node struct {
	opts  Options
	log   *slog.Logger
	wake  chan struct{} // capacity 1: something changed
	again chan struct{} // capacity 1: a host asks for a rebirth

	host chan struct{} // capacity 1: the primary host said how it is

	mu       sync.Mutex
	machines []*machine // in the order of New
	stats    Stats
	online   bool  // the primary host is
	hostAt   int64 // when it said so, by its clock in ms

	seq    int // of the next message, 0..255; the session's
	births int // number of the newest birth, 0..255; -1 before the first
}

// machine is the newest output of one, and what of it was told.
type machine struct {
	name  string
	class string
	fresh bool
	now   values
	told  values
}

// values are the metrics of a machine.
type values struct {
	at      time.Time
	state   infer.State
	known   bool // score and zone are
	score   float64
	zone    string
	alarm   bool
	reason  string
	job     string
	version int64
}

// Machine names a machine and its class.
type Machine struct{ Name, Class string }

// New returns a Node of the machines; nothing is connected before Run.
func New(opts Options, machines []Machine, log *slog.Logger) *Node {
	n := &Node{opts: opts, log: log, wake: make(chan struct{}, 1), again: make(chan struct{}, 1), host: make(chan struct{}, 1), births: -1}
	for _, m := range machines {
		n.machines = append(n.machines, &machine{name: m.Name, class: m.Class, now: values{state: infer.Waiting}})
	}
	return n
}

// Score takes a window's result. It keeps nothing of out.
func (n *Node) Score(name, job string, out *infer.Output) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.machines {
		if m.name != name {
			continue
		}
		m.fresh = true
		m.now = values{at: out.At, state: out.State, alarm: out.Active, job: job, version: int64(out.Version)}
		if out.State == infer.Running {
			m.now.known, m.now.score, m.now.zone = true, out.Score, string(out.Zone)
			if len(out.Reasons) > 0 {
				m.now.reason = out.Reasons[0].Feature
			}
		}
	}
	notify(n.wake)
}

// Stats returns the counts.
func (n *Node) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// Run holds a connection and publishes until ctx ends; then it returns nil.
func (n *Node) Run(ctx context.Context) error {
	if text, err := os.ReadFile(n.opts.SeqPath); err == nil {
		if last, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 8); err == nil {
			n.births = int(last)
		}
	}
	link.Stay(ctx, n.opts.Link, n.log, "Sparkplug", n.session)
	return nil
}

// session is one connection: death as the will, command subscription, birth, data.
// The order is section 5.4's.
func (n *Node) session(ctx context.Context) error {
	n.births = (n.births + 1) & 0xff
	if err := durable.WriteFile(n.opts.SeqPath, []byte(strconv.Itoa(n.births)+"\n")); err != nil {
		n.log.Warn("number of the Sparkplug birth cannot be kept", "error", err)
	}
	death := link.Message{Topic: n.topic("NDEATH"), QoS: 1, Payload: appendPayload(nil, time.Now(), noSeq, []metric{n.bdSeq()})}
	conn, err := link.Dial(ctx, n.opts.Link, &death, n.command)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer n.connected(false)
	filters := []string{n.topic("NCMD")}
	if n.opts.PrimaryHost != "" {
		filters = append(filters, n.stateTopic())
		n.forgetHost()
	}
	if err := conn.Subscribe(ctx, filters...); err != nil {
		return err
	}
	for !n.welcome() {
		select {
		case <-ctx.Done():
			return nil
		case err := <-conn.Lost():
			return err
		case <-n.host:
		}
	}
	if err := n.birth(ctx, conn); err != nil {
		return err
	}
	n.connected(true)
	for {
		select {
		case <-ctx.Done():
			// A deliberate end is announced too (section 5.4.1): a Disconnect
			// makes the broker forget the will.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			return conn.Send(last, death)
		case err := <-conn.Lost():
			return err
		case <-n.host:
			if !n.welcome() {
				if err := conn.Send(ctx, death); err != nil {
					return err
				}
				return fmt.Errorf("primary host %q went offline", n.opts.PrimaryHost)
			}
		case <-n.again:
			err = n.birth(ctx, conn)
		case <-n.wake:
			err = n.data(ctx, conn)
		}
		if err != nil {
			return err
		}
	}
}

func (n *Node) connected(up bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stats.Connected = up
}

// command handles what a host says. It must not wait.
func (n *Node) command(m mqtt.Message) {
	switch {
	case m.Topic() == n.topic("NCMD") && asksRebirth(m.Payload()):
		notify(n.again)
	case m.Topic() == n.stateTopic():
		n.hostSays(m.Payload())
	}
}

// stateTopic is where the primary host says how it is.
func (n *Node) stateTopic() string { return "spBv1.0/STATE/" + n.opts.PrimaryHost }

// hostSays takes a STATE message (section 6.4.21). One that is older than the newest, by
// the host's clock, is the will of an earlier connection, and no news.
func (n *Node) hostSays(payload []byte) {
	var state struct {
		Online    *bool `json:"online"`
		Timestamp int64 `json:"timestamp"`
	}
	if err := json.Unmarshal(payload, &state); err != nil || state.Online == nil {
		n.log.Warn("state of the Sparkplug primary host is not as in version 3.0", "topic", n.stateTopic(), "error", err)
		return
	}
	n.mu.Lock()
	news := state.Timestamp >= n.hostAt
	if news {
		n.online, n.hostAt = *state.Online, state.Timestamp
	}
	n.mu.Unlock()
	if news {
		notify(n.host)
	}
}

// forgetHost makes the node wait for what the broker remembers of the host.
func (n *Node) forgetHost() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.online, n.hostAt = false, 0
}

// welcome reports whether the node may be born and live.
func (n *Node) welcome() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.opts.PrimaryHost == "" || n.online
}

// birth publishes every metric, also those without a value yet.
func (n *Node) birth(ctx context.Context, conn *link.Conn) error {
	now := time.Now()
	metrics := []metric{
		n.bdSeq(),
		{name: rebirth, at: now, value: false},
		{name: "Properties/Software", at: now, value: "millwright-agent " + n.opts.Version},
	}
	n.mu.Lock()
	for _, m := range n.machines {
		metrics = append(metrics, m.metrics(now, true)...)
		m.told, m.fresh = m.now, false
	}
	n.stats.Births++
	n.mu.Unlock()
	n.seq = 1
	return conn.Send(ctx, link.Message{Topic: n.topic("NBIRTH"), Payload: appendPayload(nil, now, 0, metrics)})
}

// data publishes what changed.
func (n *Node) data(ctx context.Context, conn *link.Conn) error {
	now := time.Now()
	var metrics []metric
	n.mu.Lock()
	for _, m := range n.machines {
		if m.fresh {
			metrics = append(metrics, m.metrics(now, false)...)
			m.told, m.fresh = m.now, false
		}
	}
	if len(metrics) > 0 {
		n.stats.Data++
	}
	n.mu.Unlock()
	if len(metrics) == 0 {
		return nil
	}
	seq := n.seq
	n.seq = (n.seq + 1) & 0xff
	return conn.Send(ctx, link.Message{Topic: n.topic("NDATA"), Payload: appendPayload(nil, now, seq, metrics)})
}

// metrics lists the machine's metrics: all, or those that differ from what was told.
func (m *machine) metrics(now time.Time, all bool) []metric {
	at := m.now.at
	if at.IsZero() {
		at = now
	}
	var out []metric
	add := func(name string, value any, null, changed bool) {
		if all || changed {
			out = append(out, metric{name: m.name + "/" + name, at: at, value: value, null: null})
		}
		if all && name == "Score" {
			out[len(out)-1].unit = "1" // a birth tells it, for all data that follow
		}
	}
	v, w := &m.now, &m.told
	add("Class", m.class, false, false)
	add("State", string(v.state), false, v.state != w.state)
	add("Score", v.score, !v.known, v.score != w.score || v.known != w.known)
	add("Zone", v.zone, !v.known, v.zone != w.zone)
	add("Alarm", v.alarm, false, v.alarm != w.alarm)
	add("Reason", v.reason, v.reason == "", v.reason != w.reason)
	add("Job", v.job, v.job == "", v.job != w.job)
	add("Model Version", v.version, false, v.version != w.version)
	return out
}

func (n *Node) bdSeq() metric {
	return metric{name: "bdSeq", at: time.Now(), value: int64(n.births)}
}

func (n *Node) topic(kind string) string {
	return fmt.Sprintf("spBv1.0/%s/%s/%s", n.opts.Group, kind, n.opts.Node)
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
