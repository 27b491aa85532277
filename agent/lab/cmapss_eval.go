package lab

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/fedavg/prognosis"
)

const (
	// cmapssPlants is among how many participants the training engines are divided.
	cmapssPlants = 10
	// minPlantEngines is the least a participant has; with few engines there are
	// fewer participants.
	minPlantEngines = 5
)

// RULReport is the result for C-MAPSS.
type RULReport struct {
	Dataset  string      `json:"dataset"`
	Protocol []string    `json:"protocol"`
	Subsets  []RULSubset `json:"subsets"`
}

// RULSubset is the result for one subset.
type RULSubset struct {
	Name         string          `json:"name"`
	TrainEngines int             `json:"train_engines"`
	TestEngines  int             `json:"test_engines"`
	Conditions   int             `json:"operating_conditions"` // found in merged sums
	Participants int             `json:"participants"`
	Chosen       prognosisChoice `json:"chosen"`
	Tried        []triedChoice   `json:"tried"`
	UpdateBytes  int             `json:"update_bytes"` // sent by one participant in all rounds, packed with zstd
	// Gap is the largest relative difference between a federated prediction and
	// the central one.
	Gap float64 `json:"federated_central_gap"`
	// NetworkGap is the federated network's mean RMSE relative to the central one's, less 1.
	// NetworkStepsGap is that to a central one which makes as many steps.
	NetworkGap      float64    `json:"mlp_federated_central_gap"`
	NetworkStepsGap float64    `json:"mlp_federated_central_gap_same_steps"`
	Lines           []RULLine  `json:"lines"`
	Engines         []RULPoint `json:"engines"` // of the federated ridge
	Trace           []RULPoint `json:"trace"`   // of one test engine, cycle by cycle
	Unit            int        `json:"trace_unit"`
	// Losses of the federated network before each round, in squares of the cap.
	Losses []float64 `json:"mlp_losses"`
}

