package model

import (
	"math"
	"testing"

	"github.com/millwright-iot/millwright/fedavg"
)

// plainFamily makes one step an epoch: all rows are one batch.
func plainFamily(t *testing.T, epochs int, proximal float64) Family {
	return family(t, Spec{Kind: KindAutoencoder, Autoencoder: &AutoencoderSpec{Hidden: []int{3}, Epochs: epochs, BatchSize: 1000, LearningRate: 0.02, Proximal: proximal}}, 4)
}

func trainWith(t *testing.T, f Family, o TrainOptions) Trained {
	t.Helper()
	got, err := f.Train(t.Context(), f.Init(1), []Set{{Rows: flat(60, 4, 1)}}, o)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func filled(layout fedavg.Layout, x float32) []fedavg.Vector {
	vs := layout.New()
	for _, v := range vs {
		for i := range v.F32 {
			v.F32[i] = x + float32(i)*1e-3
		}
	}
	return vs
}

// After one step y = x − η(g − c_k + c), so that relative to a step without
// control the delta differs by −η(c − c_k), and c_k⁺ = g, which is the plain delta over −η.
func TestTrain_ScaffoldStep(t *testing.T) {
	f := plainFamily(t, 1, 0)
	layout := fedavg.Scaffold{}.StateLayout(f.ParamLayout())
	server, own := filled(layout, 0.5), filled(layout, -0.25)
	plain := trainWith(t, f, TrainOptions{PlainSGD: true})
	if plain.OwnControl != nil || plain.Steps != 1 || len(plain.Vectors) != len(layout) {
		t.Errorf("plain descent: %d steps, %d vectors, control %v", int(plain.Steps), len(plain.Vectors), plain.OwnControl)
	}
	got := trainWith(t, f, TrainOptions{PlainSGD: true, ServerControl: server, OwnControl: own})
	if err := (fedavg.Scaffold{}).UpdateLayout(f.ParamLayout()).Check(got.Vectors); err != nil {
		t.Fatal(err)
	}
	n := len(layout)
	for k := range n - 1 {
		for i := range got.Vectors[k].F32 {
			c, ck := float64(server[k].F32[i]), float64(own[k].F32[i])
			gradient := -float64(plain.Vectors[k].F32[i]) / 0.02
			for what, pair := range map[string][2]float64{
				"delta":  {float64(got.Vectors[k].F32[i]), -0.02 * (gradient + c - ck)},
				"next":   {float64(got.OwnControl[k].F32[i]), gradient},
				"change": {float64(got.Vectors[n+k].F32[i]), gradient - ck},
			} {
				if math.Abs(pair[0]-pair[1]) > 1e-5 {
					t.Fatalf("%s of %s[%d] is %v, want %v", what, layout[k].Name, i, pair[0], pair[1])
				}
			}
		}
	}
	if last := got.Vectors[2*n-1]; last.F32[0] != 0 || got.Vectors[n-1].F32[0] != 1 {
		t.Errorf("the count of rounds changes by %v, its control by %v", got.Vectors[n-1].F32[0], last.F32[0])
	}
	if server[0].F32[0] != 0.5 || own[0].F32[0] != -0.25 {
		t.Error("the control variates were changed")
	}
	first := trainWith(t, f, TrainOptions{PlainSGD: true, ServerControl: layout.New()})
	if first.Vectors[0].F32[0] != plain.Vectors[0].F32[0] {
		t.Error("control variates of zero change the step")
	}
}

// With a proximal term step t still counts (1−ημ)^(K−1−t).
func TestTrain_Steps(t *testing.T) {
	if got := trainWith(t, plainFamily(t, 7, 0), TrainOptions{PlainSGD: true}).Steps; got != 7 {
		t.Errorf("%v steps", got)
	}
	want := 0.0
	for k := range 7 {
		want += math.Pow(1-0.02*5, float64(k))
	}
	for _, got := range []Trained{
		trainWith(t, plainFamily(t, 7, 5), TrainOptions{PlainSGD: true}),
		trainWith(t, plainFamily(t, 7, 0), TrainOptions{PlainSGD: true, Proximal: 5}),
	} {
		if math.Abs(got.Steps-want) > 1e-12 {
			t.Errorf("%v effective steps, want %v", got.Steps, want)
		}
	}
	if got := trainWith(t, plainFamily(t, 7, 0), TrainOptions{}).Steps; got != 0 {
		t.Errorf("Adam makes %v steps of gradient descent", got)
	}
}

func TestTrain_ProximalOption(t *testing.T) {
	distance := func(o TrainOptions) float64 {
		s := 0.0
		for _, v := range trainWith(t, plainFamily(t, 60, 0), o).Vectors[:4] {
			for _, x := range v.F32 {
				s += float64(x) * float64(x)
			}
		}
		return math.Sqrt(s)
	}
	for _, plain := range []bool{false, true} {
		if free, held := distance(TrainOptions{PlainSGD: plain}), distance(TrainOptions{PlainSGD: plain, Proximal: 10}); !(held < 0.5*free) {
			t.Errorf("plain %v: moves %v with the proximal term, %v without", plain, held, free)
		}
	}
}

func TestTrain_RefusesOptions(t *testing.T) {
	f := plainFamily(t, 1, 0)
	layout := fedavg.Scaffold{}.StateLayout(f.ParamLayout())
	bad := layout.New()
	bad[0].F32[1] = float32(math.NaN())
	for name, o := range map[string]TrainOptions{
		"control for Adam":  {ServerControl: layout.New()},
		"own control alone": {PlainSGD: true, OwnControl: layout.New()},
		"another layout":    {PlainSGD: true, ServerControl: f.ParamLayout().New()},
		"nan":               {PlainSGD: true, ServerControl: bad},
		"nan of its own":    {PlainSGD: true, ServerControl: layout.New(), OwnControl: bad},
		"own, other layout": {PlainSGD: true, ServerControl: layout.New(), OwnControl: layout[:1].New()},
	} {
		if _, err := f.Train(t.Context(), f.Init(1), []Set{{Rows: flat(6, 4, 1)}}, o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	g := family(t, Spec{Kind: KindGaussian}, 4)
	for _, o := range []TrainOptions{{Proximal: 1}, {PlainSGD: true}, {ServerControl: layout.New()}, {OwnControl: layout.New()}} {
		if _, err := g.Train(t.Context(), g.Init(1), []Set{{Rows: flat(6, 4, 1)}}, o); err == nil {
			t.Errorf("statistics take %+v", o)
		}
	}
}

// One step of plain descent is as long as the factor says, and SCAFFOLD's next control
// variate, the gradient, does not depend on it.
func TestTrain_RateFactor(t *testing.T) {
	f := plainFamily(t, 1, 0)
	layout := fedavg.Scaffold{}.StateLayout(f.ParamLayout())
	options := TrainOptions{PlainSGD: true, ServerControl: filled(layout, 0.1)}
	whole := trainWith(t, f, options)
	options.RateFactor = 0.25
	part := trainWith(t, f, options)
	for k := range len(layout) - 1 {
		for i, x := range whole.Vectors[k].F32 {
			if got, want := float64(part.Vectors[k].F32[i]), float64(x)/4; math.Abs(got-want) > 1e-7 {
				t.Fatalf("delta of %s[%d] is %v, want %v", layout[k].Name, i, got, want)
			}
			if got, want := part.OwnControl[k].F32[i], whole.OwnControl[k].F32[i]; math.Abs(float64(got-want)) > 1e-4 {
				t.Fatalf("control of %s[%d] is %v, want %v", layout[k].Name, i, got, want)
			}
		}
	}
}
