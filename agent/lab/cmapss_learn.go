package lab

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/compress"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/prognosis"
)

// Settings of the prognosis, chosen by engine-wise cross-validation on training
// engines of FD001 and FD002 alone.
const (
	rulCap   = 125
	rulUnits = 400 // of each member of the ridge
	coverage = 0.9
	// rulMembers are averaged; while candidates are compared there is one, to be quick.
	rulMembers = 4
)

// cmapssNames names the columns of a row: settings, then sensors.
func cmapssNames() []string {
	var names []string
	for i := range cmapssSettings {
		names = append(names, fmt.Sprintf("setting.%d", i+1))
	}
	for _, s := range CMAPSSSensors {
		names = append(names, fmt.Sprintf("sensor.%d", s))
	}
	return names
}

// cmapssAxes are the grid of the operating settings: altitude in thousand feet,
// Mach number, throttle resolver angle. The aircraft's range, in steps finer than any
// two flight regimes differ.
func cmapssAxes() []model.RULSetting {
	names := cmapssNames()
	return []model.RULSetting{
		{Feature: names[0], ConditionAxis: model.ConditionAxis{From: 0, To: 45, Step: 2.5}},
		{Feature: names[1], ConditionAxis: model.ConditionAxis{From: 0, To: 0.9, Step: 0.1}},
		{Feature: names[2], ConditionAxis: model.ConditionAxis{From: 20, To: 100, Step: 20}},
	}
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
	units, members int               // of the ridge
	rounds         int               // of the network
}

// wholePlan is the plan of the evaluation.
func wholePlan() prognosisPlan {
	return prognosisPlan{candidates: prognosisCandidates(), units: rulUnits, members: rulMembers, rounds: mlpRounds}
}

// with is the same plan for other candidates.
func (p prognosisPlan) with(candidates ...prognosisChoice) prognosisPlan {
	p.candidates = candidates
	return p
}

// family is the model that a choice stands for, as a job's.
func (p prognosisPlan) family(c prognosisChoice, members int) (*prognosis.Family, error) {
	return prognosis.New(model.RULSpec{
		Settings: cmapssAxes(), Cap: rulCap, Components: c.Components, Confidence: coverage,
		Units: p.units, Members: members, Lambda: c.Lambda,
	}, cmapssNames())
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

// stage is what every engine's rows look like under a choice.
type stage struct {
	sets [][]model.Set // participant, engine
}

// federation learns from participants, each a set of engines; it is how central
// and local-only learning are done too, with one participant. Engines stay with
// their participant: only sums are merged.
type federation struct {
	plan  prognosisPlan
	lives [][]model.Set // participant, engine
	sent  int
}

func learnPrognosis(ctx context.Context, participants [][]Engine, plan prognosisPlan) (*prognosisFit, error) {
	f := &federation{plan: plan}
	for _, engines := range participants {
		f.lives = append(f.lives, engineLives(engines))
	}
	fit := &prognosisFit{choice: plan.candidates[0]}
	if len(plan.candidates) > 1 {
		if err := f.choose(ctx, fit); err != nil {
			return nil, err
		}
	}
	if err := f.fit(ctx, fit); err != nil {
		return nil, err
	}
	fit.updateBytes = f.sent
	return fit, nil
}

// engineLives are engines as an agent offers the lives of its machines.
func engineLives(engines []Engine) []model.Set {
	lives := make([]model.Set, len(engines))
	for k, e := range engines {
		life := model.Set{Machine: fmt.Sprintf("engine %d", e.Unit)}
		for i := range e.Len() {
			life.Rows = append(life.Rows, e.row(i))
			life.Targets = append(life.Targets, e.RUL+float64(e.Len()-1-i))
		}
		lives[k] = life
	}
	return lives
}

// row is cycle i as an agent's row of features.
func (e *Engine) row(i int) []float64 { return slices.Concat(e.Settings[i], e.Sensors[i]) }

// rounds goes through so many rounds from global on, as agents and coordinator do.
func (f *federation) rounds(ctx context.Context, family *prognosis.Family, global []fedavg.Vector, n int) ([]fedavg.Vector, error) {
	for range n {
		updates := make([][]fedavg.Vector, len(f.lives))
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(runtime.GOMAXPROCS(0))
		for i, lives := range f.lives {
			g.Go(func() error {
				trained, err := family.Train(gctx, global, lives, model.TrainOptions{})
				updates[i] = trained.Vectors
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		if err := f.send(updates[0]); err != nil {
			return nil, err
		}
		var err error
		if global, err = addUp(family.ParamLayout(), updates); err != nil {
			return nil, err
		}
	}
	return global, nil
}

// send counts the bytes of an update.
func (f *federation) send(vectors []fedavg.Vector) error {
	if len(f.lives) == 1 {
		return nil // nobody to send to
	}
	sent, _, err := compress.Encode(&fedavg.Update{Agent: "plant-00", Weight: 1, Vectors: vectors}, compress.Zstd, compress.Options{})
	f.sent += len(sent)
	return err
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
