package lab

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/agent/lab/plot"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// EvaluateGearbox leaves one load out after the other.
func EvaluateGearbox(ctx context.Context, recordings []GearboxRecording) (*FaultReport, error) {
	rows, notes, err := gearboxRows(ctx, recordings)
	if err != nil {
		return nil, err
	}
	r := &FaultReport{Dataset: "gearbox", Recordings: len(recordings), Windows: len(rows), Machines: "recordings", Classes: gearboxClasses, Notes: notes, Protocol: []string{
		"four accelerometers, windows of 0.32 s; the sampling rate is not stated and taken as 12.9 kHz, which puts the fundamental at the shaft's 30 Hz",
		"one load is left out after the other; the gearbox is the same at all loads, so this says nothing about another gearbox: the set is a smoke test",
		"federated: a plant runs at one load; sums of its scale add up, softmax learns by one gradient step a round, 50 rounds, the gaussian detector by sums in one round",
		"the gaussian detector sees healthy windows only; its threshold is 1.5 times the largest healthy score of the plants",
		"local only: each plant's own model on the load held out, mean over plants",
	}}
	r.Lines = append(r.Lines, nullFaults(rows, r.Classes))
	var fits [][]float64 // of softmax, as it is learned now
	methods := []struct {
		name   string
		answer func(ctx context.Context, how string, train, test []faultRow) ([]answer, error)
	}{
		{"softmax", func(ctx context.Context, how string, train, test []faultRow) ([]answer, error) {
			return learnedHow(ctx, how, classifierSpec{rounds: 50, watch: func(losses []float64) { fits = append(fits, losses) }, model: model.SoftmaxSpec{Classes: gearboxClasses, Healthy: gearboxClasses[0], Unknown: 0.7}}, train, test)
		}},
		{"gaussian detector", gaussianAnswers},
	}
	for _, m := range methods {
		for _, how := range []string{Federated, Central, LocalOnly} {
			fits = nil
			answers, err := acrossFolds(rows, func(train, test []faultRow) ([]answer, error) { return m.answer(ctx, how, train, test) })
			if err != nil {
				return nil, fmt.Errorf("learn %s, %s: %w", m.name, how, err)
			}
			if how == Federated && len(fits) > 0 {
				r.losses = append(r.losses, lossCurve(m.name, plot.Blue, fits))
			}
			r.compare(m.name, how, answers)
			line := judgeFaults(FaultLine{Name: m.name, Learning: how}, r.Classes, answers, nil)
			if how == LocalOnly {
				line.Machines, line.Right, line.Of = nil, 0, 0
			}
			r.Lines = append(r.Lines, line)
		}
	}
	return r, nil
}

// gaussianAnswers learns what is healthy from the healthy rows of train.
func gaussianAnswers(ctx context.Context, how string, train, test []faultRow) ([]answer, error) {
	var healthy []faultRow
	for _, r := range train {
		if r.class == 0 {
			healthy = append(healthy, r)
		}
	}
	if len(healthy) == 0 {
		return nil, errors.New("no healthy windows to learn from")
	}
	participants := byPlant(healthy)
	switch how {
	case Central:
		participants = [][]faultRow{healthy}
	case LocalOnly:
		var all []answer
		for _, own := range participants {
			answers, err := detectHealthy(ctx, [][]faultRow{own}, test)
			if err != nil {
				return nil, err
			}
			all = append(all, answers...)
		}
		return all, nil
	}
	return detectHealthy(ctx, participants, test)
}

// detectHealthy fits one detector from the participants' sums and calls broken what
// scores above the threshold.
func detectHealthy(ctx context.Context, participants [][]faultRow, test []faultRow) ([]answer, error) {
	scale, err := mergedScale(participants)
	if err != nil {
		return nil, err
	}
	family, err := model.NewFamily(model.Spec{Kind: model.KindGaussian}, len(scale.Mean))
	if err != nil {
		return nil, err
	}
	c := classifier{scale: scale}
	var parts [][]fedavg.Vector
	for _, rows := range participants {
		trained, err := family.Train(ctx, family.Init(1), c.sets(rows), model.TrainOptions{Seed: 1})
		if err != nil {
			return nil, err
		}
		parts = append(parts, trained.Vectors)
	}
	global, err := addUp(family.ParamLayout(), parts)
	if err != nil {
		return nil, err
	}
	m, err := family.Load(global)
	if err != nil {
		return nil, err
	}
	threshold, z := 0.0, make([]float64, len(scale.Mean))
	for _, rows := range participants {
		for _, r := range rows {
			threshold = max(threshold, 1.5*m.Score(scale.Standardize(z, r.vector)))
		}
	}
	var all []answer
	for i := range test {
		relative := m.Score(scale.Standardize(z, test[i].vector)) / threshold
		a := answer{row: &test[i], probabilities: make([]float64, len(gearboxClasses))}
		if relative >= 1 {
			a.said = 1
		}
		// A score twice as high is twice as sure; only the order matters.
		a.probabilities[1] = relative / (1 + relative)
		a.probabilities[0] = 1 - a.probabilities[1]
		if math.IsNaN(relative) {
			return nil, fmt.Errorf("score of %s is not a number", test[i].machine)
		}
		all = append(all, a)
	}
	return all, nil
}
