package model

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/fedavg"
)

func softmaxSpec(s SoftmaxSpec) Spec {
	if s.Classes == nil {
		s.Classes = []string{"good", "race", "ball"}
	}
	return Spec{Kind: KindSoftmax, Softmax: &s}
}

// scipy.special.softmax((W@z + b)/exp(float64(float32(0.3)))) with W = [[.5, −1], [−.25, .75], [1, .125]],
// b = [.5, −.25, 0], z = [.8, −1.2]: [0.7046203977943549, 0.05469850532338789, 0.24068109688225725].
func TestSoftmax_AgainstScipy(t *testing.T) {
	f := family(t, softmaxSpec(SoftmaxSpec{Healthy: "good"}), 2)
	params := []fedavg.Vector{
		{Name: "layer0.weight", F32: []float32{0.5, -1, -0.25, 0.75, 1, 0.125}}, {Name: "layer0.bias", F32: []float32{0.5, -0.25, 0}},
		{Name: "fleet", F32: []float32{1, 0.3, 0.5, 0.25, 0.25}},
	}
	m := load(t, f, params).(Classifier)
	z := []float64{0.8, -1.2}
	want := []float64{0.7046203977943549, 0.05469850532338789, 0.24068109688225725}
	for i, p := range m.Probabilities(nil, z) {
		wantNear(t, "probability", p, want[i], 1e-12)
	}
	if class, p := m.Classify(z); class != "good" || p != m.Probabilities(nil, z)[0] {
		t.Errorf("said %s, %v", class, p)
	}
	wantNear(t, "score", m.Score(z), 1-want[0], 1e-12)
	c, sum := m.Contributions(nil, z), 0.0
	for _, x := range c {
		sum += x
	}
	wantNear(t, "sum of contributions", sum, m.Score(z)*m.Score(z), 1e-12)
}

// The gradient against central differences of the loss, decay included.
func TestSoftmax_Gradient(t *testing.T) {
	net := newNetwork([]int{3, 4, 3})
	r := rand.New(rand.NewPCG(1, 2))
	for i := range net.params {
		net.params[i] = r.NormFloat64()
	}
	const decay = 0.05
	l := newCrossEntropy(net, [][]float64{{0.3, -1.2, 2}}, []int{1}, decay)
	l.weight = []float64{1, 1.5, 1}
	loss := func() float64 {
		s := 1.5 * crossEntropyOf(net.forward(l.rows[0]), 1, 1)
		for _, layer := range net.layers {
			for _, w := range layer.weight {
				s += decay / 2 * w * w
			}
		}
		return s
	}
	grad := make([]float64, len(net.params))
	l.gradient(grad, 0)
	const h = 1e-5
	for i := range net.params {
		at := net.params[i]
		net.params[i] = at + h
		above := loss()
		net.params[i] = at - h
		below := loss()
		net.params[i] = at
		if want := (above - below) / (2 * h); math.Abs(grad[i]-want) > 1e-8+1e-6*math.Abs(want) {
			t.Errorf("gradient %d is %v, differences give %v", i, grad[i], want)
		}
	}
}

// clouds draws rows around the corners of a triangle, counts of each class.
func clouds(seed uint64, counts ...int) Set {
	r := rand.New(rand.NewPCG(seed, 3))
	corners := [][]float64{{0, 0}, {3, 0}, {0, 3}}
	var s Set
	for class, n := range counts {
		for range n {
			s.Rows = append(s.Rows, []float64{corners[class][0] + r.NormFloat64(), corners[class][1] + r.NormFloat64()})
			s.Targets = append(s.Targets, float64(class))
		}
	}
	r.Shuffle(len(s.Rows), func(i, j int) {
		s.Rows[i], s.Rows[j] = s.Rows[j], s.Rows[i]
		s.Targets[i], s.Targets[j] = s.Targets[j], s.Targets[i]
	})
	return s
}

