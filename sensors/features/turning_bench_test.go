package features

import (
	"testing"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/bearing"
	"github.com/millwright-iot/millwright/sensors/window"
)

// bearingSet is everything that needs a shaft and a bearing.
var bearingSet = []string{"bpfo_snr", "bpfi_snr", "bsf_snr", "ftf_snr", "envelope_kurtosis", "kurtogram_max", "kurtogram_hz",
	"order_amp_0.5", "order_amp_1", "order_amp_2", "order_amp_3", "gear_mesh_amp", "vane_pass_amp", "line_amp", "line2_amp", "iso_zone"}

// vibrationSet is the full set of a vibration channel at 25.6 kHz.
func vibrationSet() ChannelSpec {
	names := append([]string(nil), timeSet...)
	names = append(names, "velocity_rms", "centroid", "spread", "entropy", "dominant_frequency",
		"band_10_100", "band_100_1000", "band_1000_5000", "band_5000_12000")
	return ChannelSpec{Channel: "vibration", Quantity: sensors.Acceleration, Features: append(names, bearingSet...), Context: context25()}
}

// context25 is a shaft of 25 Hz in the bearing of the Case Western Reserve recordings.
func context25() Context {
	return Context{ShaftHz: 25, Bearing: bearing.Geometry{Balls: 9, BallDiameterMM: 7.94, PitchDiameterMM: 39.04}, GearTeeth: 23, Vanes: 6, LineHz: 50}
}

func benchmarkVibration(b *testing.B, seconds int) {
	const rateHz = 25600
	e, err := New([]ChannelSpec{vibrationSet()})
	if err != nil {
		b.Fatal(err)
	}
	n := seconds * rateHz
	w := &window.Window{Segments: []window.Segment{window.Regular("vibration", rateHz, signal(n, rateHz))}}
	dst, err := e.Extract(nil, w)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if dst, err = e.Extract(dst, w); err != nil {
			b.Fatal(err)
		}
	}
	perSecond := float64(n) * float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(perSecond, "samples/s")
	b.ReportMetric(perSecond/rateHz, "channels")
}

func BenchmarkVibrationSet1s(b *testing.B)  { benchmarkVibration(b, 1) }
func BenchmarkVibrationSet10s(b *testing.B) { benchmarkVibration(b, 10) }
