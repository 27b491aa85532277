package features

import (
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/window"
)

// all is every feature an acceleration channel at 3200 Hz can have.
var all = append(append([]string{"slope", "slope_per_minute", "band_rms_10_1000", "velocity_rms_20_500"}, timeSet...), spectrumSet...)

func TestExtract_Allocations(t *testing.T) {
	e, err := New([]ChannelSpec{{Channel: "a", Quantity: sensors.Acceleration, Features: all}, {Channel: "b", Quantity: sensors.Pressure, Features: []string{"mean", "ripple", "centroid"}}})
	if err != nil {
		t.Fatal(err)
	}
	w := &window.Window{Segments: []window.Segment{
		window.Regular("a", 3200, signal(3200, 3200)), window.Regular("b", 100, signal(1000, 100))}}
	dst, err := e.Extract(nil, w)
	if err != nil {
		t.Fatal(err)
	}
	if got := testing.AllocsPerRun(10, func() { dst, _ = e.Extract(dst, w) }); got != 0 {
		t.Errorf("Extract allocates %v times", got)
	}
	// A burst cut by the window's edge has another length each time.
	n := 0
	if got := testing.AllocsPerRun(20, func() {
		n = (n + 37) % 1000
		w.Segments[0] = window.Segment{Channel: "a", Samples: w.Segments[0].Samples[:3200-n], Pieces: w.Segments[0].Pieces}
		w.Segments[0].Pieces[0].N = 3200 - n
		dst, err = e.Extract(dst, w)
		w.Segments[0].Samples = w.Segments[0].Samples[:3200]
	}); got != 0 || err != nil {
		t.Errorf("Extract of changing lengths allocates %v times, error %v", got, err)
	}
}

func TestExtract_ZeroAndConstant(t *testing.T) {
	same := func(x float64) window.Segment {
		xs := make([]float64, 3200)
		for i := range xs {
			xs[i] = x
		}
		return window.Regular("a", 3200, xs)
	}
	for _, x := range []float64{0, 0.1, -9.80665, 1e-9, 1e9} {
		got := extract(t, sensors.Acceleration, same(x), all...)
		a := math.Abs(x)
		want := map[string]float64{
			"mean": x, "rms": a, "peak": a, "crest": 1, "kurtosis": 3, "shape": 1, "impulse": 1,
			"clearance": 1, "min": x, "max": x, "last": x,
			"band_10_100": -12, "band_100_500": -12, "band_500_1000": -12, "band_1000_1600": -12,
		}
		for i, name := range all {
			if math.Abs(got[i]-want[name]) > 1e-12*math.Max(1, a) {
				t.Errorf("constant %g: %s = %g, want %g", x, name, got[i], want[name])
			}
		}
	}
}

func TestDefault_OneSample(t *testing.T) {
	one := window.Segment{Channel: "a", Samples: []float64{4}, Pieces: []window.Piece{{N: 1}}}
	for _, q := range []sensors.Quantity{sensors.Acceleration, sensors.Temperature, sensors.Pressure, sensors.Current, sensors.Displacement} {
		for i, x := range extract(t, q, one, Default(q)...) {
			if !finite(x) {
				t.Errorf("%s %s of one sample is %g", q, Default(q)[i], x)
			}
		}
	}
}

// A tone of acceleration amplitude A at f has the velocity rms A/(2πf√2).
func TestExtract_VelocityOfTone(t *testing.T) {
	const rate, hz, amplitude = 3200.0, 50.25, 3.0
	xs := make([]float64, 6400)
	for i := range xs {
		xs[i] = 9.81 + amplitude*math.Sin(2*math.Pi*hz*float64(i)/rate)
	}
	got := extract(t, sensors.Acceleration, window.Regular("a", rate, xs), "velocity_rms", "dominant_frequency", "amp_50.25", "velocity_rms_100_1000")
	want := 1000 * amplitude / (2 * math.Pi * hz * math.Sqrt2)
	if math.Abs(got[0]-want) > 0.002*want {
		t.Errorf("velocity_rms = %g mm/s, want %g", got[0], want)
	}
	if math.Abs(got[1]-hz) > 0.01 {
		t.Errorf("dominant_frequency = %g Hz, want %g", got[1], hz)
	}
	if math.Abs(got[2]-amplitude) > 0.01*amplitude {
		t.Errorf("amp_50.25 = %g, want %g", got[2], amplitude)
	}
	if got[3] > 0.001*want {
		t.Errorf("velocity_rms_100_1000 = %g mm/s of a tone at 50 Hz", got[3])
	}
	// The same numbers as a velocity in m/s: no integration.
	v := extract(t, sensors.Velocity, window.Regular("a", rate, xs), "velocity_rms")
	if want := 1000 * amplitude / math.Sqrt2; math.Abs(v[0]-want) > 0.002*want {
		t.Errorf("velocity_rms of a velocity = %g mm/s, want %g", v[0], want)
	}
}

