package synth

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gonum.org/v1/gonum/dsp/fourier"
)

const steady = 24.55 // Hz: 25 Hz less 3 % slip at the mean load of 0.6

// steadyMachine has no load swings, so that its speed is exactly steady.
func steadyMachine(t *testing.T, faults ...Fault) *Machine {
	t.Helper()
	m, err := New(Config{Name: "m", Seed: 7, Faults: faults, LoadSwings: []Swing{}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// record returns seconds of vibration at 3200 Hz.
func (m *Machine) record(seconds int) []float64 {
	x := make([]float64, 3200*seconds)
	m.vib.burst(x, 100, rand.New(rand.NewPCG(1, 2)))
	return x
}

// amplitude is that of the sine of f Hz in x, by a Fourier sum with a Hann
// window at exactly f: 2·|Σ w·x·e^(−2πift)| / Σ w.
func amplitude(x []float64, f, rate float64) float64 {
	var sum complex128
	var weight float64
	for i, v := range x {
		w := 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(len(x)))
		sum += complex(w*v, 0) * cmplx.Exp(complex(0, -2*math.Pi*f*float64(i)/rate))
		weight += w
	}
	return 2 * cmplx.Abs(sum) / weight
}

func TestBearing_Frequencies(t *testing.T) {
	// Multiples of the shaft rate published with the recordings of this bearing
	// (CWRU Bearing Data Center): BPFO 3.5848, BPFI 5.4152, FTF 0.39828, and
	// 4.7135 for the rolling element, which is counted at twice BSF.
	b := SKF6205()
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"BPFO", b.BPFO(1), 3.5848}, {"BPFI", b.BPFI(1), 5.4152}, {"2·BSF", 2 * b.BSF(1), 4.7135}, {"FTF", b.FTF(1), 0.39828},
	} {
		if math.Abs(c.got-c.want) > 1e-4 {
			t.Errorf("%s = %.5f; want %.5f", c.name, c.got, c.want)
		}
	}
}

func TestVibration_ShaftHarmonics(t *testing.T) {
	lines := func(faults ...Fault) (a [4]float64) {
		x := steadyMachine(t, faults...).record(4)
		for i, order := range []float64{1, 2, 3, 6} {
			a[i] = amplitude(x, order*steady, 3200)
		}
		return a
	}
	sound := lines()
	for i, want := range []float64{0.3, 0.12, 0.06, 0.2} { // machines differ by 20 %
		if sound[i] < 0.75*want || sound[i] > 1.25*want {
			t.Errorf("sound machine: line %d is %.3f m/s²; want %.3f ± 25 %%", i, sound[i], want)
		}
	}
	off := lines(Fault{Kind: Imbalance, Severity: 1})
	// (0.3 + 2)/0.3 times as much at 1×, nothing more elsewhere.
	if r := off[0] / sound[0]; math.Abs(r-23.0/3) > 0.3 || math.Abs(off[1]-sound[1]) > 0.01 {
		t.Errorf("imbalance: 1× grew %.2f times, 2× from %.3f to %.3f; want 7.67 times and no change", r, sound[1], off[1])
	}
	skew := lines(Fault{Kind: Misalignment, Severity: 1})
	if r2, r3 := skew[1]/sound[1], skew[2]/sound[2]; math.Abs(r2-26) > 2.5 || math.Abs(r3-26) > 3.5 || skew[0] > 3*sound[0] {
		t.Errorf("misalignment: 2× grew %.1f and 3× %.1f times, 1× from %.2f to %.2f; want 26, 26, and little", r2, r3, sound[0], skew[0])
	}
}

// squaredEnvelope is |analytic signal|² of x in the band around the resonance.
func squaredEnvelope(x []float64, lo, hi, rate float64) []float64 {
	fft := fourier.NewCmplxFFT(len(x))
	c := make([]complex128, len(x))
	for i, v := range x {
		c[i] = complex(v, 0)
	}
	c = fft.Coefficients(nil, c)
	for i := range c {
		if f := float64(i) * rate / float64(len(x)); f < lo || f > hi { // negative frequencies lie above rate/2
			c[i] = 0
		}
	}
	c = fft.Sequence(nil, c)
	e, mean := make([]float64, len(x)), 0.0
	for i := range c {
		e[i] = real(c[i])*real(c[i]) + imag(c[i])*imag(c[i])
		mean += e[i] / float64(len(x))
	}
	for i := range e {
		e[i] -= mean
	}
	return e
}

// peak returns the strongest line within 2 % of f, in dB over the median of the
// lines between 10 and 400 Hz.
func peak(envelope []float64, f, rate float64) float64 {
	fft := fourier.NewFFT(len(envelope))
	power := func(c complex128) float64 { return real(c)*real(c) + imag(c)*imag(c) }
	var band []float64
	best := 0.0
	for i, c := range fft.Coefficients(nil, envelope) {
		at := fft.Freq(i) * rate
		if at > 10 && at < 400 {
			band = append(band, power(c))
		}
		if math.Abs(at-f) < 0.02*f {
			best = max(best, power(c))
		}
	}
	slices.Sort(band)
	return 10 * math.Log10(best/band[len(band)/2])
}

