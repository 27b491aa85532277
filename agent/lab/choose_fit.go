package lab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/lab/choice"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// fitter learns candidates from recorded machines and judges them.
type fitter struct {
	specs    []job.Spec
	machines []*recordedMachine
	measure  string
	sets     [][]model.Set // of each machine, to learn from
	z        [][]z         // of each machine, to judge its diagnoses by
	lives    *lives        // of all machines, to judge prognoses by
	loss     func(spec job.Spec, l learned, machine int) (float64, error)
	// With groups, what is known of each machine without labels, and from which row on
	// it is judged: what comes before says to which group it belongs.
	groups     int // at most
	signatures [][]float64
	from       []int
}

// z is a standardised row with its truth, the number of a class.
type z struct {
	row   []float64
	truth float64
}

func fitterFor(ctx context.Context, specs []job.Spec, machines []*recordedMachine, groups int) (*fitter, error) {
	n := len(machines)
	f := &fitter{specs: specs, machines: machines, groups: groups, sets: make([][]model.Set, n), z: make([][]z, n), signatures: make([][]float64, n), from: make([]int, n)}
	spec := specs[0]
	var add func(i int, d *infer.Detector) error
	switch spec.Purpose() {
	case job.Detect:
		f.measure = "half the share of faulty windows without alarm and half the share of windows in order with one; time that no label speaks of counts as in order"
		f.loss = f.detection
		add = func(i int, d *infer.Detector) error {
			f.sets[i] = []model.Set{{Machine: machines[i].name, Rows: d.BaselineZ(spec.Alarm.Baseline)}}
			return nil
		}
	case job.Diagnose:
		f.measure = "share of a machine's labelled windows whose class is not named"
		f.loss, add = f.diagnosis, f.addClasses
		for _, other := range specs {
			if !slices.Equal(other.Model.Softmax.Classes, spec.Model.Softmax.Classes) {
				return nil, fmt.Errorf("choose model: candidates name different classes, %v and %v; they cannot be compared", other.Model.Softmax.Classes, spec.Model.Softmax.Classes)
			}
		}
	default:
		f.measure = "RMSE of a machine, in cycles left until its failure"
		var err error
		if f.lives, err = newLives(specs, n); err != nil {
			return nil, err
		}
		f.loss, add = f.prognosis, f.addLives
	}
	standard := spec
	if spec.Purpose() != job.Detect { // the baseline is that of the job that detects
		standard.Model, standard.Strategy = model.Spec{Kind: model.KindGaussian}, job.StrategySpec{}
	}
	for i, m := range machines {
		var d *infer.Detector
		if f.lives == nil || groups > 1 {
			var err error
			if d, err = baselineOf(standard, m.rows); err != nil {
				return nil, fmt.Errorf("baseline of %s: %w", m.name, err)
			}
		}
		if groups > 1 {
			f.from[i] = (spec.Alarm.Baseline + len(m.rows)) / 2
		}
		if err := add(i, d); err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		if groups > 1 {
			var err error
			if f.signatures[i], err = f.signature(ctx, i, d); err != nil {
				return nil, fmt.Errorf("signature of %s: %w", m.name, err)
			}
		}
	}
	return f, nil
}

// learned is a job's model, learned from some machines.
type learned struct {
	global []fedavg.Vector
	model  model.Model
	cost   choice.Cost
}

// learn federates the job over machines; participants are gateways.
func (f *fitter) learn(ctx context.Context, spec job.Spec, machines []int) (learned, error) {
	t, err := newTrainer(spec)
	if err != nil {
		return learned{}, err
	}
	participants := f.participants(machines)
	if participants == nil {
		return learned{}, errNothingToLearn
	}
	before := choice.CPUTime()
	global, err := t.train(ctx, participants)
	if err != nil {
		return learned{}, err
	}
	cpu := choice.CPUTime() - before
	m, err := t.family.Load(global)
	if err != nil {
		return learned{}, err
	}
	score := func(row []float64) { m.Score(row) }
	if f.lives != nil {
		if score, err = f.lives.score(spec, global); err != nil {
			return learned{}, err
		}
	}
	cost, err := t.costOf(global, cpu, score, participants[0][0].Rows)
	return learned{global, m, cost}, err
}

var errNothingToLearn = errors.New("nothing to learn from: no label of the machines at hand says what a model for this job learns")

// participants are the sets of machines, by gateway.
func (f *fitter) participants(machines []int) [][]model.Set {
	var participants [][]model.Set
	at := map[string]int{}
	for _, i := range machines {
		if len(f.sets[i]) == 0 {
			continue
		}
		gateway := f.machines[i].gateway
		if _, ok := at[gateway]; !ok {
			at[gateway] = len(participants)
			participants = append(participants, nil)
		}
		participants[at[gateway]] = append(participants[at[gateway]], f.sets[i]...)
	}
	return participants
}

// fit implements choice.Task. Behind the candidates as they are come those that are
// learned by each group of machines for itself.
func (f *fitter) fit(ctx context.Context, candidate int, machines []int) (choice.Fitted, error) {
	if candidate >= len(f.specs) {
		return f.fitGroups(ctx, f.specs[candidate-len(f.specs)], machines)
	}
	spec := f.specs[candidate]
	l, err := f.learn(ctx, spec, machines)
	if err != nil {
		return choice.Fitted{}, err
	}
	return choice.Fitted{Cost: l.cost, Loss: func(ctx context.Context, machine int) (float64, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return f.loss(spec, l, machine)
	}}, nil
}

// microseconds is what one prediction takes: the least of some passes over rows, since
// other work can only add to it.
func microseconds(score func(row []float64), rows [][]float64) float64 {
	rows = rows[:min(len(rows), 200)]
	least := math.Inf(1)
	for range 5 {
		start := time.Now()
		for _, row := range rows {
			score(row)
		}
		least = min(least, float64(time.Since(start).Nanoseconds())/1e3/float64(len(rows)))
	}
	return least
}
