package infer

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The numbers are those of scipy: stats.theilslopes for the slope, the median of y −
// slope·(t − t[-1]) for the point, S by stats.kendalltau, and the inflation of its variance
// by the formula of Hamed and Rao on stats.rankdata.
func TestFitLine_AgainstScipy(t *testing.T) {
	for _, c := range []struct {
		name                      string
		y                         func(i float64) float64
		slope, score, z, inflated float64
	}{
		{"rise", func(i float64) float64 { return 0.02*i + 0.3*math.Sin(1.7*i)*0.2 }, 0.00033255038527956274, 0.4559657835640448, 5.580990676565532, 1},
		{"slow waves", func(i float64) float64 { return 0.01*i + 0.2*math.Sin(i/3) }, 0.00010402776083011285, 0.21887382411532053, 0.46357913206733375, 3.5070817580340266},
		{"fall", func(i float64) float64 { return -0.03*i + 0.1*math.Cos(2.3*i) }, -0.0005145837266083796, -0.706428378975045, -5.6305994825794485, 1},
		{"flat", func(i float64) float64 { return math.Cos(1.1 * i * i) }, -4.321161166861816e-05, -0.14264102159388467, -0.27284843307653717, 1},
	} {
		var points []trendPoint
		for i := range 24 {
			points = append(points, trendPoint{1000 + 60*float64(i), c.y(float64(i))})
		}
		l := fitLine(points, new([trendPairs]float64))
		for _, n := range []struct {
			name      string
			got, want float64
		}{{"slope", l.slope, c.slope}, {"score", l.score, c.score}, {"z", l.z, c.z}, {"time", l.at, 2380}, {"span", l.span, 1380}} {
			if math.Abs(n.got-n.want) > 1e-9*math.Max(1e-3, math.Abs(n.want)) {
				t.Errorf("%s: %s is %v, want %v", c.name, n.name, n.got, n.want)
			}
		}
		var residuals []float64
		for _, p := range points {
			residuals = append(residuals, p.Score-l.slope*p.At)
		}
		if got := kendallInflation(residuals); math.Abs(got-c.inflated) > 1e-9 {
			t.Errorf("%s: variance inflated by %v, want %v", c.name, got, c.inflated)
		}
	}
	if l := fitLine(make([]trendPoint, leastTrendBlocks-1), new([trendPairs]float64)); l != (trendLine{}) {
		t.Errorf("%d points make the line %+v", leastTrendBlocks-1, l)
	}
}

// red is noise that remembers: x ← ρx + √(1−ρ²)·ε.
func red(rng *rand.Rand, rho float64) func() float64 {
	x := rng.NormFloat64()
	return func() float64 {
		x = rho*x + math.Sqrt(1-rho*rho)*rng.NormFloat64()
		return x
	}
}

// growth takes a score from 0.35 to 1 while u goes from 0 to 1.
var growth = map[string]func(u float64) float64{
	"exponential": func(u float64) float64 { return 0.35 * math.Exp(u*math.Log(1/0.35)) },
	"quadratic":   func(u float64) float64 { return 0.35 + 0.65*u*u },
	"late":        func(u float64) float64 { return 0.35 * math.Exp(max(0, u-0.6)/0.4*math.Log(1/0.35)) },
	"linear":      func(u float64) float64 { return 0.35 + 0.65*u },
}

