package prognosis

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
)

var names = []string{"speed", "wear", "still"}

func spec() model.RULSpec {
	return model.RULSpec{
		Settings: []model.RULSetting{{Feature: "speed", ConditionAxis: model.ConditionAxis{From: 0, To: 4, Step: 1}}},
		Cap:      60, Components: 1, Units: 40, Members: 2, Confidence: 0.5,
	}
}

func family(t testing.TB, s model.RULSpec) *Family {
	t.Helper()
	f, err := New(s, names)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// cycle c of machine m, which wears linearly from 0 to 1: operating points alternate and
// shift the one channel that shows wear; the other stands still.
func cycle(m, c, life int) []float64 {
	point := float64((m + c) % 2 * 4)
	wear := float64(c) / float64(life)
	return []float64{point, 100*point + wear*(1+point) + 0.01*math.Sin(float64(7*c+m)), 5}
}

// lifeOf machine m, to its end unless some cycles are missing at it.
func lifeOf(m, length, missing int) model.Set {
	set := model.Set{Machine: fmt.Sprintf("machine-%d", m)}
	for c := range length - missing {
		set.Rows = append(set.Rows, cycle(m, c, length))
		set.Targets = append(set.Targets, float64(length-1-c))
	}
	return set
}

// gateways hold two machines each, of so many in all, of unequal lives.
func gateways(machines int) map[string][]model.Set {
	all := map[string][]model.Set{}
	for m := range machines {
		name := fmt.Sprintf("gateway-%d", m/2)
		all[name] = append(all[name], lifeOf(m, 70+3*m, 0))
	}
	return all
}

// rounds federates so many rounds.
func rounds(t testing.TB, f *Family, global []fedavg.Vector, n int, gateways map[string][]model.Set) []fedavg.Vector {
	t.Helper()
	for range n {
		var updates fedavg.Slice
		for name, sets := range gateways {
			trained, err := f.Train(t.Context(), global, sets, model.TrainOptions{})
			if err != nil {
				t.Fatal(err)
			}
			updates = append(updates, &fedavg.Update{Agent: name, Weight: trained.Weight, Vectors: trained.Vectors, Metrics: trained.Metrics})
		}
		result, err := fedavg.Sum{}.Aggregate(global, nil, updates)
		if err != nil {
			t.Fatal(err)
		}
		global = result.Vectors
	}
	return global
}

// predictions of a fleet along lives that it has not seen.
func predictions(t testing.TB, f *Family, params []fedavg.Vector) (all []float64) {
	t.Helper()
	fleet, err := f.Fleet(params)
	if err != nil {
		t.Fatal(err)
	}
	for m := 30; m < 33; m++ {
		p, err := NewPredictor(fleet)
		if err != nil {
			t.Fatal(err)
		}
		for c := range 90 {
			if err := p.Push(cycle(m, c, 90)); err != nil {
				t.Fatal(err)
			}
			e := p.Estimate()
			all = append(all, e.RUL, e.Low, e.High)
		}
	}
	return all
}

func difference(a, b []float64) float64 {
	worst := 0.0
	for i := range a {
		worst = max(worst, math.Abs(a[i]-b[i])/max(1, math.Abs(b[i])))
	}
	return worst
}

// The fifth round over unchanged data is the fit over all of it, and so is any later one.
func TestFamily_FederatedEqualsCentral(t *testing.T) {
	f := family(t, spec())
	federated, central := gateways(8), map[string][]model.Set{}
	for g := range 4 {
		central["all"] = append(central["all"], federated[fmt.Sprintf("gateway-%d", g)]...)
	}
	one := rounds(t, f, f.Init(1), Rounds, central)
	want := predictions(t, f, one)
	many := rounds(t, f, f.Init(1), Rounds, federated)
	if d := difference(predictions(t, f, many), want); d > 1e-9 {
		t.Errorf("federated differs from central by %.2g", d)
	}
	if d := difference(predictions(t, f, rounds(t, f, many, 3, federated)), want); d > 1e-9 {
		t.Errorf("after three more rounds it differs by %.2g", d)
	}
	for i, x := range reference(t) {
		if math.Abs(x-want[3*i]) > 1e-9*max(1, x) {
			t.Fatalf("prediction %d is %v, fitted step by step %v", i, want[3*i], x)
		}
	}
}

// reference fits the same lives without rounds, from the parts of package model.
func reference(t *testing.T) (all []float64) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	grid, err := model.NewConditionGrid([]model.ConditionAxis{{From: 0, To: 4, Step: 1}}, 2)
	must(err)
	health, err := model.NewHealthSums(2, 60)
	must(err)
	conditionSums, healthSums := grid.Layout().New(), health.Layout().New()
	each := func(fn func(m, c, life int, settings, x []float64)) {
		for m := range 8 {
			for c := range 70 + 3*m {
				row := cycle(m, c, 70+3*m)
				fn(m, c, 70+3*m, row[:1], row[1:])
			}
		}
	}
	each(func(_, _, _ int, settings, x []float64) { must(grid.Add(conditionSums, settings, x)) })
	conditions, err := grid.Fit(conditionSums)
	must(err)
	var smooth *smoother
	each(func(_, c, life int, settings, x []float64) {
		if c == 0 {
			smooth = newSmoother(2)
		}
		z, _, err := conditions.Normalize(nil, settings, x)
		must(err)
		must(health.Add(healthSums, z, smooth.push(z), float64(life-1-c)))
	})
	indices, err := health.Fit(healthSums, 1)
	must(err)
	n := TrajectoryLen(2)
	scale, set := model.NewScaleSums(n), model.Set{}
	scaleSums := scale.Layout().New()
	var trajectory *Trajectory
	each(func(_, c, life int, settings, x []float64) {
		if c == 0 {
			trajectory = NewTrajectory(2)
		}
		z, _, err := conditions.Normalize(nil, settings, x)
		must(err)
		trajectory.Push(indices.Indices(nil, z))
		if (life-1-c)%3 == 0 {
			row := trajectory.Features(nil)
			must(scale.Add(scaleSums, row))
			set.Rows, set.Targets = append(set.Rows, row), append(set.Targets, float64(life-1-c))
		}
	})
	baseline, err := scale.Fit(scaleSums)
	must(err)
	for _, row := range set.Rows {
		baseline.Standardize(row, row)
	}
	ridge, err := model.NewFamily(model.Spec{Kind: model.KindRidge, Ridge: &model.RidgeSpec{Cap: 60, Units: 40, Members: 2, Lambda: 3}}, n)
	must(err)
	trained, err := ridge.Train(t.Context(), ridge.Init(1), []model.Set{set}, model.TrainOptions{})
	must(err)
	loaded, err := ridge.Load(trained.Vectors)
	must(err)
	for m := 30; m < 33; m++ {
		trajectory := NewTrajectory(2)
		for c := range 90 {
			row := cycle(m, c, 90)
			z, _, err := conditions.Normalize(nil, row[:1], row[1:])
			must(err)
			trajectory.Push(indices.Indices(nil, z))
			all = append(all, loaded.(model.Regressor).Predict(baseline.Standardize(nil, trajectory.Features(nil))))
		}
	}
	return all
}

