package prognosis

import (
	"math"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/fedavg/model"
)

func TestFamily_BadInput(t *testing.T) {
	f := family(t, spec())
	good := lifeOf(1, 80, 0)
	broken := func(change func(*model.Set)) []model.Set {
		s := lifeOf(1, 80, 0)
		change(&s)
		return []model.Set{s}
	}
	for name, c := range map[string]struct {
		sets    []model.Set
		options model.TrainOptions
		want    string
	}{
		"nothing":       {nil, model.TrainOptions{}, "no cycles to learn from"},
		"NaN":           {broken(func(s *model.Set) { s.Rows[3][1] = math.NaN() }), model.TrainOptions{}, `machine "machine-1", cycle 3: feature 1 is NaN`},
		"short row":     {broken(func(s *model.Set) { s.Rows[3] = s.Rows[3][:2] }), model.TrainOptions{}, "cycle 3: has 2 features, want 3"},
		"few targets":   {broken(func(s *model.Set) { s.Targets = s.Targets[:9] }), model.TrainOptions{}, "has 9 targets for 80 cycles"},
		"target":        {broken(func(s *model.Set) { s.Targets[0] = math.Inf(1) }), model.TrainOptions{}, "cycle 0: target is +Inf"},
		"gradient only": {[]model.Set{good}, model.TrainOptions{PlainSGD: true}, "do not apply to statistics"},
	} {
		if _, err := f.Train(t.Context(), f.Init(1), c.sets, c.options); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := f.Fleet(f.Init(1)[1:]); err == nil {
		t.Error("loads parameters of another layout")
	}
	global := rounds(t, f, f.Init(1), Rounds, gateways(8))
	for i, v := range global {
		was := v.F64[0]
		v.F64[0] = math.NaN()
		if _, err := f.Fleet(global); err == nil && strings.HasPrefix(v.Name, "used") {
			t.Errorf("loads a NaN in %s (%d)", v.Name, i)
		}
		v.F64[0] = was
	}
}

func TestNew_BadInput(t *testing.T) {
	for want, s := range map[string]model.RULSpec{
		`"speeed" is none of the features; there are speed, wear, still`: {Settings: []model.RULSetting{{Feature: "speeed", ConditionAxis: model.ConditionAxis{Step: 1}}}},
		"rul.cap is -1":                   {Cap: -1},
		"rul.settings do not make a grid": {Settings: []model.RULSetting{{Feature: "speed"}}},
		"all features are settings": {Settings: []model.RULSetting{{Feature: "speed", ConditionAxis: model.ConditionAxis{Step: 1}},
			{Feature: "wear", ConditionAxis: model.ConditionAxis{Step: 1}}, {Feature: "still", ConditionAxis: model.ConditionAxis{Step: 1}}}},
		"more than": {Units: 2000, Members: 64},
	} {
		if _, err := New(s, names); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// Constant channels, two rows, channels that copy each other: an answer or ErrUntrained,
// never a NaN.
func TestFamily_DegenerateData(t *testing.T) {
	constant := func(s model.Set) model.Set {
		for _, row := range s.Rows {
			row[1], row[2] = 3, 3
		}
		return s
	}
	copied := func(s model.Set) model.Set {
		for _, row := range s.Rows {
			row[2] = row[1]
		}
		return s
	}
	for name, sets := range map[string][]model.Set{
		"constant":     {constant(lifeOf(0, 80, 0)), constant(lifeOf(1, 80, 0))},
		"two rows":     {{Machine: "a", Rows: [][]float64{cycle(0, 0, 2), cycle(0, 1, 2)}, Targets: []float64{1, 0}}},
		"one row":      {{Machine: "a", Rows: [][]float64{cycle(0, 0, 2)}, Targets: []float64{0}}},
		"copied":       {copied(lifeOf(0, 80, 0)), copied(lifeOf(1, 80, 0))},
		"nothing done": {lifeOf(0, 80, 0), {Machine: "b"}},
	} {
		s := spec()
		s.Components = 2
		f := family(t, s)
		global := rounds(t, f, f.Init(1), Rounds, map[string][]model.Set{"g": sets})
		fleet, err := f.Fleet(global)
		if err != nil {
			t.Log(name, err)
			continue
		}
		p, err := NewPredictor(fleet)
		if err != nil {
			t.Fatal(name, err)
		}
		for c := range 20 {
			if err := p.Push(cycle(3, c, 80)); err != nil {
				t.Fatal(err)
			}
			if e := p.Estimate(); !(e.RUL >= 0 && e.RUL <= 60 && e.Low >= 0 && e.High <= 60 && e.Low <= e.High) {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
}

// Expected numbers by hand: 1e4·(1+ln 10) for 1e5.
func TestSquash(t *testing.T) {
	for x, want := range map[float64]float64{3: 3, -1e4: -1e4, 1e5: 33025.850929940455, -1e5: -33025.850929940455} {
		if got := squash(x); math.Abs(got-want) > 1e-9*math.Abs(want) {
			t.Errorf("squash(%v) = %v, want %v", x, got, want)
		}
	}
}
