package prognosis

import (
	"math"
	"testing"

	"github.com/millwright-iot/millwright/fedavg/model"
)

func follow(t testing.TB) *Predictor {
	t.Helper()
	f := family(t, spec())
	fleet, err := f.Fleet(rounds(t, f, f.Init(1), Rounds, gateways(8)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPredictor(fleet)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPredictor_FollowsWear(t *testing.T) {
	p := follow(t)
	if n := p.fleet.Conditions.Len(); n != 2 {
		t.Fatalf("%d operating conditions, want 2", n)
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
	p := follow(t)
	if err := p.Push(cycle(0, 0, 80)); err != nil {
		t.Fatal(err)
	}
	before := p.Estimate()
	for name, row := range map[string][]float64{"NaN": {0, math.NaN(), 5}, "short": {0, 5}, "infinite": {math.Inf(1), 1, 5}} {
		if p.Push(row) == nil {
			t.Errorf("takes a row that is %s", name)
		}
	}
	if after := p.Estimate(); after != before {
		t.Errorf("a refused row changed the estimate from %+v to %+v", before, after)
	}
	if err := p.Push([]float64{math.MaxFloat64, -math.MaxFloat64, 5}); err != nil {
		t.Error(err)
	}
	if e := p.Estimate(); !(e.RUL >= 0 && e.RUL <= 60) {
		t.Errorf("after an absurd row: %+v", e)
	}
	if _, err := NewPredictor(Fleet{}); err == nil {
		t.Error("predicts without a fleet")
	}
	fleet := p.fleet
	fleet.Scale = model.NewBaseline(3)
	if _, err := NewPredictor(fleet); err == nil {
		t.Error("takes a scale of other features")
	}
	fleet = p.fleet
	fleet.Columns = Columns{channels: []int{0}}
	if _, err := NewPredictor(fleet); err == nil {
		t.Error("takes other columns")
	}
}

// Nothing is allocated for a cycle.
func TestPredictor_Allocations(t *testing.T) {
	p, row := follow(t), cycle(1, 3, 80)
	if n := testing.AllocsPerRun(100, func() {
		if err := p.Push(row); err != nil {
			t.Fatal(err)
		}
		p.Estimate()
	}); n != 0 {
		t.Errorf("%v allocations a cycle", n)
	}
}

func BenchmarkPredictor_Cycle(b *testing.B) {
	p, row := follow(b), cycle(1, 3, 80)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Push(row); err != nil {
			b.Fatal(err)
		}
		p.Estimate()
	}
}