// A gateway that is forgotten leaves no trace after the rounds that renew every stage.
func TestFamily_Forget(t *testing.T) {
	f := family(t, spec())
	with := gateways(8)
	global := rounds(t, f, f.Init(1), Rounds, with)
	before := predictions(t, f, global)
	delete(with, "gateway-3")
	want := predictions(t, f, rounds(t, f, f.Init(1), Rounds, with))
	if d := difference(before, want); d < 1e-6 {
		t.Fatalf("the gateway makes a difference of %.2g only", d)
	}
	if d := difference(predictions(t, f, rounds(t, f, global, Rounds, with)), want); d > 1e-9 {
		t.Errorf("without the gateway predictions differ by %.2g from a fit that never saw it", d)
	}
}

// What later stages were summed under travels with them: a model fits its features even
// in the round that changes what they are.
func TestFamily_ModelFitsItsFeatures(t *testing.T) {
	f := family(t, spec())
	fleet := gateways(8)
	global := rounds(t, f, f.Init(1), Rounds, fleet)
	want := predictions(t, f, global)
	for m := 8; m < 20; m++ { // machines that measure the wear at a tenth of its size arrive
		life := lifeOf(m, 75, 0)
		for _, row := range life.Rows {
			row[1] = 100*row[0] + (row[1]-100*row[0])/10
		}
		fleet["new"] = append(fleet["new"], life)
	}
	global = rounds(t, f, global, 1, fleet)
	p := f.split(global)
	used, err := f.usedTransform(p)
	if err != nil {
		t.Fatal(err)
	}
	newest, err := f.transform(p.newest)
	if err != nil {
		t.Fatal(err)
	}
	if used.conditions.Std(0, 0) == newest.conditions.Std(0, 0) {
		t.Fatal("the arrival changed nothing")
	}
	delete(fleet, "new")
	alone := rounds(t, f, f.Init(1), Rounds, fleet)
	if d := difference(predictions(t, f, alone), want); d > 1e-9 {
		t.Fatalf("differs by %.2g", d)
	}
	old, err := f.transform(f.split(alone).newest)
	if err != nil {
		t.Fatal(err)
	}
	for k := range 2 {
		if a, b := used.conditions.Std(k, 0), old.conditions.Std(k, 0); math.Abs(a-b) > 1e-9*b {
			t.Errorf("condition %d: regression was summed under a standard deviation of %v, and is used under %v", k, b, a)
		}
	}
}

