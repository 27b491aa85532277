package model

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/millwright-iot/millwright/fedavg"
)

func smallRidge() Spec {
	return Spec{Kind: KindRidge, Ridge: &RidgeSpec{Units: 20, Members: 2, Lambda: 0.5, Cap: 100}}
}

// machines draws rows whose target bends with the first feature.
func machines(seed uint64, n, rows, features int) []Set {
	r := rand.New(rand.NewPCG(seed, 1))
	sets := make([]Set, n)
	for m := range sets {
		for range rows {
			z := make([]float64, features)
			for i := range z {
				z[i] = r.NormFloat64()
			}
			sets[m].Rows = append(sets[m].Rows, z)
			sets[m].Targets = append(sets[m].Targets, 20+30*math.Abs(z[0])+10*z[1])
		}
	}
	return sets
}

func regressor(t *testing.T, f Family, params []fedavg.Vector) Regressor {
	t.Helper()
	m, err := f.Load(params)
	if err != nil {
		t.Fatal(err)
	}
	return m.(Regressor)
}

// The normal equations must say what the least-squares problem says that they
// come from, solved here by QR of the rows themselves with √λ·D below them.
func TestRidge_AgainstLeastSquares(t *testing.T) {
	f := family(t, smallRidge(), 3).(*ridgeFamily)
	sets := machines(7, 1, 80, 3)
	model := regressor(t, f, train(t, f, sets...).Vectors)
	n, p := 80, f.width
	coef := make([]*mat.VecDense, 2)
	for m := range coef {
		a, y := mat.NewDense(n+p-1, p, nil), mat.NewVecDense(n+p-1, nil)
		for i, z := range sets[0].Rows {
			f.members[m].write(a.RawRowView(i), z)
			y.SetVec(i, snap(min(max(sets[0].Targets[i], 0), 100)))
		}
		for k := 1; k < p; k++ {
			a.Set(n+k-1, k, math.Sqrt(0.5))
		}
		var qr mat.QR
		qr.Factorize(a)
		coef[m] = mat.NewVecDense(p, nil)
		if err := qr.SolveVecTo(coef[m], false, y); err != nil {
			t.Fatal(err)
		}
	}
	for _, z := range machines(8, 1, 20, 3)[0].Rows {
		want, φ := 0.0, make([]float64, p)
		for m := range coef {
			f.members[m].write(φ, z)
			want += mat.Dot(coef[m], mat.NewVecDense(p, φ)) / 2
		}
		want = min(max(want, 0), 100)
		if got := model.Predict(z); math.Abs(got-want) > 1e-9*100 {
			t.Errorf("predicted %v, least squares say %v", got, want)
		}
	}
}

// Sums that went through the accumulator, in any division of the machines, are
// those of one fit over all rows: to the last bit, which is more than the 1e-9
// that is asked for.
func TestRidge_FederatedEqualsCentral(t *testing.T) {
	f := family(t, Spec{Kind: KindRidge, Ridge: &RidgeSpec{Units: 60, Members: 2}}, 5)
	sets := machines(1, 12, 40, 5)
	central := train(t, f, sets...)
	var updates fedavg.Slice
	for _, part := range [][]Set{sets[7:], sets[:1], sets[1:5], sets[5:7]} {
		u := train(t, f, part...)
		updates = append(updates, &fedavg.Update{Agent: "a", Weight: u.Weight, Vectors: u.Vectors})
	}
	merged, err := fedavg.Sum{}.Aggregate(f.Init(0), nil, updates)
	if err != nil {
		t.Fatal(err)
	}
	for v, want := range central.Vectors {
		for i, x := range want.F64 {
			if got := merged.Vectors[v].F64[i]; got != x {
				t.Fatalf("%s[%d]: federated %v, central %v", want.Name, i, got, x)
			}
		}
	}
	a, b := regressor(t, f, central.Vectors), regressor(t, f, merged.Vectors)
	for _, z := range machines(2, 1, 50, 5)[0].Rows {
		if x, y := a.Predict(z), b.Predict(z); math.Abs(x-y) > 1e-9*math.Abs(x) {
			t.Errorf("central predicts %v, federated %v", x, y)
		}
	}
}

func TestRidge_LearnsWhatBends(t *testing.T) {
	f := family(t, Spec{Kind: KindRidge, Ridge: &RidgeSpec{Units: 200, Members: 2, Cap: 200, Lambda: 0.1}}, 4)
	m := regressor(t, f, train(t, f, machines(3, 4, 400, 4)...).Vectors)
	test := machines(4, 1, 300, 4)[0]
	se, spread := 0.0, 0.0
	for i, z := range test.Rows {
		y := max(test.Targets[i], 0)
		se += (m.Predict(z) - y) * (m.Predict(z) - y)
		spread += (y - 44) * (y - 44) // mean of 20+30|z| is about 44
	}
	if se > 0.02*spread {
		t.Errorf("explains only %.3f of the variance", 1-se/spread)
	}
}