func TestVibration_BearingFaults(t *testing.T) {
	b := SKF6205()
	bpfo, bpfi, roll := b.BPFO(steady), b.BPFI(steady), 2*b.BSF(steady)
	for _, c := range []struct {
		kind        Kind
		own         float64
		others      []float64
		modulations []float64
	}{
		{OuterRace, bpfo, []float64{bpfi, roll}, nil},
		{InnerRace, bpfi, []float64{roll}, []float64{steady, bpfi - steady, bpfi + steady}},
		// No others here: 2·BSF − 3·FTF = 86.4 Hz and 2·BSF + 2·FTF = 135.3 Hz are
		// true sidebands of a ball fault and lie within 2 % of BPFO and BPFI.
		{Ball, roll, nil, []float64{b.BSF(steady), roll - b.FTF(steady), roll + b.FTF(steady)}},
	} {
		e := squaredEnvelope(steadyMachine(t, Fault{Kind: c.kind, Severity: 1}).record(8), 700, 1300, 3200)
		own := peak(e, c.own, 3200)
		if own < 20 {
			t.Errorf("%s: %.1f dB at its own %.1f Hz; want over 20", c.kind, own, c.own)
		}
		for _, f := range c.others {
			if p := peak(e, f, 3200); p > own-6 {
				t.Errorf("%s: %.1f dB at %.1f Hz of another fault, %.1f dB at its own", c.kind, p, f, own)
			}
		}
		for _, f := range c.modulations {
			if p := peak(e, f, 3200); p < 15 {
				t.Errorf("%s: %.1f dB at %.1f Hz of its modulation; want over 15", c.kind, p, f)
			}
		}
	}
	sound := squaredEnvelope(steadyMachine(t).record(8), 700, 1300, 3200)
	for _, f := range []float64{bpfo, bpfi, roll} {
		if p := peak(sound, f, 3200); p > 15 {
			t.Errorf("sound machine: %.1f dB at %.1f Hz; want under 15", p, f)
		}
	}
}

// The ringing after an impact lies at the resonance and decays with it: the
// impulsiveness shows as kurtosis, which is 3 for noise and 1.5 for a sine.
func TestVibration_Impulsiveness(t *testing.T) {
	kurtosis := func(x []float64) float64 {
		var m2, m4 float64
		for _, v := range x {
			m2 += v * v / float64(len(x))
			m4 += v * v * v * v / float64(len(x))
		}
		return m4 / (m2 * m2)
	}
	if k := kurtosis(steadyMachine(t).record(4)); k > 3.2 {
		t.Errorf("sound machine: kurtosis %.2f; want that of sines and noise, at most 3.2", k)
	}
	if k := kurtosis(steadyMachine(t, Fault{Kind: OuterRace, Severity: 0.5}).record(4)); k < 4 {
		t.Errorf("outer race: kurtosis %.2f; want over 4", k)
	}
}

func TestProcess_AngleIsIntegralOfSpeed(t *testing.T) {
	m, err := New(Config{Name: "m", Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	const to, n = 200.0, 200000
	sum := 0.0 // midpoint rule
	for i := range n {
		sum += 2 * math.Pi * m.vib.shaftHz((float64(i)+0.5)*to/n) * to / n
	}
	if got := m.vib.angle(to) - m.vib.angle(0); math.Abs(got-sum) > 1e-4 {
		t.Errorf("angle after %v s is %v rad; the speed integrates to %v", to, got, sum)
	}
}

func TestProcess_Pressure(t *testing.T) {
	m := steadyMachine(t)
	x := make([]float64, 4000)
	for i := range x {
		x[i] = m.vib.pressurePa(float64(i) / 2000)
	}
	if a := amplitude(x, 6*steady, 2000); math.Abs(a-8000) > 200 { // 2 % of 4 bar, six vanes
		t.Errorf("ripple at vane pass is %.0f Pa; want 8000", a)
	}
	swinging, _ := New(Config{Name: "m", LoadSwings: []Swing{{0.3, 100 * time.Second}}})
	lo, hi := math.Inf(1), math.Inf(-1)
	var atLo, atHi float64
	for s := range 100 {
		if l := swinging.vib.load(float64(s)); l < lo {
			lo, atLo = l, float64(s)
		}
		if l := swinging.vib.load(float64(s)); l > hi {
			hi, atHi = l, float64(s)
		}
	}
	// 0.35 of 4 bar from no load to rated load, 0.6 of that between 0.3 and 0.9,
	// give or take the ripple.
	if d := swinging.vib.pressurePa(atLo) - swinging.vib.pressurePa(atHi); math.Abs(d-0.6*0.35*4e5) > 17000 {
		t.Errorf("pressure falls by %.0f Pa from the least to the greatest load; want 84000", d)
	}
}

func TestThermal_TimeConstant(t *testing.T) {
	m := steadyMachine(t, Fault{Kind: OuterRace, Begins: 100 * time.Second, Severity: 1})
	h := thermal{celsius: m.vib.steadyC(0)}
	h.advance(&m.vib.process, 100)
	before := h.celsius
	if want := 22 + 35*0.6; math.Abs(before-want) > 1e-9 {
		t.Errorf("balance at %.3f °C; want %.3f", before, want)
	}
	// A step of 15 K through a first-order lag of 180 s: 15·(1 − e^(−n)).
	for n := 1; n <= 3; n++ {
		h.advance(&m.vib.process, 100+180*float64(n))
		if want := 15 * (1 - math.Exp(-float64(n))); math.Abs(h.celsius-before-want) > 0.15 {
			t.Errorf("rise after %d time constants is %.2f K; want %.2f", n, h.celsius-before, want)
		}
	}
}
