// Package lab evaluates, on recorded data, the code that runs on the gateway:
// the same windows, features, models and alarms, judged by honest protocols and
// shown beside null baselines and published results.
package lab

import (
	"context"
	"fmt"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/sensors"
)

// The ways in which machines can learn.
const (
	LocalOnly = "local only" // each machine from its own head
	Federated = "federated"  // each machine sends an update a round
	Central   = "central"    // one fit over all machines' standardised heads
)

// gradientRounds is how many rounds a gradient model is trained for.
const gradientRounds = 30

// EvaluateSKAB runs the benchmark's protocol on files: one machine a file.
func EvaluateSKAB(ctx context.Context, files []SKABFile) (*Report, error) {
	return evaluateSKAB(ctx, files, model.KindGaussian, model.KindAutoencoder)
}

func evaluateSKAB(ctx context.Context, files []SKABFile, kinds ...string) (*Report, error) {
	report := newSKABReport(files)
	for _, kind := range kinds {
		spec := SKABJob(kind)
		rows, err := skabRows(ctx, files, spec)
		if err != nil {
			return nil, err
		}
		for _, how := range []string{Federated, Central, LocalOnly} {
			globals, err := learn(ctx, spec, files, rows, how)
			if err != nil {
				return nil, fmt.Errorf("learn %s, %s: %w", kind, how, err)
			}
			line := Line{Source: Ours, Name: kind, Learning: how}
			for i := range files {
				said, err := detect(spec, globals[i], rows[i], files[i])
				if err != nil {
					return nil, fmt.Errorf("score %s: %w", files[i].Name, err)
				}
				line.Add(files[i], said)
			}
			report.Lines = append(report.Lines, line.Done())
		}
	}
	return report, nil
}

func skabRows(ctx context.Context, files []SKABFile, spec job.Spec) ([][]featureRow, error) {
	quantities := map[string]sensors.Quantity{}
	for _, c := range SKABColumns {
		unit, err := sensors.ParseUnit(c.Unit)
		if err != nil {
			return nil, err
		}
		quantities[c.Channel] = unit.Quantity
	}
	rows := make([][]featureRow, len(files))
	for i := range files {
		src, err := files[i].source()
		if err != nil {
			return nil, err
		}
		rows[i], err = extract(ctx, files[i].Name, src, spec.Features, func(c string) sensors.Quantity { return quantities[c] })
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// detect follows one machine through its file. Only windows of the head are in
// its baseline, and no label is seen.
func detect(spec job.Spec, global []fedavg.Vector, rows []featureRow, f SKABFile) ([]bool, error) {
	d, err := infer.NewDetector(spec)
	if err != nil {
		return nil, err
	}
	if global != nil {
		if err := d.SetModel(global, 1); err != nil {
			return nil, err
		}
	}
	return follow(d, rows, f.Times)
}

// learn returns the parameters that each machine runs; nil stands for those that
// a detector fits to its own baseline anyway.
func learn(ctx context.Context, spec job.Spec, files []SKABFile, rows [][]featureRow, how string) ([][]fedavg.Vector, error) {
	globals := make([][]fedavg.Vector, len(files))
	family, err := spec.Family()
	if err != nil {
		return nil, err
	}
	if how == LocalOnly && family.Learning() == model.Statistics {
		return globals, nil
	}
	sets := make([]model.Set, len(files))
	for i := range files {
		z, err := baselineZ(spec, rows[i])
		if err != nil {
			return nil, fmt.Errorf("baseline of %s: %w", files[i].Name, err)
		}
		sets[i] = model.Set{Machine: files[i].Name, Rows: z}
	}
	if how == LocalOnly {
		for i := range sets {
			if globals[i], err = train(ctx, family, spec, [][]model.Set{sets[i : i+1]}); err != nil {
				return nil, err
			}
		}
		return globals, nil
	}
	participants := [][]model.Set{sets}
	if how == Federated {
		participants = nil
		for i := range sets {
			participants = append(participants, sets[i:i+1])
		}
	}
	global, err := train(ctx, family, spec, participants)
	for i := range globals {
		globals[i] = global
	}
	return globals, err
}

// train runs as many rounds as the kind of learning takes.
func train(ctx context.Context, family model.Family, spec job.Spec, participants [][]model.Set) ([]fedavg.Vector, error) {
	rounds := 1
	if family.Learning() == model.Gradient {
		rounds = gradientRounds
	}
	global := family.Init(spec.Seed)
	for round := range rounds {
		var err error
		if global, err = oneRound(ctx, family, spec, global, participants, uint64(round+1)); err != nil {
			return nil, err
		}
	}
	return global, nil
}

// oneRound trains every participant from the global parameters and merges.
func oneRound(ctx context.Context, family model.Family, spec job.Spec, global []fedavg.Vector, participants [][]model.Set, round uint64) ([]fedavg.Vector, error) {
	strategy, err := family.Learning().Strategy()
	if err != nil {
		return nil, err
	}
	var updates fedavg.Slice
	for i, sets := range participants {
		trained, err := family.Train(ctx, global, sets, spec.TrainOptions(spec.Seed+round))
		if err != nil {
			return nil, err
		}
		updates = append(updates, &fedavg.Update{
			Job: spec.Name, Round: round, Agent: fmt.Sprintf("agent-%03d", i), Attempt: 1,
			Weight: trained.Weight, Vectors: trained.Vectors, Metrics: trained.Metrics,
		})
	}
	result, err := strategy.Aggregate(global, nil, updates)
	if err != nil {
		return nil, err
	}
	return result.Vectors, nil
}