func TestRidge_Forgetting(t *testing.T) {
	f := family(t, Spec{Kind: KindRidge, Ridge: &RidgeSpec{Units: 1, Members: 1, Forgetting: 0.5}}, 1)
	set := Set{Rows: [][]float64{{1}, {2}, {4}}, Targets: []float64{8, 16, 32}}
	got := train(t, f, set).Vectors
	// Weights ¼, ½, 1: Σw, Σwz, then Σwzz after the unit of row 0; Σwy, Σwzy.
	for name, c := range map[string]struct{ got, want float64 }{
		"count": {got[0].F64[0], 1.75}, "sum": {got[0].F64[1], 5.25}, "square": {got[0].F64[3], 18.25},
		"target": {got[1].F64[0], 42}, "product": {got[1].F64[1], 146},
	} {
		if math.Abs(c.got-c.want) > 1e-12 {
			t.Errorf("%s: got %v, want %v", name, c.got, c.want)
		}
	}
}

// Fewer rows than coefficients, and features that never move.
func TestRidge_Singular(t *testing.T) {
	f := family(t, smallRidge(), 3)
	for name, set := range map[string]Set{
		"one row":   {Rows: [][]float64{{1, 2, 3}}, Targets: []float64{40}},
		"same rows": {Rows: [][]float64{{1, 1, 0}, {1, 1, 0}, {1, 1, 0}}, Targets: []float64{40, 40, 40}},
	} {
		m := regressor(t, f, train(t, f, set).Vectors)
		if got := m.Predict(set.Rows[0]); math.Abs(got-40) > 1e-6 {
			t.Errorf("%s: predicts %v of what it has seen, want 40", name, got)
		}
		if got := m.Predict([]float64{1e6, -1e6, 0}); !(got >= 0 && got <= 100) {
			t.Errorf("%s: predicts %v far away", name, got)
		}
	}
}

// Sums with noise, as privacy adds it, need not be positive definite.
func TestRidge_IndefiniteSums(t *testing.T) {
	f := family(t, smallRidge(), 3)
	sums := train(t, f, machines(5, 2, 50, 3)...).Vectors
	sums[0].F64[len(sums[0].F64)-1] = -3
	if p := regressor(t, f, sums).Predict([]float64{0, 0, 0}); !(p >= 0 && p <= 100) {
		t.Errorf("predicts %v", p)
	}
	sums[0].F64[len(sums[0].F64)-1] = -1e12
	if _, err := f.Load(sums); err == nil || !strings.Contains(err.Error(), "gram0 is far from positive definite") {
		t.Errorf("got %v", err)
	}
}

func TestRidge_Contributions(t *testing.T) {
	f := family(t, smallRidge(), 3)
	m := regressor(t, f, train(t, f, machines(6, 3, 60, 3)...).Vectors)
	z := []float64{-2, 0.1, 0}
	parts, sum := m.Contributions(nil, z), 0.0
	for _, c := range parts {
		sum += c
	}
	if s := m.Score(z); math.Abs(sum-s*s) > 1e-12 || !(s >= 0 && s <= 1) {
		t.Errorf("contributions sum to %v, score² is %v", sum, s*s)
	}
	if !(parts[0] > parts[1] && parts[2] == 0) {
		t.Errorf("feature 0 moves the prediction, feature 2 is at its mean: %v", parts)
	}
}

