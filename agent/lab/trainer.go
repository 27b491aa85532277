package lab

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/compress"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/prognosis"
)

// trainer federates a job in memory by any strategy, with all that strategy and
// agents keep from round to round; every update takes the form it has on the wire.
type trainer struct {
	spec     job.Spec
	family   model.Family
	strategy fedavg.Strategy
	method   compress.Method // none if empty
	rounds   int             // of a model that learns by gradient
	updates  int
	bytes    int       // of all updates, as sent
	losses   []float64 // of the global parameters before each round
}

// memory is what one run of rounds carries from each to the next.
type memory struct {
	state     []fedavg.Vector   // of the strategy
	controls  [][]fedavg.Vector // by participant: SCAFFOLD's control variate
	residuals [][]fedavg.Vector // by participant: what compression left out
}

func newTrainer(spec job.Spec) (*trainer, error) {
	family, err := spec.Family()
	if err != nil {
		return nil, err
	}
	return trainerOf(spec, family)
}

// trainerOf federates family, which spec may not describe: its features need not be
// those of channels.
func trainerOf(spec job.Spec, family model.Family) (*trainer, error) {
	spec = spec.WithDefaults()
	t := &trainer{spec: spec, family: family, rounds: spec.Rounds.Count, method: compress.Choose(spec.Compression, family.Learning())}
	if t.rounds == 0 {
		t.rounds = gradientRounds
	}
	switch {
	case spec.Model.Kind == model.KindRUL:
		t.rounds = prognosis.Rounds
	case family.Learning() == model.Statistics:
		t.rounds = 1
	}
	var err error
	t.strategy, err = spec.Strategy.Build(family.Learning())
	return t, err
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
		own, err := ownSpec(t.spec, rows[i], files[i])
		if err != nil {
			return nil, err
		}
		z, err := baselineZ(own, rows[i])
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
	global := t.family.Init(t.spec.Seed)
	m := &memory{controls: make([][]fedavg.Vector, len(participants)), residuals: make([][]fedavg.Vector, len(participants))}
	t.losses = t.losses[:0]
	for round := range t.rounds {
		var err error
		if global, err = t.round(ctx, global, m, participants, uint64(round+1)); err != nil {
			return nil, fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	return global, nil
}

// round trains every participant from the global parameters and merges.
func (t *trainer) round(ctx context.Context, global []fedavg.Vector, m *memory, participants [][]model.Set, round uint64) ([]fedavg.Vector, error) {
	options := t.spec.TrainOptions(t.spec.Seed+round, round-1)
	if t.spec.Strategy.SharesState() {
		options.ServerControl = m.state
		if m.state == nil {
			options.ServerControl = t.strategy.StateLayout(t.family.ParamLayout()).New()
		}
	}
	updates, sizes := make(fedavg.Slice, len(participants)), make([]int, len(participants))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, sets := range participants {
		own := options
		own.OwnControl = m.controls[i]
		g.Go(func() error {
			trained, err := t.family.Train(gctx, global, sets, own)
			if err != nil {
				return err
			}
			m.controls[i] = trained.OwnControl
			updates[i], sizes[i], err = t.send(&m.residuals[i], &fedavg.Update{
				Job: t.spec.Name, Round: round, Agent: fmt.Sprintf("agent-%03d", i), Attempt: 1,
				Weight: trained.Weight, Steps: trained.Steps, Vectors: trained.Vectors, Metrics: trained.Metrics,
			})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, n := range sizes {
		t.updates++
		t.bytes += n
	}
	result, err := t.strategy.Aggregate(global, m.state, updates)
	if err != nil {
		return nil, err
	}
	m.state = result.State
	t.losses = append(t.losses, result.Metrics["loss"])
	return result.Vectors, nil
}

// send returns what arrives of an update, and in how many bytes.
func (t *trainer) send(residual *[]fedavg.Vector, u *fedavg.Update) (*fedavg.Update, int, error) {
	var data []byte
	var err error
	if t.method == "" {
		data, err = fedavg.EncodeUpdate(u)
	} else {
		data, *residual, err = compress.Encode(u, t.method, compress.Options{Seed: t.spec.Seed, Residual: *residual})
	}
	if err != nil {
		return nil, 0, err
	}
	u, err = compress.Decode(data, t.strategy.UpdateLayout(t.family.ParamLayout()))
	return u, len(data), err
}