// RULPoint is one prediction.
type RULPoint struct {
	Unit  int     `json:"unit"`
	Cycle int     `json:"cycle"`
	Truth float64 `json:"true_rul"`
	RUL   float64 `json:"rul"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// RULLine is one row of the table. What is absent was not published or has no meaning.
type RULLine struct {
	Source   string   `json:"source"`
	Name     string   `json:"name"`
	Learning string   `json:"learning,omitempty"`
	RMSE     float64  `json:"rmse"` // truth limited to 125 unless the note says otherwise
	Score    *float64 `json:"score,omitempty"`
	// Unlimited is judged against the truth as it is.
	Unlimited *RULScore `json:"unlimited,omitempty"`
	CVRMSE    *float64  `json:"cv_rmse,omitempty"`  // on training engines left out
	Coverage  *float64  `json:"coverage,omitempty"` // share of truths, limited to 125, within their interval
	Width     *float64  `json:"width,omitempty"`    // mean width of the intervals, cycles
	Note      string    `json:"note,omitempty"`
}

// EvaluateCMAPSS runs the protocol on every subset.
func EvaluateCMAPSS(ctx context.Context, subsets []CMAPSSSubset) (*RULReport, error) {
	r := &RULReport{Dataset: "cmapss", Protocol: cmapssProtocol()}
	for _, s := range subsets {
		result, err := evaluateSubset(ctx, s, wholePlan())
		if err != nil {
			return nil, fmt.Errorf("evaluate %s: %w", s.Name, err)
		}
		r.Subsets = append(r.Subsets, *result)
	}
	return r, nil
}

func evaluateSubset(ctx context.Context, s CMAPSSSubset, plan prognosisPlan) (*RULSubset, error) {
	plants := divide(s.Train)
	federated, err := learnPrognosis(ctx, plants, plan)
	if err != nil {
		return nil, fmt.Errorf("learn federated: %w", err)
	}
	if err := checkSameKind(federated.fleet.Conditions, s.Test); err != nil {
		return nil, fmt.Errorf("test_%s.txt: %w", s.Name, err)
	}
	r := &RULSubset{
		Name: s.Name, TrainEngines: len(s.Train), TestEngines: len(s.Test), Participants: len(plants),
		Conditions: federated.fleet.Conditions.Len(), Chosen: federated.choice, Tried: federated.tried, UpdateBytes: federated.updateBytes,
	}
	r.Lines = append(published(s.Name), nullLines(s)...)
	ridge, network, err := bothLines(ctx, plan, Federated, federated, s.Test)
	if err != nil {
		return nil, err
	}
	r.Losses = network.losses
	for i, e := range ridge.estimates {
		r.Engines = append(r.Engines, point(s.Test[i], s.Test[i].Len(), e))
	}
	if err := r.trace(federated.fleet, s.Test); err != nil {
		return nil, err
	}
	central, err := learnPrognosis(ctx, [][]Engine{s.Train}, plan.with(federated.choice))
	if err != nil {
		return nil, fmt.Errorf("learn centrally: %w", err)
	}
	centralRidge, centralNetwork, err := bothLines(ctx, plan, Central, central, s.Test)
	if err != nil {
		return nil, err
	}
	for i, e := range ridge.estimates {
		same := centralRidge.estimates[i].RUL
		r.Gap = max(r.Gap, math.Abs(e.RUL-same)/max(same, 1))
	}
	sameSteps, err := networkLine(ctx, plan, Central, len(plants), central, s.Test)
	if err != nil {
		return nil, err
	}
	r.NetworkGap, r.NetworkStepsGap = network.RMSE/centralNetwork.RMSE-1, network.RMSE/sameSteps.RMSE-1
	localRidge, localNetwork, err := localOnly(ctx, plants, plan.with(shrinkages(federated.choice.Components)...), s.Test)
	if err != nil {
		return nil, fmt.Errorf("learn locally: %w", err)
	}
	r.Lines = append(r.Lines, ridge.RULLine, centralRidge.RULLine, localRidge, network.RULLine, centralNetwork.RULLine, sameSteps.RULLine, localNetwork)
	return r, nil
}

// divide gives consecutive engines to each of the participants.
func divide(engines []Engine) [][]Engine {
	n := min(max(len(engines)/minPlantEngines, 1), cmapssPlants)
	plants := make([][]Engine, n)
	for i := range plants {
		plants[i] = engines[i*len(engines)/n : (i+1)*len(engines)/n]
	}
	return plants
}

// judged is a line with what it rests on.
type judged struct {
	RULLine
	estimates []prognosis.Estimate
	losses    []float64 // of a network, before each round
	spread    float64   // of a network's RMSE over seeds
}

// bothLines judges the ridge of fit, and a network trained on the same rows.
func bothLines(ctx context.Context, plan prognosisPlan, learning string, fit *prognosisFit, test []Engine) (ridge, network judged, err error) {
	if ridge, err = fleetLine("ridge on random features", learning, fit.fleet, test); err != nil {
		return ridge, network, err
	}
	if fit.fleet.Intervals != nil {
		ridge.CVRMSE = &fit.cvRMSE
	}
	network, err = networkLine(ctx, plan, learning, 0, fit, test)
	return ridge, network, err
}

// fleetLine judges what a fleet's model says of the test engines.
func fleetLine(name, learning string, fleet prognosis.Fleet, test []Engine) (judged, error) {
	estimates, err := predictTest(fleet, test)
	if err != nil {
		return judged{}, err
	}
	truth, predicted := make([]float64, len(test)), make([]float64, len(test))
	covered, width := 0, 0.0
	for i, e := range estimates {
		truth[i], predicted[i] = test[i].RUL, e.RUL
		if y := min(test[i].RUL, rulCap); y >= e.Low && y <= e.High {
			covered++
		}
		width += (e.High - e.Low) / float64(len(test))
	}
	l := judge(Ours, name, truth, predicted)
	l.Learning = learning
	if fleet.Intervals != nil {
		l.Coverage, l.Width = new(ratio(covered, float64(len(test)))), &width
	}
	return judged{RULLine: l, estimates: estimates}, nil
}

func judge(source, name string, truth, predicted []float64) RULLine {
	limited, all := scoreRUL(truth, predicted, rulCap), scoreRUL(truth, predicted, math.Inf(1))
	return RULLine{Source: source, Name: name, RMSE: limited.RMSE, Score: &limited.Score, Unlimited: &all}
}

// localOnly is what participants reach alone, each with conditions, indices, λ and
// models from its own engines; figures are means over participants.
func localOnly(ctx context.Context, plants [][]Engine, plan prognosisPlan, test []Engine) (ridge, network RULLine, err error) {
	var ridges, networks []RULLine
	for i, engines := range plants {
		fit, err := learnPrognosis(ctx, [][]Engine{engines}, plan)
		if err != nil {
			return ridge, network, fmt.Errorf("participant %d: %w", i, err)
		}
		r, n, err := bothLines(ctx, plan, LocalOnly, fit, test)
		if err != nil {
			return ridge, network, fmt.Errorf("participant %d: %w", i, err)
		}
		ridges, networks = append(ridges, r.RULLine), append(networks, n.RULLine)
	}
	return meanLine(ridges), meanLine(networks), nil
}

// meanLine averages the figures that all lines have; there is at least one.
func meanLine(lines []RULLine) RULLine {
	mean := RULLine{Source: lines[0].Source, Name: lines[0].Name, Learning: lines[0].Learning, Unlimited: new(RULScore),
		Note: fmt.Sprintf("mean of %d participants", len(lines))}
	n := float64(len(lines))
	for _, l := range lines {
		mean.RMSE += l.RMSE / n
		mean.Unlimited.RMSE += l.Unlimited.RMSE / n
		mean.Unlimited.Score += l.Unlimited.Score / n
		mean.Unlimited.Bias += l.Unlimited.Bias / n
	}
	average := func(of func(RULLine) *float64) *float64 {
		sum := 0.0
		for _, l := range lines {
			x := of(l)
			if x == nil {
				return nil
			}
			sum += *x / n
		}
		return &sum
	}
	mean.Score = average(func(l RULLine) *float64 { return l.Score })
	mean.CVRMSE = average(func(l RULLine) *float64 { return l.CVRMSE })
	mean.Coverage = average(func(l RULLine) *float64 { return l.Coverage })
	mean.Width = average(func(l RULLine) *float64 { return l.Width })
	return mean
}

// trace follows the test engine with the longest record.
func (r *RULSubset) trace(fleet prognosis.Fleet, test []Engine) error {
	longest := 0
	for i := range test {
		if test[i].Len() > test[longest].Len() {
			longest = i
		}
	}
	e := test[longest]
	p, err := prognosis.NewPredictor(fleet)
	if err != nil {
		return err
	}
	for i := range e.Len() {
		if err := p.Push(e.row(i)); err != nil {
			return err
		}
		r.Trace = append(r.Trace, point(e, i+1, p.Estimate()))
	}
	r.Unit = e.Unit
	return nil
}

func point(e Engine, cycle int, x prognosis.Estimate) RULPoint {
	return RULPoint{Unit: e.Unit, Cycle: cycle, Truth: e.RUL + float64(e.Len()-cycle), RUL: x.RUL, Low: x.Low, High: x.High}
}

// errOtherData says that test data cannot be of the same kind as training data.
var errOtherData = errors.New("most values lie far outside what training data shows in the same operating condition")
