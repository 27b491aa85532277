package dsp

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func noise(n int, seed uint64) []float64 {
	rng := rand.New(rand.NewPCG(seed, 0))
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = rng.NormFloat64()
	}
	return xs
}

// A tone at f0, amplitude 1 + m·cos 2πft, has the squared envelope
// (1 + m cos)² = 1 + m²/2 + 2m cos + m²/2 cos 2·. Relative to its mean the lines are 2m
// and m²/2 over 1 + m²/2; a cosine of amplitude A has A/4 in its bin under a Hann window.
func TestEnvelope_ModulatedTone(t *testing.T) {
	const rate, n, f0, f, m = 8192.0, 8192, 2000.0, 40.0, 0.5
	xs := make([]float64, n)
	for i := range xs {
		at := float64(i) / rate
		xs[i] = 7 + 3*(1+m*math.Cos(2*math.Pi*f*at))*math.Sin(2*math.Pi*f0*at)
	}
	var e Envelope
	cfg := EnvelopeConfig{RateHz: rate, Samples: n, TopHz: 200, Bands: []Band{{1500, 2500}, {100, 4000}}, Whitening: WhitenNot}
	if err := e.Prepare(cfg); err != nil {
		t.Fatal(err)
	}
	e.Add(xs)
	for b := range e.Bands() {
		q := e.Spectrum(b)
		for k, want := range map[int]float64{40: 2 * m, 80: m * m / 2, 120: 0, 60: 0} {
			want /= (1 + m*m/2) * 4
			if want *= want; math.Abs(q[k]-want) > 1e-6 {
				t.Errorf("band %d: power at %d Hz is %g, want %g", b, k, q[k], want)
			}
		}
	}
	if got, want := e.BinHz(), 1.0; got != want {
		t.Errorf("BinHz = %g, want %g", got, want)
	}
}

// The same band at the full rate without decimation, by a plain sum.
func TestEnvelope_DecimationFoldsNothing(t *testing.T) {
	const rate, n = 1000.0, 500
	xs := noise(n, 1)
	var e Envelope
	if err := e.Prepare(EnvelopeConfig{RateHz: rate, Samples: n, TopHz: 60, Bands: []Band{{100, 300}}, Whitening: WhitenFully}); err != nil {
		t.Fatal(err)
	}
	e.Add(xs)
	mean := 0.0
	for _, x := range xs {
		mean += x / n
	}
	a := make([]complex128, n)
	for k := 50; k < 150; k++ { // bins of 2 Hz
		var c complex128
		for i, x := range xs {
			s, co := math.Sincos(-2 * math.Pi * float64(k*i%n) / n)
			c += complex((x-mean)*co, (x-mean)*s)
		}
		c /= complex(math.Hypot(real(c), imag(c)), 0)
		for i := range a {
			s, co := math.Sincos(2 * math.Pi * float64(k*i%n) / n)
			a[i] += c * complex(co, s)
		}
	}
	sq, level := make([]float64, n), 0.0
	for i, c := range a {
		sq[i] = real(c)*real(c) + imag(c)*imag(c)
		level += sq[i] / n
	}
	for k := range 31 {
		var re, im float64
		for i := range sq {
			w := (0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/n)) * (sq[i]/level - 1) / n
			s, co := math.Sincos(-2 * math.Pi * float64(k*i%n) / n)
			re, im = re+w*co, im+w*s
		}
		if got, want := e.Spectrum(0)[k], re*re+im*im; math.Abs(got-want) > 1e-12 {
			t.Errorf("bin %d: %g, want %g", k, got, want)
		}
	}
}

// What SNR's comment says of noise.
func TestSNR_OfNoise(t *testing.T) {
	var e Envelope
	cfg := EnvelopeConfig{RateHz: 12000, Samples: 12000, TopHz: 700, Bands: []Band{{500, 5800}}}
	var plain, sidebands float64
	const trials = 40
	for i := range trials {
		if err := e.Prepare(cfg); err != nil {
			t.Fatal(err)
		}
		e.Add(noise(12000, uint64(i)))
		a, slip := SNR(e.Spectrum(0), e.BinHz(), Family{HarmonicHz: 107})
		b, _ := SNR(e.Spectrum(0), e.BinHz(), Family{HarmonicHz: 161, SidebandHz: 30})
		plain, sidebands = plain+a/trials, sidebands+b/trials
		if math.Abs(slip) > MaxSlip {
			t.Errorf("slip %g", slip)
		}
	}
	if math.Abs(plain-5) > 1 || math.Abs(sidebands-9) > 1 {
		t.Errorf("noise has %.1f dB, and %.1f dB with sidebands; want about 5 and 9", plain, sidebands)
	}
}

