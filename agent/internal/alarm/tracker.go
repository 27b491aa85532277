// Package alarm turns the scores of one machine into alarm episodes: on-delay,
// two-scale hysteresis, zones. It is arithmetic only; the same code runs on the
// gateway and on recorded data.
package alarm

import (
	"fmt"
	"math"
	"time"

	"github.com/millwright-iot/millwright/fedavg/job"
)

// Zone grades a score, after the letters of ISO 20816-1: A good, B acceptable,
// C alarm, D danger. Empty until a machine is scored.
type Zone string

// The zones, by relative score: A < 0.5 ≤ B < 1 ≤ C < 2 ≤ D.
const (
	ZoneA Zone = "A"
	ZoneB Zone = "B"
	ZoneC Zone = "C"
	ZoneD Zone = "D"
)

// ZoneOf returns the zone of a relative score.
func ZoneOf(score float64) Zone {
	switch {
	case score < 0.5:
		return ZoneA
	case score < 1:
		return ZoneB
	case score < 2:
		return ZoneC
	default:
		return ZoneD
	}
}

// Change is what a score did to the episode.
type Change uint8

// The changes. Each but None is worth telling.
const (
	None    Change = iota
	Raised         // an episode began
	Worse          // the episode reached a worse zone
	Cleared        // the episode ended
)

// decay is the weight of the newest score in the smoothed score that a raised
// level decays with: a memory of about ten windows.
const decay = 0.1

// Tracker follows one machine. It is not safe for concurrent use.
//
// A raw score r ≥ 0 is relative to the alarm threshold. The reported score is
// s = max(0, r − level). The level is zero until an alarm ends on the second
// scale:
//
//   - an alarm is raised after OnDelay windows in a row with s ≥ 1;
//   - it ends after OnDelay windows in a row with s < 1 (the machine is healthy
//     again), or with s < Clear·peak (it is much better but not as it was, as
//     after a repair that left an offset). In the second case level becomes the
//     raw score of that moment: what the machine kept is its new normal, and only
//     a rise by a whole threshold above it is an alarm again;
//   - a level never rises outside an alarm. It decays with the smoothed raw
//     score and is forgotten once that is back inside the baseline's range
//     (r ≤ SetBaseline's, the largest score of the healthy baseline).
//
// The method of the second scale: a relative clear with a scalar baseline that
// rises and may only decay.
type Tracker struct {
	onDelay  int
	clear    float64
	baseline float64 // the largest baseline score, relative
	st       State
}

// State is everything a Tracker remembers, so that an episode outlives a restart.
// The zero State is that of a machine without history.
type State struct {
	Active bool      `json:"active"`
	Raised time.Time `json:"raised,omitzero"` // time of the window that raised the alarm
	Peak   float64   `json:"peak"`            // largest score of the episode
	Zone   Zone      `json:"zone,omitempty"`  // worst zone told in the episode
	Run    int       `json:"run"`             // windows in a row that speak for a change
	Level  float64   `json:"level"`           // subtracted from raw scores
	Smooth float64   `json:"smooth"`          // smoothed raw score
}

// Result is what one score led to.
type Result struct {
	Score  float64 // relative to the threshold and the raised level; 1 is alarm
	Zone   Zone    // of Score
	Active bool    // an alarm lasts
	Change Change
}

// NewTracker returns a Tracker without history. It fails on an OnDelay < 1, a
// Clear outside [0, 1) or a Threshold that is not a positive finite number.
func NewTracker(spec job.AlarmSpec) (*Tracker, error) {
	switch {
	case spec.OnDelay < 1:
		return nil, fmt.Errorf("alarm on_delay is %d; it must be at least 1 window", spec.OnDelay)
	case !(spec.Clear >= 0 && spec.Clear < 1):
		return nil, fmt.Errorf("alarm clear is %v; it must be at least 0 and less than 1", spec.Clear)
	case !(spec.Threshold > 0) || math.IsInf(spec.Threshold, 0):
		return nil, fmt.Errorf("alarm threshold is %v; it must be a positive number", spec.Threshold)
	}
	return &Tracker{onDelay: spec.OnDelay, clear: spec.Clear, baseline: 1 / spec.Threshold}, nil
}

