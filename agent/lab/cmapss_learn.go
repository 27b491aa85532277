package lab

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/millwright-iot/millwright/agent/internal/prognosis"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// Settings of the prognosis, chosen by engine-wise cross-validation on training
// engines of FD001 and FD002 alone.
const (
	rulCap       = 125
	cmapssFolds  = 5
	cmapssStride = 3 // every third cycle is learned from: neighbours say nearly the same
	// cmapssYoungest is the least age, in cycles, of calibration rows.
	cmapssYoungest = 20
	coverage       = 0.9
)

// rulClasses divide predictions for intervals.
var rulClasses = []float64{20, 40, 60, 80, 100, 115}

// cmapssAxes are the grid of the operating settings: altitude in thousand feet,
// Mach number, throttle resolver angle. The aircraft's range, in steps finer than any
// two flight regimes differ.
func cmapssAxes() []model.ConditionAxis {
	return []model.ConditionAxis{{From: 0, To: 45, Step: 2.5}, {From: 0, To: 0.9, Step: 0.1}, {From: 20, To: 100, Step: 20}}
}

// prognosisChoice is what cross-validation decides.
type prognosisChoice struct {
	Components int     `json:"components"`
	Lambda     float64 `json:"lambda"`
}

// prognosisCandidates are tried by cross-validation: one wear pattern or several,
// and how much to shrink.
func prognosisCandidates() []prognosisChoice {
	var all []prognosisChoice
	for _, components := range []int{1, 2, 3} {
		all = append(all, shrinkages(components)...)
	}
	return all
}

// shrinkages are the candidates of one number of components.
func shrinkages(components int) []prognosisChoice {
	var all []prognosisChoice
	for _, lambda := range []float64{1, 3, 10, 30, 100} {
		all = append(all, prognosisChoice{components, lambda})
	}
	return all
}

// prognosisPlan says how much work to do.
type prognosisPlan struct {
	candidates     []prognosisChoice // compared on engines left out; a single one is taken as it is
	units, members int               // of the ridge; 0 for the defaults
	rounds         int               // of the network
}

// wholePlan is the plan of the evaluation.
func wholePlan() prognosisPlan {
	return prognosisPlan{candidates: prognosisCandidates(), rounds: mlpRounds}
}

// with is the same plan for other candidates.
func (p prognosisPlan) with(candidates ...prognosisChoice) prognosisPlan {
	p.candidates = candidates
	return p
}

// family is the model that a choice stands for; members 0 means the plan's.
func (p prognosisPlan) family(c prognosisChoice, members int) (model.Family, error) {
	if members == 0 {
		members = p.members
	}
	spec := model.Spec{Kind: model.KindRidge, Ridge: &model.RidgeSpec{Lambda: c.Lambda, Units: p.units, Members: members, Cap: rulCap}}
	return model.NewFamily(spec, prognosis.TrajectoryLen(c.Components+1))
}

// prognosisFit is what a federation has learned.
type prognosisFit struct {
	fleet  prognosis.Fleet
	stage  *stage // the training rows under the choice
	choice prognosisChoice
	// rmse of the candidates, and of the chosen model with all its members, on
	// engines left out.
	tried  []triedChoice
	cvRMSE float64
	// updateBytes is what one participant sends over all rounds.
	updateBytes int
}

type triedChoice struct {
	prognosisChoice
	RMSE float64 `json:"cv_rmse"`
}

// federation learns from participants, each a set of engines; it is how central
// and local-only learning are done too, with one participant. Engines stay with
// their participant: only sums are merged.
type federation struct {
	plan         prognosisPlan
	participants [][]Engine
	grid         *model.ConditionGrid
	healthSums   *model.HealthSums
	conditions   *model.Conditions
	sent         int
}

// newFederation finds the operating conditions, which is the first round.
func newFederation(ctx context.Context, participants [][]Engine, plan prognosisPlan) (*federation, error) {
	f := &federation{participants: participants, plan: plan}
	var err error
	if f.grid, err = model.NewConditionGrid(cmapssAxes(), len(CMAPSSSensors)); err != nil {
		return nil, err
	}
	if f.healthSums, err = model.NewHealthSums(len(CMAPSSSensors), rulCap); err != nil {
		return nil, err
	}
	return f, f.findConditions(ctx)
}

// learn goes through the other rounds.
func (f *federation) learn(ctx context.Context) (*prognosisFit, error) {
	health, err := f.sumHealth(ctx)
	if err != nil {
		return nil, err
	}
	fit := &prognosisFit{choice: f.plan.candidates[0]}
	if len(f.plan.candidates) > 1 {
		if err := f.choose(ctx, health, fit); err != nil {
			return nil, err
		}
	}
	if err := f.fit(ctx, health, fit); err != nil {
		return nil, err
	}
	fit.updateBytes = f.sent
	return fit, nil
}

func learnPrognosis(ctx context.Context, participants [][]Engine, plan prognosisPlan) (*prognosisFit, error) {
	f, err := newFederation(ctx, participants, plan)
	if err != nil {
		return nil, err
	}
	return f.learn(ctx)
}

// merge asks every participant for sums of one layout and adds them up as a
// coordinator does.
func (f *federation) merge(ctx context.Context, layout fedavg.Layout, sum func(ctx context.Context, engines []Engine, sums []fedavg.Vector) error) ([]fedavg.Vector, error) {
	all := make([][]fedavg.Vector, len(f.participants))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, engines := range f.participants {
		g.Go(func() error {
			all[i] = layout.New()
			return sum(ctx, engines, all[i])
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	f.sent += 8 * layout.Size()
	return addUp(layout, all)
}

// addUp merges updates by the strategy for statistics.
func addUp(layout fedavg.Layout, all [][]fedavg.Vector) ([]fedavg.Vector, error) {
	var updates fedavg.Slice
	for i, vectors := range all {
		updates = append(updates, &fedavg.Update{Agent: fmt.Sprintf("plant-%02d", i), Weight: 1, Vectors: vectors})
	}
	result, err := fedavg.Sum{}.Aggregate(layout.New(), nil, updates)
	return result.Vectors, err
}

func (f *federation) findConditions(ctx context.Context) error {
	sums, err := f.merge(ctx, f.grid.Layout(), func(ctx context.Context, engines []Engine, sums []fedavg.Vector) error {
		for _, e := range engines {
			for i, x := range e.Sensors {
				if err := f.grid.Add(sums, e.Settings[i], x); err != nil {
					return fmt.Errorf("engine %d, cycle %d: %w", e.Unit, i+1, err)
				}
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	if f.conditions, err = f.grid.Fit(sums); err != nil {
		return err
	}
	return nil
}

func (f *federation) sumHealth(ctx context.Context) ([]fedavg.Vector, error) {
	return f.merge(ctx, f.healthSums.Layout(), func(ctx context.Context, engines []Engine, sums []fedavg.Vector) error {
		z := make([]float64, len(CMAPSSSensors))
		for _, e := range engines {
			smoother := prognosis.NewSmoother(len(CMAPSSSensors))
			for i, x := range e.Sensors {
				if _, _, err := f.conditions.Normalize(z, e.Settings[i], x); err != nil {
					return err
				}
				if err := f.healthSums.Add(sums, z, smoother.Push(z), e.RUL+float64(e.Len()-1-i)); err != nil {
					return err
				}
			}
		}
		return ctx.Err()
	})
}

// errNoFold says that too few engines are there to leave some out.
var errNoFold = errors.New("too few engines to leave some out")