func TestSNR_FindsSlip(t *testing.T) {
	q := make([]float64, 1000)
	for i := range q {
		q[i] = 1
	}
	for h := 1; h <= Harmonics; h++ {
		q[int(math.Round(float64(h)*150*1.01))] = 100
	}
	dB, slip := SNR(q, 1, Family{HarmonicHz: 150})
	if math.Abs(dB-20) > 1e-9 || math.Abs(slip-0.01) > 0.003 {
		t.Errorf("SNR %g dB at slip %g, want 20 dB at 0.01", dB, slip)
	}
	if dB, _ := SNR(make([]float64, 1000), 1, Family{HarmonicHz: 150}); dB != 0 {
		t.Errorf("SNR of nothing is %g dB", dB)
	}
}

// Bursts of 3000 Hz, 10 a second, in noise: the kurtogram finds their band.
func TestKurtogram_FindsImpacts(t *testing.T) {
	const rate, n = 12800.0, 12800
	xs := noise(n, 3)
	var g Kurtogram
	still := g.Compute(xs, rate)
	for i := range xs {
		tau := math.Mod(float64(i)/rate, 0.1)
		xs[i] += 12 * math.Exp(-400*tau) * math.Sin(2*math.Pi*3000*tau)
	}
	p := g.Compute(xs, rate)
	if p.Kurtosis < 5 || still.Kurtosis > 1.5 || p.Band.LoHz > 3000 || p.Band.HiHz < 3000 || p.Band.HiHz-p.Band.LoHz > 2200 {
		t.Errorf("%+v in impacts, %+v in noise", p, still)
	}
	if p := g.Compute(make([]float64, n), rate); p.Kurtosis != 0 {
		t.Errorf("constant: %+v", p)
	}
	if p := g.Compute(xs[:10], rate); p.Kurtosis != 0 || p.Band.HiHz != rate/2 {
		t.Errorf("10 samples: %+v", p)
	}
	if got := testing.AllocsPerRun(5, func() { g.Compute(xs[:12800], rate) }); got != 0 {
		t.Errorf("Compute allocates %v times", got)
	}
}

func TestGoodLength_BruteForce(t *testing.T) {
	good := func(n int) bool {
		for _, p := range []int{2, 3, 5} {
			for n%p == 0 {
				n /= p
			}
		}
		return n == 1
	}
	largest := 0
	for n := 1; n <= 5000; n++ {
		if good(n) {
			largest = n
		}
		if got := GoodLength(n); got != largest {
			t.Fatalf("GoodLength(%d) = %d, want %d", n, got, largest)
		}
		if got := nextGoodLength(n); got < n || !good(got) {
			t.Fatalf("nextGoodLength(%d) = %d", n, got)
		}
	}
	if GoodLength(0) != 0 {
		t.Error("GoodLength(0)")
	}
}

func TestRotation_Resample(t *testing.T) {
	// The shaft wavers: angle(t) = 25t + 0.4 sin 3t turns. The signal is a cosine of the angle.
	angle := func(t float64) float64 { return 25*t + 0.4*math.Sin(3*t) }
	const rate = 4000.0
	xs := make([]float64, 8000)
	for i := range xs {
		xs[i] = math.Cos(2 * math.Pi * 3 * angle(float64(i)/rate))
	}
	var r Rotation
	phase := make([]float64, 2000)
	for i := range phase {
		phase[i] = -2 * math.Pi * angle(float64(i)/1000) // backwards is as good
	}
	r.AddPhase(phase, 1000, 0)
	hz, err := r.MeanHz()
	if want := angle(1.999) / 1.999; err != nil || math.Abs(hz-want) > 1e-9 {
		t.Errorf("MeanHz = %g, %v; want %g", hz, err, want)
	}
	got, err := r.Resample(nil, xs, rate, 0, 64)
	if err != nil || math.Abs(float64(len(got))-64*angle(1.999)) > 2 {
		t.Fatalf("%d points, %v", len(got), err)
	}
	for k, x := range got {
		if want := math.Cos(2 * math.Pi * 3 * float64(k) / 64); math.Abs(x-want) > 2e-3 {
			t.Fatalf("point %d is %g, want %g", k, x, want)
		}
	}
}

