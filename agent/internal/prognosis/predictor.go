package prognosis

import (
	"errors"
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/fedavg/model"
)

// smoothing is the time constant, in cycles, of the causal mean whose covariance
// gives the principal ways of wearing.
const smoothing = 10

// Smoother keeps the causal mean of each channel that model.HealthSums asks for.
type Smoother struct {
	channels []decay
	out      []float64
}

// NewSmoother smooths so many channels.
func NewSmoother(channels int) *Smoother {
	s := &Smoother{channels: make([]decay, channels), out: make([]float64, channels)}
	for i := range s.channels {
		s.channels[i].keep = math.Exp(-1. / smoothing)
	}
	return s
}

// Push adds a cycle and returns the means, valid until the next call.
func (s *Smoother) Push(z []float64) []float64 {
	for i := range s.channels {
		s.channels[i].push(z[i])
		s.out[i] = s.channels[i].mean()
	}
	return s.out
}

// Fleet is what a machine needs to know from all others. The parts do not change
// and may be shared; Model holds scratch and may not.
type Fleet struct {
	Conditions *model.Conditions
	Health     *model.Health
	Scale      *model.Baseline
	Model      model.Regressor
	Intervals  *model.Intervals // nil: no intervals
}

// Predictor follows one machine. It is for one goroutine at a time.
type Predictor struct {
	fleet      Fleet
	trajectory *Trajectory
	z, h, f    []float64
	condition  int
}

// Estimate is a prediction after a cycle. An RUL or High at the model's cap means
// that much or more.
type Estimate struct {
	RUL       float64 // cycles
	Low, High float64 // of the interval; 0 and 0 without
	Condition int     // the operating condition of the cycle
}

// NewPredictor follows a machine from its first cycle.
func NewPredictor(fleet Fleet) (*Predictor, error) {
	if fleet.Conditions == nil || fleet.Health == nil || fleet.Scale == nil || fleet.Model == nil {
		return nil, errors.New("make predictor: conditions, health indices, scale and model are all needed")
	}
	channels := fleet.Conditions.Channels()
	if got := fleet.Health.Channels(); got != channels {
		return nil, fmt.Errorf("make predictor: health indices are of %d channels, conditions of %d", got, channels)
	}
	n := TrajectoryLen(fleet.Health.Len())
	if err := fleet.Scale.Validate(n); err != nil {
		return nil, fmt.Errorf("make predictor: scale: %w", err)
	}
	return &Predictor{
		fleet: fleet, trajectory: NewTrajectory(fleet.Health.Len()),
		z: make([]float64, channels), h: make([]float64, fleet.Health.Len()), f: make([]float64, n),
	}, nil
}

// Push adds a cycle: its operating settings and channels. A row that does not fit
// or is not finite is an error and counts as no cycle.
func (p *Predictor) Push(settings, x []float64) error {
	_, k, err := p.fleet.Conditions.Normalize(p.z, settings, x)
	if err != nil {
		return err
	}
	p.condition = k
	p.trajectory.Push(p.fleet.Health.Indices(p.h, p.z))
	return nil
}

// Features returns the standardised feature vector of the last cycle, valid
// until the next call.
func (p *Predictor) Features() []float64 {
	return p.fleet.Scale.Standardize(p.f, p.trajectory.Features(p.f))
}

// Estimate predicts from all cycles so far.
func (p *Predictor) Estimate() Estimate {
	e := Estimate{RUL: p.fleet.Model.Predict(p.Features()), Condition: p.condition}
	if p.fleet.Intervals != nil {
		e.Low, e.High = p.fleet.Intervals.Around(e.RUL)
	}
	return e
}
