package lab

import (
	"math/rand/v2"
	"testing"

	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// threePlants have rows of a plane with a curve, each plant of another part of it.
func threePlants() [][]model.Set {
	r := rand.New(rand.NewPCG(2, 3))
	var plants [][]model.Set
	for p := range 3 {
		var s model.Set
		for range 40 {
			x, y := r.NormFloat64()+float64(p-1), r.NormFloat64()
			s.Rows = append(s.Rows, []float64{x, y})
			s.Targets = append(s.Targets, 60+20*x-10*y*y)
		}
		plants = append(plants, []model.Set{s})
	}
	return plants
}

func planeTrainer(t *testing.T, strategy job.StrategySpec, rounds int) *trainer {
	t.Helper()
	spec := model.Spec{Kind: model.KindMLP, MLP: &model.MLPSpec{Hidden: []int{6}, Epochs: 1, BatchSize: 10, LearningRate: 0.01}}
	family, err := model.NewFamily(spec, 2)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := trainerOf(job.Spec{Name: "plane", Model: spec, Strategy: strategy, Rounds: job.RoundPolicy{Count: rounds}}, family)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// Every strategy that averages learns, with what it and its agents keep from round to round.
func TestTrainer_EveryStrategyLearns(t *testing.T) {
	for _, s := range []job.StrategySpec{
		{Name: job.NameFedAvg}, {Name: job.NameFedProx}, {Name: job.NameFedAvgM, Momentum: 0.5}, {Name: job.NameFedAdam, ServerRate: 0.02},
		{Name: job.NameFedAdagrad}, {Name: job.NameFedYogi, ServerRate: 0.02}, {Name: job.NameScaffold}, {Name: job.NameFedNova}, {Name: job.NameMedian},
	} {
		tr := planeTrainer(t, s, 25)
		if _, err := tr.train(t.Context(), threePlants()); err != nil {
			t.Errorf("%s: %v", s.Name, err)
			continue
		}
		if first, last := tr.losses[0], tr.losses[len(tr.losses)-1]; len(tr.losses) != 25 || !(last < 0.5*first) {
			t.Errorf("%s: loss from %.4f to %.4f in %d rounds", s.Name, first, last, len(tr.losses))
		}
	}
}

// Momentum done by hand, v ← 0.5v + Δ, x ← x + v, gives what the trainer gives.
func TestTrainer_KeepsMomentum(t *testing.T) {
	tr := planeTrainer(t, job.StrategySpec{Name: job.NameFedAvgM, Momentum: 0.5}, 3)
	plants := threePlants()
	got, err := tr.train(t.Context(), plants)
	if err != nil {
		t.Fatal(err)
	}
	x, v := tr.family.Init(1), tr.family.ParamLayout().New()
	for round := range uint64(3) {
		delta := tr.family.ParamLayout().New()
		for _, sets := range plants {
			trained, err := tr.family.Train(t.Context(), x, sets, model.TrainOptions{Seed: 2 + round})
			if err != nil {
				t.Fatal(err)
			}
			for k := range delta {
				for i, d := range trained.Vectors[k].F32 {
					delta[k].F32[i] += d / 3
				}
			}
		}
		for k := range x {
			for i := range x[k].F32 {
				v[k].F32[i] = 0.5*v[k].F32[i] + delta[k].F32[i]
				x[k].F32[i] += v[k].F32[i]
			}
		}
	}
	for k := range x {
		for i, want := range x[k].F32 {
			if d := got[k].F32[i] - want; d > 1e-5 || d < -1e-5 {
				t.Fatalf("%s[%d] is %v, by hand %v", x[k].Name, i, got[k].F32[i], want)
			}
		}
	}
}
