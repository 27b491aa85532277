package features

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/window"
)

// struck is a shaft's tone, noise, and a resonance of 3100 Hz struck strikeHz times a
// second with a strength that goes with modulationHz; turning.py makes it too.
func struck(n int, rateHz, shaftHz, strikeHz, modulationHz float64) []float64 {
	xs := make([]float64, n)
	state := uint32(12345)
	for i := range xs {
		state = state*1664525 + 1013904223
		noise := float64(state)/(1<<32) - 0.5
		t := float64(i) / rateHz
		_, part := math.Modf(t * strikeHz)
		tau := part / strikeHz
		ring := math.Exp(-900*tau) * math.Sin(2*math.Pi*3100*tau)
		load := 1 + 0.9*math.Cos(2*math.Pi*modulationHz*t)
		xs[i] = 2*math.Sin(2*math.Pi*shaftHz*t) + 2*noise + 1.2*load*ring
	}
	return xs
}

var struckNames = strings.Fields("bpfo_snr bpfi_snr bsf_snr ftf_snr envelope_kurtosis kurtogram_max kurtogram_hz")

// struckReference was printed by testdata/turning.py (numpy 2.4.6) for 25000 samples at
// 12 kHz, a shaft of 29.95 Hz, and strikes of which the rate is off by some slip.
var struckReference = []struct {
	name                   string
	strikeHz, modulationHz float64
	want                   []float64
}{
	{"outer", 107.79376306352458, 0.0, []float64{
		11.662235466611316,  // bpfo_snr
		10.236038789016629,  // bpfi_snr
		8.965452213159399,   // bsf_snr
		2.220301885282845,   // ftf_snr
		0.15097720103788556, // envelope_kurtosis
		1.6216497045798208,  // kurtogram_max
		3000.732421875,      // kurtogram_hz
	}},
	{"inner", 161.53695138319674, 29.95, []float64{
		4.446962690006993,   // bpfo_snr
		12.283501194597427,  // bpfi_snr
		8.344381852907162,   // bsf_snr
		2.169482823963269,   // ftf_snr
		0.03506852074084674, // envelope_kurtosis
		1.0208622295893202,  // kurtogram_max
		3000.732421875,      // kurtogram_hz
	}},
	{"ball", 141.45152640771462, 11.929367315573769, []float64{
		3.6461681010237648,   // bpfo_snr
		8.71333707685972,     // bpfi_snr
		11.439392837003211,   // bsf_snr
		3.8447624206790754,   // ftf_snr
		0.042716428183219246, // envelope_kurtosis
		1.2316247789407284,   // kurtogram_max
		3000.732421875,       // kurtogram_hz
	}},
}

func TestExtract_BearingReference(t *testing.T) {
	const rateHz, shaftHz = 12000, 29.95
	context := context25()
	context.ShaftHz = shaftHz
	for _, r := range struckReference {
		t.Run(r.name, func(t *testing.T) {
			got := with(t, context, window.Regular("c", rateHz, struck(25000, rateHz, shaftHz, r.strikeHz, r.modulationHz)), struckNames...)
			for i, want := range r.want {
				if math.Abs(got[i]-want) > 1e-8*math.Max(1, math.Abs(want)) {
					t.Errorf("%s = %.17g, want %.17g", struckNames[i], got[i], want)
				}
			}
		})
	}
}

