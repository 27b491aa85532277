package lab

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/agent/internal/life"
	"github.com/millwright-iot/millwright/agent/lab/choice"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/prognosis"
)

// lives says when cycles ended, for each machine in the order of the rows of its sets.
type lives struct{ at [][]time.Time }

// newLives refuses jobs that a gateway cannot serve, or whose losses are in other units.
func newLives(specs []job.Spec, machines int) (*lives, error) {
	for _, s := range specs {
		if _, err := life.New(s); err != nil {
			return nil, fmt.Errorf("choose model: %w", err)
		}
		if a, b := s.Model.RUL, specs[0].Model.RUL; a.Cycle != b.Cycle || a.Cap != b.Cap {
			return nil, errors.New("choose model: candidates count life in other cycles, or up to another cap; they cannot be compared")
		}
	}
	return &lives{at: make([][]time.Time, machines)}, nil
}

// addLives divides the machine's cycles into lives, as its gateway would.
func (f *fitter) addLives(i int, _ *infer.Detector) error {
	m, spec := f.machines[i], f.specs[0]
	follower, err := life.New(spec)
	if err != nil {
		return err
	}
	var cycles []life.Cycle
	n := spec.Features.Len()
	for _, r := range m.rows {
		stored, err := follower.Observe(r.end, r.vector, false)
		if err != nil || stored == nil { // a gateway would not use the window either
			continue
		}
		stored = slices.Clone(stored)
		cycles = append(cycles, life.Cycle{At: r.end, Features: stored[:n:n], Number: stored[n]})
		f.lives.at[i] = append(f.lives.at[i], r.end)
	}
	var ends []life.End
	for _, l := range m.labels {
		if l.Kind == labels.Failure || l.Kind == labels.Maintenance {
			ends = append(ends, life.End{At: l.At, Failed: l.Kind == labels.Failure})
		}
	}
	f.sets[i] = life.Lives(m.name, cycles, ends, spec.Model.RUL.Cap, math.MaxInt32)
	return nil
}

// score is one prediction of the model.
func (l *lives) score(spec job.Spec, global []fedavg.Vector) (func(row []float64), error) {
	p, err := predictorOf(spec, global)
	if err != nil {
		return nil, err
	}
	return func(row []float64) {
		if p.Push(row) == nil {
			p.Estimate()
		}
	}, nil
}

func predictorOf(spec job.Spec, global []fedavg.Vector) (*prognosis.Predictor, error) {
	follower, err := life.New(spec)
	if err != nil {
		return nil, err
	}
	p, err := follower.Load(global)
	if err == nil && p == nil {
		err = errNothingToLearn
	}
	return p, err
}

// prognosis follows each life from its first cycle. What is predicted before a machine is
// old enough for an interval is not judged, nor is a cycle whose truth is not known.
func (f *fitter) prognosis(spec job.Spec, l learned, machine int) (float64, error) {
	p, err := predictorOf(spec, l.global)
	if err != nil {
		return 0, err
	}
	begin := f.machines[machine].rows[f.from[machine]].end
	n, square, cycle := 0, 0.0, 0
	for _, set := range f.sets[machine] {
		p.Restart()
		for k, row := range set.Rows {
			at := f.lives.at[machine][cycle]
			cycle++
			if err := p.Push(row); err != nil {
				return 0, err
			}
			truth := set.Targets[k]
			if truth < 0 || k+1 < prognosis.Youngest || at.Before(begin) {
				continue
			}
			e := p.Estimate().RUL - min(truth, spec.Model.RUL.Cap)
			square += float64(e * e)
			n++
		}
	}
	if n == 0 {
		return 0, choice.ErrSilent
	}
	return math.Sqrt(square / float64(n)), nil
}