func TestTrend_TimeToThreshold(t *testing.T) {
	const n, window = 6000, 10 * time.Second
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, law := range growth {
		for seed := range uint64(4) {
			tr, noise := newTrend(), red(rand.New(rand.NewPCG(seed, 1)), 0.8)
			for i := range n * 9 / 10 {
				at := began.Add(time.Duration(i) * window)
				tr.add(at, law(float64(i)/n)*math.Exp(0.15*noise()))
				a := tr.advice(at, 1, false)
				if a != nil && a.HoursToAlarm != nil && *a.HoursToAlarm > 3*float64(i)*window.Hours() {
					t.Fatalf("%s: %v h ahead after %v h", name, *a.HoursToAlarm, float64(i)*window.Hours())
				}
			}
			now := began.Add(n * 9 / 10 * window)
			a, left := tr.advice(now, 1, false), n*window.Hours()/10
			if a == nil || a.HoursToAlarm == nil {
				t.Errorf("%s, seed %d: nothing told %v h before the threshold", name, seed, left)
				continue
			}
			// A straight line of logarithms: growth that does not accelerate is told too
			// early, never too late.
			if got := *a.HoursToAlarm; got > 1.9*left || got < 0.1*left && name != "linear" {
				t.Errorf("%s, seed %d: %v h to the threshold, want about %v", name, seed, got, left)
			}
			rate := (law(0.9) - law(0.89)) / (0.01 * n * window.Hours() / 24)
			if a.PerDay < rate/3 || a.PerDay > 3*rate {
				t.Errorf("%s, seed %d: %v a day, want about %v", name, seed, a.PerDay, rate)
			}
			if a := tr.advice(now, 1, true); a == nil || a.HoursToAlarm != nil {
				t.Errorf("%s, seed %d: told %+v during an alarm", name, seed, a)
			}
		}
	}
}

// What stays as it is has no trend, though it wanders.
func TestTrend_OfAHealthyMachine(t *testing.T) {
	if underRace {
		t.Skip("too slow under the race detector; make system-test runs it without")
	}
	for rho, most := range map[float64]float64{0: 0.0005, 0.9: 0.003, 0.99: 0.03} {
		told, hours, windows := 0, 0, 0
		for seed := range uint64(3) {
			tr, noise := newTrend(), red(rand.New(rand.NewPCG(seed, 2)), rho)
			for i := range 20000 {
				at := time.Unix(int64(i)*10, 0)
				tr.add(at, 0.4*math.Exp(0.25*noise()))
				if i < 1000 {
					continue
				}
				windows++
				if a := tr.advice(at, 1, false); a != nil {
					told++
					if a.HoursToAlarm != nil {
						hours++
					}
				}
			}
		}
		t.Logf("ρ = %v: a trend in %.2f %%, a time in %.2f %% of windows", rho, 100*float64(told)/float64(windows), 100*float64(hours)/float64(windows))
		if float64(hours) > most*float64(windows) || float64(told) > 3*most*float64(windows) {
			t.Errorf("ρ = %v: of %d windows, %d tell a trend and %d a time", rho, windows, told, hours)
		}
	}
}

func TestTrend_FallTellsNoTime(t *testing.T) {
	tr := newTrend()
	for i := range 400 {
		tr.add(time.Unix(int64(i)*60, 0), 0.9*math.Exp(-float64(i)/300))
	}
	a := tr.advice(time.Unix(400*60, 0), 1, false)
	if a == nil || a.PerDay >= 0 || a.HoursToAlarm != nil {
		t.Fatalf("trend is %+v", a)
	}
}

func TestTrend_BeyondTheHorizonTellsNoTime(t *testing.T) {
	tr := newTrend()
	for i := range 400 { // 0.4 → 0.44: the threshold is nine times as far again
		tr.add(time.Unix(int64(i)*60, 0), 0.4+0.04*float64(i)/400)
	}
	if a := tr.advice(time.Unix(400*60, 0), 1, false); a == nil || a.PerDay <= 0 || a.HoursToAlarm != nil {
		t.Fatalf("trend is %+v", a)
	}
}

func TestTrend_ReturnToWhereItWasTellsNothing(t *testing.T) {
	tr := newTrend()
	for i := range 3000 { // up and down by the day, to 0.9
		tr.add(time.Unix(int64(i)*300, 0), 0.6-0.3*math.Cos(2*math.Pi*float64(i)/288))
		if a := tr.advice(time.Unix(int64(i)*300, 0), 1, false); i > 600 && a != nil && a.PerDay > 0 && a.HoursToAlarm != nil {
			t.Fatalf("window %d: a swing seen before is told as %+v, %v h", i, *a, *a.HoursToAlarm)
		}
	}
}

