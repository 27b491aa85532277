package lab

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/millwright-iot/millwright/agent/lab/choice"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// faultRow is one window of known class.
type faultRow struct {
	class   int
	machine string // the bearing, or the recording: what a verdict is about
	fold    string // rows of a fold are held out together
	plant   string // who holds the row in a federation
	vector  []float64
}

// answer is what a model said of one row.
type answer struct {
	row           *faultRow
	probabilities []float64 // of the classes
	said          int       // the class, or −1 for unknown
	scores        []float64 // of the classes, for ranking; nil if the probabilities rank as well
}

// folds lists the distinct folds in order.
func folds(rows []faultRow) []string {
	names := map[string]bool{}
	for i := range rows {
		names[rows[i].fold] = true
	}
	return slices.SortedFunc(maps.Keys(names), compareNames)
}

// holdOut divides rows into those of a fold and the others.
func holdOut(rows []faultRow, fold string) (train, test []faultRow) {
	for _, r := range rows {
		if r.fold == fold {
			test = append(test, r)
		} else {
			train = append(train, r)
		}
	}
	return train, test
}

// byPlant groups rows by who holds them, in the order of names.
func byPlant(rows []faultRow) [][]faultRow {
	groups := map[string][]faultRow{}
	for _, r := range rows {
		groups[r.plant] = append(groups[r.plant], r)
	}
	var all [][]faultRow
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		all = append(all, groups[name])
	}
	return all
}

// classifier is a fitted model with the fleet's scale of its inputs.
type classifier struct {
	scale *model.Baseline
	model model.Classifier
	cost  choice.Cost
	z     []float64
}

// classifierSpec says how a classifier is learned: by one step of plain gradient
// descent over all rows of a participant a round. Where each participant has one class
// only, longer local training would pull each to its own; mean steps are those
// of a central fit.
type classifierSpec struct {
	model  model.SoftmaxSpec
	rounds int
	watch  func(losses []float64) // told after a fit the loss before each round, if not nil
}

const stepRate = 0.5

// fitClassifier federates a classifier over participants: one round of sums for the
// scale of the inputs, then rounds of gradients. One participant makes it a central fit.
func fitClassifier(ctx context.Context, spec classifierSpec, participants [][]faultRow) (*classifier, error) {
	c := &classifier{}
	features := len(participants[0][0].vector)
	var err error
	if c.scale, err = mergedScale(participants); err != nil {
		return nil, err
	}
	settings := spec.model
	settings.Epochs, settings.LearningRate, settings.BatchSize = 1, stepRate, math.MaxInt32
	family, err := model.NewFamily(model.Spec{Kind: model.KindSoftmax, Softmax: &settings}, features)
	if err != nil {
		return nil, err
	}
	var sets [][]model.Set
	for _, rows := range participants {
		sets = append(sets, c.sets(rows))
	}
	t, err := trainerOf(job.Spec{Name: "faults", Seed: 1, Model: model.Spec{Kind: model.KindSoftmax, Softmax: &settings},
		Rounds: job.RoundPolicy{Count: spec.rounds}, Strategy: job.StrategySpec{Name: job.NameFedNova}}, family) // all make one step, so it is their mean
	if err != nil {
		return nil, err
	}
	before := choice.CPUTime()
	global, err := t.train(ctx, sets)
	if err != nil {
		return nil, err
	}
	cpu := choice.CPUTime() - before
	if spec.watch != nil {
		spec.watch(t.losses)
	}
	m, err := family.Load(global)
	if err != nil {
		return nil, err
	}
	c.model, c.z = m.(model.Classifier), make([]float64, features)
	c.cost, err = t.costOf(global, cpu, func(row []float64) { m.Score(row) }, sets[0][0].Rows)
	return c, err
}

// mergedScale is the scale of features over all participants, of which each sends sums.
func mergedScale(participants [][]faultRow) (*model.Baseline, error) {
	sums := model.NewScaleSums(len(participants[0][0].vector))
	var parts [][]fedavg.Vector
	for _, rows := range participants {
		part := sums.Layout().New()
		for _, r := range rows {
			if err := sums.Add(part, r.vector); err != nil {
				return nil, fmt.Errorf("%s: %w", r.machine, err)
			}
		}
		parts = append(parts, part)
	}
	merged, err := addUp(sums.Layout(), parts)
	if err != nil {
		return nil, err
	}
	return sums.Fit(merged)
}

// sets are the scaled rows, one set a machine.
func (c *classifier) sets(rows []faultRow) []model.Set {
	var sets []model.Set
	for _, r := range rows {
		i := slices.IndexFunc(sets, func(s model.Set) bool { return s.Machine == r.machine })
		if i < 0 {
			i = len(sets)
			sets = append(sets, model.Set{Machine: r.machine})
		}
		sets[i].Rows = append(sets[i].Rows, c.scale.Standardize(nil, r.vector))
		sets[i].Targets = append(sets[i].Targets, float64(r.class))
	}
	return sets
}

// answers classifies rows.
func (c *classifier) answers(rows []faultRow) []answer {
	var out []answer
	for i := range rows {
		z := c.scale.Standardize(c.z, rows[i].vector)
		class, _ := c.model.Classify(z)
		out = append(out, answer{row: &rows[i], probabilities: c.model.Probabilities(nil, z), said: slices.Index(c.model.Classes(), class)})
	}
	return out
}

// acrossFolds holds out one fold after the other.
func acrossFolds(rows []faultRow, fit func(train, test []faultRow) ([]answer, error)) ([]answer, error) {
	var all []answer
	for _, fold := range folds(rows) {
		train, test := holdOut(rows, fold)
		answers, err := fit(train, test)
		if err != nil {
			return nil, fmt.Errorf("without %s: %w", fold, err)
		}
		all = append(all, answers...)
	}
	return all, nil
}

// learnedHow fits a classifier centrally or federated, or judges those of
// participants that learn alone, each on all test rows.
func learnedHow(ctx context.Context, how string, spec classifierSpec, train, test []faultRow) ([]answer, error) {
	participants := byPlant(train)
	switch how {
	case Central:
		participants = [][]faultRow{train}
	case LocalOnly:
		var all []answer
		for _, own := range participants {
			c, err := fitClassifier(ctx, spec, [][]faultRow{own})
			if err != nil {
				return nil, err
			}
			all = append(all, c.answers(test)...)
		}
		return all, nil
	}
	c, err := fitClassifier(ctx, spec, participants)
	if err != nil {
		return nil, err
	}
	return c.answers(test), nil
}
