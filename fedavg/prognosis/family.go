package prognosis

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// Rounds is after how many rounds over unchanged data a fleet has learned all it can:
// the parameters are those of one fit over all of it.
const Rounds = 5

// Family learns remaining useful life. Its parameters are a chain of sums, of which each
// stage needs the fleet's result of the one before, so that each takes a round:
//
//  1. the operating conditions, and how each channel is distributed in them
//  2. the health indices that channels are condensed into
//  3. the scale of the features of a trajectory of indices
//  4. the regression of the remaining life on these features
//  5. the residuals on machines that the regression has not learned from
//
// Train sums up all stages that the global parameters allow, each anew, so that later
// rounds take up new data in every stage. With [fedavg.Sum] over the newest update of each
// gateway, data that does not change is learned exactly in Rounds rounds, whoever holds
// it. When a gateway is forgotten, its rows leave every stage at once, but what others
// summed under stages that had seen them is replaced only in the rounds that follow.
//
// The regression is summed together with the stages 1 to 3 that it was made under: model
// and features fit each other even while these change. It is summed in folds of machines,
// whose residuals are taken from the sum over the other folds.
//
// A Set is one life of a machine, a row each cycle in the order of Features from its first
// on, raw: what counts is the difference from the fleet. A target is the number of cycles
// left, negative where it is not known; of a life that ended it is known everywhere. The
// lives of one machine come oldest first.
//
// A Family is immutable and safe for concurrent use.
type Family struct {
	spec      model.RULSpec
	columns   Columns
	grid      *model.ConditionGrid
	health    *model.HealthSums
	scale     *model.ScaleSums
	ridge     model.Family
	residuals *model.ResidualSums
	layout    fedavg.Layout
}

var _ model.Family = (*Family)(nil)

// folds is into how many parts machines are divided to leave some out.
const folds = 5

// classes divide predictions for intervals, in 1/25 of the cap. Those above the last are of
// machines as good as new.
var classes = [...]float64{4, 8, 12, 16, 20, 23}

// New returns the family of spec for rows of the named features. The defaults of spec
// are filled in; an invalid one is an error that lists every problem.
func New(spec model.RULSpec, features []string) (*Family, error) {
	whole := model.Spec{Kind: model.KindRUL, RUL: &spec}.WithDefaults()
	var errs []error
	for _, p := range whole.Validate() {
		errs = append(errs, p)
	}
	if errs != nil {
		return nil, fmt.Errorf("make model family: %w", errors.Join(errs...))
	}
	f := &Family{spec: *whole.RUL}
	fail := func(err error) (*Family, error) { return nil, fmt.Errorf("make model family: %w", err) }
	var settings []string
	for _, s := range f.spec.Settings {
		settings = append(settings, s.Feature)
	}
	var err error
	if f.columns, err = NewColumns(features, settings); err != nil {
		return fail(err)
	}
	channels := len(f.columns.channels)
	f.spec.Components = min(f.spec.Components, channels)
	if f.grid, err = model.NewConditionGrid(f.spec.Axes(), channels); err != nil {
		return fail(err)
	}
	if f.health, err = model.NewHealthSums(channels, f.spec.Cap); err != nil {
		return fail(err)
	}
	n := TrajectoryLen(f.spec.Components + 1)
	f.scale = model.NewScaleSums(n)
	if f.ridge, err = model.NewFamily(f.spec.Regression(), n); err != nil {
		return fail(err)
	}
	if f.residuals, err = model.NewResidualSums(f.edges(), f.spec.Cap); err != nil {
		return fail(err)
	}
	for _, s := range f.sections() {
		for _, v := range s.layout {
			v.Name = s.name + "." + v.Name
			f.layout = append(f.layout, v)
		}
	}
	return f, nil
}

// edges divide predictions into classes.
func (f *Family) edges() []float64 {
	edges := make([]float64, len(classes))
	for i, c := range classes {
		edges[i] = f.spec.Cap * c / 25
	}
	return edges
}

// section is a run of vectors of the parameters.
type section struct {
	name   string
	layout fedavg.Layout
}

