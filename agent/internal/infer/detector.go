// Package infer predicts for one machine: feature vectors in, state out. It
// knows neither sensors nor networks, so the same code runs on a gateway and on
// recorded data.
package infer

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// State is how far a machine is.
type State string

// The states of a machine.
const (
	Waiting  State = "waiting"  // no window yet
	Baseline State = "baseline" // collecting healthy windows
	Running  State = "running"  // scored
	Off      State = "off"      // stands still: not scored
	Stale    State = "stale"    // no window for too long
)

// MaxReasons is how many contributions an Output names.
const MaxReasons = 5

// Reason is one feature's share of a score.
type Reason struct {
	Feature string  // "channel.feature"
	Share   float64 // 0..1, of the sum over all features
}

// Output is what one feature vector led to.
type Output struct {
	At    time.Time // end of the window
	State State     // Baseline, Running or Off
	// Have of Want baseline windows are collected.
	Have, Want int
	// Rewritten says that baseline windows were dropped, as the machine was off in
	// them: BaselineRows are those that count.
	Rewritten bool
	// What follows is set while Running. Raw is the model's score; Score is
	// relative: 1 is the alarm threshold.
	Raw, Score float64
	Zone       alarm.Zone
	Active     bool // an alarm lasts
	Change     alarm.Change
	// Healthy says that this window may be learned from: no alarm lasts or is
	// about to, and the machine keeps no offset of an earlier one.
	Healthy bool
	// Version of the global model in use; 0 is the machine's own local model.
	Version uint64
	// Reasons for Score, largest first. Owned by the Detector and overwritten by
	// the next Observe.
	Reasons []Reason
	// Advice holds the Trend; the rest is left to the Detector's caller. What it
	// points to is overwritten by the next window.
	Advice Advice
}

// Detector follows one machine under one job: it collects the machine's healthy
// baseline, then scores every window with the global model, or with a local one
// until that is there. Not safe for concurrent use.
type Detector struct {
	spec    job.Spec // with defaults
	names   []string
	family  model.Family // of the job
	own     model.Family // of the local model: that of the job, else Gaussian
	tracker *alarm.Tracker

	levels   []level         // tell when the machine is off
	rows     [][]float64     // raw baseline rows, in the order they came
	slab     []float64       // backs rows
	baseline *model.Baseline // nil until complete
	invStd   []float64
	local    []fedavg.Vector // what own learned from the baseline alone
	global   []fedavg.Vector // newest global parameters, nil if none
	pending  uint64          // version of global while the baseline is incomplete

	model     model.Model // nil until the baseline is complete
	version   uint64
	stat      statistic
	reference float64 // largest value of the baseline
	threshold float64 // value at which Score is 1
	trend     *trend
	tail      *tail // nil without a false-alarm budget
	retuneAt  int64 // windows of tail at which the threshold is taken anew
	suspicion float64

	z, contributions []float64
	reasons          [MaxReasons]Reason
}

// maxBaselineNumbers bounds the memory of a baseline to 32 MiB.
const maxBaselineNumbers = 4 << 20

// NewDetector returns a Detector without history for the machines of spec's
// class. It fails when spec is not valid.
func NewDetector(spec job.Spec) (*Detector, error) {
	spec = spec.WithDefaults()
	if err := spec.Check(); err != nil {
		return nil, err
	}
	if n := spec.Alarm.Baseline * spec.Features.Len(); spec.Alarm.Baseline > maxBaselineNumbers || n > maxBaselineNumbers {
		return nil, fmt.Errorf("serve job %q: a baseline of %d windows of %d features is larger than a gateway keeps (%d numbers); ask for fewer windows",
			spec.Name, spec.Alarm.Baseline, spec.Features.Len(), maxBaselineNumbers)
	}
	family, err := spec.Family()
	if err != nil {
		return nil, err
	}
	own := family
	if family.Learning() != model.Statistics {
		own, err = model.NewFamily(model.Spec{Kind: model.KindGaussian, Overlap: spec.Features.Overlap()}, spec.Features.Len())
		if err != nil {
			return nil, err
		}
	}
	tracker, err := alarm.NewTracker(spec.Alarm)
	if err != nil {
		return nil, err
	}
	n := spec.Features.Len()
	return &Detector{
		spec: spec, names: spec.Features.Names(), family: family, own: own, tracker: tracker,
		rows: make([][]float64, 0, spec.Alarm.Baseline),
		stat: newStatistic(spec.Alarm, n), trend: newTrend(),
		z: make([]float64, n), contributions: make([]float64, n),
	}, nil
}

