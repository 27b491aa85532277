package model

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millwright-iot/millwright/fedavg"
)

// numpy, float64: h = tanh([.5, −.25]@z + float32(.1)), y = [1.5, −.75]·h + [.25, −.5], z = [.8, −1.2]:
//
//	sqrt(mean((y−z)**2)) = 0.34623551369859357, (y−z)**2/2 = [0.09948260138763425, 0.020396429558494744]
func TestAutoencoder_AgainstNumpy(t *testing.T) {
	f := family(t, Spec{Kind: KindAutoencoder, Autoencoder: &AutoencoderSpec{Hidden: []int{1}}}, 2)
	params := []fedavg.Vector{
		{Name: "layer0.weight", F32: []float32{0.5, -0.25}}, {Name: "layer0.bias", F32: []float32{0.1}},
		{Name: "layer1.weight", F32: []float32{1.5, -0.75}}, {Name: "layer1.bias", F32: []float32{0.25, -0.5}},
		{Name: "rounds", F32: []float32{1}},
	}
	m := load(t, f, params)
	z := []float64{0.8, -1.2}
	wantNear(t, "score", m.Score(z), 0.34623551369859357, 1e-13)
	for i, want := range []float64{0.09948260138763425, 0.020396429558494744} {
		wantNear(t, "contribution", m.Contributions(nil, z)[i], want, 1e-12)
	}
}

// The gradient against central differences of the loss.
func TestNetwork_Gradient(t *testing.T) {
	n := newNetwork([]int{4, 5, 2, 5, 4})
	r := rand.New(rand.NewPCG(1, 1))
	for i := range n.params {
		n.params[i] = r.NormFloat64() * 0.5
	}
	x, target := []float64{0.3, -1.2, 2, 0.7}, []float64{1, 0.5, -0.4, 0.2}
	grad := make([]float64, len(n.params))
	n.forward(x)
	n.backward(grad, x, target)
	const h = 1e-5
	for i := range n.params {
		at := n.params[i]
		n.params[i] = at + h
		above := meanSquaredError(n.forward(x), target)
		n.params[i] = at - h
		below := meanSquaredError(n.forward(x), target)
		n.params[i] = at
		if want := (above - below) / (2 * h); math.Abs(grad[i]-want) > 1e-8+1e-6*math.Abs(want) {
			t.Errorf("gradient %d is %v, differences give %v", i, grad[i], want)
		}
	}
	// Gradients add up over rows.
	twice := append([]float64(nil), grad...)
	n.forward(x)
	n.backward(twice, x, target)
	for i := range grad {
		if twice[i] != 2*grad[i] {
			t.Fatalf("gradient %d does not add up", i)
		}
	}
}

// flat draws rows of p features that live near a plane.
func flat(n, p int, seed uint64) [][]float64 {
	r := rand.New(rand.NewPCG(seed, 7))
	rows := make([][]float64, n)
	for i := range rows {
		a, b := r.NormFloat64(), r.NormFloat64()
		rows[i] = make([]float64, p)
		for j := range rows[i] {
			rows[i][j] = a*math.Cos(float64(j)) + b*math.Sin(float64(j)) + 0.05*r.NormFloat64()
		}
	}
	return rows
}

// Three gateways learn over rounds, through updates on the wire: the loss falls, and what
// leaves the plane scores higher than what stays in it.
func TestAutoencoder_LearnsOverRounds(t *testing.T) {
	const p = 6
	f := family(t, Spec{Kind: KindAutoencoder, Autoencoder: &AutoencoderSpec{Hidden: []int{8, 2}}}, p)
	strategy, err := f.Learning().Strategy()
	if err != nil {
		t.Fatal(err)
	}
	params := f.Init(1)
	if _, err := f.Load(params); !errors.Is(err, ErrUntrained) {
		t.Errorf("version 0 loads: %v", err)
	}
	var losses []float64
	for round := range uint64(15) {
		var updates fedavg.Slice
		for g := range uint64(3) {
			got, err := f.Train(t.Context(), params, []Set{{Rows: flat(100, p, g)}, {Rows: flat(60, p, 10+g)}}, TrainOptions{Seed: round})
			if err != nil {
				t.Fatal(err)
			}
			if got.Metrics["loss_local"] >= got.Metrics["loss"] && round < 3 {
				t.Errorf("round %d, gateway %d: training took the loss from %v to %v", round, g, got.Metrics["loss"], got.Metrics["loss_local"])
			}
			updates = append(updates, &fedavg.Update{Weight: got.Weight, Vectors: got.Vectors, Metrics: got.Metrics})
		}
		result, err := strategy.Aggregate(params, nil, updates)
		if err != nil {
			t.Fatal(err)
		}
		params = result.Vectors
		losses = append(losses, result.Metrics["loss"])
	}
	if first, last := losses[0], losses[len(losses)-1]; last > 0.2*first {
		t.Errorf("loss over rounds: %v", losses)
	}
	if rounds := params[len(params)-1].F32[0]; rounds != 15 {
		t.Errorf("parameters count %v rounds", rounds)
	}
	m := load(t, f, params)
	worst := 0.0
	for _, z := range flat(200, p, 77) {
		worst = math.Max(worst, m.Score(z))
	}
	off := flat(1, p, 78)[0]
	off[3] += 6
	if s := m.Score(off); s <= worst {
		t.Errorf("off the plane %v, on it up to %v", s, worst)
	}
	if c := m.Contributions(nil, off); c[3] != max(c[0], c[1], c[2], c[3], c[4], c[5]) {
		t.Errorf("contributions %v do not name feature 3", c)
	}
}

