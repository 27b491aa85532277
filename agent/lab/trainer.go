package lab

import (
	"context"
	"fmt"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/compress"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// trainer federates a job in memory; every update takes the form it has on the
// wire.
type trainer struct {
	spec      job.Spec
	family    model.Family
	strategy  fedavg.Strategy
	method    compress.Method         // none if empty
	residuals map[int][]fedavg.Vector // by participant: what compression left out
	updates   int
	bytes     int // of all updates, as sent
}

func newTrainer(spec job.Spec) (*trainer, error) {
	t := &trainer{spec: spec, residuals: map[int][]fedavg.Vector{}}
	var err error
	if t.family, err = spec.Family(); err != nil {
		return nil, err
	}
	if t.strategy, err = spec.NewStrategy(); err != nil {
		return nil, err
	}
	t.method = compress.Choose(spec.Compression, t.family.Learning())
	return t, nil
}

func (t *trainer) bytesPerUpdate() int {
	if t.updates == 0 {
		return 0
	}
	return t.bytes / t.updates
}

// learn returns the parameters that each machine runs; nil stands for those that
// a detector fits to its own baseline anyway.
func (t *trainer) learn(ctx context.Context, files []SKABFile, rows [][]featureRow, how string) ([][]fedavg.Vector, error) {
	globals := make([][]fedavg.Vector, len(files))
	if how == LocalOnly && t.family.Learning() == model.Statistics {
		return globals, nil
	}
	sets := make([]model.Set, len(files))
	for i := range files {
		z, err := baselineZ(t.spec, rows[i])
		if err != nil {
			return nil, fmt.Errorf("baseline of %s: %w", files[i].Name, err)
		}
		sets[i] = model.Set{Machine: files[i].Name, Rows: z}
	}
	var err error
	if how == LocalOnly {
		for i := range sets {
			if globals[i], err = t.train(ctx, [][]model.Set{sets[i : i+1]}); err != nil {
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
	global, err := t.train(ctx, participants)
	for i := range globals {
		globals[i] = global
	}
	return globals, err
}

// train runs as many rounds as the kind of learning takes.
func (t *trainer) train(ctx context.Context, participants [][]model.Set) ([]fedavg.Vector, error) {
	rounds := 1
	if t.family.Learning() == model.Gradient {
		rounds = gradientRounds
	}
	global := t.family.Init(t.spec.Seed)
	for round := range rounds {
		var err error
		if global, err = t.round(ctx, global, participants, uint64(round+1)); err != nil {
			return nil, err
		}
	}
	return global, nil
}

// round trains every participant from the global parameters and merges.
func (t *trainer) round(ctx context.Context, global []fedavg.Vector, participants [][]model.Set, round uint64) ([]fedavg.Vector, error) {
	var updates fedavg.Slice
	for i, sets := range participants {
		trained, err := t.family.Train(ctx, global, sets, t.spec.TrainOptions(t.spec.Seed+round))
		if err != nil {
			return nil, err
		}
		u, err := t.send(i, &fedavg.Update{
			Job: t.spec.Name, Round: round, Agent: fmt.Sprintf("agent-%03d", i), Attempt: 1,
			Weight: trained.Weight, Steps: trained.Steps, Vectors: trained.Vectors, Metrics: trained.Metrics,
		})
		if err != nil {
			return nil, err
		}
		updates = append(updates, u)
	}
	result, err := t.strategy.Aggregate(global, nil, updates)
	if err != nil {
		return nil, err
	}
	return result.Vectors, nil
}

// send returns what arrives of an update.
func (t *trainer) send(participant int, u *fedavg.Update) (*fedavg.Update, error) {
	var data []byte
	var err error
	if t.method == "" {
		data, err = fedavg.EncodeUpdate(u)
	} else {
		data, t.residuals[participant], err = compress.Encode(u, t.method, compress.Options{Seed: t.spec.Seed, Residual: t.residuals[participant]})
	}
	if err != nil {
		return nil, err
	}
	t.updates++
	t.bytes += len(data)
	return compress.Decode(data, t.family.ParamLayout())
}