func TestRotation_PulsesAndNoise(t *testing.T) {
	// 4 pulses a turn at 10 Hz, square, with noise on the edges that must not count.
	const rate = 10000.0
	xs := noise(10000, 7)
	for i := range xs {
		xs[i] *= 0.1
		if math.Mod(40*float64(i)/rate, 1) < 0.5 {
			xs[i] += 5
		}
	}
	var r Rotation
	if err := r.AddPulses(xs, rate, 0, 4); err != nil {
		t.Fatal(err)
	}
	if hz, err := r.MeanHz(); err != nil || math.Abs(hz-10) > 0.02 || r.Knots() != 39 {
		t.Errorf("%g Hz from %d pulses, %v", hz, r.Knots(), err)
	}
	if err := r.AddPulses(xs, rate, 0, 0); err == nil {
		t.Error("no pulses a turn, no error")
	}
	r.Reset()
	if _, err := r.MeanHz(); !errors.Is(err, ErrStill) {
		t.Errorf("after Reset: %v", err)
	}
	if _, err := r.Resample(nil, xs, rate, 0, 8); !errors.Is(err, ErrStill) {
		t.Errorf("after Reset: %v", err)
	}
}

// However rough the knots, time goes forward and no value is far outside the signal.
func TestRotation_Monotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		speeds := rapid.SliceOfN(rapid.Float64Range(-50, 500), 2, 50).Draw(t, "speeds")
		var r Rotation
		r.AddSpeed(speeds, 10, 0)
		xs := make([]float64, 10*len(speeds))
		for i := range xs {
			xs[i] = float64(i) // a ramp: resampled, it is the time
		}
		got, err := r.Resample(nil, xs, 100, 0, 4)
		if err != nil && !errors.Is(err, ErrStill) {
			t.Fatal(err)
		}
		for i, x := range got {
			if math.IsNaN(x) || x < -1e-6 || x > float64(len(xs)) || i > 0 && x < got[i-1]-1e-6 {
				t.Fatalf("point %d is at sample %g, after %g", i, x, got[max(0, i-1)])
			}
		}
	})
}

func TestEnvelope_Refuses(t *testing.T) {
	good := EnvelopeConfig{RateHz: 1000, Samples: 1000, TopHz: 100, Bands: []Band{{100, 400}}}
	for name, change := range map[string]func(*EnvelopeConfig){
		"rate":  func(c *EnvelopeConfig) { c.RateHz = 0 },
		"nan":   func(c *EnvelopeConfig) { c.RateHz = math.NaN() },
		"short": func(c *EnvelopeConfig) { c.Samples = 8 },
		"top":   func(c *EnvelopeConfig) { c.TopHz = 600 },
		"notop": func(c *EnvelopeConfig) { c.TopHz = math.NaN() },
		"none":  func(c *EnvelopeConfig) { c.Bands = nil },
		"band":  func(c *EnvelopeConfig) { c.Bands = []Band{{100, 600}} },
		"thin":  func(c *EnvelopeConfig) { c.Bands = []Band{{100, 103}} },
		"nband": func(c *EnvelopeConfig) { c.Bands = []Band{{math.NaN(), 103}} },
		"below": func(c *EnvelopeConfig) { c.Bands = []Band{{-50, 103}} },
	} {
		c := good
		change(&c)
		if err := new(Envelope).Prepare(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := new(Envelope).Prepare(good); err != nil {
		t.Error(err)
	}
}

// Whatever the samples, lines and kurtosis are finite.
func FuzzEnvelope(f *testing.F) {
	f.Add(uint64(1), 1000, 1.0, 0.0)
	f.Add(uint64(2), 333, 1e150, 1e140)
	f.Add(uint64(3), 64, 1e-200, 1.0)
	f.Fuzz(func(t *testing.T, seed uint64, n int, scale, offset float64) {
		if n < 64 || n > 3000 || !(math.Abs(scale) < 1e150) || !(math.Abs(offset) < 1e150) {
			return
		}
		xs := noise(n, seed)
		for i := range xs {
			xs[i] = xs[i]*scale + offset
		}
		var e Envelope
		top := float64(n) / 10
		if err := e.Prepare(EnvelopeConfig{RateHz: float64(n), Samples: n, TopHz: top, Bands: []Band{{float64(n) / 8, float64(n) / 2}}}); err != nil {
			t.Fatal(err)
		}
		e.Add(xs)
		dB, _ := SNR(e.Spectrum(0), 1, Family{HarmonicHz: top / 5})
		var g Kurtogram
		k := g.Compute(xs, float64(n)).Kurtosis
		for _, x := range []float64{dB, e.Kurtosis(0), k} {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				t.Fatalf("SNR %g, kurtosis %g, kurtogram %g", dB, e.Kurtosis(0), k)
			}
		}
	})
}