// sections lists all, in order; see parameters.
func (f *Family) sections() []section {
	var all []section
	for _, of := range []string{"", "used_"} {
		all = append(all, section{of + "conditions", f.grid.Layout()}, section{of + "health", f.health.Layout()}, section{of + "scale", f.scale.Layout()})
	}
	for k := range folds {
		all = append(all, section{fmt.Sprintf("fold%d", k), f.ridge.ParamLayout()})
	}
	return append(all, section{"residuals", f.residuals.Layout()}, section{"used_by", fedavg.Layout{{Name: "count", DType: fedavg.Float64, Len: 1}}})
}

// parameters are the sections of a family's parameters, sharing their memory.
type parameters struct {
	newest    transformSums          // of this round
	used      transformSums          // under which folds were summed, added up over usedBy gateways
	folds     [folds][]fedavg.Vector // regression over the machines of each fold
	residuals []fedavg.Vector
	usedBy    []fedavg.Vector // a single number
}

// transformSums make rows into features.
type transformSums struct{ conditions, health, scale []fedavg.Vector }

func (f *Family) split(params []fedavg.Vector) parameters {
	var parts [][]fedavg.Vector
	for _, s := range f.sections() {
		part := slices.Clone(params[:len(s.layout)])
		for i := range part {
			part[i].Name = s.layout[i].Name
		}
		parts, params = append(parts, part), params[len(s.layout):]
	}
	p := parameters{
		newest: transformSums{parts[0], parts[1], parts[2]}, used: transformSums{parts[3], parts[4], parts[5]},
		residuals: parts[len(parts)-2], usedBy: parts[len(parts)-1],
	}
	copy(p.folds[:], parts[6:])
	return p
}

// Learning implements model.Family.
func (f *Family) Learning() model.Learning { return model.Statistics }

// ParamLayout implements model.Family.
func (f *Family) ParamLayout() fedavg.Layout { return slices.Clone(f.layout) }

// Init implements model.Family: sums over no rows.
func (f *Family) Init(uint64) []fedavg.Vector { return f.layout.New() }

// Load implements model.Family. The Model is a model.Regressor of a Predictor's
// Features.
func (f *Family) Load(params []fedavg.Vector) (model.Model, error) {
	fleet, err := f.Fleet(params)
	if err != nil {
		return nil, err
	}
	return fleet.Model, nil
}

// Fleet makes what machines need of the parameters. It is model.ErrUntrained until the
// fourth stage has learned of a life that ended, and without Intervals until the fifth has.
func (f *Family) Fleet(params []fedavg.Vector) (Fleet, error) {
	if err := f.layout.Check(params); err != nil {
		return Fleet{}, fmt.Errorf("load prognosis: %w", err)
	}
	p := f.split(params)
	loaded, err := f.ridge.Load(f.sumFolds(p, -1))
	if errors.Is(err, model.ErrUntrained) {
		_, why := f.transform(p.newest)
		err = untrained(why) // perhaps more rounds do not help
	}
	if err != nil {
		return Fleet{}, fmt.Errorf("load prognosis: %w", err)
	}
	t, err := f.usedTransform(p)
	if err != nil {
		return Fleet{}, fmt.Errorf("load prognosis: %w", err)
	}
	fleet := Fleet{Columns: f.columns, Conditions: t.conditions, Health: t.health, Scale: t.scale, Model: loaded.(model.Regressor)}
	fleet.New = f.edges()[len(classes)-1]
	fleet.Intervals, err = f.residuals.Fit(p.residuals, f.spec.Confidence)
	if err != nil && !errors.Is(err, model.ErrNoRows) {
		return Fleet{}, fmt.Errorf("load prognosis: %w", err)
	}
	return fleet, nil
}

// sumFolds adds up the regression's sums over all folds but one; −1 leaves out none.
func (f *Family) sumFolds(p parameters, but int) []fedavg.Vector {
	sums := f.ridge.ParamLayout().New()
	for k, fold := range p.folds {
		if k == but {
			continue
		}
		for v := range sums {
			for i, x := range fold[v].F64 {
				sums[v].F64[i] += x
			}
		}
	}
	return sums
}

// foldOf says in which fold a machine is left out. It depends on the name alone, so that
// it is the same in every round; machines that are numbered spread evenly.
func foldOf(machine string) int {
	sum := 0
	for i := range len(machine) {
		sum += int(machine[i])
	}
	return sum % folds
}