// SetBaseline says what the largest score of the healthy baseline is, relative to the
// threshold; until then it is 1/Threshold.
func (t *Tracker) SetBaseline(largest float64) { t.baseline = largest }

// Observe takes the raw relative score of the window that ended at at, and says
// what it led to. A score that is NaN counts as infinite is refused by the
// caller; here anything not finite changes nothing.
func (t *Tracker) Observe(at time.Time, raw float64) Result {
	if math.IsNaN(raw) || math.IsInf(raw, 0) {
		return Result{Zone: ZoneOf(0), Active: t.st.Active}
	}
	s := &t.st
	s.Smooth += decay * (raw - s.Smooth)
	if !s.Active {
		t.decayLevel()
	}
	score := max(0, raw-s.Level)
	r := Result{Score: score, Zone: ZoneOf(score)}
	if s.Active {
		r.Change = t.during(score, raw)
	} else {
		r.Change = t.quiet(at, score)
	}
	r.Active = s.Active
	return r
}

// quiet counts towards raising an alarm.
func (t *Tracker) quiet(at time.Time, score float64) Change {
	s := &t.st
	if score < 1 {
		s.Run, s.Peak = 0, 0
		return None
	}
	if s.Run == 0 {
		s.Peak = 0 // of the alarm before, which may have ended the window before
	}
	s.Run++
	s.Peak = max(s.Peak, score)
	if s.Run < t.onDelay {
		return None
	}
	s.Active, s.Raised, s.Run = true, at, 0
	s.Zone = ZoneOf(s.Peak)
	return Raised
}

// during follows a lasting alarm.
func (t *Tracker) during(score, raw float64) Change {
	s := &t.st
	s.Peak = max(s.Peak, score)
	if score >= 1 && score >= t.clear*s.Peak {
		s.Run = 0
		if zone := ZoneOf(s.Peak); zone > s.Zone {
			s.Zone = zone
			return Worse
		}
		return None
	}
	s.Run++
	if s.Run < t.onDelay {
		return None
	}
	s.Active, s.Run = false, 0
	if score >= 1 {
		s.Level, s.Smooth = raw, raw
	}
	return Cleared
}

// decayLevel lets a raised level follow the smoothed score down, never up.
func (t *Tracker) decayLevel() {
	s := &t.st
	if s.Level == 0 {
		return
	}
	s.Level = min(s.Level, s.Smooth)
	if s.Smooth <= t.baseline {
		s.Level = 0
	}
}

// State returns what t remembers. While no alarm lasts, Peak is that of the
// excess not yet raised, or else of the alarm before until a window is below 1.
func (t *Tracker) State() State { return t.st }

// Restore makes t go on from a state saved earlier. A state that cannot be one
// is an error and leaves t as it was.
func (t *Tracker) Restore(s State) error {
	for _, x := range []float64{s.Peak, s.Level, s.Smooth} {
		if !(x >= 0) || math.IsInf(x, 0) {
			return fmt.Errorf("restore alarm state: number %v is not usable", x)
		}
	}
	if s.Run < 0 || (s.Active && s.Raised.IsZero()) {
		return fmt.Errorf("restore alarm state: active %v with run %d and raised %v", s.Active, s.Run, s.Raised)
	}
	t.st = s
	return nil
}

// Rescale multiplies everything measured in scores by factor, when another model
// scores the machine from now on: factor is the new raw score of the newest
// window over its old one. It is limited to a thousandfold either way; one that
// is not positive and finite is ignored.
func (t *Tracker) Rescale(factor float64) {
	if !(factor > 0) || math.IsInf(factor, 0) {
		return
	}
	factor = min(max(factor, 1e-3), 1e3)
	t.st.Peak *= factor
	t.st.Level *= factor
	t.st.Smooth *= factor
}
