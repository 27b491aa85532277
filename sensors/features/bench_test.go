package features

import (
	"math"
	"testing"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/window"
)

var (
	timeSet     = []string{"mean", "std", "rms", "peak", "peak_to_peak", "crest", "kurtosis", "skewness", "shape", "impulse", "clearance", "min", "max", "last"}
	spectrumSet = []string{"velocity_rms", "centroid", "spread", "entropy", "dominant_frequency", "band_10_100", "band_100_500", "band_500_1000", "band_1000_1600", "amp_24.5", "amp_49", "amp_98"}
)

// benchmarkExtract measures one channel of n samples a window at rateHz.
func benchmarkExtract(b *testing.B, n int, rateHz float64, names []string) {
	b.Helper()
	e, err := New([]ChannelSpec{{Channel: "vibration", Quantity: sensors.Acceleration, Features: names}})
	if err != nil {
		b.Fatal(err)
	}
	w := &window.Window{Segments: []window.Segment{window.Regular("vibration", rateHz, signal(n, rateHz))}}
	dst, err := e.Extract(nil, w)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(n) * 8)
	b.ReportAllocs()
	for b.Loop() {
		if dst, err = e.Extract(dst, w); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "samples/s")
}

func BenchmarkExtractTime32000(b *testing.B)     { benchmarkExtract(b, 32000, 3200, timeSet) }
func BenchmarkExtractSpectrum32000(b *testing.B) { benchmarkExtract(b, 32000, 3200, spectrumSet) }
func BenchmarkExtractAll32000(b *testing.B) {
	benchmarkExtract(b, 32000, 3200, append(append([]string(nil), timeSet...), spectrumSet...))
}
func BenchmarkExtractAll3200(b *testing.B) {
	benchmarkExtract(b, 3200, 3200, append(append([]string(nil), timeSet...), spectrumSet...))
}
func BenchmarkExtractAll4096(b *testing.B) {
	benchmarkExtract(b, 4096, 3200, append(append([]string(nil), timeSet...), spectrumSet...))
}
func BenchmarkExtractMean15(b *testing.B) { benchmarkExtract(b, 15, 1, []string{"mean"}) }

// signal is a sum of sines and noise that reference_test.py makes too.
func signal(n int, rateHz float64) []float64 {
	xs := make([]float64, n)
	state := uint32(12345)
	for i := range xs {
		state = state*1664525 + 1013904223
		noise := float64(state)/(1<<32) - 0.5
		t := float64(i) / rateHz
		xs[i] = 0.3 + 2*math.Sin(2*math.Pi*24.5*t) + 0.7*math.Sin(2*math.Pi*98*t+1) +
			0.2*math.Sin(2*math.Pi*812.3*t+2) + 0.5*noise
	}
	return xs
}