// Two bursts apart give the mean of their powers; a break inside forbids one spectrum
// over both, and a shorter burst beside them is left out.
func TestExtract_BurstsAreAveraged(t *testing.T) {
	xs := signal(2500, 3200)
	ms := func(s window.Segment) float64 {
		v := extract(t, sensors.Acceleration, s, "band_rms_10_1000")[0]
		return v * v
	}
	want := (ms(window.Regular("a", 3200, xs[:1000])) + ms(window.Regular("a", 3200, xs[1000:2000]))) / 2
	got := ms(window.Segment{Channel: "a", Samples: xs, Pieces: []window.Piece{
		{OffsetS: 0, RateHz: 3200, N: 600}, {OffsetS: 600. / 3200, RateHz: 3200, N: 400, Joined: true},
		{OffsetS: 3, RateHz: 3200, N: 1000}, {OffsetS: 6, RateHz: 3200, N: 500}}})
	if math.Abs(got-want) > 1e-12*want {
		t.Errorf("mean square of two bursts = %g, want %g", got, want)
	}
}

func TestExtract_SlopeOverSampleTimes(t *testing.T) {
	// T = 20 + 0.3·t at times that are not even, exactly a line.
	at := []float64{0.5, 1.5, 2.5, 6, 9.25}
	s := window.Segment{Channel: "t", Pieces: []window.Piece{
		{OffsetS: 0.5, RateHz: 1, N: 3}, {OffsetS: 6, N: 1}, {OffsetS: 9.25, RateHz: 4, N: 1}}}
	for _, x := range at {
		s.Samples = append(s.Samples, 20+0.3*x)
	}
	got := extract(t, sensors.Temperature, s, "slope", "slope_per_minute", "last")
	for i, want := range []float64{0.3, 18, 20 + 0.3*9.25} {
		if math.Abs(got[i]-want) > 1e-12 {
			t.Errorf("feature %d = %.15g, want %g", i, got[i], want)
		}
	}
}

func TestExtract_Ripple(t *testing.T) {
	for _, c := range []struct {
		xs   []float64
		want float64
	}{{[]float64{90, 110, 100}, 0.2}, {[]float64{-90, -110, -100}, 0.2}, {[]float64{0, 0}, 0}, {[]float64{-1, 1}, 100}, {[]float64{1, 1.001}, 0.001 / 1.0005}} {
		if got := extract(t, sensors.Pressure, window.Regular("p", 1, c.xs), "ripple")[0]; math.Abs(got-c.want) > 1e-12 {
			t.Errorf("ripple of %v = %.15g, want %g", c.xs, got, c.want)
		}
	}
}

