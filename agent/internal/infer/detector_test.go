package infer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// jobOf is a valid job of n features on one channel.
func jobOf(n int, kind string) job.Spec {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("f%d", i)
	}
	return job.Spec{
		Name: "pumps", Class: "pump",
		Features: job.FeatureSpec{Window: time.Second, Channels: []job.ChannelFeatures{{Channel: "ch", Features: names}}},
		Model:    model.Spec{Kind: kind},
		Alarm:    job.AlarmSpec{Baseline: 100},
	}
}

func newDetector(t testing.TB, spec job.Spec) *Detector {
	t.Helper()
	d, err := NewDetector(spec)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// healthy returns rows of independent normal features with mean 5+i and std 1+i.
func healthy(rng *rand.Rand, rows, n int) [][]float64 {
	out := make([][]float64, rows)
	for r := range out {
		out[r] = make([]float64, n)
		for i := range out[r] {
			out[r][i] = 5 + float64(i) + (1+float64(i))*rng.NormFloat64()
		}
	}
	return out
}

func observe(t testing.TB, d *Detector, rows ...[]float64) (last Output) {
	t.Helper()
	for i, row := range rows {
		var err error
		if last, err = d.Observe(time.Unix(int64(i+1), 0), row); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

func TestDetector_BaselineThenRelativeScore(t *testing.T) {
	d := newDetector(t, jobOf(1, model.KindGaussian))
	rows := healthy(rand.New(rand.NewPCG(1, 1)), 100, 1)
	if d.State() != Waiting {
		t.Errorf("state is %s", d.State())
	}
	out := observe(t, d, rows[:99]...)
	if out.State != Baseline || out.Have != 99 || out.Want != 100 || d.State() != Baseline {
		t.Errorf("after 99 windows: %+v", out)
	}
	out = observe(t, d, rows[99])
	if out.State != Baseline || d.State() != Running {
		t.Errorf("window 100 is %s, then %s; want the last of the baseline, then running", out.State, d.State())
	}
	// With one feature the score is |x − mean|/std, so relative scores are
	// |x − mean| / (1.5 · largest |x − mean| of the baseline), whatever std is.
	mean, largest := 0.0, 0.0
	for _, r := range rows {
		mean += r[0] / 100
	}
	for _, r := range rows {
		largest = max(largest, math.Abs(r[0]-mean))
	}
	for _, k := range []float64{0, 0.5, 1, 1.5, 3, 30} {
		out := observe(t, d, []float64{mean + k*largest})
		if want := k / 1.5; math.Abs(out.Score-want) > 1e-9*(1+want) || out.Zone != alarm.ZoneOf(want) {
			t.Errorf("%v times the largest deviation: score %v zone %s, want %v", k, out.Score, out.Zone, want)
		}
	}
}

func TestDetector_ReasonsNameTheFeature(t *testing.T) {
	d := newDetector(t, jobOf(8, model.KindGaussian))
	rng := rand.New(rand.NewPCG(2, 2))
	observe(t, d, healthy(rng, 100, 8)...)
	x := healthy(rng, 1, 8)[0]
	x[3] += 40
	out := observe(t, d, x)
	if len(out.Reasons) == 0 || out.Reasons[0].Feature != "ch.f3" || out.Reasons[0].Share < 0.8 {
		t.Fatalf("reasons are %v", out.Reasons)
	}
	sum := 0.0
	for i, r := range out.Reasons {
		sum += r.Share
		if i > 0 && r.Share > out.Reasons[i-1].Share {
			t.Errorf("reasons are not largest first: %v", out.Reasons)
		}
	}
	if sum > 1+1e-12 {
		t.Errorf("shares sum to %v", sum)
	}
}

func TestDetector_RankAgreesWithSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 500 {
		n := 1 + rng.IntN(12)
		d := newDetector(t, jobOf(n, model.KindGaussian))
		sum := 0.0
		for i := range d.contributions {
			d.contributions[i] = float64(rng.IntN(6) - 2) // ties, zeros, negatives
			sum += max(0, d.contributions[i])
		}
		want := slices.DeleteFunc(slices.Clone(d.contributions), func(c float64) bool { return c <= 0 })
		slices.SortFunc(want, func(a, b float64) int { return cmp.Compare(b, a) })
		want = want[:min(len(want), MaxReasons)]
		got := d.rank()
		if len(got) != len(want) {
			t.Fatalf("%v: %v, want shares of %v", d.contributions, got, want)
		}
		for i := range got {
			if math.Abs(got[i].Share-want[i]/sum) > 1e-12 {
				t.Fatalf("%v: %v, want shares of %v", d.contributions, got, want)
			}
		}
	}
}

// others learns global parameters from the standardised rows of another machine.
func others(t testing.TB, spec job.Spec, seed uint64) []fedavg.Vector {
	t.Helper()
	f, err := spec.Family()
	if err != nil {
		t.Fatal(err)
	}
	n := spec.Features.Len()
	rng := rand.New(rand.NewPCG(seed, seed))
	rows := make([][]float64, 400)
	for r := range rows {
		rows[r] = make([]float64, n)
		common := rng.NormFloat64()
		for i := range rows[r] {
			rows[r][i] = 0.6*rng.NormFloat64() + 0.8*common // correlated, unlike healthy
		}
	}
	global := f.Init(1)
	trained, err := f.Train(context.Background(), global, []model.Set{{Machine: "m", Rows: rows}}, model.TrainOptions{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if f.Learning() == model.Statistics {
		return trained.Vectors
	}
	for i := range global {
		for j := range global[i].F32 {
			global[i].F32[j] += trained.Vectors[i].F32[j]
		}
	}
	return global
}

func TestDetector_SwapTakesTheThresholdFromTheBaseline(t *testing.T) {
	for _, kind := range []string{model.KindGaussian, model.KindAutoencoder} {
		spec := jobOf(4, kind)
		d := newDetector(t, spec)
		rows := healthy(rand.New(rand.NewPCG(4, 4)), 100, 4)
		observe(t, d, rows...)
		before := d.Threshold()
		if d.Version() != 0 {
			t.Errorf("%s: version %d before any release", kind, d.Version())
		}
		if err := d.SetModel(others(t, spec, 9), 7); err != nil {
			t.Fatal(err)
		}
		if d.Version() != 7 || d.Threshold() == before {
			t.Errorf("%s: version %d, threshold %v as before", kind, d.Version(), before)
		}
		// Under any model the worst baseline window scores 1/1.5 by definition.
		worst := 0.0
		for _, row := range rows {
			worst = max(worst, observe(t, d, row).Score)
		}
		if math.Abs(worst-1/1.5) > 1e-9 {
			t.Errorf("%s: worst baseline window scores %v after the swap, want %v", kind, worst, 1/1.5)
		}
		if err := d.SetModel(nil, 0); err != nil || d.Version() != 0 || d.Threshold() != before {
			t.Errorf("%s: back to the local model: version %d threshold %v (%v), want 0 and %v", kind, d.Version(), d.Threshold(), err, before)
		}
	}
}

func TestDetector_ModelBeforeBaselineIsUsedAfterIt(t *testing.T) {
	spec := jobOf(4, model.KindAutoencoder)
	d := newDetector(t, spec)
	if err := d.SetModel(others(t, spec, 9), 3); err != nil {
		t.Fatal(err)
	}
	observe(t, d, healthy(rand.New(rand.NewPCG(5, 5)), 100, 4)...)
	if d.Version() != 3 {
		t.Errorf("version %d serves, want 3", d.Version())
	}
}

func TestDetector_RefusedModelChangesNothing(t *testing.T) {
	d := newDetector(t, jobOf(4, model.KindGaussian))
	rng := rand.New(rand.NewPCG(6, 6))
	observe(t, d, healthy(rng, 100, 4)...)
	threshold := d.Threshold()
	var shape *fedavg.ShapeError
	if err := d.SetModel(others(t, jobOf(3, model.KindGaussian), 9), 2); !errors.As(err, &shape) {
		t.Errorf("model of 3 features: %v", err)
	}
	if d.Threshold() != threshold || d.Version() != 0 {
		t.Error("a refused model changed the one in use")
	}
}

func TestDetector_RestoreEqualsNeverStopped(t *testing.T) {
	spec := jobOf(3, model.KindGaussian)
	rng := rand.New(rand.NewPCG(7, 7))
	rows := healthy(rng, 160, 3)
	for i := 120; i < 140; i++ {
		rows[i][1] += 30
	}
	global := others(t, spec, 9)
	whole := newDetector(t, spec)
	if err := whole.SetModel(global, 2); err != nil {
		t.Fatal(err)
	}
	var want []Output
	for _, row := range rows {
		out := observe(t, whole, row)
		out.Reasons = nil
		want = append(want, out)
	}
	for _, cut := range []int{0, 40, 100, 110, 125, 150} {
		first := newDetector(t, spec)
		_ = first.SetModel(global, 2)
		observe(t, first, rows[:cut]...)
		second := newDetector(t, spec)
		_ = second.SetModel(global, 2)
		if err := second.Restore(rows[:min(cut, 100)], first.AlarmState()); err != nil {
			t.Fatal(err)
		}
		for i := cut; i < len(rows); i++ {
			got := observe(t, second, rows[i])
			if got.Score != want[i].Score || got.Change != want[i].Change || got.State != want[i].State || got.Version != want[i].Version {
				t.Fatalf("restored after %d: window %d is %+v, want %+v", cut, i, got, want[i])
			}
		}
	}
}

func TestDetector_BadVectors(t *testing.T) {
	d := newDetector(t, jobOf(2, model.KindGaussian))
	rng := rand.New(rand.NewPCG(8, 8))
	for round := range 2 { // in baseline, then running
		have, _ := d.Progress()
		for _, c := range []struct {
			x    []float64
			want string
		}{
			{[]float64{1}, "use feature vector: it has 1 features, want 2"},
			{nil, "use feature vector: it has 0 features, want 2"},
			{[]float64{1, math.NaN()}, "use feature vector: ch.f1 is NaN"},
			{[]float64{math.Inf(-1), 1}, "use feature vector: ch.f0 is -Inf"},
			{[]float64{1, 1e200}, "use feature vector: ch.f1 is 1e+200"},
		} {
			_, err := d.Observe(time.Unix(1, 0), c.x)
			var bad *VectorError
			if !errors.As(err, &bad) || err.Error() != c.want {
				t.Errorf("round %d: %v: %v, want %s", round, c.x, err, c.want)
			}
		}
		if now, _ := d.Progress(); now != have {
			t.Errorf("refused vectors count as baseline: %d, then %d", have, now)
		}
		observe(t, d, healthy(rng, 100, 2)...)
	}
}

func TestDetector_MachineAtRest(t *testing.T) {
	d := newDetector(t, jobOf(2, model.KindGaussian))
	for range 100 {
		observe(t, d, []float64{0, 7})
	}
	if d.State() != Running {
		t.Fatalf("state is %s", d.State())
	}
	for _, x := range [][]float64{{0, 7}, {1, 7}, {-1e100, 1e100}} {
		out := observe(t, d, x)
		if math.IsNaN(out.Score) || math.IsInf(out.Score, 0) {
			t.Errorf("score of %v is %v", x, out.Score)
		}
	}
	if out := observe(t, d, []float64{0, 7}); out.Raw > d.Threshold() {
		t.Errorf("standing still scores %v over a threshold of %v", out.Raw, d.Threshold())
	}
}

func TestNewDetector_RefusesWhatAGatewayCannotKeep(t *testing.T) {
	spec := jobOf(2000, model.KindGaussian)
	spec.Alarm.Baseline = 1 << 30
	if _, err := NewDetector(spec); err == nil {
		t.Error("a baseline of 2^30 windows was accepted")
	}
	if _, err := NewDetector(job.Spec{}); err == nil {
		t.Error("an empty job was accepted")
	}
}

func TestDetector_ObserveAllocatesNothing(t *testing.T) {
	for _, kind := range []string{model.KindGaussian, model.KindAutoencoder} {
		spec := jobOf(30, kind)
		d := newDetector(t, spec)
		rng := rand.New(rand.NewPCG(9, 9))
		if err := d.SetModel(others(t, spec, 9), 1); err != nil {
			t.Fatal(err)
		}
		observe(t, d, healthy(rng, 100, 30)...)
		if d.Version() != 1 {
			t.Fatalf("%s: version %d serves", kind, d.Version())
		}
		x, at := healthy(rng, 1, 30)[0], time.Unix(1, 0)
		if n := testing.AllocsPerRun(200, func() {
			if _, err := d.Observe(at, x); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a window", kind, n)
		}
	}
}

func BenchmarkDetector_Observe30Features(b *testing.B) {
	d := newDetector(b, jobOf(30, model.KindGaussian))
	rng := rand.New(rand.NewPCG(10, 10))
	observe(b, d, healthy(rng, 100, 30)...)
	x, at := healthy(rng, 1, 30)[0], time.Unix(1, 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Observe(at, x); err != nil {
			b.Fatal(err)
		}
	}
}