func TestTrend_Clock(t *testing.T) {
	tr := newTrend()
	rise := func(from int64) {
		for i := range int64(300) {
			tr.add(time.Unix(from+i*60, 0), 0.3*math.Exp(float64(i)/400))
		}
	}
	rise(1e9)
	if tr.line.slope == 0 {
		t.Fatal("no trend")
	}
	tr.add(time.Unix(1e9, 0), 0.3) // an hour back
	if tr.line.slope != 0 || len(tr.levels[0].Blocks) != 0 {
		t.Errorf("after a clock that went back: %+v", tr.line)
	}
	rise(2e9) // years ahead
	if a := tr.advice(time.Unix(2e9+300*60, 0), 1, false); a != nil && (math.IsNaN(a.PerDay) || math.IsInf(a.PerDay, 0)) {
		t.Errorf("trend is %+v", a)
	}
}

func TestTrend_StateGoesOn(t *testing.T) {
	whole, noise := newTrend(), red(rand.New(rand.NewPCG(3, 3)), 0.5)
	var scores []float64
	for i := range 3000 {
		scores = append(scores, 0.3*math.Exp(float64(i)/4000+0.1*noise()))
	}
	part := newTrend()
	for i, s := range scores {
		at := time.Unix(int64(i)*10, 0)
		whole.add(at, s)
		if i%701 == 700 { // a restart
			data, err := json.Marshal(part.state())
			if err != nil {
				t.Fatal(err)
			}
			var levels []trendLevel
			if err := json.Unmarshal(data, &levels); err != nil {
				t.Fatal(err)
			}
			part = newTrend()
			if err := part.restore(levels); err != nil {
				t.Fatal(err)
			}
		}
		part.add(at, s)
		if whole.line != part.line {
			t.Fatalf("window %d: %+v after restarts, %+v without", i, part.line, whole.line)
		}
	}
	if whole.line.slope == 0 {
		t.Error("no trend to compare")
	}
}

func TestTrend_RefusesDamagedState(t *testing.T) {
	inf := math.Inf(1)
	for name, levels := range map[string][]trendLevel{
		"levels":     make([]trendLevel, trendLevels+1),
		"blocks":     {{Blocks: make([]trendPoint, trendBlocks+1)}},
		"part":       {{Part: []trendPoint{{1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 0}, {6, 0}, {7, 0}, {8, 0}}}},
		"order":      {{Blocks: []trendPoint{{2, 0}, {1, 0}}}},
		"not finite": {{Blocks: []trendPoint{{1, math.NaN()}}}},
		"infinite":   {{Blocks: []trendPoint{{1, -inf}}}},
		"no time":    {{Blocks: []trendPoint{{math.NaN(), 0}}}},
		"never":      {{Part: []trendPoint{{inf, 0}}}},
	} {
		tr := newTrend()
		tr.add(time.Unix(5, 0), 1)
		if err := tr.restore(levels); err == nil || len(tr.levels[0].Part) != 1 {
			t.Errorf("%s: %v, and the trend holds %+v", name, err, tr.levels[0].Part)
		}
	}
}

func TestTrend_RescaleIsAFactor(t *testing.T) {
	a, b := newTrend(), newTrend()
	for i := range 500 {
		s := 0.2 * math.Exp(float64(i)/900)
		a.add(time.Unix(int64(i), 0), s)
		b.add(time.Unix(int64(i), 0), 2*s)
	}
	a.rescale(2)
	x, y := a.advice(time.Unix(500, 0), 1, false), b.advice(time.Unix(500, 0), 1, false)
	if x == nil || y == nil || math.Abs(x.PerDay/y.PerDay-1) > 1e-9 || math.Abs(*x.HoursToAlarm / *y.HoursToAlarm - 1) > 1e-9 {
		t.Errorf("%+v rescaled, %+v of twice the score", x, y)
	}
}

func TestTrend_AllocatesNothing(t *testing.T) {
	tr, i := newTrend(), int64(0)
	step := func() {
		i++
		tr.add(time.Unix(i, 0), 0.1*math.Exp(float64(i)/5000))
		tr.advice(time.Unix(i, 0), 1, false)
	}
	for range 5000 {
		step()
	}
	if n := testing.AllocsPerRun(5000, step); n != 0 {
		t.Errorf("%v allocations a window", n)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		xs   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(slices.Clone(c.xs)); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.xs, got, c.want)
		}
	}
}
