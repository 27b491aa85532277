package prognosis

import (
	"errors"
	"fmt"

	"github.com/millwright-iot/millwright/fedavg/model"
)

// Fleet is what a machine needs to know from all others; Family.Fleet makes one. The
// parts do not change and may be shared; Model holds scratch and may not.
type Fleet struct {
	Columns    Columns
	Conditions *model.Conditions
	Health     *model.Health
	Scale      *model.Baseline
	Model      model.Regressor  // of a Predictor's Features
	Intervals  *model.Intervals // nil: no intervals
	New        float64          // from what prediction on a machine is as good as new
}

// Predictor follows one machine. It is for one goroutine at a time.
type Predictor struct {
	fleet       Fleet
	trajectory  *Trajectory
	settings, x []float64
	z, h, f     []float64
	condition   int
}

// Estimate is a prediction after a cycle. A High at the model's cap means that much or
// more.
type Estimate struct {
	RUL float64 // cycles
	// AtLeast says that the model cannot tell the machine from a new one: RUL is close
	// to the cap, and may be any number more.
	AtLeast   bool
	Interval  bool    // there is one
	Low, High float64 // of it
	Condition int     // the operating condition of the cycle
}

// NewPredictor follows a machine from its first cycle.
func NewPredictor(fleet Fleet) (*Predictor, error) {
	if fleet.Conditions == nil || fleet.Health == nil || fleet.Scale == nil || fleet.Model == nil {
		return nil, errors.New("make predictor: conditions, health indices, scale and model are all needed")
	}
	channels := fleet.Conditions.Channels()
	if got := len(fleet.Columns.channels); got != channels {
		return nil, fmt.Errorf("make predictor: conditions are of %d channels, rows hold %d", channels, got)
	}
	if got := fleet.Health.Channels(); got != channels {
		return nil, fmt.Errorf("make predictor: health indices are of %d channels, conditions of %d", got, channels)
	}
	n := TrajectoryLen(fleet.Health.Len())
	if err := fleet.Scale.Validate(n); err != nil {
		return nil, fmt.Errorf("make predictor: scale: %w", err)
	}
	return &Predictor{
		fleet: fleet, trajectory: NewTrajectory(fleet.Health.Len()),
		settings: make([]float64, len(fleet.Columns.settings)), x: make([]float64, channels),
		z: make([]float64, channels), h: make([]float64, fleet.Health.Len()), f: make([]float64, n),
	}, nil
}

// Push adds a cycle, a row of features. A row that does not fit or is not finite is an
// error and counts as no cycle.
func (p *Predictor) Push(row []float64) error {
	if err := p.fleet.Columns.check(row); err != nil {
		return fmt.Errorf("follow machine: row %w", err)
	}
	p.fleet.Columns.split(p.settings, p.x, row)
	_, k, err := p.fleet.Conditions.Normalize(p.z, p.settings, p.x)
	if err != nil {
		return err
	}
	p.condition = k
	p.trajectory.Push(p.fleet.Health.Indices(p.h, p.z))
	return nil
}

// Restart begins a new life: the machine was repaired.
func (p *Predictor) Restart() { p.trajectory = NewTrajectory(p.fleet.Health.Len()) }

// Features returns the standardised feature vector of the last cycle, valid
// until the next call.
func (p *Predictor) Features() []float64 {
	return p.fleet.Scale.Standardize(p.f, p.trajectory.Features(p.f))
}

// Estimate predicts from all cycles so far.
func (p *Predictor) Estimate() Estimate {
	e := Estimate{RUL: p.fleet.Model.Predict(p.Features()), Condition: p.condition}
	e.AtLeast = e.RUL >= p.fleet.New
	if p.fleet.Intervals != nil {
		e.Interval = true
		e.Low, e.High = p.fleet.Intervals.Around(e.RUL)
	}
	return e
}