// Observe takes the feature vector of the window that ended at at. It copies
// what it keeps. While Running it allocates nothing. A vector of the wrong
// length or with an unusable number is a *VectorError and changes nothing; any
// other error says why the complete baseline cannot be used, and collecting
// starts over.
func (d *Detector) Observe(at time.Time, x []float64) (Output, error) {
	if err := d.check(x); err != nil {
		return Output{}, err
	}
	out := Output{At: at, State: Baseline, Have: len(d.rows), Want: d.spec.Alarm.Baseline}
	if d.off(x) {
		return d.resting(out), nil
	}
	if d.model != nil {
		return d.score(at, x), nil
	}
	d.keep(x)
	out.Have = len(d.rows)
	if len(d.rows) < d.spec.Alarm.Baseline {
		return out, nil
	}
	out.Rewritten = d.dropOff()
	if out.Have = len(d.rows); out.Rewritten {
		return out, nil // the places are filled with windows of a machine that runs
	}
	if err := d.complete(context.Background()); err != nil {
		d.rows, d.slab = d.rows[:0], nil
		return out, fmt.Errorf("use baseline of %d windows: %w", out.Want, err)
	}
	return out, nil
}

func (d *Detector) score(at time.Time, x []float64) Output {
	d.standardize(d.z, x)
	v := d.stat.vector(d.z)
	raw := d.stat.value(d.model.Score(v))
	relative := min(raw/d.threshold, maxRelative)
	r := d.tracker.Observe(at, min(max(relative, d.suspicion), maxRelative))
	d.contributions = d.model.Contributions(d.contributions, v)
	st := d.tracker.State()
	if r.Change == alarm.Cleared && r.Zone == alarm.ZoneA {
		d.trend.reset() // it was mended: what led there is over
	}
	d.trend.add(at, relative)
	out := Output{
		At: at, State: Running, Have: len(d.rows), Want: d.spec.Alarm.Baseline,
		Raw: raw, Score: r.Score, Zone: r.Zone, Active: r.Active, Change: r.Change,
		Healthy: !r.Active && st.Run == 0 && st.Level == 0,
		Version: d.version, Reasons: d.rank(),
	}
	out.Advice.Trend = d.trend.advice(at, 1+st.Level, r.Active || r.Score >= 1)
	d.learnTail(raw, !r.Active && r.Change == alarm.None && st.Level == 0)
	return out
}

// Suspect says how another model scores the machine from now on, relative to that
// one's threshold: it alarms if either does. 0 is no suspicion.
func (d *Detector) Suspect(score float64) { d.suspicion = max(0, score) }

// maxRelative keeps a relative score finite when the threshold is tiny.
const maxRelative = 1e9

// keep copies x behind the baseline rows.
func (d *Detector) keep(x []float64) {
	if d.slab == nil {
		d.slab = make([]float64, d.spec.Alarm.Baseline*len(x))
	}
	row := d.slab[len(d.rows)*len(x):][:len(x):len(x)]
	copy(row, x)
	d.rows = append(d.rows, row)
}

// standardize is Baseline.Standardize with the divisions done beforehand.
func (d *Detector) standardize(dst, x []float64) {
	for i, v := range x {
		z := (v - d.baseline.Mean[i]) * d.invStd[i]
		dst[i] = min(max(z, -model.ZLimit), model.ZLimit)
	}
}

// maxFeature bounds a feature: the square of anything larger overflows.
const maxFeature = 1e150

func (d *Detector) check(x []float64) error {
	if len(x) != len(d.z) {
		return &VectorError{Index: -1, Got: len(x), Want: len(d.z)}
	}
	for i, v := range x {
		if !(math.Abs(v) <= maxFeature) {
			return &VectorError{Index: i, Feature: d.names[i], Value: v}
		}
	}
	return nil
}

// VectorError says why a feature vector cannot be used: its length, or one
// element that is NaN, infinite or so large that its square overflows.
type VectorError struct {
	Index     int // of the element; -1 for the length
	Feature   string
	Value     float64
	Got, Want int // lengths
}

func (e *VectorError) Error() string {
	if e.Index < 0 {
		return fmt.Sprintf("use feature vector: it has %d features, want %d", e.Got, e.Want)
	}
	return fmt.Sprintf("use feature vector: %s is %v", e.Feature, e.Value)
}
