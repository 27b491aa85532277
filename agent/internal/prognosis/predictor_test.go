package prognosis

import (
	"math"
	"testing"

	"github.com/millwright-iot/millwright/fedavg/model"
)

// learned is a fleet of machines that wear linearly from 0 to 1 over 60 cycles
// in channel 0, at either of two operating points that shift it.
func learned(t testing.TB) Fleet {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	grid, err := model.NewConditionGrid([]model.ConditionAxis{{From: 0, To: 4, Step: 1}}, 2)
	must(err)
	health, err := model.NewHealthSums(2, 60)
	must(err)
	condition := grid.Layout().New()
	const machines, life = 6, 80
	for m := range machines {
		for c := range life {
			settings, x := cycle(m, c, life)
			must(grid.Add(condition, settings, x))
		}
	}
	var f Fleet
	f.Conditions, err = grid.Fit(condition)
	must(err)
	sums := health.Layout().New()
	for m := range machines {
		s := NewSmoother(2)
		for c := range life {
			settings, x := cycle(m, c, life)
			z, _, err := f.Conditions.Normalize(nil, settings, x)
			must(err)
			must(health.Add(sums, z, s.Push(z), float64(life-1-c)))
		}
	}
	f.Health, err = health.Fit(sums, 1)
	must(err)
	set := model.Set{}
	for m := range machines {
		tr := NewTrajectory(f.Health.Len())
		for c := range life {
			settings, x := cycle(m, c, life)
			z, _, err := f.Conditions.Normalize(nil, settings, x)
			must(err)
			tr.Push(f.Health.Indices(nil, z))
			set.Rows, set.Targets = append(set.Rows, tr.Features(nil)), append(set.Targets, float64(life-1-c))
		}
	}
	scale := model.NewScaleSums(TrajectoryLen(f.Health.Len()))
	scales := scale.Layout().New()
	for _, row := range set.Rows {
		must(scale.Add(scales, row))
	}
	f.Scale, err = scale.Fit(scales)
	must(err)
	for _, row := range set.Rows {
		f.Scale.Standardize(row, row)
	}
	family, err := model.NewFamily(model.Spec{Kind: model.KindRidge, Ridge: &model.RidgeSpec{Units: 50, Members: 1, Cap: 60}}, TrajectoryLen(f.Health.Len()))
	must(err)
	trained, err := family.Train(t.Context(), family.Init(1), []model.Set{set}, model.TrainOptions{})
	must(err)
	loaded, err := family.Load(trained.Vectors)
	must(err)
	f.Model = loaded.(model.Regressor)
	residuals, err := model.NewResidualSums(nil, 60)
	must(err)
	r := residuals.Layout().New()
	must(residuals.AddMachine(r, []float64{10, 10}, []float64{8, 12}))
	f.Intervals, err = residuals.Fit(r, 0.5)
	must(err)
	return f
}

// cycle c of machine m: operating points alternate, wear shows in channel 0.
func cycle(m, c, life int) (settings, x []float64) {
	point := float64((m + c) % 2 * 4)
	wear := float64(c) / float64(life)
	return []float64{point}, []float64{100*point + wear*(1+point) + 0.01*math.Sin(float64(7*c+m)), 5}
}

func TestPredictor_FollowsWear(t *testing.T) {
	f := learned(t)
	if f.Conditions.Len() != 2 {
		t.Fatalf("%d operating conditions, want 2", f.Conditions.Len())
	}
	p, err := NewPredictor(f)
	if err != nil {
		t.Fatal(err)
	}
	for c := range 80 {
		if err := p.Push(cycle(20, c, 80)); err != nil {
			t.Fatal(err)
		}
		e := p.Estimate()
		if want := min(float64(79-c), 60); c > 5 && math.Abs(e.RUL-want) > 5 {
			t.Errorf("cycle %d: RUL %.1f, want about %.0f", c, e.RUL, want)
		}
		if !(e.Low <= e.RUL && e.RUL <= e.High) || e.Condition != c%2 {
			t.Errorf("cycle %d: %+v", c, e)
		}
	}
}

func TestPredictor_BadInput(t *testing.T) {
	f := learned(t)
	p, err := NewPredictor(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Push(cycle(0, 0, 80)); err != nil {
		t.Fatal(err)
	}
	before := p.Estimate()
	if p.Push([]float64{0}, []float64{math.NaN(), 5}) == nil || p.Push([]float64{0, 1}, []float64{1, 5}) == nil || p.Push([]float64{math.Inf(1)}, []float64{1, 5}) == nil {
		t.Error("takes what is no cycle")
	}
	if after := p.Estimate(); after != before {
		t.Errorf("a refused row changed the estimate from %+v to %+v", before, after)
	}
	if _, err := NewPredictor(Fleet{}); err == nil {
		t.Error("predicts without a fleet")
	}
	f.Scale = model.NewBaseline(3)
	if _, err := NewPredictor(f); err == nil {
		t.Error("takes a scale of other features")
	}
}

// Nothing is allocated for a cycle.
func TestPredictor_Allocations(t *testing.T) {
	p, err := NewPredictor(learned(t))
	if err != nil {
		t.Fatal(err)
	}
	settings, x := cycle(1, 3, 80)
	if n := testing.AllocsPerRun(100, func() {
		if err := p.Push(settings, x); err != nil {
			t.Fatal(err)
		}
		p.Estimate()
	}); n != 0 {
		t.Errorf("%v allocations a cycle", n)
	}
}

func BenchmarkPredictor_Cycle(b *testing.B) {
	p, err := NewPredictor(learned(b))
	if err != nil {
		b.Fatal(err)
	}
	settings, x := cycle(1, 3, 80)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Push(settings, x); err != nil {
			b.Fatal(err)
		}
		p.Estimate()
	}
}