// overRounds trains participants by federated averaging.
func overRounds(t *testing.T, f Family, rounds int, participants ...[]Set) []fedavg.Vector {
	t.Helper()
	strategy, err := f.Learning().Strategy()
	if err != nil {
		t.Fatal(err)
	}
	params := f.Init(1)
	for round := range rounds {
		var updates fedavg.Slice
		for _, sets := range participants {
			got, err := f.Train(t.Context(), params, sets, TrainOptions{Seed: uint64(round)})
			if err != nil {
				t.Fatal(err)
			}
			updates = append(updates, &fedavg.Update{Weight: got.Weight, Vectors: got.Vectors, Metrics: got.Metrics})
		}
		result, err := strategy.Aggregate(params, nil, updates)
		if err != nil {
			t.Fatal(err)
		}
		params = result.Vectors
	}
	return params
}

func accuracy(m Classifier, s Set) (all float64, by []float64) {
	n := make([]float64, len(m.Classes()))
	by = make([]float64, len(n))
	for i, z := range s.Rows {
		y := int(s.Targets[i])
		n[y]++
		if largest(m.Probabilities(nil, z)) == y {
			by[y]++
			all += 1 / float64(len(s.Rows))
		}
	}
	for i := range by {
		by[i] /= n[i]
	}
	return all, by
}

// No participant has all classes, yet together they learn them; the fleet's shares of
// classes come out exactly. The best rule for these clouds, the nearest corner, is right for
// 0.908 of 60,000 rows drawn in numpy.
func TestSoftmax_FederatedFromPartsOfTheClasses(t *testing.T) {
	for name, spec := range map[string]SoftmaxSpec{"regression": {}, "perceptron": {Hidden: []int{6}}} {
		f := family(t, softmaxSpec(spec), 2)
		if _, err := f.Load(f.Init(1)); !errors.Is(err, ErrUntrained) {
			t.Errorf("%s: version 0 loads: %v", name, err)
		}
		params := overRounds(t, f, 25, []Set{clouds(1, 150, 0, 50)}, []Set{clouds(2, 50, 100, 0), clouds(3, 0, 50, 100)})
		shares := params[len(params)-1].F32[fleetShares:]
		for i, want := range []float64{0.4, 0.3, 0.3} { // 200, 150 and 150 of 500
			wantNear(t, "share", float64(shares[i]), want, 1e-6)
		}
		if got, by := accuracy(load(t, f, params).(Classifier), clouds(9, 2000, 2000, 2000)); got < 0.90 {
			t.Errorf("%s: %.3f right, by class %v", name, got, by)
		}
	}
}

// 2 % of a rare class: counted by rows it is missed more often than when classes weigh alike.
func TestSoftmax_BalancesClasses(t *testing.T) {
	rare := map[bool]float64{}
	for _, unbalanced := range []bool{false, true} {
		f := family(t, softmaxSpec(SoftmaxSpec{Unbalanced: unbalanced}), 2)
		params := overRounds(t, f, 30, []Set{clouds(1, 980, 490, 30)})
		_, by := accuracy(load(t, f, params).(Classifier), clouds(9, 1000, 1000, 1000))
		rare[unbalanced] = by[2]
	}
	if rare[false] < 0.88 || rare[false] < rare[true]+0.03 {
		t.Errorf("of the rare class, balanced %.3f are found, unbalanced %.3f", rare[false], rare[true])
	}
}

// Logits ten times too large, as those of a model that learned its rows by heart,
// call for T = 10 (times what the drawn labels differ). Labels are drawn from the true probabilities.
func TestSoftmax_Temperature(t *testing.T) {
	net := newNetwork([]int{2, 2})
	copy(net.params, []float64{10, 0, 0, 10, 0, 0})
	r := rand.New(rand.NewPCG(1, 1))
	var rows [][]float64
	var truth []int
	for range 20000 {
		z := []float64{2 * r.NormFloat64(), 2 * r.NormFloat64()}
		y := 0
		if r.Float64() > 1/(1+math.Exp(z[1]-z[0])) {
			y = 1
		}
		rows, truth = append(rows, z), append(truth, y)
	}
	logT, err := newCrossEntropy(net, rows, truth, 0).temperature(t.Context())
	if err != nil || math.Abs(math.Exp(logT)-10) > 0.7 {
		t.Errorf("temperature %v, want 10, %v", math.Exp(logT), err)
	}
}