func TestFamily_Learning(t *testing.T) {
	f := family(t, spec())
	if got := model.LearningOf(model.KindRUL); got != f.Learning() {
		t.Errorf("learns by %d, is said to by %d", f.Learning(), got)
	}
	if err := f.ParamLayout().Validate(); err != nil {
		t.Error(err)
	}
}

func TestFamily_Stages(t *testing.T) {
	f, fleet := family(t, spec()), gateways(8)
	global := f.Init(1)
	for round := 1; round <= Rounds; round++ {
		if _, err := f.Load(global); !errors.Is(err, model.ErrUntrained) && round <= 4 {
			t.Errorf("before round %d: %v, want ErrUntrained", round, err)
		}
		global = rounds(t, f, global, 1, fleet)
	}
	four := rounds(t, f, f.Init(1), 4, fleet)
	if fleet, err := f.Fleet(four); err != nil || fleet.Intervals != nil {
		t.Errorf("after four rounds: intervals %v, %v; want none", fleet.Intervals, err)
	}
	got, err := f.Fleet(global)
	if err != nil || got.Intervals == nil {
		t.Fatalf("after five rounds: %+v, %v", got, err)
	}
	total := 0.0
	for _, n := range got.Intervals.Machines() {
		total = max(total, n)
	}
	if total != 8 {
		t.Errorf("a class of intervals rests on %v lives, want 8", total)
	}
}

// Without a life that ended nothing is predicted, however many rounds there are.
func TestFamily_NoEnd(t *testing.T) {
	f := family(t, spec())
	running := model.Set{Machine: "machine-0"}
	for c := range 100 {
		running.Rows = append(running.Rows, cycle(0, c, 300))
		running.Targets = append(running.Targets, -1)
		if c < 40 {
			running.Targets[c] = 60
		}
	}
	global := rounds(t, f, f.Init(1), Rounds+1, map[string][]model.Set{"a": {running}})
	if _, err := f.Load(global); !errors.Is(err, model.ErrUntrained) {
		t.Errorf("got %v, want ErrUntrained", err)
	}
	// The first that ends is learned from, in as many rounds as its stages take.
	global = rounds(t, f, global, 3, map[string][]model.Set{"a": {running}, "b": {lifeOf(1, 80, 0)}})
	if _, err := f.Load(global); err != nil {
		t.Error(err)
	}
}

// A machine's residuals do not depend on what was learned from it.
func TestFamily_LeftOutIsHonest(t *testing.T) {
	s := spec()
	f, fleet := family(t, s), gateways(10)
	global := rounds(t, f, f.Init(1), 4, fleet)
	judge := func(params []fedavg.Vector, machine string) (predicted []float64) {
		t.Helper()
		for _, sets := range fleet {
			err := f.LeftOut(t.Context(), params, sets, func(life int, _, p []float64) error {
				if sets[life].Machine == machine {
					predicted = append(predicted, p...)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return predicted
	}
	before := judge(global, "machine-2")
	if len(before) != (76-20)/3+1 {
		t.Fatalf("%d predictions, want one for every third cycle from the 20th", len(before))
	}
	// What if the regression had learned nonsense from it?
	p := f.split(global)
	for i := range p.folds[foldOf("machine-2")][1].F64 {
		p.folds[foldOf("machine-2")][1].F64[i] *= 3
	}
	after := judge(global, "machine-2")
	if difference(before, after) != 0 {
		t.Error("its own rows change the prediction")
	}
	if difference(judge(global, "machine-3"), judge(rounds(t, f, f.Init(1), 4, fleet), "machine-3")) == 0 {
		t.Error("another machine's rows change nothing")
	}
}

// weak is a life that ends at half the wear.
func weak(m int) model.Set {
	set := lifeOf(m, 90, 45)
	for i := range set.Targets {
		set.Targets[i] -= 45
	}
	return set
}

func TestFamily_Forgetting(t *testing.T) {
	s := spec()
	s.Forgetting = 0.9
	f := family(t, s)
	// Machines used to fail half worn; then a part was made stronger.
	improved := map[string][]model.Set{}
	for m := range 6 {
		improved[fmt.Sprintf("gateway-%d", m)] = []model.Set{weak(m), weak(m), lifeOf(m, 90, 0)}
	}
	remember := s
	remember.Forgetting = 1
	g := family(t, remember)
	loss := func(f *Family) float64 {
		global := rounds(t, f, f.Init(1), 4, improved)
		var all squares
		for i, x := range predictions(t, f, global) {
			if i%3 == 0 {
				all.add(x - min(float64(89-i/3%90), 60))
			}
		}
		return all.mean()
	}
	if forgets, remembers := loss(f), loss(g); !(forgets < 0.8*remembers) {
		t.Errorf("loss %v with forgetting, %v without", forgets, remembers)
	}
}
