package lab

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/prognosis"
)

// How many rounds a network is trained for: by then the loss of the training rows
// is flat. One participant makes all the steps of a round itself; ten make a
// tenth each, side by side, so they need more rounds.
const (
	mlpRounds      = 60
	mlpAloneRounds = 25
)

// learnMLP trains a network on the same features as the ridge, by federated
// averaging over the fit's participants, and returns it with the loss of the global
// model before each round.
func learnMLP(ctx context.Context, fit *prognosisFit, rounds int) (prognosis.Fleet, []float64, error) {
	fleet := fit.fleet
	fleet.Intervals = nil // they are the ridge's
	family, err := model.NewFamily(model.Spec{Kind: model.KindMLP, MLP: &model.MLPSpec{Cap: rulCap}}, prognosis.TrajectoryLen(fleet.Health.Len()))
	if err != nil {
		return fleet, nil, err
	}
	global := family.Init(1)
	var losses []float64
	if len(fit.stage.sets) == 1 {
		rounds = min(rounds, mlpAloneRounds)
	}
	for round := range rounds {
		updates := make(fedavg.Slice, len(fit.stage.sets))
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(runtime.GOMAXPROCS(0))
		for p, sets := range fit.stage.sets {
			g.Go(func() error {
				t, err := family.Train(gctx, global, sets, model.TrainOptions{Seed: uint64(round + 1)})
				updates[p] = &fedavg.Update{Agent: fmt.Sprintf("plant-%02d", p), Weight: t.Weight, Vectors: t.Vectors, Metrics: t.Metrics}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return fleet, nil, err
		}
		result, err := fedavg.FedAvg{}.Aggregate(global, nil, updates)
		if err != nil {
			return fleet, nil, err
		}
		global = result.Vectors
		losses = append(losses, result.Metrics["loss"])
	}
	loaded, err := family.Load(global)
	if err != nil {
		return fleet, nil, err
	}
	fleet.Model = loaded.(model.Regressor)
	return fleet, losses, nil
}
