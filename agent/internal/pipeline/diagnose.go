package pipeline

import (
	"slices"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// setDiagnosing makes t, nil for none, the track that names faults: the first of its
// front, so that the others can say what it said of the same window.
func (m *Machine) setDiagnosing(t *track) {
	if t != m.diagnosing {
		m.diagnosis = nil
	}
	if m.diagnosing = t; t == nil {
		return
	}
	f := t.front
	f.tracks = slices.DeleteFunc(f.tracks, func(o *track) bool { return o == t })
	f.tracks = slices.Insert(f.tracks, 0, t)
}

// diagnose takes what the diagnosing track says of the window that ended at end and that
// it just scored. It allocates for the first one only.
func (m *Machine) diagnose(t *track, end time.Time) {
	f := m.diagnosis
	if f == nil {
		f = &infer.Fault{}
	}
	f.Job, m.diagnosedAt = t.spec.Name, end
	if m.diagnosis = nil; t.detector.Diagnose(f) {
		m.diagnosis = f
	}
}

// diagnosed says whether something was said of a window not long before end: the
// diagnosing job may have other windows than the one that serves.
func (m *Machine) diagnosed(end time.Time) bool {
	if m.diagnosis == nil {
		return false
	}
	spec := m.diagnosing.spec.Features
	return end.Sub(m.diagnosedAt) <= StaleAfter(m.cfg.StaleAfter, spec.Window, spec.Hop)
}

// faultBy is what to say of the window of out, nil if nothing. Who finds a machine in
// order during an alarm, above its threshold, does not know what it has. The next
// call overwrites it.
func (m *Machine) faultBy(out *infer.Output) *infer.Fault {
	if !m.diagnosed(out.At) {
		return nil
	}
	m.named = *m.diagnosis
	if out.Active && out.Score >= 1 && m.named.Class == m.inGoodOrder() {
		m.named.Class = infer.Unknown
	}
	return &m.named
}

// naming follows what is named during an alarm, to tell of it: an alarm is mostly raised
// before a fault has grown enough to be named.
type naming struct {
	told  string // the class of the newest message, empty for none
	class string // named since, for
	run   int    // windows in a row
	times int    // told of without another reason
}

// settled says whether to tell of the fault in out: it is not the one told, and was named
// for onDelay windows in a row, twice as many each further time, as a model may waver.
func (n *naming) settled(out *infer.Output, onDelay int, inOrder string) bool {
	if !out.Active || out.Change == alarm.Raised {
		*n = naming{}
	}
	class := ""
	if f := out.Advice.Fault; out.Active && f != nil && f.Class != infer.Unknown && f.Class != inOrder {
		class = f.Class
	}
	if out.Change != alarm.None {
		n.told = class
	}
	if class != n.class {
		n.class, n.run = class, 0
	}
	if n.run++; class == "" || class == n.told || n.run < onDelay<<min(n.times, 8) {
		return false
	}
	n.told = class
	n.times++
	return true
}

// inGoodOrder is the class of no fault, empty without a job that names them.
func (m *Machine) inGoodOrder() string {
	if m.diagnosing == nil {
		return ""
	}
	return m.diagnosing.spec.Model.Softmax.Healthy
}

// suspicion is what that says to the job that raises alarms: how probable a fault is,
// relative to the probability from which on an alarm costs less than none.
func (m *Machine) suspicion(end time.Time) float64 {
	if !m.diagnosed(end) || m.diagnosing.spec.Alarm.Probability() == 0 {
		return 0
	}
	return m.diagnosing.out.Raw / m.diagnosing.detector.Threshold()
}

// inOrder says whether a scored window may be learned from in the opinion of track
// t. One that names faults has none: how it scores is no matter of alarms, so the live
// job's state counts.
func (m *Machine) inOrder(t *track, out *infer.Output) bool {
	if t.spec.Purpose() != job.Diagnose {
		return out.Healthy
	}
	return m.serving.detector.State() == infer.Running && m.serving.detector.AlarmState().Level == 0
}
