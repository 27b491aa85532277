package prognosis

import (
	"context"
	"errors"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// LeftOut predicts each of lives that ended with a regression that has not learned from
// its machine, nor from others of its fold, and calls each with the index of the life, what
// was true at its cycles of 20 and more and what was predicted, both within the cap. Lives
// whose machine cannot be left out, because all that was learned is in its fold, are left
// out of the calls. It is model.ErrUntrained before the fourth stage.
func (f *Family) LeftOut(ctx context.Context, params []fedavg.Vector, lives []model.Set, each func(life int, truth, predicted []float64) error) error {
	if err := f.check(params, lives); err != nil {
		return err
	}
	p := f.split(params)
	t, err := f.usedTransform(p)
	if err != nil {
		return untrained(err)
	}
	for k := range folds {
		var without model.Regressor // made when there is a life to judge
		for i, life := range lives {
			if foldOf(life.Machine) != k || !ended(life) {
				continue
			}
			if without == nil {
				loaded, err := f.ridge.Load(f.sumFolds(p, k))
				if errors.Is(err, model.ErrUntrained) {
					break
				}
				if err != nil {
					return err
				}
				without = loaded.(model.Regressor)
			}
			set, err := f.trajectory(ctx, t, life)
			if err != nil {
				return err
			}
			truth, predicted := f.compare(without, set, len(life.Rows))
			if err := each(i, truth, predicted); err != nil {
				return err
			}
		}
	}
	return nil
}

// ended says whether a life is known to its end.
func ended(life model.Set) bool {
	for _, y := range life.Targets {
		if y < 0 {
			return false
		}
	}
	return len(life.Rows) > 0
}

// compare returns truths and predictions at the rows of a life of so many cycles that are
// old enough to judge, at least the last.
func (f *Family) compare(m model.Regressor, set model.Set, cycles int) (truth, predicted []float64) {
	last := len(set.Rows) - 1
	for r, row := range set.Rows {
		if age := cycles - stride*(last-r); age >= Youngest || r == last {
			truth = append(truth, min(set.Targets[r], f.spec.Cap))
			predicted = append(predicted, m.Predict(row))
		}
	}
	return truth, predicted
}

// judge adds the residuals on lives left out to sums, and measures the losses.
func (f *Family) judge(ctx context.Context, global []fedavg.Vector, sums []fedavg.Vector, lives []model.Set) (map[string]float64, error) {
	metrics := map[string]float64{}
	fleet, err := f.Fleet(global)
	if err != nil {
		metrics["loss"] = f.spread(lives)
		return metrics, nil //nolint:nilerr // as while it is untrained; who loads it is told why
	}
	t := transform{fleet.Conditions, fleet.Health, fleet.Scale}
	var all squares
	for _, life := range lives {
		set, err := f.trajectory(ctx, t, life)
		if err != nil {
			return nil, err
		}
		for r, row := range set.Rows {
			all.add(fleet.Model.Predict(row) - min(set.Targets[r], f.spec.Cap))
		}
	}
	metrics["loss"] = all.mean()
	var out squares
	err = f.LeftOut(ctx, global, lives, func(_ int, truth, predicted []float64) error {
		for i, y := range truth {
			out.add(predicted[i] - y)
		}
		return f.residuals.AddMachine(sums, truth, predicted)
	})
	if out.n > 0 {
		metrics["left_out_loss"] = out.mean()
	}
	return metrics, err
}

// spread is the mean squared error of the mean target.
func (f *Family) spread(lives []model.Set) float64 {
	var mean, all squares
	for pass := range 2 {
		for _, life := range lives {
			for i, y := range life.Targets {
				if !learned(life, i) {
					continue
				}
				if y = min(y, f.spec.Cap); pass == 0 {
					mean.n++
					mean.sum += y
				} else {
					all.add(y - mean.mean())
				}
			}
		}
	}
	return all.mean()
}

// squares is a mean of squares.
type squares struct{ n, sum float64 }

func (s *squares) add(x float64) {
	s.n++
	s.sum += float64(x * x)
}

func (s *squares) mean() float64 {
	if s.n == 0 {
		return 0
	}
	return s.sum / s.n
}
