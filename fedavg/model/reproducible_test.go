package model

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/millwright-iot/millwright/fedavg"
)

var update = flag.Bool("update", false, "write testdata/reproducible.json anew")

// reproducibleSpecs is a family of each kind that this package makes.
var reproducibleSpecs = map[string]Spec{
	KindGaussian:    {Kind: KindGaussian},
	KindAutoencoder: {Kind: KindAutoencoder, Autoencoder: &AutoencoderSpec{Hidden: []int{5, 2}, Epochs: 3}},
	KindRidge:       {Kind: KindRidge, Ridge: &RidgeSpec{Units: 40, Members: 2}},
	KindMLP:         {Kind: KindMLP, MLP: &MLPSpec{Hidden: []int{8, 4}, Epochs: 3}},
	KindSoftmax:     {Kind: KindSoftmax, Softmax: &SoftmaxSpec{Classes: []string{"good", "worn", "bent"}, Healthy: "good", Hidden: []int{6}, Epochs: 3}},
}

// reproduced is what two rounds with three agents lead to: of each vector of the global
// parameters the length, and scores.
type reproduced struct {
	Lengths []float64 `json:"lengths"`
	Scores  []float64 `json:"scores"`
}

// reproduce learns from rows of small fractions, which are the same on every machine.
func reproduce(t *testing.T, spec Spec) (reproduced, []fedavg.Vector) {
	t.Helper()
	f := family(t, spec, 6)
	strategy, err := f.Learning().Strategy()
	if err != nil {
		t.Fatal(err)
	}
	row := func(i int) []float64 {
		z := make([]float64, 6)
		for k := range z {
			z[k] = float64((i*(37+14*k)+k*k+i*i%(7+k))%601-300) / 97
		}
		return z
	}
	global := f.Init(3)
	for round := range 2 {
		var updates fedavg.Slice
		for agent := range 3 {
			set := Set{Machine: "m"}
			for i := range 150 {
				n := 1000*agent + i
				set.Rows = append(set.Rows, row(n))
				set.Targets = append(set.Targets, float64(n%3))
			}
			trained, err := f.Train(t.Context(), global, []Set{set}, TrainOptions{Seed: uint64(10*round + agent)})
			if err != nil {
				t.Fatal(err)
			}
			updates = append(updates, &fedavg.Update{Weight: trained.Weight, Vectors: trained.Vectors})
		}
		result, err := strategy.Aggregate(global, nil, updates)
		if err != nil {
			t.Fatal(err)
		}
		global = result.Vectors
	}
	m, err := f.Load(global)
	if err != nil {
		t.Fatal(err)
	}
	var r reproduced
	for _, v := range global {
		sum := 0.0
		for _, x := range v.F32 {
			sum += float64(x) * float64(x)
		}
		for _, x := range v.F64 {
			sum += float64(x * x)
		}
		r.Lengths = append(r.Lengths, math.Sqrt(sum))
	}
	for i := range 5 {
		z := row(7000 + i)
		r.Scores = append(r.Scores, m.Score(z), m.Contributions(nil, z)[i])
	}
	return r, global
}

// The numbers were learned on amd64, once; every architecture must come within a
// millionth of them. TestSystem_SameNumbersOnARM runs this test on others.
func TestFamilies_SameNumbersEverywhere(t *testing.T) {
	path := filepath.Join("testdata", "reproducible.json")
	got := map[string]reproduced{}
	for kind, spec := range reproducibleSpecs {
		first, a := reproduce(t, spec)
		_, b := reproduce(t, spec)
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: the same inputs gave other bytes", kind)
		}
		got[kind] = first
	}
	if *update {
		data, err := json.MarshalIndent(got, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]reproduced
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	if len(want) != len(reproducibleSpecs) {
		t.Errorf("%s has %d kinds of %d", path, len(want), len(reproducibleSpecs))
	}
	for kind, w := range want {
		g := got[kind]
		near(t, kind+" lengths", g.Lengths, w.Lengths)
		near(t, kind+" scores", g.Scores, w.Scores)
	}
}

func near(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d numbers, want %d", what, len(got), len(want))
		return
	}
	for i, w := range want {
		if math.Abs(got[i]-w) > 1e-6*max(1, math.Abs(w)) {
			t.Errorf("%s[%d] is %v, want %v", what, i, got[i], w)
		}
	}
}
