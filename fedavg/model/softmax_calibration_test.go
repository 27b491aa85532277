package model

import (
	"fmt"
	"math"
	"testing"

	"github.com/millwright-iot/millwright/fedavg"
)

// sixtyRows are 40, 15 and 5 rows of three classes around the corners of a triangle.
func sixtyRows() Set {
	s := Set{Machine: "m"}
	for i := range 60 {
		class, corner := 0, [2]float64{}
		switch {
		case i%12 == 5:
			class, corner[1] = 2, 2
		case i%4 == 2:
			class, corner[0] = 1, 2
		}
		s.Rows = append(s.Rows, []float64{corner[0] + float64((7*i*i+3*i)%11)/5 - 1, corner[1] + float64((5*i*i+i)%13)/6 - 1})
		s.Targets = append(s.Targets, float64(class))
	}
	return s
}

// Coefficients with scikit-learn 1.9 on the rows that are trained on, all but each fifth:
// LogisticRegression(C=1/(48·0.01)).fit(X, y, sample_weight=w[y]), where w is 60/(3·count)
// of the 60 rows, which is class_weight="balanced" of the whole, or 1; intercepts less
// their mean.
func TestSoftmax_LikeScikitLearn(t *testing.T) {
	for unbalanced, want := range map[bool][]float64{
		false: {-1.22170476, -1.67616117, 2.17764445, -0.5114916, -0.95593969, 2.18765277, 1.94045869, -0.81115888, -1.1292998},
		true:  {-1.43969011, -1.52806418, 2.19121154, -0.30323064, -0.75152143, 1.83129482, 2.63579483, -1.17746031, -1.45833452},
	} {
		f := family(t, softmaxSpec(SoftmaxSpec{Unbalanced: unbalanced, Epochs: 100, BatchSize: 1000, LearningRate: 0.4, Decay: 0.01}), 2)
		params := f.Init(1)
		for range 40 {
			trained, err := f.Train(t.Context(), params, []Set{sixtyRows()}, TrainOptions{PlainSGD: true})
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range trained.Vectors {
				for i, x := range v.F32 {
					params[k].F32[i] += x
				}
			}
		}
		for i, x := range append(append([]float32(nil), params[0].F32...), params[1].F32...) {
			wantNear(t, fmt.Sprintf("unbalanced %v, coefficient %d", unbalanced, i), float64(x), want[i], 2e-4)
		}
	}
}

// The temperature of given parameters on the rows that are held back, each fifth, with
// scipy 1.17: minimize_scalar over t of Σ logsumexp(L/eᵗ) − L[y]/eᵗ, plus the penalty t².
func TestSoftmax_TemperatureLikeScipy(t *testing.T) {
	f := family(t, softmaxSpec(SoftmaxSpec{}), 2)
	params := []fedavg.Vector{
		{Name: "layer0.weight", F32: []float32{-1.5, -2, 2.5, -0.5, -1, 2.5}}, {Name: "layer0.bias", F32: []float32{1, -0.5, -0.5}},
		{Name: "fleet", F32: make([]float32, 5)},
	}
	trained, err := f.Train(t.Context(), params, []Set{sixtyRows()}, TrainOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fleet := trained.Vectors[2].F32
	wantNear(t, "ln T", float64(fleet[fleetLogT]), 0.23296905793337952, 1e-4)
	for class, share := range []float64{40. / 60, 15. / 60, 5. / 60} {
		wantNear(t, "share", float64(fleet[fleetShares+class]), share, 1e-7)
	}
}

// The temperature of a fleet is the geometric mean of its participants', by rows, and the
// shares of classes are exactly those of all rows, though each saw a part of them.
func TestSoftmax_CalibrationAverages(t *testing.T) {
	f := family(t, softmaxSpec(SoftmaxSpec{}), 2)
	params := []fedavg.Vector{
		{Name: "layer0.weight", F32: []float32{-1.5, -2, 2.5, -0.5, -1, 2.5}}, {Name: "layer0.bias", F32: []float32{1, -0.5, -0.5}},
		{Name: "fleet", F32: []float32{3, 0.5, 0.1, 0.2, 0.7}},
	}
	all := sixtyRows()
	var updates fedavg.Slice
	logT := 0.0
	for i, part := range []Set{{Rows: all.Rows[:40], Targets: all.Targets[:40]}, {Rows: all.Rows[40:], Targets: all.Targets[40:]}} {
		trained, err := f.Train(t.Context(), params, []Set{part}, TrainOptions{})
		if err != nil {
			t.Fatal(err)
		}
		logT += (0.5 + float64(trained.Vectors[2].F32[fleetLogT])) * trained.Weight / 60
		updates = append(updates, &fedavg.Update{Agent: fmt.Sprint(i), Weight: trained.Weight, Vectors: trained.Vectors})
	}
	next, err := fedavg.FedAvg{}.Aggregate(params, nil, updates)
	if err != nil {
		t.Fatal(err)
	}
	fleet := next.Vectors[2].F32
	wantNear(t, "ln T", float64(fleet[fleetLogT]), logT, 1e-6)
	for class, share := range []float64{40. / 60, 15. / 60, 5. / 60} {
		wantNear(t, "share", float64(fleet[fleetShares+class]), share, 1e-6)
	}
	if math.Abs(float64(fleet[fleetLogT])-0.5) < 1e-3 {
		t.Error("the temperature did not move")
	}
}
