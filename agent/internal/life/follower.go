package life

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/prognosis"
)

// Follower follows one machine under one job to prognose. It is for one goroutine at a time.
type Follower struct {
	spec      job.Spec
	names     []string
	family    *prognosis.Family
	operation int // the feature that tells whether the machine is in operation, −1 without
	perCycle  int // windows
	window    mean
	stored    []float64 // a cycle as it is kept
	number    float64   // of the newest cycle, counted from 1

	predictor *prognosis.Predictor // nil without a model
	version   uint64
	age       int // cycles of the life that lasts
	life      infer.Life
	known     bool // life says something
}

// New returns a Follower without history. It fails when spec is not a valid job to
// prognose that a gateway can serve.
func New(spec job.Spec) (*Follower, error) {
	spec = spec.WithDefaults()
	if spec.Model.Kind != model.KindRUL {
		return nil, fmt.Errorf("serve job %q: a gateway has no targets for a model of kind %q; use kind %q", spec.Name, spec.Model.Kind, model.KindRUL)
	}
	if err := spec.Check(); err != nil {
		return nil, err
	}
	f := &Follower{spec: spec, names: spec.Features.Names(), operation: -1}
	var err error
	if f.family, err = prognosis.New(*spec.Model.RUL, f.names); err != nil {
		return nil, err
	}
	f.perCycle = windows(spec.Model.RUL.Cycle, spec.Features.Hop)
	f.window.sum, f.stored = make([]float64, len(f.names)), make([]float64, len(f.names)+1)
	if o := spec.Model.RUL.Operation; o != nil {
		f.operation = slices.Index(f.names, o.Feature)
	}
	return f, nil
}

// Spec returns the job with its defaults filled in.
func (f *Follower) Spec() job.Spec { return f.spec }

// Observe takes the feature vector of a window that ended at at; off says that the
// machine is known to be off, which counts for a job that does not tell itself. When the
// window completes a cycle, it returns the cycle to store, see Cycles, valid until the next
// call. A vector that does not fit or is not finite is an error and counts for nothing.
// Nothing is allocated.
func (f *Follower) Observe(at time.Time, x []float64, off bool) (cycle []float64, err error) {
	if len(x) != len(f.names) {
		return nil, fmt.Errorf("follow life: window has %d features, want %d", len(x), len(f.names))
	}
	for i, v := range x {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("follow life: %s is %v", f.names[i], v)
		}
	}
	if f.operation >= 0 {
		off = x[f.operation] <= f.spec.Model.RUL.Operation.Above
	}
	if off || f.window.add(x) < f.perCycle {
		return nil, nil
	}
	f.window.n = 0
	f.number++
	f.age++
	f.stored[copy(f.stored, f.window.sum)] = f.number
	if f.predictor != nil {
		if err := f.predictor.Push(f.window.sum); err != nil {
			return f.stored, err
		}
		f.tell(at)
	}
	return f.stored, nil
}

// tell predicts from all cycles so far.
func (f *Follower) tell(at time.Time) {
	e, rul := f.predictor.Estimate(), f.spec.Model.RUL
	hours := float64(f.perCycle) * f.spec.Features.Hop.Hours()
	f.life = infer.Life{Hours: e.RUL * hours, AtLeast: e.AtLeast, At: at, Job: f.spec.Name, ModelVersion: f.version}
	if e.Interval && f.age >= prognosis.Youngest {
		f.life.Low, f.life.High, f.life.Confidence = e.Low*hours, e.High*hours, rul.Confidence
	}
	f.known = true
}

// Load makes what Use takes of global parameters: nil, if they are nil or have learned
// nothing yet. It takes a while, and is safe for concurrent use.
func (f *Follower) Load(params []fedavg.Vector) (*prognosis.Predictor, error) {
	if params == nil {
		return nil, nil
	}
	fleet, err := f.family.Fleet(params)
	if errors.Is(err, model.ErrUntrained) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load model of job %q: %w", f.spec.Name, err)
	}
	return prognosis.NewPredictor(fleet)
}

// Use makes version of the model the one in use; nil predicts nothing. A Restart is to follow.
func (f *Follower) Use(p *prognosis.Predictor, version uint64) {
	f.predictor, f.version, f.known = p, version, false
}

// Restart goes through all cycles that are known, oldest first: those since the
// last of the ends, which are in the order of time, are of the life that lasts.
func (f *Follower) Restart(cycles []Cycle, ends []End) {
	if len(cycles) > 0 {
		f.number = max(f.number, cycles[len(cycles)-1].Number)
	}
	current := Current(cycles, ends)
	f.age, f.known = len(current), false
	if f.predictor == nil {
		return
	}
	f.predictor.Restart()
	for _, c := range current {
		_ = f.predictor.Push(c.Features) // only what was finite was stored
	}
	if len(current) > 0 {
		f.tell(current[len(current)-1].At)
	}
}

// Life is the newest prediction; nil while there is none. The next window overwrites it.
func (f *Follower) Life() *infer.Life {
	if !f.known {
		return nil
	}
	return &f.life
}

// Age is how many cycles the life that lasts has.
func (f *Follower) Age() int { return f.age }

// Newest is the number of the newest cycle, 0 before the first.
func (f *Follower) Newest() uint64 { return uint64(f.number) }

// Version returns the version of the global model in use, 0 for none.
func (f *Follower) Version() uint64 { return f.version }
