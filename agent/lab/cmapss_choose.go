package lab

import (
	"context"
	"errors"
	"math"

	"github.com/millwright-iot/millwright/agent/internal/prognosis"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// choose compares candidates by the squared error on engines left out. To be
// quick, with one member each; λ costs no further round, only another solution.
func (f *federation) choose(ctx context.Context, health []fedavg.Vector, fit *prognosisFit) error {
	best := math.Inf(1)
	stages := map[int]*stage{}
	sums := map[int][][]fedavg.Vector{}
	for _, c := range f.plan.candidates {
		family, err := f.plan.family(c, 1)
		if err != nil {
			return err
		}
		if stages[c.Components] == nil {
			if stages[c.Components], err = f.stage(ctx, health, c.Components); err != nil {
				return err
			}
			if _, sums[c.Components], err = f.foldSums(ctx, stages[c.Components], family); err != nil {
				return err
			}
		}
		rmse, err := f.leftOutRMSE(ctx, stages[c.Components], family, sums[c.Components])
		if err != nil {
			return err
		}
		fit.tried = append(fit.tried, triedChoice{c, rmse})
		if rmse < best {
			best, fit.choice = rmse, c
		}
	}
	return nil
}

func (f *federation) leftOutRMSE(ctx context.Context, s *stage, family model.Family, without [][]fedavg.Vector) (float64, error) {
	var m meanSquare
	err := f.leftOut(ctx, s, family, without, func(_ int, truth, predicted []float64) error {
		m.add(truth, predicted)
		return nil
	})
	return m.root(), err
}

// meanSquare is a mean over machines of their mean squared errors.
type meanSquare struct {
	sum float64
	n   int
}

func (m *meanSquare) add(truth, predicted []float64) {
	for i, y := range truth {
		d := predicted[i] - y
		m.sum += d * d / float64(len(truth))
	}
	m.n++
}

func (m *meanSquare) root() float64 { return math.Sqrt(m.sum / float64(m.n)) }

// fit learns the chosen model and its intervals.
func (f *federation) fit(ctx context.Context, health []fedavg.Vector, fit *prognosisFit) error {
	s, err := f.stage(ctx, health, fit.choice.Components)
	if err != nil {
		return err
	}
	fit.stage = s
	family, err := f.plan.family(fit.choice, 0)
	if err != nil {
		return err
	}
	whole, without, err := f.foldSums(ctx, s, family)
	if err != nil {
		return err
	}
	residuals, err := model.NewResidualSums(rulClasses, rulCap)
	if err != nil {
		return err
	}
	all := make([][]fedavg.Vector, len(f.participants))
	for p := range all {
		all[p] = residuals.Layout().New()
	}
	loaded, err := family.Load(whole)
	if err != nil {
		return err
	}
	fit.fleet = prognosis.Fleet{Conditions: f.conditions, Health: s.health, Scale: s.scale, Model: loaded.(model.Regressor)}
	var m meanSquare
	err = f.leftOut(ctx, s, family, without, func(p int, truth, predicted []float64) error {
		m.add(truth, predicted)
		return residuals.AddMachine(all[p], truth, predicted)
	})
	if errors.Is(err, errNoFold) {
		return nil // no intervals
	}
	if err != nil {
		return err
	}
	fit.cvRMSE = m.root()
	f.sent += 8 * residuals.Layout().Size()
	merged, err := addUp(residuals.Layout(), all)
	if err != nil {
		return err
	}
	fit.fleet.Intervals, err = residuals.Fit(merged, coverage)
	return err
}
