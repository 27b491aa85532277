package prognosis

import (
	"context"
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// Train implements model.Family; see there for what sets hold. The weight is the number
// of cycles. Metric "loss" is the mean squared error, in cycles, of the targets under the
// global parameters received, or while these are untrained, around their own mean;
// "left_out_loss" that on machines left out, once it can be told.
func (f *Family) Train(ctx context.Context, global []fedavg.Vector, sets []model.Set, options model.TrainOptions) (model.Trained, error) {
	fail := func(err error) (model.Trained, error) {
		return model.Trained{}, fmt.Errorf("train prognosis: %w", err)
	}
	if err := options.Plain(); err != nil {
		return fail(err)
	}
	if err := f.check(global, sets); err != nil {
		return fail(err)
	}
	vectors := f.layout.New()
	have, sums := f.split(global), f.split(vectors)
	rows, err := f.sumConditions(ctx, sums.newest.conditions, sets)
	if err != nil {
		return fail(err)
	}
	// What cannot be fitted yet is no reason not to sum up what comes before it: else
	// the sums could never get better. Fleet says what is wrong with them.
	now, _ := f.transform(have.newest)
	if now.conditions != nil {
		if err := f.sumHealth(ctx, now, sums.newest.health, sets); err != nil {
			return fail(err)
		}
	}
	if now.health != nil {
		if err := f.sumRegression(ctx, now, have, sums, sets); err != nil {
			return fail(err)
		}
	}
	metrics, err := f.judge(ctx, global, sums.residuals, sets)
	if err != nil {
		return fail(err)
	}
	return model.Trained{Vectors: vectors, Weight: float64(rows), Metrics: metrics}, ctx.Err()
}

// check refuses what Train must not learn from, naming machine and row.
func (f *Family) check(params []fedavg.Vector, lives []model.Set) error {
	if err := f.layout.Check(params); err != nil {
		return err
	}
	n := 0
	for _, life := range lives {
		n += len(life.Rows)
		if len(life.Targets) != len(life.Rows) {
			return fmt.Errorf("machine %q: has %d targets for %d cycles; give each one, negative where it is not known", life.Machine, len(life.Targets), len(life.Rows))
		}
		for i, row := range life.Rows {
			if err := f.columns.check(row); err != nil {
				return fmt.Errorf("machine %q, cycle %d: %w", life.Machine, i, err)
			}
			if y := life.Targets[i]; math.IsNaN(y) || math.IsInf(y, 0) {
				return fmt.Errorf("machine %q, cycle %d: target is %v", life.Machine, i, y)
			}
		}
	}
	if n == 0 {
		return fmt.Errorf("no cycles to learn from in any of %d lives", len(lives))
	}
	return nil
}

func (f *Family) sumConditions(ctx context.Context, sums []fedavg.Vector, lives []model.Set) (rows int, err error) {
	settings, x := make([]float64, len(f.columns.settings)), make([]float64, len(f.columns.channels))
	for _, life := range lives {
		for i, row := range life.Rows {
			if i%256 == 0 && ctx.Err() != nil {
				return 0, ctx.Err()
			}
			f.columns.split(settings, x, row)
			if err := f.grid.Add(sums, settings, x); err != nil {
				return 0, fmt.Errorf("machine %q, cycle %d: %w", life.Machine, i, err)
			}
		}
		rows += len(life.Rows)
	}
	return rows, nil
}

func (f *Family) sumHealth(ctx context.Context, t transform, sums []fedavg.Vector, lives []model.Set) error {
	for _, life := range lives {
		smooth := newSmoother(len(f.columns.channels))
		err := f.eachCycle(ctx, t.conditions, life, func(i int, z []float64) error {
			s := smooth.push(z)
			if life.Targets[i] < 0 {
				return nil
			}
			return f.health.Add(sums, z, s, life.Targets[i])
		})
		if err != nil {
			return fmt.Errorf("machine %q: %w", life.Machine, err)
		}
	}
	return nil
}

// sumRegression sums up the scale of features and, where there is one, the regression.
func (f *Family) sumRegression(ctx context.Context, t transform, have, sums parameters, lives []model.Set) error {
	scale := t.scale
	t.scale = nil
	sets, err := f.trajectories(ctx, t, lives)
	if err != nil {
		return err
	}
	for _, set := range sets {
		for _, row := range set.Rows {
			if err := f.scale.Add(sums.newest.scale, row); err != nil {
				return fmt.Errorf("machine %q: %w", set.Machine, err)
			}
		}
	}
	if scale == nil {
		return nil
	}
	var parts [folds][]model.Set // a set for each machine
	for _, set := range sets {
		for _, row := range set.Rows {
			scale.Standardize(row, row)
		}
		part := &parts[foldOf(set.Machine)]
		at := indexOf(*part, set.Machine)
		if at < 0 {
			*part = append(*part, set)
			continue
		}
		(*part)[at].Rows = append((*part)[at].Rows, set.Rows...)
		(*part)[at].Targets = append((*part)[at].Targets, set.Targets...)
	}
	for k, part := range parts {
		if len(part) == 0 || count(part) == 0 {
			continue
		}
		trained, err := f.ridge.Train(ctx, f.ridge.Init(0), part, model.TrainOptions{})
		if err != nil {
			return err
		}
		copyVectors(sums.folds[k], trained.Vectors)
		sums.usedBy[0].F64[0] = 1
		copyVectors(sums.used.conditions, have.newest.conditions)
		copyVectors(sums.used.health, have.newest.health)
		copyVectors(sums.used.scale, have.newest.scale)
	}
	return nil
}

func indexOf(sets []model.Set, machine string) int {
	for i, s := range sets {
		if s.Machine == machine {
			return i
		}
	}
	return -1
}

func count(sets []model.Set) int {
	n := 0
	for _, s := range sets {
		n += len(s.Rows)
	}
	return n
}

func copyVectors(dst, src []fedavg.Vector) {
	for i := range dst {
		copy(dst[i].F64, src[i].F64)
	}
}