func TestExtract_Errors(t *testing.T) {
	nan := signal(100, 3200)
	nan[50] = math.NaN()
	for _, c := range []struct {
		feature string
		s       window.Segment
		want    string // part of the message
		whole   bool   // the channel, not one feature
	}{
		{"velocity_rms", window.Regular("a", 1600, signal(1600, 1600)), "above half the sampling rate of 1600 Hz", false},
		{"band_41_59", window.Regular("a", 3200, signal(160, 3200)), "no bin between 41 and 59 Hz: bins are 20 Hz apart", false},
		{"band_10_100", window.Regular("a", 3200, signal(160, 3200)), "10 Hz needs 0.2 s of samples without a break, which is two periods, and there are 0.05 s", false},
		{"amp_39", window.Regular("a", 3200, signal(160, 3200)), "39 Hz needs", false},
		{"amp_1601", window.Regular("a", 3200, signal(160, 3200)), "above half the sampling rate", false},
		{"centroid", window.Regular("a", 3200, signal(7, 3200)), "7 samples; a spectrum needs 8", false},
		{"slope", window.Regular("a", 1, []float64{1}), "two samples at different times", false},
		{"mean", window.Regular("b", 1, []float64{1}), "the window does not have it", true},
		{"mean", window.Regular("a", 1, nil), "0 samples", true},
		{"mean", window.Segment{Channel: "a", Samples: []float64{1, 2}}, "2 samples in pieces of 0", true},
		{"mean", window.Segment{Channel: "a", Samples: []float64{1, 2}, Pieces: []window.Piece{{N: 3, RateHz: 1}}}, "piece 0", true},
		{"mean", window.Segment{Channel: "a", Samples: []float64{1, 2}, Pieces: []window.Piece{{N: 2}}}, "piece 0", true},
		{"min", window.Regular("a", 3200, nan), "a sample is NaN", true},
		{"kurtosis", window.Regular("a", 3200, []float64{1e100, -1e100, 3}), "not finite", false},
		{"rms", window.Regular("a", 3200, []float64{1e200, 3}), "too large", true},
	} {
		e, err := New([]ChannelSpec{{Channel: "a", Quantity: sensors.Acceleration, Features: []string{c.feature}}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Extract(nil, &window.Window{Segments: []window.Segment{c.s}})
		var typed *Error
		if got != nil || !errors.As(err, &typed) {
			t.Errorf("%s: got %v, %v; want an *Error", c.feature, got, err)
			continue
		}
		if typed.Channel != "a" || (typed.Feature == c.feature) == c.whole || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %q, want %q", c.feature, err, c.want)
		}
	}
}

// What must hold for any signal: x·k scales sizes by k and leaves ratios alone; x+c
// leaves everything but the mean and the like alone; no value is NaN.
func TestExtract_ScaleAndShift(t *testing.T) {
	e, err := New([]ChannelSpec{{Channel: "a", Quantity: sensors.Acceleration, Features: all}})
	if err != nil {
		t.Fatal(err)
	}
	run := func(xs []float64) []float64 {
		got, err := e.Extract(nil, &window.Window{Segments: []window.Segment{window.Regular("a", 3200, xs)}})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	sizes := set("mean", "std", "rms", "peak", "peak_to_peak", "velocity_rms", "velocity_rms_20_500", "band_rms_10_1000", "slope", "slope_per_minute", "amp_24.5", "amp_49", "amp_98")
	still := set("std", "peak_to_peak", "kurtosis", "skewness", "velocity_rms", "velocity_rms_20_500", "band_rms_10_1000", "slope", "slope_per_minute",
		"centroid", "spread", "entropy", "dominant_frequency", "band_10_100", "band_100_500", "band_500_1000", "band_1000_1600", "amp_24.5", "amp_49", "amp_98")
	ratios := set("crest", "kurtosis", "skewness", "shape", "impulse", "clearance", "centroid", "spread", "entropy", "dominant_frequency")
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(700, 1500).Draw(t, "n")
		k := rapid.Float64Range(0.01, 100).Draw(t, "k")
		c := rapid.Float64Range(-10, 10).Draw(t, "c")
		xs := signal(n+rapid.IntRange(0, 500).Draw(t, "from"), 3200)
		xs = xs[len(xs)-n:]
		scaled, shifted := make([]float64, n), make([]float64, n)
		for i, x := range xs {
			scaled[i], shifted[i] = k*x, x+c
		}
		base, byK, byC := run(xs), run(scaled), run(shifted)
		for i, name := range all {
			if sizes[name] && !near(byK[i], k*base[i]) || ratios[name] && !near(byK[i], base[i]) {
				t.Errorf("%s of x is %g, of %g·x %g", name, base[i], k, byK[i])
			}
			if still[name] && !near(byC[i], base[i]) {
				t.Errorf("%s of x is %g, of x+%g %g", name, base[i], c, byC[i])
			}
		}
	})
}

func set(names ...string) map[string]bool {
	m := map[string]bool{}
	for _, n := range names {
		m[n] = true
	}
	return m
}

func near(a, b float64) bool {
	return math.Abs(a-b) <= 1e-8*math.Max(1e-3, math.Max(math.Abs(a), math.Abs(b)))
}

// Whatever the samples, the answer is finite numbers or an *Error.
func FuzzExtract(f *testing.F) {
	f.Add(int64(1), 100, 3200.0, 1.0)
	f.Add(int64(2), 17, 1e-300, 1e100)
	f.Add(int64(3), 4000, 1e308, 1e-160)
	f.Add(int64(4), 8, 0.0, 1e-310)
	f.Fuzz(func(t *testing.T, seed int64, n int, rate, scale float64) {
		if n < 0 || n > 5000 {
			return
		}
		xs := make([]float64, n)
		state := uint64(seed)
		for i := range xs {
			state = state*6364136223846793005 + 1442695040888963407
			xs[i] = scale * (float64(state>>40)/(1<<24) - 0.5)
		}
		e, err := New([]ChannelSpec{{Channel: "a", Quantity: sensors.Acceleration, Features: all}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Extract(nil, &window.Window{Segments: []window.Segment{window.Regular("a", rate, xs)}})
		var typed *Error
		if err != nil && !errors.As(err, &typed) {
			t.Fatalf("error %v is not an *Error", err)
		}
		for i, x := range got {
			if !finite(x) {
				t.Fatalf("%s is %g", all[i], x)
			}
		}
	})
}
