package infer

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// diagnosing is a job whose score is a probability, and parameters that learned it.
func diagnosing(t *testing.T, a job.AlarmSpec) (job.Spec, []fedavg.Vector) {
	t.Helper()
	spec := jobOf(2, model.KindSoftmax)
	spec.Model.Softmax = &model.SoftmaxSpec{Classes: []string{"good", "worn"}, Healthy: "good", Unbalanced: true, Epochs: 40}
	a.Baseline = 100
	spec.Alarm = a
	f, err := spec.Family()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(41, 41))
	set := model.Set{Machine: "m"}
	for i := range 600 {
		class := float64(i % 2)
		set.Rows = append(set.Rows, []float64{rng.NormFloat64() + 2*class, rng.NormFloat64()})
		set.Targets = append(set.Targets, class)
	}
	global := f.Init(1)
	trained, err := f.Train(t.Context(), global, []model.Set{set}, model.TrainOptions{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range global {
		for j := range global[i].F32 {
			global[i].F32[j] += trained.Vectors[i].F32[j]
		}
	}
	return spec, global
}

// An alarm costs CostFalse·(1−p), none costs CostMissed·p: the relative score is 1 where
// they are the same.
func TestDetector_CostsSetTheThreshold(t *testing.T) {
	for _, c := range []struct{ wrong, missed float64 }{{1, 1}, {1, 9}, {5, 1}} {
		spec, global := diagnosing(t, job.AlarmSpec{CostFalse: c.wrong, CostMissed: c.missed})
		d := newDetector(t, spec)
		if err := d.SetModel(global, 1); err != nil {
			t.Fatal(err)
		}
		observe(t, d, healthy(rand.New(rand.NewPCG(42, 42)), 100, 2)...)
		if d.Version() != 1 {
			t.Fatalf("version %d serves", d.Version())
		}
		seen := map[bool]int{}
		for x := -4.0; x < 12; x += 0.1 {
			out := observe(t, d, []float64{5 + x, 6})
			p := out.Raw
			if p < 0 || p > 1 {
				t.Fatalf("the score, %v, is no probability", p)
			}
			cheaper := p*c.missed > (1-p)*c.wrong
			if math.Abs(out.Raw/d.Threshold()-1) > 1e-9 && (out.Raw/d.Threshold() > 1) != cheaper {
				t.Errorf("costs %v: probability %v over threshold %v; an alarm is cheaper: %v", c, p, d.Threshold(), cheaper)
			}
			seen[cheaper]++
		}
		if len(seen) != 2 {
			t.Errorf("costs %v: all windows on one side: %v", c, seen)
		}
	}
}

// Before there is a model that tells classes apart, the machine's own one serves, whose
// score is no probability.
func TestDetector_CostsWaitForTheModel(t *testing.T) {
	spec, _ := diagnosing(t, job.AlarmSpec{CostFalse: 1, CostMissed: 99})
	d := newDetector(t, spec)
	observe(t, d, healthy(rand.New(rand.NewPCG(43, 43)), 100, 2)...)
	if d.Threshold() < 1 {
		t.Errorf("threshold %v on a distance", d.Threshold())
	}
}

func TestDetector_SuspicionAlarms(t *testing.T) {
	d := newDetector(t, jobOf(2, model.KindGaussian))
	rng := rand.New(rand.NewPCG(44, 44))
	observe(t, d, healthy(rng, 100, 2)...)
	d.Suspect(1.2)
	if out := observe(t, d, healthy(rng, 3, 2)...); !out.Active || out.Score != 1.2 || out.Healthy {
		t.Errorf("suspected three windows long: %+v", out)
	}
	d.Suspect(math.Inf(1))
	if out := observe(t, d, healthy(rng, 1, 2)...); math.IsInf(out.Score, 0) {
		t.Errorf("score %v", out.Score)
	}
	d.Suspect(0)
	if out := observe(t, d, healthy(rng, 3, 2)...); out.Active {
		t.Errorf("no longer suspected: %+v", out)
	}
}
