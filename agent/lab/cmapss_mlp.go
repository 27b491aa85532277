package lab

import (
	"context"
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/prognosis"
)

// mlpRounds is how many rounds a network is federated for, mlpAloneRounds how many
// one participant trains alone, each of one pass over all rows: what did best on training
// engines of FD001 left out. With more passes, a network alone learns its engines by heart.
const (
	mlpRounds      = 60
	mlpAloneRounds = 15
	// mlpSeeds is how many networks are trained; one seed moves the RMSE by some per cent.
	mlpSeeds = 3
)

// mlpJob is how a network is trained. Ten participants each go a tenth of the steps that
// one would go, and their mean goes less far than any: momentum on the server makes up for
// that, small batches and steps keep them from drifting apart, and the rate fades so
// that they agree in the end. One participant that stands for so many, 0 for none, makes
// as many steps as each of them, each over as many rows as all of them together.
func mlpJob(participants, standsFor, rounds int, seed uint64) job.Spec {
	s := job.Spec{Name: "mlp", Seed: seed, Rounds: job.RoundPolicy{Count: rounds}}
	m := model.MLPSpec{Cap: rulCap, Epochs: 1, BatchSize: 16, LearningRate: 0.001}
	s.Strategy = job.StrategySpec{Name: job.NameFedAvgM, Momentum: 0.9}
	if participants == 1 {
		m.BatchSize, m.LearningRate = 32, 0.003
		s.Strategy = job.StrategySpec{Name: job.NameFedAvg}
		if standsFor > 0 {
			m.BatchSize = 16 * standsFor
		} else {
			s.Rounds.Count = min(rounds, mlpAloneRounds)
		}
	}
	s.Strategy.RateDecay = math.Pow(0.02, 1/float64(s.Rounds.Count))
	s.Model = model.Spec{Kind: model.KindMLP, MLP: &m}
	return s
}

// learnMLP trains a network on the same features as the ridge, whitened by the
// participants' merged sums, and returns it with the loss of the global model before each
// round.
func learnMLP(ctx context.Context, fit *prognosisFit, standsFor, rounds int, seed uint64) (prognosis.Fleet, []float64, error) {
	fleet := fit.fleet
	fleet.Intervals = nil // they are the ridge's
	white, sets, err := whiten(fit.stage.sets)
	if err != nil {
		return fleet, nil, err
	}
	spec := mlpJob(len(sets), standsFor, rounds, seed)
	family, err := model.NewFamily(spec.Model, prognosis.TrajectoryLen(fleet.Health.Len()))
	if err != nil {
		return fleet, nil, err
	}
	t, err := trainerOf(spec, family)
	if err != nil {
		return fleet, nil, err
	}
	global, err := t.train(ctx, sets)
	if err != nil {
		return fleet, nil, err
	}
	loaded, err := family.Load(global)
	if err != nil {
		return fleet, nil, err
	}
	fleet.Model = white.Regressor(loaded.(model.Regressor), rulCap)
	return fleet, t.losses, nil
}

// whiten takes rows to uncorrelated features.
func whiten(participants [][]model.Set) (*model.Whitener, [][]model.Set, error) {
	sums := model.NewWhitenSums(len(participants[0][0].Rows[0]))
	parts := make([][]fedavg.Vector, len(participants))
	for p, sets := range participants {
		parts[p] = sums.Layout().New()
		for _, set := range sets {
			for _, row := range set.Rows {
				if err := sums.Add(parts[p], row); err != nil {
					return nil, nil, err
				}
			}
		}
	}
	merged, err := addUp(sums.Layout(), parts)
	if err != nil {
		return nil, nil, err
	}
	white, err := sums.Fit(merged)
	if err != nil {
		return nil, nil, err
	}
	out := make([][]model.Set, len(participants))
	for p, sets := range participants {
		for _, set := range sets {
			own := model.Set{Machine: set.Machine, Targets: set.Targets}
			for _, row := range set.Rows {
				own.Rows = append(own.Rows, white.Whiten(nil, row))
			}
			out[p] = append(out[p], own)
		}
	}
	return white, out, nil
}

// networkLine judges networks of so many seeds, trained on the rows of fit. What it shows
// beside their mean is of the first. See mlpJob for standsFor.
func networkLine(ctx context.Context, plan prognosisPlan, learning string, standsFor int, fit *prognosisFit, test []Engine) (judged, error) {
	seeds := mlpSeeds
	if learning == LocalOnly { // participants differ as seeds do
		seeds = 1
	}
	name := "MLP"
	if standsFor > 0 {
		name = "MLP, as many steps as federated"
	}
	var lines []RULLine
	var first judged
	for seed := range seeds {
		fleet, losses, err := learnMLP(ctx, fit, standsFor, plan.rounds, uint64(seed+1))
		if err != nil {
			return judged{}, err
		}
		l, err := fleetLine(name, learning, fleet, test)
		if err != nil {
			return judged{}, err
		}
		if lines = append(lines, l.RULLine); seed == 0 {
			first, first.losses = l, losses
		}
	}
	if seeds == 1 {
		return first, nil
	}
	first.RULLine = meanLine(lines)
	square := 0.0
	for _, l := range lines {
		square += float64((l.RMSE - first.RMSE) * (l.RMSE - first.RMSE))
	}
	first.spread = math.Sqrt(square / float64(seeds-1))
	first.Note = fmt.Sprintf("mean of %d seeds, whose RMSE has a standard deviation of %.2f", seeds, first.spread)
	return first, nil
}
