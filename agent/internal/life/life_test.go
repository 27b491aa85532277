package life

import (
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

var start = time.Date(2026, 1, 5, 6, 0, 0, 0, time.UTC)

// at is the end of cycle n, counted from 1.
func at(n int) time.Time { return start.Add(time.Duration(n) * time.Hour) }

func cyclesOf(from, to int) (cycles []Cycle) {
	for n := from; n <= to; n++ {
		cycles = append(cycles, Cycle{at(n), []float64{float64(n)}, float64(n)})
	}
	return cycles
}

func TestLives_TargetsAreCyclesToTheEnd(t *testing.T) {
	lives := Lives("m", cyclesOf(1, 9), []End{{at(3).Add(time.Minute), true}, {at(8), false}}, 3, 100)
	var targets [][]float64
	for _, l := range lives {
		targets = append(targets, l.Targets)
	}
	// Failed after 3; maintained after 8, so of 4…8 only 4 and 5 had 3 or more left; 9 lasts.
	want := [][]float64{{2, 1, 0}, {3, 3, -1, -1, -1}, {-1}}
	if !reflect.DeepEqual(targets, want) {
		t.Errorf("targets %v, want %v", targets, want)
	}
	if lives[1].Rows[0][0] != 4 || lives[1].Machine != "m" {
		t.Errorf("second life begins with cycle %v of %s", lives[1].Rows[0], lives[1].Machine)
	}
}

func TestLives_NotWhole(t *testing.T) {
	lives := Lives("m", cyclesOf(5, 9), []End{{at(6), true}}, 3, 100)
	if len(lives) != 2 || !slices.Equal(lives[0].Targets, []float64{-1, -1}) {
		t.Errorf("got %v; how old the first was is not known", lives)
	}
}

func TestLives_Bounded(t *testing.T) {
	ends := []End{{at(4), true}, {at(6), true}}
	for most, want := range map[int][]int{100: {4, 2, 3}, 8: {2, 3}, 5: {2, 3}, 4: {3}, 2: {2}, 0: nil} {
		var got []int
		for _, l := range Lives("m", cyclesOf(1, 9), ends, 3, most) {
			got = append(got, len(l.Rows))
		}
		if !slices.Equal(got, want) {
			t.Errorf("at most %d: lives of %v cycles, want %v", most, got, want)
		}
	}
	if cut := Lives("m", cyclesOf(1, 9), []End{{at(9), true}}, 3, 2)[0]; cut.Rows[0][0] != 8 || cut.Targets[1] != -1 {
		t.Errorf("of a life that does not fit: %+v, want the newest two, with no targets", cut)
	}
	if got := Lives("m", nil, ends, 3, 10); got != nil {
		t.Errorf("without cycles: %v", got)
	}
}

func TestCurrent(t *testing.T) {
	all := cyclesOf(1, 9)
	for name, c := range map[string]struct {
		ends []End
		want int
	}{
		"none":               {nil, 9},
		"one":                {[]End{{at(3), true}}, 6},
		"two":                {[]End{{at(3), true}, {at(7), false}}, 2},
		"before all":         {[]End{{at(-3), true}}, 9},
		"at the last":        {[]End{{at(9), true}}, 0},
		"after all":          {[]End{{at(3), true}, {at(12), true}}, 0},
		"repair and failure": {[]End{{at(8), true}, {at(8).Add(time.Minute), false}}, 1},
	} {
		if got := Current(all, c.ends); len(got) != c.want {
			t.Errorf("%s: %d cycles, want %d", name, len(got), c.want)
		}
	}
}

func pumpLife() job.Spec {
	return job.Spec{
		Name: "life", Class: "pump",
		Features: job.FeatureSpec{Window: 10 * time.Second, Channels: []job.ChannelFeatures{
			{Channel: "wear", Features: []string{"mean"}}, {Channel: "speed", Features: []string{"mean"}},
		}},
		Model: model.Spec{Kind: model.KindRUL, RUL: &model.RULSpec{
			Cycle: 30 * time.Second, Cap: 60, Units: 40, Components: 1, Operation: &model.RULOperation{Feature: "speed.mean", Above: 5},
		}},
	}
}

func follower(t testing.TB) *Follower {
	t.Helper()
	f, err := New(pumpLife())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFollower_CyclesAreMeansOfWindowsInOperation(t *testing.T) {
	f := follower(t)
	var got [][]float64
	for i, x := range [][]float64{{1, 10}, {2, 20}, {100, 0}, {3, 30}, {4, 10}, {100, 5}, {5, 10}, {6, 10}} {
		cycle, err := f.Observe(at(i), x, true) // the job says itself what is off
		if err != nil {
			t.Fatal(err)
		}
		if cycle != nil {
			got = append(got, slices.Clone(cycle))
		}
	}
	if len(got) != 2 || math.Abs(got[0][0]-2) > 1e-12 || math.Abs(got[0][1]-20) > 1e-12 || math.Abs(got[1][0]-5) > 1e-12 || got[0][2] != 1 || got[1][2] != 2 {
		t.Errorf("cycles %v; want means 2 20 and 5 10, numbered", got)
	}
	if f.Age() != 2 || f.Newest() != 2 {
		t.Errorf("age %d, newest %d", f.Age(), f.Newest())
	}
}

func TestFollower_OffByOthers(t *testing.T) {
	spec := pumpLife()
	spec.Model.RUL.Operation = nil
	f, err := New(spec)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		if _, err := f.Observe(at(i), []float64{1, 1}, i < 6); err != nil {
			t.Fatal(err)
		}
	}
	if f.Age() != 1 {
		t.Errorf("%d cycles, want one of the 3 windows in operation", f.Age())
	}
}

// wear of cycle c in a life of so many, with a little noise that depends on the machine.
func wear(m, c, life int) []float64 {
	return []float64{float64(c)/float64(life) + 0.01*math.Sin(float64(7*c+m)), 20}
}

// learned is a model of ten machines that wear linearly over 70 to 97 cycles.
func learned(t testing.TB) []fedavg.Vector {
	t.Helper()
	family, err := pumpLife().Family()
	if err != nil {
		t.Fatal(err)
	}
	var lives []model.Set
	for m := range 10 {
		var cycles []Cycle
		for c := range 70 + 3*m {
			cycles = append(cycles, Cycle{at(c), wear(m, c, 70+3*m), float64(c + 1)})
		}
		lives = append(lives, Lives(string(rune('a'+m)), cycles, []End{{at(1000), true}}, 60, 1000)...)
	}
	global := family.Init(1)
	for range 5 {
		trained, err := family.Train(t.Context(), global, lives, model.TrainOptions{})
		if err != nil {
			t.Fatal(err)
		}
		global = trained.Vectors
	}
	return global
}

// use makes f use a model.
func use(t testing.TB, f *Follower, params []fedavg.Vector, version uint64) {
	t.Helper()
	p, err := f.Load(params)
	if err != nil {
		t.Fatal(err)
	}
	f.Use(p, version)
}

// three windows make a cycle.
func live(t testing.TB, f *Follower, c int) (stored Cycle) {
	t.Helper()
	for range 3 {
		cycle, err := f.Observe(at(c), wear(20, c, 85), false)
		if err != nil {
			t.Fatal(err)
		}
		if cycle != nil {
			stored = Cycles([]samples.Row{{At: at(c), Vector: slices.Clone(cycle)}}, 2)[0]
		}
	}
	return stored
}

func TestFollower_PredictsAndComesBack(t *testing.T) {
	f, params := follower(t), learned(t)
	if f.Life() != nil {
		t.Error("predicts without a model")
	}
	use(t, f, params, 7)
	const hour = 30. / 3600 // of a cycle
	var stored []Cycle
	for c := range 80 {
		stored = append(stored, live(t, f, c))
		l := f.Life()
		if l == nil || l.Job != "life" || l.ModelVersion != 7 || !l.At.Equal(at(c)) {
			t.Fatalf("cycle %d: %+v", c, l)
		}
		truth := min(float64(84-c), 60) * hour
		if c > 20 && math.Abs(l.Hours-truth) > 6*hour {
			t.Errorf("cycle %d: %.3f hours, want about %.3f", c, l.Hours, truth)
		}
		if want := 0.9; c >= 19 && (l.Confidence != want || !(l.Low <= l.Hours && l.Hours <= l.High)) || c < 19 && l.Confidence != 0 {
			t.Errorf("cycle %d: interval %v to %v with %v", c, l.Low, l.High, l.Confidence)
		}
		if c == 21 && !l.AtLeast || c == 60 && l.AtLeast {
			t.Errorf("cycle %d: %v hours at least: %v", c, l.Hours, l.AtLeast)
		}
	}
	want := *f.Life()
	again := follower(t)
	use(t, again, params, 7)
	again.Restart(stored, nil)
	if got := *again.Life(); got != want || again.Age() != 80 || again.Newest() != 80 {
		t.Errorf("after a restart %+v at age %d, before %+v", got, again.Age(), want)
	}
	// A failure was reported, ten cycles late: a new life has ten cycles.
	again.Restart(stored, []End{{at(69), true}})
	if again.Age() != 10 || again.Life().Confidence != 0 || again.Newest() != 80 {
		t.Errorf("after a failure: age %d, %+v", again.Age(), again.Life())
	}
	again.Restart(stored, []End{{at(500), true}})
	if again.Age() != 0 || again.Life() != nil {
		t.Errorf("with no cycle since: age %d, %+v", again.Age(), again.Life())
	}
}

func TestFollower_BadInput(t *testing.T) {
	f := follower(t)
	for name, x := range map[string][]float64{"short": {1}, "NaN": {math.NaN(), 20}, "infinite": {1, math.Inf(1)}} {
		if _, err := f.Observe(at(1), x, false); err == nil {
			t.Errorf("takes a window that is %s", name)
		}
	}
	f.Restart(Cycles([]samples.Row{{At: at(1), Vector: []float64{1, 2}}, {At: at(2), Vector: []float64{1, 2, 1}}}, 2), nil)
	if f.Age() != 1 {
		t.Errorf("%d cycles, want the one that has as many features", f.Age())
	}
	params := learned(t)
	if _, err := f.Load(params[1:]); err == nil {
		t.Error("takes parameters of another layout")
	}
	use(t, f, params, 1)
	f.Restart(nil, nil)
	for c := range 30 { // absurd, but finite
		for range 3 {
			if _, err := f.Observe(at(c), []float64{math.MaxFloat64, math.MaxFloat64}, false); err != nil {
				t.Fatal(err)
			}
		}
		if l := f.Life(); l == nil || !(l.Hours >= 0 && l.Hours <= 1 && l.Low >= 0 && l.High <= 1) {
			t.Fatalf("cycle %d: %+v", c, l)
		}
	}
	spec := pumpLife()
	spec.Model = model.Spec{Kind: model.KindRidge}
	if _, err := New(spec); err == nil {
		t.Error("serves a ridge, which has no targets here")
	}
	untrained := follower(t)
	family, _ := pumpLife().Family()
	use(t, untrained, family.Init(1), 1)
	untrained.Restart(cyclesOf(1, 3), nil)
	if untrained.Life() != nil || untrained.Version() != 1 {
		t.Errorf("parameters that learned nothing: %+v", untrained.Life())
	}
}

func TestFollower_AllocatesNothing(t *testing.T) {
	f := follower(t)
	use(t, f, learned(t), 1)
	f.Restart(nil, nil)
	x := wear(3, 40, 80)
	if n := testing.AllocsPerRun(300, func() {
		if _, err := f.Observe(start, x, false); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a window", n)
	}
}
