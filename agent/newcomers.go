package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/durable"
	"github.com/millwright-iot/millwright/sensors"
)

// ErrReload is what Run returns when another agent, of the configuration as it is now,
// is to take over: New and Run it.
var ErrReload = errors.New("agent is to begin anew with the configuration as it is now")

// Reload makes Run stop in order and return ErrReload.
func (a *Agent) Reload() {
	select {
	case a.again <- struct{}{}:
	default:
	}
}

// discovered is a machine that was not listed, by the pattern that captured its name.
type discovered struct {
	Name    string    `json:"name"`
	Pattern string    `json:"pattern"` // see MachineConfig.pattern
	Since   time.Time `json:"since"`
}

// discoveredPath is the file that remembers them.
func (c *Config) discoveredPath() string { return filepath.Join(c.DataDir, "discovered.json") }

// pattern tells an entry that discovers from others: the topic of its first channel.
func (m *MachineConfig) pattern() string {
	if list := m.messages(); len(list) > 0 {
		return list[0].Topic
	}
	return ""
}

// called is how people are told of an entry.
func (m *MachineConfig) called() string {
	if m.Discover > 0 {
		return "{machine} of " + m.pattern()
	}
	return m.Name
}

// remember adds the machines that were discovered earlier to those that are listed. c is
// checked and filled.
func (c *Config) remember(log *slog.Logger) {
	if len(c.Patterns) == 0 {
		return
	}
	list := readDiscovered(c.discoveredPath(), log)
	for _, d := range list {
		named := slices.ContainsFunc(c.Machines, func(m MachineConfig) bool { return m.Name == d.Name })
		i := slices.IndexFunc(c.Patterns, func(m MachineConfig) bool { return m.pattern() == d.Pattern })
		if i < 0 || named || !namePattern.MatchString(d.Name) || count(c.discovered, d.Pattern) >= c.Patterns[i].Discover {
			continue
		}
		c.discovered = append(c.discovered, d)
		m := c.Patterns[i]
		m.Name, m.Discover = d.Name, 0
		c.Machines = append(c.Machines, m.expand()...)
	}
}

// readDiscovered reads the file, which people may edit: it has no checksum. One that is no
// longer JSON is put aside.
func readDiscovered(path string, log *slog.Logger) (list []discovered) {
	body, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		if err = json.Unmarshal(body, &list); err == nil {
			return list
		}
		aside, asideErr := durable.Quarantine(path)
		log.Error("file of discovered machines is not JSON; they are discovered anew", "error", err, "kept_as", aside, "quarantine_error", asideErr)
		return nil
	}
	log.Error("file of discovered machines cannot be read", "error", err)
	return nil
}

func count(list []discovered, pattern string) (n int) {
	for _, d := range list {
		if d.Pattern == pattern {
			n++
		}
	}
	return n
}

// newcomers takes in the machines that are heard of for the first time.
type newcomers struct {
	cfg  *Config
	log  *slog.Logger
	wake chan struct{} // capacity 1: there is one

	mu      sync.Mutex
	list    []discovered    // remembered and new
	refused map[string]bool // those there is no room for, by name; bounded
}

// maxRefused bounds the names of machines there is no room for.
const maxRefused = 256

// met notes a block of a machine that is not known. It returns at once.
func (n *newcomers) met(b sensors.Block, captured func(machine, channel string) (int, bool)) {
	i, ok := captured(b.Machine, b.Channel)
	if !ok {
		return
	}
	p := &n.cfg.Patterns[n.cfg.captures(i)]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refused[b.Machine] || slices.ContainsFunc(n.list, func(d discovered) bool { return d.Name == b.Machine }) {
		return
	}
	d := discovered{Name: b.Machine, Pattern: p.pattern(), Since: time.Now().UTC().Truncate(time.Second)}
	if count(n.list, d.Pattern) >= p.Discover {
		if len(n.refused) < maxRefused {
			n.refused[b.Machine] = true
			n.log.Warn("machine is not taken in: there are as many as may be discovered; raise discover, or remove one from discovered.json",
				"machine", d.Name, "class", p.Class, "pattern", d.Pattern, "discover", p.Discover)
		}
		return
	}
	n.list = append(n.list, d)
	n.log.Info("machine discovered; it is taken in", "machine", d.Name, "class", p.Class, "pattern", d.Pattern)
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// Newcomers are waited for a moment, since a plant that is switched on brings many at
// once; what cannot be written down is tried again.
const (
	newcomersWait  = 2 * time.Second
	newcomersRetry = time.Minute
)

// run writes newcomers down and calls reload, until ctx ends.
func (n *newcomers) run(ctx context.Context, reload func()) error {
	select {
	case <-ctx.Done():
		return nil
	case <-n.wake:
	}
	pause := time.NewTimer(newcomersWait)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
		if err := n.save(); err == nil {
			reload()
			return nil
		} else {
			n.log.Error("newly discovered machines cannot be remembered; trying again", "error", err, "retry", newcomersRetry)
		}
		pause.Reset(newcomersRetry)
	}
}

func (n *newcomers) save() error {
	n.mu.Lock()
	body, err := json.MarshalIndent(n.list, "", " ")
	n.mu.Unlock()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(n.cfg.discoveredPath(), append(body, '\n')); err != nil {
		return fmt.Errorf("remember discovered machines: %w", err)
	}
	return nil
}

// strangers names the machines there is no room for, sorted.
func (n *newcomers) strangers() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var names []string
	for name := range n.refused {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
