package model

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millwright-iot/millwright/fedavg"
)

func family(t testing.TB, spec Spec, features int) Family {
	t.Helper()
	f, err := NewFamily(spec, features)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func train(t testing.TB, f Family, sets ...Set) Trained {
	t.Helper()
	got, err := f.Train(context.Background(), f.Init(1), sets, TrainOptions{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func load(t testing.TB, f Family, params []fedavg.Vector) Model {
	t.Helper()
	m, err := f.Load(params)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wantNear(t *testing.T, what string, got, want, relative float64) {
	t.Helper()
	if !(math.Abs(got-want) <= relative*math.Abs(want)) {
		t.Errorf("%s = %.17g, want %.17g", what, got, want)
	}
}

var sixRows = [][]float64{{0.5, -1.0, 0.2}, {-0.3, 0.8, -0.6}, {1.2, 0.1, 0.9}, {-1.1, -0.4, -1.3}, {0.4, 1.5, 0.3}, {-0.7, -1.0, 0.5}}

// Expected numbers are numpy's, for Z = sixRows and z = [1, -2, 3]:
//
//	mu = Z.mean(0); S = (Z-mu).T@(Z-mu)/len(Z); C = .9*S + .1*diag(diag(S)); y = z-mu
//	score² = y@inv(C)@y; D = diag(S.diagonal()**-.5); W = (D@C@D)**-.5 by eigh; contributions = (W@D@y)**2
//	loss = .5*(log(2*pi) + (log(det(C)) + mean of d²)/3), and .5*(log(2*pi) + mean of |z|²/3) before
func TestGaussian_AgainstNumpy(t *testing.T) {
	f := family(t, Spec{Kind: KindGaussian}, 3)
	first := train(t, f, Set{Machine: "m", Rows: sixRows})
	wantNear(t, "loss of version 0", first.Metrics["loss"], 1.2506051998713392, 1e-12)
	if first.Weight != 6 {
		t.Errorf("weight %v", first.Weight)
	}
	m := load(t, f, first.Vectors)
	z := []float64{1, -2, 3}
	wantNear(t, "score", m.Score(z), 4.768306661457286, 1e-12)
	for i, want := range []float64{0.0008996248700284812, 4.1048437200530605, 18.63100507277485} {
		wantNear(t, "contribution", m.Contributions(nil, z)[i], want, 1e-9)
	}
	second, err := f.Train(t.Context(), first.Vectors, []Set{{Machine: "m", Rows: sixRows}}, TrainOptions{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	wantNear(t, "loss of version 1", second.Metrics["loss"], 1.0446002123851286, 1e-12)
}

// numpy as above, with mean and S blended half and half with those of a machine
// of 4 rows, n₀ = 4.
func TestGaussian_LoadBlended(t *testing.T) {
	f := family(t, Spec{Kind: KindGaussian, Gaussian: &GaussianSpec{PriorRows: 4}}, 3).(LocalBlender)
	global := train(t, f, Set{Machine: "fleet", Rows: sixRows}).Vectors
	local := train(t, f, Set{Machine: "own", Rows: [][]float64{{0.1, 0.2, -0.3}, {0.4, -0.6, 0.8}, {-1.0, 0.5, 0.7}, {0.9, -0.2, 0.1}}}).Vectors
	z := []float64{1, -2, 3}
	m, err := f.LoadBlended(global, local)
	if err != nil {
		t.Fatal(err)
	}
	wantNear(t, "blended score", m.Score(z), 5.284100881655942, 1e-12)

	// Where one side knows nothing the other counts alone.
	for _, tt := range []struct {
		name                string
		global, local, want []fedavg.Vector
	}{{"only local", f.Init(1), local, local}, {"only global", global, f.Init(1), global}} {
		m, err := f.LoadBlended(tt.global, tt.local)
		if err != nil {
			t.Fatal(err)
		}
		wantNear(t, tt.name, m.Score(z), load(t, f, tt.want).Score(z), 0)
	}
	if _, err := f.LoadBlended(f.Init(1), f.Init(1)); !errors.Is(err, ErrUntrained) {
		t.Errorf("neither: %v", err)
	}
	if _, err := f.LoadBlended(global[:2], local); err == nil {
		t.Error("accepts parameters of another layout")
	}
}

// correlated draws rows with a common part, a constant feature last.
func correlated(n, p int, seed uint64) [][]float64 {
	r := rand.New(rand.NewPCG(seed, 9))
	rows := make([][]float64, n)
	for i := range rows {
		rows[i] = make([]float64, p)
		common := r.NormFloat64()
		for j := range p - 1 {
			rows[i][j] = 0.6*common + r.NormFloat64()*float64(j+1)/float64(p) + 0.1*float64(seed)
		}
	}
	return rows
}

// The federated fit equals the centralised one: the rows of seven machines on
// three gateways, aggregated through the wire's bytes, against one fit of all.
func TestGaussian_FederatedIsCentralised(t *testing.T) {
	const p = 6
	f := family(t, Spec{Kind: KindGaussian}, p)
	var updates fedavg.Slice
	var all []Set
	for g, machines := range []int{3, 1, 3} {
		var sets []Set
		for m := range machines {
			sets = append(sets, Set{Machine: "m", Rows: correlated(130+50*m+g, p, uint64(10*g+m))})
		}
		all = append(all, sets...)
		got := train(t, f, sets...)
		data, err := fedavg.EncodeUpdate(&fedavg.Update{Weight: got.Weight, Vectors: got.Vectors, Metrics: got.Metrics})
		if err != nil {
			t.Fatal(err)
		}
		u, err := fedavg.DecodeUpdate(data, f.ParamLayout())
		if err != nil {
			t.Fatal(err)
		}
		updates = append(updates, u)
	}
	strategy, err := f.Learning().Strategy()
	if err != nil {
		t.Fatal(err)
	}
	result, err := strategy.Aggregate(f.Init(1), nil, updates)
	if err != nil {
		t.Fatal(err)
	}
	central := train(t, f, all...)
	if result.Weight != central.Weight {
		t.Errorf("weight %v, want %v", result.Weight, central.Weight)
	}
	for v, want := range central.Vectors {
		for i, x := range want.F64 {
			if got := result.Vectors[v].F64[i]; math.Abs(got-x) > 1e-9*math.Max(1, math.Abs(x)) {
				t.Errorf("%s[%d] = %v, want %v", want.Name, i, got, x)
			}
		}
	}
	a, b := load(t, f, result.Vectors), load(t, f, central.Vectors)
	for _, z := range correlated(20, p, 99) {
		z[p-1] = 2
		wantNear(t, "score", a.Score(z), b.Score(z), 1e-9)
	}
}

func TestGaussian_ContributionsSumToSquare(t *testing.T) {
	const p = 5
	f := family(t, Spec{Kind: KindGaussian}, p)
	m := load(t, f, train(t, f, Set{Rows: correlated(300, p, 1)}).Vectors)
	for _, z := range correlated(50, p, 2) {
		z[p-1] = 0.5
		sum := 0.0
		for i, c := range m.Contributions(nil, z) {
			if c < 0 {
				t.Errorf("contribution %d is %v", i, c)
			}
			sum += c
		}
		wantNear(t, "sum of contributions", sum, m.Score(z)*m.Score(z), 1e-9)
	}
}

// A constant feature neither breaks the fit nor hides: its z counts as it is.
func TestGaussian_ConstantAndDuplicateFeatures(t *testing.T) {
	rows := correlated(200, 4, 3)
	for _, row := range rows {
		row[1] = row[0] // singular without shrinkage
	}
	f := family(t, Spec{Kind: KindGaussian}, 4)
	m := load(t, f, train(t, f, Set{Rows: rows}).Vectors)
	calm := append([]float64(nil), rows[0]...)
	moved := append([]float64(nil), calm...)
	moved[3] = 10
	a, b := m.Score(calm), m.Score(moved)
	wantNear(t, "score² with a moved constant", b*b, a*a+100, 1e-9)
	if c := m.Contributions(nil, moved); math.Abs(c[3]-100) > 1e-6 {
		t.Errorf("contributions %v", c)
	}
	// One pair of rows, fewer than features, must do.
	m = load(t, f, train(t, f, Set{Rows: rows[:2]}).Vectors)
	if s := m.Score(moved); !(s > 0) || math.IsInf(s, 0) {
		t.Errorf("score of a fit of two rows: %v", s)
	}
}

// A feature that follows the weather is left out, unless all do.
func TestGaussian_LeavesOutWanderers(t *testing.T) {
	rows := correlated(400, 3, 4)
	for i, row := range rows {
		row[2] = 3*math.Sin(2*math.Pi*float64(i)/400) + row[1]/10
	}
	f := family(t, Spec{Kind: KindGaussian}, 3)
	m := load(t, f, train(t, f, Set{Rows: rows}).Vectors)
	z := []float64{0.1, 0.2, 0.3}
	before := m.Score(z)
	z[2] = 1000
	wantNear(t, "score with a wanderer off", m.Score(z), before, 0)
	if c := m.Contributions([]float64{9, 9, 9}, z); c[2] != 0 {
		t.Errorf("contribution of the wanderer: %v", c[2])
	}
	keep := family(t, Spec{Kind: KindGaussian, Gaussian: &GaussianSpec{MaxWander: 1e-9}}, 3)
	if s := load(t, keep, train(t, keep, Set{Rows: rows}).Vectors).Score(z); s < 10 {
		t.Errorf("with every feature wandering the score is %v", s)
	}
}

func TestGaussian_ScoreIsFinite(t *testing.T) {
	f := family(t, Spec{Kind: KindGaussian}, 3)
	m := load(t, f, train(t, f, Set{Rows: sixRows}).Vectors)
	for _, z := range [][]float64{{math.MaxFloat64, -math.MaxFloat64, math.MaxFloat64}, {0, 0, 0}, {1e200, 0, 0}} {
		if s := m.Score(z); !(s >= 0 && s <= math.MaxFloat64) {
			t.Errorf("score of %v is %v", z, s)
		}
		for _, c := range m.Contributions(nil, z) {
			if !(c >= 0 && c <= math.MaxFloat64) {
				t.Errorf("contributions of %v hold %v", z, c)
			}
		}
	}
}

func TestGaussian_Untrained(t *testing.T) {
	f := family(t, Spec{Kind: KindGaussian}, 3)
	if _, err := f.Load(f.Init(1)); !errors.Is(err, ErrUntrained) {
		t.Errorf("no rows: %v", err)
	}
	if _, err := f.Load(train(t, f, Set{Rows: sixRows[:1]}).Vectors); !errors.Is(err, ErrUntrained) {
		t.Errorf("one row: %v", err)
	}
}

// Parameters that no rows can have led to are errors, not panics or NaN.
func TestGaussian_ImpossibleParameters(t *testing.T) {
	f := family(t, Spec{Kind: KindGaussian}, 3)
	for name, spoil := range map[string]func([]fedavg.Vector){
		"not a covariance": func(p []fedavg.Vector) { p[gaussianOuter].F64[1] = 100 },
		"negative count":   func(p []fedavg.Vector) { p[gaussianCount].F64[0] = -3 },
		"nan count":        func(p []fedavg.Vector) { p[gaussianCount].F64[0] = math.NaN() },
		"infinite square":  func(p []fedavg.Vector) { p[gaussianOuter].F64[0] = math.Inf(1) },
		"overflow":         func(p []fedavg.Vector) { p[gaussianSum].F64[0] = 1e300 },
		"layout":           func(p []fedavg.Vector) { p[gaussianSum].F64 = p[gaussianSum].F64[:2] },
	} {
		params := train(t, f, Set{Rows: sixRows}).Vectors
		spoil(params)
		if m, err := f.Load(params); err == nil {
			t.Errorf("%s: loads, and scores %v", name, m.Score([]float64{1, 2, 3}))
		}
		if _, err := f.Train(t.Context(), params, []Set{{Rows: sixRows}}, TrainOptions{Seed: 1}); err == nil {
			t.Errorf("%s: trains", name)
		}
	}
}

func TestFamilies_RefuseRows(t *testing.T) {
	for _, kind := range []string{KindGaussian, KindAutoencoder} {
		f := family(t, Spec{Kind: kind}, 3)
		for name, sets := range map[string][]Set{
			"no sets":   nil,
			"no rows":   {{Machine: "m"}},
			"short row": {{Machine: "m", Rows: [][]float64{{1, 2}}}},
			"nan":       {{Machine: "m", Rows: [][]float64{{1, 2, math.NaN()}}}},
			"raw rows":  {{Machine: "m", Rows: [][]float64{{1, 2, 1e7}}}},
		} {
			if _, err := f.Train(t.Context(), f.Init(1), sets, TrainOptions{Seed: 1}); err == nil {
				t.Errorf("%s: accepts %s", kind, name)
			}
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := f.Train(ended, f.Init(1), []Set{{Rows: sixRows}}, TrainOptions{Seed: 1}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: after cancel: %v", kind, err)
		}
	}
}

func TestModels_ScoreWithoutAllocating(t *testing.T) {
	for _, kind := range []string{KindGaussian, KindAutoencoder} {
		const p = 12
		f := family(t, Spec{Kind: kind}, p)
		params := f.Init(1)
		trained := train(t, f, Set{Rows: correlated(50, p, 1)})
		strategy, err := f.Learning().Strategy()
		if err != nil {
			t.Fatal(err)
		}
		result, err := strategy.Aggregate(params, nil, fedavg.Slice{{Weight: 1, Vectors: trained.Vectors}})
		if err != nil {
			t.Fatal(err)
		}
		m, z, dst := load(t, f, result.Vectors), make([]float64, p), make([]float64, p)
		if n := testing.AllocsPerRun(100, func() { z[0] += m.Score(z); m.Contributions(dst, z) }); n != 0 {
			t.Errorf("%s allocates %v times a window", kind, n)
		}
	}
}