func TestRidge_BadInput(t *testing.T) {
	f := family(t, smallRidge(), 2)
	rows := [][]float64{{1, 2}, {3, 4}}
	for name, c := range map[string]struct {
		set  Set
		want string
	}{
		"no targets":      {Set{Machine: "m", Rows: rows}, `machine "m": has 0 targets for 2 rows`},
		"NaN target":      {Set{Machine: "m", Rows: rows, Targets: []float64{1, math.NaN()}}, "row 1: target is NaN"},
		"NaN feature":     {Set{Machine: "m", Rows: [][]float64{{1, math.NaN()}}, Targets: []float64{1}}, "feature 1 is NaN"},
		"too few columns": {Set{Machine: "m", Rows: [][]float64{{1}}, Targets: []float64{1}}, "has 1 features, want 2"},
		"nothing":         {Set{}, "no rows"},
	} {
		_, err := f.Train(context.Background(), f.Init(1), []Set{c.set}, TrainOptions{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
	if _, err := f.Load(f.Init(1)); !errors.Is(err, ErrUntrained) {
		t.Errorf("load of nothing: %v", err)
	}
	sums := train(t, f, Set{Rows: rows, Targets: []float64{1, 2}}).Vectors
	sums[1].F64[0] = math.NaN()
	if _, err := f.Load(sums); err == nil {
		t.Error("loads NaN")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Train(ctx, f.Init(1), machines(1, 1, 10, 2), TrainOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestSpec_RidgeAndMLPProblems(t *testing.T) {
	for path, s := range map[string]Spec{
		"ridge.lambda":     {Kind: KindRidge, Ridge: &RidgeSpec{Lambda: -1}},
		"ridge.units":      {Kind: KindRidge, Ridge: &RidgeSpec{Units: 1e6}},
		"ridge.forgetting": {Kind: KindRidge, Ridge: &RidgeSpec{Forgetting: 1.5}},
		"ridge.cap":        {Kind: KindRidge, Ridge: &RidgeSpec{Cap: math.Inf(1)}},
		"ridge":            {Kind: KindGaussian, Ridge: &RidgeSpec{}},
		"mlp.epochs":       {Kind: KindMLP, MLP: &MLPSpec{Epochs: -1}},
		"mlp.hidden[0]":    {Kind: KindMLP, MLP: &MLPSpec{Hidden: []int{-4}}},
		"mlp":              {Kind: KindSoftmax, Softmax: &SoftmaxSpec{Classes: []string{"a", "b"}}, MLP: &MLPSpec{}},
	} {
		if ps := s.Validate(); len(ps) != 1 || ps[0].Path != path {
			t.Errorf("got %v, want one problem at %s", ps, path)
		}
	}
}

func TestMLP_LearnsByRounds(t *testing.T) {
	f := family(t, Spec{Kind: KindMLP, MLP: &MLPSpec{Hidden: []int{12}, Cap: 100, LearningRate: 0.02, Epochs: 5}}, 3)
	global := f.Init(1)
	if _, err := f.Load(global); !errors.Is(err, ErrUntrained) {
		t.Errorf("load of nothing: %v", err)
	}
	sets := machines(9, 2, 100, 3)
	var first, last float64
	for round := range 12 {
		var updates fedavg.Slice
		for i := range sets {
			u, err := f.Train(t.Context(), global, sets[i:i+1], TrainOptions{Seed: uint64(round)})
			if err != nil {
				t.Fatal(err)
			}
			updates = append(updates, &fedavg.Update{Agent: sets[i].Machine, Weight: u.Weight, Vectors: u.Vectors, Metrics: u.Metrics})
		}
		r, err := fedavg.FedAvg{}.Aggregate(global, nil, updates)
		if err != nil {
			t.Fatal(err)
		}
		if global, last = r.Vectors, r.Metrics["loss"]; round == 0 {
			first = last
		}
	}
	if !(last < first/10) {
		t.Errorf("loss went from %v to %v", first, last)
	}
	m := regressor(t, f, global)
	if high, low := m.Predict([]float64{2, 0, 0}), m.Predict([]float64{0, 0, 0}); !(high > low+20 && high <= 100) {
		t.Errorf("predicts %v and %v, want about 80 and 20", high, low)
	}
	if _, err := f.Train(t.Context(), global, []Set{{Machine: "m", Rows: sets[0].Rows}}, TrainOptions{}); err == nil {
		t.Error("trains without targets")
	}
}

// The sums are the same on every processor, fused multiply-add or not: this
// digest was made on amd64 and found again on arm and arm64.
func TestRidge_SameBytesEverywhere(t *testing.T) {
	f := family(t, Spec{Kind: KindRidge, Ridge: &RidgeSpec{Units: 50, Members: 2, Seed: 11}}, 4)
	set := Set{}
	for i := range 200 {
		z := make([]float64, 4)
		for k := range z {
			z[k] = float64((i*(37+14*k)+k*k)%601-300) / 97
		}
		set.Rows, set.Targets = append(set.Rows, z), append(set.Targets, float64(i*i%131)/1.3)
	}
	h := sha256.New()
	for _, v := range train(t, f, set).Vectors {
		if err := binary.Write(h, binary.LittleEndian, v.F64); err != nil {
			t.Fatal(err)
		}
	}
	const want = "0cca0b87722d5a52505a7b0682a4bf597bcc134ad32f9ff0d3d3cc3eedb446f9"
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("digest of the sums is %s, want %s", got, want)
	}
}
