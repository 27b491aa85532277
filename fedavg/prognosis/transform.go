package prognosis

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
)

const (
	// stride: every third cycle is learned from, counted back from a life's last:
	// neighbours say nearly the same.
	stride = 3
	// Youngest is the least age, in cycles, of rows whose residuals count: intervals
	// of a younger machine are not calibrated.
	Youngest = 20
)

// transform is what makes features of rows; nil are stages not learned yet.
type transform struct {
	conditions *model.Conditions
	health     *model.Health
	scale      *model.Baseline
}

// errNoEnd says that no life that ended has been learned from.
var errNoEnd = errors.New("no life that ended was learned from")

// transform fits the stages in turn. On an error those before are there.
func (f *Family) transform(s transformSums) (t transform, err error) {
	if t.conditions, err = f.grid.Fit(s.conditions); err != nil {
		return t, err
	}
	if !f.health.Ended(s.health) {
		return t, errNoEnd
	}
	if t.health, err = f.health.Fit(s.health, f.spec.Components); err != nil {
		return t, err
	}
	t.scale, err = f.scale.Fit(s.scale)
	return t, err
}

// usedTransform is what the regression was summed under. All gateways used the same one,
// so their mean is it; of one that has been away since, it is the mean of sums.
func (f *Family) usedTransform(p parameters) (transform, error) {
	n := p.usedBy[0].F64[0]
	if !(n > 0) || math.IsInf(n, 0) {
		return transform{}, model.ErrNoRows
	}
	mean := func(sums []fedavg.Vector) []fedavg.Vector {
		part := slices.Clone(sums)
		for i, v := range part {
			part[i].F64 = slices.Clone(v.F64)
			for k := range v.F64 {
				part[i].F64[k] /= n
			}
		}
		return part
	}
	return f.transform(transformSums{mean(p.used.conditions), mean(p.used.health), mean(p.used.scale)})
}

// eachCycle calls fn with the normalised channels of each row of a life, valid during
// the call.
func (f *Family) eachCycle(ctx context.Context, c *model.Conditions, life model.Set, fn func(i int, z []float64) error) error {
	settings, z := make([]float64, len(f.columns.settings)), make([]float64, len(f.columns.channels))
	for i, row := range life.Rows {
		if i%256 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		f.columns.split(settings, z, row)
		if _, _, err := c.Normalize(z, settings, z); err != nil {
			return err
		}
		if err := fn(i, z); err != nil {
			return err
		}
	}
	return nil
}

// trajectory follows a life and returns the features of the cycles that are learned
// from, standardised if there is a scale, and their targets.
func (f *Family) trajectory(ctx context.Context, t transform, life model.Set) (model.Set, error) {
	set := model.Set{Machine: life.Machine}
	trajectory, h := NewTrajectory(t.health.Len()), make([]float64, t.health.Len())
	err := f.eachCycle(ctx, t.conditions, life, func(i int, z []float64) error {
		trajectory.Push(t.health.Indices(h, z))
		if target := life.Targets[i]; learned(life, i) {
			row := trajectory.Features(nil)
			if t.scale != nil {
				t.scale.Standardize(row, row)
			}
			set.Rows, set.Targets = append(set.Rows, row), append(set.Targets, target)
		}
		return nil
	})
	return set, err
}

// learned says whether cycle i of a life is learned from.
func learned(life model.Set, i int) bool {
	return life.Targets[i] >= 0 && (len(life.Rows)-1-i)%stride == 0
}

// Features returns the rows that the fourth stage of params was or would be summed over, a
// set for each of lives, with their targets. It is model.ErrUntrained before.
func (f *Family) Features(ctx context.Context, params []fedavg.Vector, lives []model.Set) ([]model.Set, error) {
	if err := f.check(params, lives); err != nil {
		return nil, err
	}
	t, err := f.usedTransform(f.split(params))
	if err != nil {
		return nil, untrained(err)
	}
	return f.trajectories(ctx, t, lives)
}

func (f *Family) trajectories(ctx context.Context, t transform, lives []model.Set) ([]model.Set, error) {
	sets := make([]model.Set, len(lives))
	for i, life := range lives {
		var err error
		if sets[i], err = f.trajectory(ctx, t, life); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

// untrained turns the errors of sums that count nothing, or none, into
// model.ErrUntrained.
func untrained(err error) error {
	if err == nil || errors.Is(err, model.ErrNoRows) || errors.Is(err, errNoEnd) {
		return model.ErrUntrained
	}
	return err
}