// A row far from all training rows that lies between classes is unknown.
func TestSoftmax_Unknown(t *testing.T) {
	f := family(t, softmaxSpec(SoftmaxSpec{Unknown: 0.8}), 2)
	m := load(t, f, overRounds(t, f, 20, []Set{clouds(1, 200, 200, 200)})).(Classifier)
	if class, p := m.Classify([]float64{3, 3}); class != UnknownClass || p < 1./3 || p >= 0.8 {
		t.Errorf("between two classes: %s, %v", class, p)
	}
	if class, p := m.Classify([]float64{5, -1}); class != "race" || p < 0.8 {
		t.Errorf("deep in a class: %s, %v", class, p)
	}
}

func TestSoftmax_BadInput(t *testing.T) {
	f := family(t, softmaxSpec(SoftmaxSpec{}), 2)
	for want, set := range map[string]Set{
		"0 targets for 1 rows":                {Rows: [][]float64{{1, 2}}},
		"target is 3; it must be the number":  {Rows: [][]float64{{1, 2}}, Targets: []float64{3}},
		"target is -1; it must be the number": {Rows: [][]float64{{1, 2}}, Targets: []float64{-1}},
		"target is 0.5":                       {Rows: [][]float64{{1, 2}}, Targets: []float64{0.5}},
		"target is NaN":                       {Rows: [][]float64{{1, 2}}, Targets: []float64{math.NaN()}},
		"feature 1 is NaN":                    {Rows: [][]float64{{1, math.NaN()}}, Targets: []float64{1}},
		"no rows":                             {},
	} {
		if _, err := f.Train(t.Context(), f.Init(1), []Set{set}, TrainOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	// One row of one class is little, but no reason to fail.
	got, err := f.Train(t.Context(), f.Init(1), []Set{{Rows: [][]float64{{1, 2}}, Targets: []float64{1}}}, TrainOptions{})
	if err != nil {
		t.Fatal(err)
	}
	u := fedavg.Update{Weight: got.Weight, Vectors: got.Vectors, Metrics: got.Metrics}
	if err := u.Verify(f.ParamLayout()); err != nil {
		t.Error(err)
	}
	for want, spec := range map[string]SoftmaxSpec{
		"softmax.classes lists 1":               {Classes: []string{"a"}},
		"softmax.classes[1] is \"a\"":           {Classes: []string{"a", "a"}},
		"a class needs a name":                  {Classes: []string{"a", "unknown"}},
		"softmax.healthy is \"b\"":              {Healthy: "b"},
		"softmax.hidden[0] is 0":                {Hidden: []int{0}},
		"softmax.unknown is 1":                  {Unknown: 1},
		"softmax.learning_rate is -1":           {LearningRate: -1},
		"softmax.decay is NaN":                  {Decay: math.NaN()},
		"softmax.epochs is -1":                  {Epochs: -1},
		"softmax.batch_size is -1; it must be ": {BatchSize: -1},
	} {
		if _, err := NewFamily(softmaxSpec(spec), 2); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// A kind whose learning is told wrongly gets the wrong strategy.
func TestLearningOf_IsThatOfTheFamily(t *testing.T) {
	for _, kind := range Kinds() {
		if kind == KindRUL { // see package prognosis
			continue
		}
		spec := Spec{Kind: kind}
		if kind == KindSoftmax {
			spec = softmaxSpec(SoftmaxSpec{})
		}
		if got, want := LearningOf(kind), family(t, spec, 2).Learning(); got != want {
			t.Errorf("%s learns by %d, is said to by %d", kind, want, got)
		}
	}
}