func TestAutoencoder_SameSeedSameUpdate(t *testing.T) {
	f := family(t, Spec{Kind: KindAutoencoder}, 5)
	sets := []Set{{Rows: flat(70, 5, 1)}}
	global := f.Init(3)
	kept := f.Init(3)
	encode := func(seed uint64) []byte {
		got, err := f.Train(t.Context(), global, sets, TrainOptions{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		data, err := fedavg.EncodeUpdate(&fedavg.Update{Weight: got.Weight, Vectors: got.Vectors, Metrics: got.Metrics})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if !bytes.Equal(encode(4), encode(4)) {
		t.Error("the same seed trains differently")
	}
	if bytes.Equal(encode(4), encode(5)) {
		t.Error("another seed trains alike")
	}
	if diff := cmp.Diff(kept, global); diff != "" {
		t.Error("the global parameters were changed", diff)
	}
	if diff := cmp.Diff(flat(70, 5, 1), sets[0].Rows); diff != "" {
		t.Error("the rows were changed", diff)
	}
	if cmp.Equal(f.Init(3), f.Init(4)) {
		t.Error("another seed initialises alike")
	}
}

// A strong proximal term keeps the parameters near the global ones.
func TestAutoencoder_Proximal(t *testing.T) {
	distance := func(mu float64) float64 {
		f := family(t, Spec{Kind: KindAutoencoder, Autoencoder: &AutoencoderSpec{Hidden: []int{4}, Proximal: mu, Epochs: 20}}, 5)
		got := train(t, f, Set{Rows: flat(64, 5, 1)})
		s := 0.0
		for _, v := range got.Vectors[:len(got.Vectors)-1] {
			for _, x := range v.F32 {
				s += float64(x) * float64(x)
			}
		}
		return math.Sqrt(s)
	}
	free, held := distance(0), distance(10)
	if !(held < 0.3*free) {
		t.Errorf("moves %v with the proximal term, %v without", held, free)
	}
}

func TestAutoencoder_BadParameters(t *testing.T) {
	f := family(t, Spec{Kind: KindAutoencoder}, 3)
	params := f.Init(1)
	params[0].F32[2] = float32(math.NaN())
	var value *fedavg.ValueError
	if _, err := f.Load(params); !errors.As(err, &value) || value.Index != 2 {
		t.Errorf("nan: %v", err)
	}
	if _, err := f.Train(t.Context(), params[1:], []Set{{Rows: sixRows}}, TrainOptions{Seed: 1}); err == nil {
		t.Error("accepts parameters of another layout")
	}
	// A learning rate that throws the parameters out of float32 is said, not sent.
	wild := family(t, Spec{Kind: KindAutoencoder, Autoencoder: &AutoencoderSpec{LearningRate: 1e39}}, 3)
	if _, err := wild.Train(t.Context(), wild.Init(1), []Set{{Rows: sixRows}}, TrainOptions{Seed: 1}); err == nil {
		t.Error("sends parameters beyond float32")
	}
}

func TestAutoencoder_ScoreIsFinite(t *testing.T) {
	f := family(t, Spec{Kind: KindAutoencoder}, 3)
	params := f.Init(1)
	params[len(params)-1].F32[0] = 1
	m := load(t, f, params)
	z := []float64{math.MaxFloat64, -math.MaxFloat64, 1}
	if s := m.Score(z); !(s >= 0 && s <= math.MaxFloat64) {
		t.Errorf("score %v", s)
	}
	for _, c := range m.Contributions(nil, z) {
		if !(c >= 0 && c <= math.MaxFloat64) {
			t.Errorf("contribution %v", c)
		}
	}
}

func TestNewFamily_Refuses(t *testing.T) {
	for name, spec := range map[string]Spec{
		"no kind":      {},
		"unknown kind": {Kind: "forest"},
		"too large":    {Kind: KindAutoencoder, Autoencoder: &AutoencoderSpec{Hidden: []int{4096, 4096}}},
		"shrinkage":    {Kind: KindGaussian, Gaussian: &GaussianSpec{Shrinkage: 2}},
	} {
		if f, err := NewFamily(spec, 3); err == nil || f != nil {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
	if _, err := NewFamily(Spec{Kind: KindGaussian}, 0); err == nil {
		t.Error("accepts no features")
	}
	if _, err := Learning(9).Strategy(); err == nil {
		t.Error("accepts an unknown kind of learning")
	}
}
