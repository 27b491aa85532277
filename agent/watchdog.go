package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const (
	checkEvery = time.Second
	// stuckAfter without progress although there is work, a part counts as stuck.
	stuckAfter = 30 * time.Second
)

// pulse judges whether the main loops make progress: each must either have nothing
// to do or have done something since the last look.
type pulse struct {
	mu    sync.Mutex
	parts map[string]*beat
	last  time.Time // of the newest look
}

type beat struct {
	count int64
	moved time.Time // when count last changed, or there was nothing to do
}

// look records how far a part is.
func (p *pulse) look(now time.Time, part string, count int64, idle bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.parts == nil {
		p.parts = map[string]*beat{}
	}
	b := p.parts[part]
	if b == nil {
		b = &beat{moved: now}
		p.parts[part] = b
	}
	if idle || count != b.count {
		b.count, b.moved = count, now
	}
	p.last = now
}

// stuck lists the parts without progress, for people; empty is good.
func (p *pulse) stuck(now time.Time) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for part, b := range p.parts {
		if d := now.Sub(b.moved); d > stuckAfter {
			list = append(list, fmt.Sprintf("%s has work waiting and made no progress for %v", part, d.Round(time.Second)))
		}
	}
	if d := now.Sub(p.last); !p.last.IsZero() && d > stuckAfter {
		list = append(list, fmt.Sprintf("nothing was checked for %v", d.Round(time.Second)))
	}
	return list
}

// watch looks at every loop once a second and tells systemd: ready at the first
// look, alive only while nothing is stuck.
func (a *Agent) watch(ctx context.Context) error {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		a.log.Error("systemd's watchdog settings cannot be read", "error", err)
	}
	a.look(time.Now())
	a.tell(daemon.SdNotifyReady)
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	var fed time.Time
	for {
		select {
		case <-ctx.Done():
			if !a.reloads.Load() {
				a.tell(daemon.SdNotifyStopping)
			}
			return nil
		case now := <-tick.C:
			a.look(now)
			if stuck := a.pulse.stuck(now); len(stuck) > 0 {
				a.log.Error("agent is stuck; the watchdog is not fed", "stuck", stuck)
				continue
			}
			if interval > 0 && now.Sub(fed) >= interval/3 {
				fed = now
				a.tell(daemon.SdNotifyWatchdog)
			}
		}
	}
}

func (a *Agent) look(now time.Time) {
	for _, m := range a.machines {
		count, idle := m.Beat()
		a.pulse.look(now, "machine "+m.Name(), count, idle)
	}
	st := a.messages()
	a.pulse.look(now, "MQTT source", st.Received-st.Queued, st.Queued == 0)
}

// tell notifies systemd; without it, nothing happens.
func (a *Agent) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		a.log.Debug("systemd cannot be told", "state", state, "error", err)
	}
}
