package lab

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/labels"
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
	sets     []model.Set // of each machine, to learn from
	z        [][]z       // of each machine, to judge by; not for detection
	loss     func(spec job.Spec, global []fedavg.Vector, m model.Model, machine int) (float64, error)
}

// z is a standardised row with its truth: the number of a class, or cycles left.
type z struct {
	row   []float64
	truth float64
}

func fitterFor(specs []job.Spec, machines []*recordedMachine) (*fitter, error) {
	f := &fitter{specs: specs, machines: machines, sets: make([]model.Set, len(machines)), z: make([][]z, len(machines))}
	spec := specs[0]
	var add func(i int, d *infer.Detector) error
	switch spec.Purpose() {
	case job.Detect:
		f.measure = "half the share of faulty windows without alarm and half the share of windows in order with one; time that no label speaks of counts as in order"
		f.loss = f.detection
		add = func(i int, d *infer.Detector) error {
			f.sets[i].Rows = slices.Clip(d.BaselineZ(spec.Alarm.Baseline))
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
		f.measure = "RMSE of a machine, in windows left until its failure"
		f.loss, add = f.prognosis, f.addLives
	}
	for i, m := range machines {
		d, err := baselineOf(spec, m.rows)
		if err != nil {
			return nil, fmt.Errorf("baseline of %s: %w", m.name, err)
		}
		f.sets[i].Machine = m.name
		if err := add(i, d); err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return f, nil
}

// fit implements choice.Task. Participants are gateways.
func (f *fitter) fit(ctx context.Context, candidate int, machines []int) (choice.Fitted, error) {
	spec := f.specs[candidate]
	t, err := newTrainer(spec)
	if err != nil {
		return choice.Fitted{}, err
	}
	var participants [][]model.Set
	at := map[string]int{}
	for _, i := range machines {
		if len(f.sets[i].Rows) == 0 {
			continue
		}
		gateway := f.machines[i].gateway
		if _, ok := at[gateway]; !ok {
			at[gateway] = len(participants)
			participants = append(participants, nil)
		}
		participants[at[gateway]] = append(participants[at[gateway]], f.sets[i])
	}
	if participants == nil {
		return choice.Fitted{}, fmt.Errorf("nothing to learn from: no label of the machines left says what a model for this job learns")
	}
	before := choice.CPUTime()
	global, err := t.train(ctx, participants)
	if err != nil {
		return choice.Fitted{}, err
	}
	cpu := choice.CPUTime() - before
	m, err := t.family.Load(global)
	if err != nil {
		return choice.Fitted{}, err
	}
	encoded, err := fedavg.EncodeGlobal(&fedavg.Global{Job: spec.Name, Version: 1, Vectors: global})
	if err != nil {
		return choice.Fitted{}, err
	}
	return choice.Fitted{
		Loss: func(ctx context.Context, machine int) (float64, error) {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			return f.loss(spec, global, m, machine)
		},
		Cost: choice.Cost{
			PredictionMicroseconds: microseconds(m, participants[0][0].Rows), TrainingCPUSeconds: cpu.Seconds(),
			ModelBytes: len(encoded), UpdateBytes: t.bytesPerUpdate(), Rounds: t.rounds,
		},
	}, nil
}

// microseconds is what one prediction takes: the least of some passes over rows, since
// other work can only add to it.
func microseconds(m model.Model, rows [][]float64) float64 {
	rows = rows[:min(len(rows), 200)]
	least := math.Inf(1)
	for range 5 {
		start := time.Now()
		for _, row := range rows {
			m.Score(row)
		}
		least = min(least, float64(time.Since(start).Nanoseconds())/1e3/float64(len(rows)))
	}
	return least
}

// detection follows the machine as its gateway would, from its own baseline on.
func (f *fitter) detection(spec job.Spec, global []fedavg.Vector, _ model.Model, machine int) (float64, error) {
	m := f.machines[machine]
	d, err := infer.NewDetector(spec)
	if err != nil {
		return 0, err
	}
	if err := d.SetModel(global, 1); err != nil {
		return 0, err
	}
	var wrong, of [2]float64 // of windows in order, and faulty
	for _, r := range m.rows {
		out, err := observe(d, r)
		if err != nil {
			return 0, err
		}
		if out.State != infer.Running {
			continue
		}
		at, faulty := 0, false
		switch said, _ := m.truth.Of(r.end.Add(-spec.Features.Window), r.end); said {
		case labels.Faulty:
			at, faulty = 1, true
		case labels.Unclear:
			continue
		}
		of[at]++
		if out.Active != faulty {
			wrong[at]++
		}
	}
	return meanShare(wrong, of)
}

// meanShare is the mean of wrong/of where there is any.
func meanShare(wrong, of [2]float64) (float64, error) {
	sum, n := 0.0, 0.0
	for i := range of {
		if of[i] > 0 {
			sum += wrong[i] / of[i]
			n++
		}
	}
	if n == 0 {
		return 0, choice.ErrSilent
	}
	return sum / n, nil
}

// addClasses takes the windows of which labels say what was true.
func (f *fitter) addClasses(i int, d *infer.Detector) error {
	spec := f.specs[0]
	s := spec.Model.Softmax
	for _, r := range f.machines[i].rows {
		said, class := f.machines[i].truth.Of(r.end.Add(-spec.Features.Window), r.end)
		if said == labels.InOrder {
			class = s.Healthy
		}
		at := slices.Index(s.Classes, class)
		if said != labels.InOrder && said != labels.Faulty || at < 0 {
			continue
		}
		f.add(i, d, r.vector, float64(at))
	}
	return nil
}

// add standardises a row by the machine's own baseline; one that is not usable is left
// out, as on the gateway.
func (f *fitter) add(i int, d *infer.Detector, x []float64, truth float64) {
	row, ok := d.Standardize(nil, x)
	if !ok {
		return
	}
	f.z[i] = append(f.z[i], z{row, truth})
	f.sets[i].Rows, f.sets[i].Targets = append(f.sets[i].Rows, row), append(f.sets[i].Targets, truth)
}

func (f *fitter) diagnosis(_ job.Spec, _ []fedavg.Vector, m model.Model, machine int) (float64, error) {
	c := m.(model.Classifier)
	wrong := 0.0
	for _, r := range f.z[machine] {
		if class, _ := c.Classify(r.row); class != c.Classes()[int(r.truth)] {
			wrong++
		}
	}
	if len(f.z[machine]) == 0 {
		return 0, choice.ErrSilent
	}
	return wrong / float64(len(f.z[machine])), nil
}

// addLives takes the windows of lives that ended in a failure. A life that ended
// otherwise is censored: nobody knows how long it would have lasted.
func (f *fitter) addLives(i int, d *infer.Detector) error {
	m, spec := f.machines[i], f.specs[0]
	for _, r := range m.rows {
		next := slices.IndexFunc(m.labels, func(l labels.Label) bool {
			return (l.Kind == labels.Failure || l.Kind == labels.Maintenance) && !l.At.Before(r.end)
		})
		if next < 0 || m.labels[next].Kind != labels.Failure {
			continue
		}
		f.add(i, d, r.vector, float64(m.labels[next].At.Sub(r.end))/float64(spec.Features.Hop))
	}
	return nil
}

func (f *fitter) prognosis(spec job.Spec, _ []fedavg.Vector, m model.Model, machine int) (float64, error) {
	ceiling := 0.0
	if spec.Model.Ridge != nil {
		ceiling = spec.Model.Ridge.Cap
	} else {
		ceiling = spec.Model.MLP.Cap
	}
	rows, square := f.z[machine], 0.0
	if len(rows) == 0 {
		return 0, choice.ErrSilent
	}
	for _, r := range rows {
		e := m.(model.Regressor).Predict(r.row) - min(r.truth, ceiling)
		square += float64(e * e)
	}
	return math.Sqrt(square / float64(len(rows))), nil
}
