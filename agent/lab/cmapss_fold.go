package lab

import (
	"context"
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/millwright-iot/millwright/agent/internal/prognosis"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// stage is one choice of health indices: what every engine's rows look like then.
type stage struct {
	health *model.Health
	scale  *model.Baseline
	sets   [][]model.Set // participant, engine
}

// stage computes standardised trajectories; the scale is the fleet's.
func (f *federation) stage(ctx context.Context, healthSums []fedavg.Vector, components int) (*stage, error) {
	health, err := f.healthSums.Fit(healthSums, components)
	if err != nil {
		return nil, err
	}
	s := &stage{health: health, sets: make([][]model.Set, len(f.participants))}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for p, engines := range f.participants {
		g.Go(func() error {
			for _, e := range engines {
				if err := gctx.Err(); err != nil {
					return err
				}
				set, err := f.trajectory(e, health)
				if err != nil {
					return err
				}
				s.sets[p] = append(s.sets[p], set)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	scaleSums := model.NewScaleSums(prognosis.TrajectoryLen(health.Len()))
	all := make([][]fedavg.Vector, len(f.participants))
	for p, sets := range s.sets {
		all[p] = scaleSums.Layout().New()
		for _, set := range sets {
			for _, row := range set.Rows {
				if err := scaleSums.Add(all[p], row); err != nil {
					return nil, err
				}
			}
		}
	}
	f.sent += 8 * scaleSums.Layout().Size()
	merged, err := addUp(scaleSums.Layout(), all)
	if err != nil {
		return nil, err
	}
	if s.scale, err = scaleSums.Fit(merged); err != nil {
		return nil, err
	}
	for _, sets := range s.sets {
		for _, set := range sets {
			for _, row := range set.Rows {
				s.scale.Standardize(row, row)
			}
		}
	}
	return s, nil
}

// trajectory follows an engine and keeps every cmapssStride-th cycle, counted
// back from the last, oldest first.
func (f *federation) trajectory(e Engine, health *model.Health) (model.Set, error) {
	set := model.Set{}
	t := prognosis.NewTrajectory(health.Len())
	z, h := make([]float64, len(CMAPSSSensors)), make([]float64, health.Len())
	for i, x := range e.Sensors {
		if _, _, err := f.conditions.Normalize(z, e.Settings[i], x); err != nil {
			return set, err
		}
		t.Push(health.Indices(h, z))
		if left := e.Len() - 1 - i; left%cmapssStride == 0 {
			set.Rows = append(set.Rows, t.Features(nil))
			set.Targets = append(set.Targets, e.RUL+float64(left))
		}
	}
	return set, nil
}

// foldOf says in which fold an engine is left out; it depends on nothing else,
// so that participants agree without talking.
func foldOf(e Engine) int { return e.Unit % cmapssFolds }

// foldSums trains every participant on each fold's engines and merges: one update
// a fold. The first is the whole fleet's sum, then that of all folds but one each.
func (f *federation) foldSums(ctx context.Context, s *stage, family model.Family) (whole []fedavg.Vector, without [][]fedavg.Vector, err error) {
	layout := family.ParamLayout()
	updates := make([][][]fedavg.Vector, cmapssFolds)
	for k := range updates {
		updates[k] = make([][]fedavg.Vector, len(f.participants))
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for k := range cmapssFolds {
		for p, engines := range f.participants {
			g.Go(func() error {
				var sets []model.Set
				for i, e := range engines {
					if foldOf(e) == k {
						sets = append(sets, s.sets[p][i])
					}
				}
				if len(sets) == 0 {
					updates[k][p] = layout.New()
					return nil
				}
				trained, err := family.Train(gctx, layout.New(), sets, model.TrainOptions{})
				updates[k][p] = trained.Vectors
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	f.sent += 8 * layout.Size() * cmapssFolds
	folds := make([][]fedavg.Vector, cmapssFolds)
	for k := range folds {
		if folds[k], err = addUp(layout, updates[k]); err != nil {
			return nil, nil, err
		}
		updates[k] = nil
	}
	if whole, err = addUp(layout, folds); err != nil {
		return nil, nil, err
	}
	for k := range folds {
		var rest [][]fedavg.Vector
		for j := range folds {
			if j != k {
				rest = append(rest, folds[j])
			}
		}
		sum, err := addUp(layout, rest)
		if err != nil {
			return nil, nil, err
		}
		without = append(without, sum)
	}
	return whole, without, nil
}

// leftOut calls each with the calibration rows of every engine: their truths, and
// what the model says that has not seen the engine.
func (f *federation) leftOut(ctx context.Context, s *stage, family model.Family, without [][]fedavg.Vector, each func(p int, truth, predicted []float64) error) error {
	models := make([]model.Regressor, cmapssFolds)
	for k := range models {
		if without[k][0].F64[0] == 0 {
			return errNoFold
		}
		m, err := family.Load(without[k])
		if err != nil {
			return err
		}
		models[k] = m.(model.Regressor)
	}
	for p, engines := range f.participants {
		for i, e := range engines {
			if err := ctx.Err(); err != nil {
				return err
			}
			set := s.sets[p][i]
			from := 0
			for from < len(set.Rows)-1 && e.Len()-cmapssStride*(len(set.Rows)-1-from) < cmapssYoungest {
				from++
			}
			truth, predicted := make([]float64, len(set.Rows)-from), make([]float64, len(set.Rows)-from)
			for r, z := range set.Rows[from:] {
				truth[r] = math.Min(set.Targets[from+r], rulCap)
				predicted[r] = models[foldOf(e)].Predict(z)
			}
			if err := each(p, truth, predicted); err != nil {
				return err
			}
		}
	}
	return nil
}
