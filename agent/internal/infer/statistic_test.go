package infer

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// The numbers are scipy.signal.lfilter([1/3], [1, −2/3], x, axis=0).
func TestStatistic_SmoothAgainstScipy(t *testing.T) {
	s := newStatistic(job.AlarmSpec{Smooth: 5}, 2)
	want := [][]float64{{0.3333333333333333, -0.6666666666666666}, {1.2222222222222223, -0.2777777777777778}, {0.4814814814814817, 1.1481481481481481}, {0.9876543209876545, 1.432098765432099}}
	for i, z := range [][]float64{{1, -2}, {3, 0.5}, {-1, 4}, {2, 2}} {
		for k, x := range s.vector(z) {
			if math.Abs(x-want[i][k]) > 1e-12 {
				t.Errorf("window %d, feature %d: mean %v, want %v", i, k, x, want[i][k])
			}
		}
	}
}

// The numbers are numpy's: centre and scale of the first four scores with ddof=1, then
// S = max(0, S + (x − mean)/std − 0.5).
func TestStatistic_CusumAgainstNumpy(t *testing.T) {
	s := newStatistic(job.AlarmSpec{Cusum: 0.5}, 1)
	s.centreOn([]float64{1, 2, 1.5, 4})
	want := []float64{0, 0, 0, 0.9258795636800752, 0, 0.16541046305070173, 0.33082092610140346}
	for i, x := range []float64{1, 2, 1.5, 4, 0.5, 3, 3} {
		if got := s.value(x); math.Abs(got-want[i]) > 1e-12 {
			t.Errorf("window %d: %v, want %v", i, got, want[i])
		}
	}
}

func TestStatistic_WithoutEitherIsTheScore(t *testing.T) {
	s := newStatistic(job.AlarmSpec{}, 2)
	z := []float64{0.1, -1e300}
	for i, x := range s.vector(z) {
		if x != z[i] {
			t.Errorf("feature %d: %v, want %v", i, x, z[i])
		}
	}
	if got := s.value(0.3); got != 0.3 {
		t.Errorf("score %v", got)
	}
}

// A change of one standard deviation in every feature hides in single windows. How many
// windows pass until the relative score is 1 tells smoothing and CUSUM from neither.
func TestDetector_SmoothAndCusumSeeSmallChanges(t *testing.T) {
	delay := func(a job.AlarmSpec) int {
		spec := jobOf(4, model.KindGaussian)
		a.Baseline = 300
		spec.Alarm = a
		d := newDetector(t, spec)
		rng := rand.New(rand.NewPCG(21, 21))
		observe(t, d, healthy(rng, 300, 4)...)
		for i := range 600 {
			if out := observe(t, d, healthy(rng, 1, 4)...); out.Score >= 1 {
				t.Errorf("%+v: healthy window %d scores %v", a, i, out.Score)
			}
		}
		for i := range 600 {
			row := healthy(rng, 1, 4)[0]
			for k := range row {
				row[k] += 1 + float64(k)
			}
			if observe(t, d, row).Active {
				return i
			}
		}
		return 600
	}
	plain, smooth, cusum := delay(job.AlarmSpec{}), delay(job.AlarmSpec{Smooth: 15}), delay(job.AlarmSpec{Cusum: 0.5})
	t.Logf("windows to the alarm: %d, smoothed %d, summed up %d", plain, smooth, cusum)
	if plain < 600 || smooth > 60 || cusum > 120 {
		t.Errorf("windows to the alarm: %d, smoothed %d, summed up %d; want none, then at most 60 and 120", plain, smooth, cusum)
	}
}

// A CUSUM must come down when a fault is mended, however long it lasted.
func TestDetector_CusumComesDown(t *testing.T) {
	spec := jobOf(1, model.KindGaussian)
	spec.Alarm.Cusum = 0.5
	d := newDetector(t, spec)
	rng := rand.New(rand.NewPCG(22, 22))
	observe(t, d, healthy(rng, 100, 1)...)
	for range 5000 {
		observe(t, d, []float64{50})
	}
	if out := observe(t, d, []float64{50}); !out.Active || out.Score != cusumCeiling {
		t.Fatalf("after a long fault: %+v", out)
	}
	for i := range 300 {
		if !observe(t, d, healthy(rng, 1, 1)...).Active {
			t.Logf("cleared after %d windows", i+1)
			return
		}
	}
	t.Error("the alarm still lasts 300 windows after the fault ended")
}

func TestDetector_SmoothOrCusumRestoreEqualsNeverStopped(t *testing.T) {
	for _, a := range []job.AlarmSpec{{Smooth: 9}, {Cusum: 0.5}, {Smooth: 4, Cusum: 1, Budget: 50}} {
		spec := jobOf(3, model.KindGaussian)
		a.Baseline = 100
		spec.Alarm = a
		rng := rand.New(rand.NewPCG(23, 23))
		rows := healthy(rng, 500, 3)
		for i := 400; i < 450; i++ {
			rows[i][1] += 8
		}
		whole := newDetector(t, spec)
		first := newDetector(t, spec)
		observe(t, whole, rows[:420]...)
		observe(t, first, rows[:420]...)
		h, ok := first.History()
		if !ok {
			t.Fatal("no history")
		}
		second := newDetector(t, spec)
		if err := second.Restore(rows[:100], first.AlarmState()); err != nil {
			t.Fatal(err)
		}
		if err := second.Remember(h); err != nil {
			t.Fatal(err)
		}
		for i, row := range rows[420:] {
			want, got := observe(t, whole, row), observe(t, second, row)
			if math.Abs(got.Score-want.Score) > 1e-9*(1+want.Score) || got.Change != want.Change {
				t.Fatalf("%+v: window %d after the restart scores %v %v, want %v %v", a, i, got.Score, got.Change, want.Score, want.Change)
			}
		}
	}
}

func TestDetector_RefusesDamagedHistory(t *testing.T) {
	spec := jobOf(2, model.KindGaussian)
	spec.Alarm.Smooth, spec.Alarm.Budget = 5, 10
	d := newDetector(t, spec)
	if err := d.Remember(History{Reference: 1, Threshold: 1}); err == nil {
		t.Error("a history was taken before the baseline")
	}
	observe(t, d, healthy(rand.New(rand.NewPCG(24, 24)), 100, 2)...)
	good, _ := d.History()
	for name, spoil := range map[string]func(*History){
		"reference": func(h *History) { h.Reference = 0 },
		"threshold": func(h *History) { h.Threshold = math.NaN() },
		"sum":       func(h *History) { h.Sum = math.Inf(1) },
		"mean":      func(h *History) { h.Mean = []float64{1} },
		"mean NaN":  func(h *History) { h.Mean = []float64{1, math.NaN()} },
		"trend":     func(h *History) { h.Trend = make([]trendLevel, 99) },
		"peaks":     func(h *History) { s := *h.Tail; s.Peaks = []float64{-1}; h.Tail = &s },
		"windows":   func(h *History) { s := *h.Tail; s.Windows = -1; h.Tail = &s },
		"ages":      func(h *History) { s := *h.Tail; s.Windows = math.MaxInt64; h.Tail = &s },
		"level":     func(h *History) { s := *h.Tail; s.Level = math.NaN(); h.Tail = &s },
	} {
		h := good
		spoil(&h)
		threshold := d.Threshold()
		if err := d.Remember(h); err == nil || d.Threshold() != threshold {
			t.Errorf("%s: %v, threshold %v, before %v", name, err, d.Threshold(), threshold)
		}
	}
	if err := d.Remember(good); err != nil {
		t.Errorf("a good history: %v", err)
	}
}
