package pipeline

import (
	"slices"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// Counts says what became of samples: Received = Used + Stored + ΣDropped.
type Counts struct {
	Received int64
	Used     int64            // in at least one window that was given to features
	Stored   int64            // waiting for their window
	Dropped  map[string]int64 // by reason
}

func (c *Counts) add(o Counts) {
	c.Received += o.Received
	c.Used += o.Used
	c.Stored += o.Stored
	for reason, n := range o.Dropped {
		c.Dropped[reason] += n
	}
}

// JobStatus is one job on one machine.
type JobStatus struct {
	Job        string
	Digest     string
	Role       string
	State      infer.State
	Trained    bool  // it has its baseline, so it can be learned from
	Have, Want int   // baseline windows
	Samples    int64 // healthy feature vectors to learn from, once Trained
	Cycles     int   // of the life that lasts, of a job to prognose, whose Samples are all there are
	Version    uint64
	Score      float64
	Zone       alarm.Zone
}

// Status is the newest state of a machine. It shares no memory with it.
type Status struct {
	Name, Class string
	State       infer.State
	Job         string // that serves
	Have, Want  int    // its baseline windows
	Output      infer.Output
	Alarm       alarm.State
	Jobs        []JobStatus       // live, coming and shadow
	Unserved    map[string]string // job → reason
	Counts      Counts
	Windows     int64            // windows that gave a vector
	Refused     map[string]int64 // windows that did not, by reason
	Skipped     int64            // windows that were not whole
	Absent      map[string]int64 // how often a channel was the reason, by channel
	Panics      int64
	Gone        []string // devices that feed it and said they are gone
	// FalseAlarms is how it stands with the budget of the live job, nil if that has none.
	FalseAlarms *infer.Budget
}

// Status returns the newest state.
func (m *Machine) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.serving
	s := Status{
		Name: m.cfg.Name, Class: m.cfg.Class, State: m.state(t), Job: t.spec.Name,
		Output: t.out, Alarm: t.detector.AlarmState(),
		Unserved: map[string]string{}, Counts: m.counts(), Windows: m.windows, Refused: map[string]int64{}, Panics: m.panics,
	}
	s.Gone = slices.Clone(m.gone)
	if b, ok := t.detector.Budget(); ok {
		s.FalseAlarms = &b
	}
	st := t.front.windower.Stats()
	s.Skipped, s.Absent = st.Skipped, map[string]int64{}
	for _, c := range st.Channels {
		if n := c.Missing + c.Gaps; n > 0 {
			s.Absent[c.Channel] = n
		}
	}
	s.Have, s.Want = t.detector.Progress()
	s.Output.Reasons = slices.Clone(t.out.Reasons)
	s.Output.Advice = t.out.Advice
	s.Output.Advice.Life = m.remaining() // a repair may have ended what the newest window said
	s.Output.Advice = s.Output.Advice.Clone()
	s.Output.Version = t.detector.Version()
	for k, v := range m.unserved {
		s.Unserved[k] = v
	}
	for k, v := range m.refused {
		s.Refused[k] = v
	}
	for _, t := range append([]*track{m.serving, m.next, m.diagnosing}, m.shadows...) {
		if t == nil {
			continue
		}
		j := JobStatus{
			Job: t.spec.Name, Digest: t.digest, Role: t.spec.Role, State: m.state(t),
			Version: t.detector.Version(), Score: t.out.Score, Zone: t.out.Zone,
		}
		j.Have, j.Want = t.detector.Progress()
		if j.Trained = t.detector.State() == infer.Running; j.Trained {
			j.Samples = int64(j.Have + t.front.recent)
		}
		s.Jobs = append(s.Jobs, j)
	}
	for _, t := range m.lives {
		s.Jobs = append(s.Jobs, m.lifeStatus(t))
	}
	return s
}

// StaleAfter is how long a machine may go without a window until it counts as stale:
// what is configured, else the longer of 3 hops and 2 windows.
func StaleAfter(configured, window, hop time.Duration) time.Duration {
	if configured > 0 {
		return configured
	}
	return max(3*hop, 2*window)
}

// state judges a track by the local clock.
func (m *Machine) state(t *track) infer.State {
	st := t.detector.State()
	if t.at.IsZero() {
		return infer.Waiting
	}
	if m.stale(t.at, t.spec.Features) {
		return infer.Stale
	}
	if t.out.State == infer.Off {
		return infer.Off
	}
	return st
}

// stale says whether the newest window, at by the local clock, is no news any more.
func (m *Machine) stale(at time.Time, f job.FeatureSpec) bool {
	return time.Since(at) > StaleAfter(m.cfg.StaleAfter, f.Window, f.Hop) || len(m.gone) > 0
}

func (m *Machine) counts() Counts {
	c := Counts{Dropped: map[string]int64{}}
	c.add(m.before)
	c.add(m.serving.front.counts())
	received, dropped, waiting := m.queue.counts()
	c.Received = received
	c.Dropped["queue_full"] += dropped
	c.Stored += waiting
	return c
}

// total returns the samples dropped for any reason.
func (c *Counts) total() int64 {
	n := int64(0)
	for _, d := range c.Dropped {
		n += d
	}
	return n
}

// Beat grows with every block processed, and Idle says that none waits: a machine
// with blocks that wait, or one it does not get done with, whose Beat stands still is
// stuck.
func (m *Machine) Beat() (beat int64, idle bool) {
	_, _, waiting := m.queue.counts()
	return m.beat.Load(), waiting == 0
}

// AlarmState returns what to keep of the live job's alarm for the next start.
func (m *Machine) AlarmState() (digest string, st alarm.State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.serving.digest, m.serving.detector.AlarmState()
}

// find returns the track of a job digest, nil if the machine does not serve it.
func (m *Machine) find(digest string) *track {
	for _, f := range m.fronts {
		for _, t := range f.tracks {
			if t.digest == digest {
				return t
			}
		}
	}
	return nil
}