// with returns the named features of one acceleration channel in a context.
func with(t testing.TB, c Context, s window.Segment, names ...string) []float64 {
	t.Helper()
	e, err := New([]ChannelSpec{{Channel: s.Channel, Quantity: sensors.Acceleration, Features: names, Context: c}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Extract(nil, &window.Window{Segments: []window.Segment{s}})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// speeding is a shaft that goes from 20 to 40 Hz in 10 s: its angle in turns.
func speeding(t float64) float64 { return 20*t + t*t }

// Amplitudes at ½, 1 and 2 times the shaft and at 23 teeth stay what they are while the
// speed doubles, whichever way the shaft is measured; without tracking they smear.
func TestExtract_OrderTracking(t *testing.T) {
	const rateHz, n = 5120.0, 51200
	xs := make([]float64, n)
	for i := range xs {
		a := 2 * math.Pi * speeding(float64(i)/rateHz)
		xs[i] = 0.5*math.Sin(a/2) + 2*math.Sin(a+1) + 0.7*math.Sin(2*a+2) + 0.3*math.Sin(23*a)
	}
	speed := make([]float64, 101) // Hz, ten a second
	for i := range speed {
		speed[i] = 20 + 2*float64(i)/10
	}
	phase, tacho := make([]float64, 4*2560), make([]float64, n) // phase wrapped, 1024 a second; one pulse a turn
	for i := range phase {
		phase[i] = math.Mod(2*math.Pi*speeding(float64(i)/1024), 2*math.Pi)
	}
	for i := range tacho {
		tacho[i] = 5 / (1 + math.Exp(-4*math.Sin(2*math.Pi*speeding(float64(i)/rateHz)))) // edges of some samples, as after a filter
	}
	want := []float64{0.5, 2, 0.7, 0.3, 30}
	for _, c := range []struct {
		name     string
		quantity sensors.Quantity
		segment  window.Segment
	}{
		{"speed", sensors.RotationSpeed, window.Regular("shaft", 10, speed)},
		{"phase", sensors.Angle, window.Regular("shaft", 1024, phase)},
		{"tacho", sensors.Voltage, window.Regular("shaft", rateHz, tacho)},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := New([]ChannelSpec{
				{Channel: "a", Quantity: sensors.Acceleration, Features: []string{"order_amp_0.5", "order_amp_1", "order_amp_2", "gear_mesh_amp", "shaft_hz"},
					Context: Context{SpeedChannel: "shaft", GearTeeth: 23}},
				{Channel: "shaft", Quantity: c.quantity, Features: []string{"mean"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			w := &window.Window{Segments: []window.Segment{window.Regular("a", rateHz, xs), c.segment}}
			got, err := e.Extract(nil, w)
			if err != nil {
				t.Fatal(err)
			}
			for i, x := range want {
				if math.Abs(got[i]-x) > 0.01*x {
					t.Errorf("%s = %g, want %g", e.Names()[i], got[i], x)
				}
			}
			if allocs := testing.AllocsPerRun(5, func() { got, err = e.Extract(got, w) }); allocs != 0 || err != nil {
				t.Errorf("Extract allocates %v times, error %v", allocs, err)
			}
		})
	}
	still := with(t, Context{ShaftHz: 30}, window.Regular("a", rateHz, xs), "order_amp_1")
	if still[0] > 1 {
		t.Errorf("without tracking, the first order is %g: the test would not notice tracking", still[0])
	}
}

// A machine that is off has no orders and no lines, and that is not an error.
func TestExtract_MachineOff(t *testing.T) {
	names := []string{"shaft_hz", "order_amp_1", "bpfo_snr", "bpfi_snr", "bsf_snr", "ftf_snr", "envelope_kurtosis"}
	context := Context{SpeedChannel: "shaft", Bearing: context25().Bearing}
	for name, c := range map[string]struct {
		quantity sensors.Quantity
		xs       []float64
	}{
		"speed": {sensors.RotationSpeed, make([]float64, 100)},
		"phase": {sensors.Angle, make([]float64, 100)},
		"tacho": {sensors.Voltage, make([]float64, 100)},
		"crawl": {sensors.RotationSpeed, []float64{0.01, 0.02, 0.01, 0.03}},
	} {
		e, err := New([]ChannelSpec{
			{Channel: "a", Quantity: sensors.Acceleration, Features: names, Context: context},
			{Channel: "shaft", Quantity: c.quantity, Features: []string{"mean"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Extract(nil, &window.Window{Segments: []window.Segment{
			window.Regular("a", 3200, signal(3200, 3200)), window.Regular("shaft", 100, c.xs)}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, f := range names {
			if got[i] != 0 {
				t.Errorf("%s: %s = %g, want 0", name, f, got[i])
			}
		}
	}
	// A constant signal of a shaft that is said to turn.
	constant := make([]float64, 25600)
	for i, x := range with(t, context25(), window.Regular("a", 25600, constant), bearingSet...) {
		if x != 0 && bearingSet[i] != "kurtogram_hz" {
			t.Errorf("constant: %s = %g, want 0", bearingSet[i], x)
		}
	}
}

func TestExtract_VibrationSetAllocations(t *testing.T) {
	e, err := New([]ChannelSpec{vibrationSet()})
	if err != nil {
		t.Fatal(err)
	}
	xs := signal(60000, 25600)
	w := &window.Window{Segments: []window.Segment{window.Regular("vibration", 25600, xs)}}
	dst, err := e.Extract(nil, w)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for n = range planCount { // the plans kept ready are made once
		w.Segments[0].Samples, w.Segments[0].Pieces[0].N = xs[:60000-n*5000], 60000-n*5000
		if dst, err = e.Extract(dst, w); err != nil {
			t.Fatal(err)
		}
	}
	if got := testing.AllocsPerRun(10, func() {
		n = (n + 3701) % 40000 // bursts of changing length
		w.Segments[0].Samples, w.Segments[0].Pieces[0].N = xs[:60000-n], 60000-n
		dst, err = e.Extract(dst, w)
	}); got != 0 || err != nil {
		t.Errorf("Extract allocates %v times, error %v", got, err)
	}
}

func TestExtract_TurningErrors(t *testing.T) {
	context := context25()
	for _, c := range []struct {
		feature string
		s       window.Segment
		want    string
	}{
		{"bpfo_snr", window.Regular("a", 25600, signal(5000, 25600)), "4.88 turns of the shaft without a break; the envelope needs 10"},
		{"bpfi_snr", window.Regular("a", 1000, signal(4000, 1000)), "four harmonics of the bearing"},
		{"order_amp_20", window.Regular("a", 800, signal(4000, 800)), "above half the sampling rate"},
		{"kurtogram_max", window.Segment{Channel: "a", Samples: []float64{1}, Pieces: []window.Piece{{N: 1}}}, "known rate"},
	} {
		e, err := New([]ChannelSpec{{Channel: "a", Quantity: sensors.Acceleration, Features: []string{c.feature}, Context: context}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Extract(nil, &window.Window{Segments: []window.Segment{c.s}})
		var typed *Error
		if got != nil || !errors.As(err, &typed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want %q", c.feature, got, err, c.want)
		}
	}
}

// Five tones of known amplitude on a shaft of 24.5 Hz with 6 vanes and 23 teeth; a pressure
// has the same amplitudes at the pump's passes as an acceleration.
func TestExtract_TonesOfTheMachine(t *testing.T) {
	const rateHz, shaftHz = 4096.0, 24.5
	xs := make([]float64, 8192)
	for i := range xs {
		at := func(hz, amplitude float64) float64 { return amplitude * math.Sin(2*math.Pi*hz*float64(i)/rateHz+hz) }
		xs[i] = 7 + at(50, 0.3) + at(100, 0.2) + at(0.5*shaftHz, 0.8) + at(3*shaftHz, 1.5) + at(6*shaftHz, 0.9) + at(23*shaftHz, 0.4)
	}
	names := []string{"line_amp", "line2_amp", "order_amp_0.5", "order_amp_3", "vane_pass_amp", "gear_mesh_amp"}
	want := []float64{0.3, 0.2, 0.8, 1.5, 0.9, 0.4}
	for _, q := range []sensors.Quantity{sensors.Acceleration, sensors.Pressure} {
		e, err := New([]ChannelSpec{{Channel: "a", Quantity: q, Features: names, Context: Context{ShaftHz: shaftHz, Vanes: 6, GearTeeth: 23, LineHz: 50}}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Extract(nil, &window.Window{Segments: []window.Segment{window.Regular("a", rateHz, xs)}})
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range want {
			if math.Abs(got[i]-w) > 0.01*w {
				t.Errorf("%s of %s = %g, want %g", names[i], q, got[i], w)
			}
		}
	}
}

// A rate that jumps inside a window breaks the signal: the longest stretch counts.
func TestExtract_RateJumps(t *testing.T) {
	const rateHz, shaftHz = 12000, 29.95
	context := context25()
	context.ShaftHz = shaftHz
	xs := struck(25000, rateHz, shaftHz, 108, 0)
	want := with(t, context, window.Regular("c", rateHz, xs), struckNames...)
	jumping := window.Segment{Channel: "c", Samples: append(signal(3000, 6000), xs...), Pieces: []window.Piece{
		{RateHz: 6000, N: 3000}, {OffsetS: 0.5, RateHz: rateHz, N: len(xs)}}}
	for i, got := range with(t, context, jumping, struckNames...) {
		if got != want[i] {
			t.Errorf("%s = %g, want %g", struckNames[i], got, want[i])
		}
	}
}

// Whatever the samples, rates and speeds, the answer is finite numbers or an *Error.
func FuzzExtractTurning(f *testing.F) {
	f.Add(int64(1), 4000, 3200.0, 1.0, 25.0, 3.0, uint8(0))
	f.Add(int64(2), 3000, 1e-3, 1e100, 1e-4, 1e5, uint8(1))
	f.Add(int64(3), 2000, 1e9, 1e-160, 1e7, 0.0, uint8(2))
	f.Add(int64(4), 8, 25600.0, 0.0, 0.0, 0.0, uint8(3))
	f.Fuzz(func(t *testing.T, seed int64, n int, rate, scale, speed, step float64, kind uint8) {
		if n < 1 || n > 5000 {
			return
		}
		xs, shaft := make([]float64, n), make([]float64, n/3+1)
		state := uint64(seed)
		for i := range xs {
			state = state*6364136223846793005 + 1442695040888963407
			xs[i] = scale * (float64(state>>40)/(1<<24) - 0.5)
		}
		for i := range shaft {
			shaft[i] = speed + step*xs[i]
		}
		context := context25()
		context.ShaftHz, context.SpeedChannel = 0, "shaft"
		spec := vibrationSet()
		spec.Context = context
		quantity := []sensors.Quantity{sensors.RotationSpeed, sensors.Angle, sensors.Voltage, sensors.Dimensionless}[kind%4]
		// The set of the time domain would fail first on most of these.
		spec.Features = []string{"shaft_hz", "order_amp_1", "order_amp_0.5", "bpfo_snr", "bpfi_snr", "bsf_snr", "ftf_snr", "envelope_kurtosis", "kurtogram_max", "kurtogram_hz"}
		for i := range spec.Features {
			one := spec
			one.Features = spec.Features[i : i+1]
			e, err := New([]ChannelSpec{one, {Channel: "shaft", Quantity: quantity, Features: []string{"min"}}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.Extract(nil, &window.Window{Segments: []window.Segment{
				window.Regular("vibration", rate, xs), window.Regular("shaft", rate/3, shaft)}})
			var typed *Error
			if err != nil && !errors.As(err, &typed) {
				t.Fatalf("error %v is not an *Error", err)
			}
			for _, x := range got {
				if !finite(x) {
					t.Fatalf("%s is %g", one.Features[0], x)
				}
			}
		}
	})
}
