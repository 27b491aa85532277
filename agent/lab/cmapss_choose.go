package lab

import (
	"context"
	"math"
	"slices"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/prognosis"
)

// choose compares candidates by the squared error on engines left out. To be
// quick, with one member each; λ costs no further round, only another solution.
func (f *federation) choose(ctx context.Context, fit *prognosisFit) error {
	best := math.Inf(1)
	sums := map[int][]fedavg.Vector{}
	for _, c := range f.plan.candidates {
		family, err := f.plan.family(c, 1)
		if err != nil {
			return err
		}
		if sums[c.Components] == nil {
			// One round less than all: the last only adds what intervals are made of.
			if sums[c.Components], err = f.rounds(ctx, family, family.Init(1), prognosis.Rounds-1); err != nil {
				return err
			}
		}
		rmse, err := f.leftOutRMSE(ctx, family, sums[c.Components])
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

// fit learns the chosen model and its intervals.
func (f *federation) fit(ctx context.Context, fit *prognosisFit) error {
	family, err := f.plan.family(fit.choice, f.plan.members)
	if err != nil {
		return err
	}
	global, err := f.rounds(ctx, family, family.Init(1), prognosis.Rounds)
	if err != nil {
		return err
	}
	if fit.fleet, err = family.Fleet(global); err != nil {
		return err
	}
	if fit.cvRMSE, err = f.leftOutRMSE(ctx, family, global); err != nil {
		return err
	}
	fit.stage = &stage{}
	for _, lives := range f.lives {
		sets, err := family.Features(ctx, global, lives)
		if err != nil {
			return err
		}
		fit.stage.sets = append(fit.stage.sets, sets)
	}
	return nil
}

// leftOutRMSE weighs engines alike. Without any that can be left out it is 0.
func (f *federation) leftOutRMSE(ctx context.Context, family *prognosis.Family, global []fedavg.Vector) (float64, error) {
	var m meanSquare
	// At once, not participant by participant: it is the same and solves less often.
	err := family.LeftOut(ctx, global, slices.Concat(f.lives...), func(_ int, truth, predicted []float64) error {
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

func (m *meanSquare) root() float64 { return math.Sqrt(m.sum / float64(max(m.n, 1))) }
