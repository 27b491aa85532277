package dsp

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/dsp/fourier"
)

// Band is a range of frequencies in Hz, Lo included.
type Band struct{ LoHz, HiHz float64 }

// Whitening is what is done to a spectrum before its envelope is taken.
type Whitening uint8

const (
	// WhitenLocally divides each bin by the RMS of the 101 bins around it. It takes
	// away resonances and the strength of the machine, so that every frequency has its
	// say, and leaves the relation of a line to its surroundings.
	WhitenLocally Whitening = iota
	// WhitenFully sets the amplitude of each bin to 1 and keeps its phase (cepstrum
	// pre-whitening: P. Borghesani et al., Application of cepstrum pre-whitening for the
	// diagnosis of bearing faults under variable speed conditions, Mechanical Systems
	// and Signal Processing 36 (2013) 370–384). Deterministic lines vanish.
	WhitenFully
	// WhitenNot leaves the spectrum as it is.
	WhitenNot
)

// EnvelopeConfig is what an Envelope is made for.
type EnvelopeConfig struct {
	RateHz    float64 // of the samples
	Samples   int     // in a frame; at least 16. A GoodLength is fast.
	TopHz     float64 // the highest frequency of the envelope that is wanted
	Bands     []Band  // at least one; inside (0, RateHz/2); kept until the next Prepare
	Whitening Whitening
}

// Envelope computes the power spectrum of the squared envelope of frequency bands,
// averaged over frames.
//
// A frame x loses its mean and is transformed; the bins of a band, divided as Whitening
// says, are taken as a spectrum of their own with no negative frequencies and
// transformed back, which gives the analytic signal a(t) of the band, shifted down and
// decimated to its own rate; |a|² less its mean, times a periodic Hann window, is transformed again
// (R. B. Randall and J. Antoni, Mechanical Systems and Signal Processing 25 (2011)
// 485–520, section 6). The band's bins are padded with zeros so that nothing folds into
// frequencies up to TopHz and 20 bins beyond.
//
// The zero value is ready for Prepare. It reuses its buffers: one goroutine at a time.
type Envelope struct {
	cfg    EnvelopeConfig
	fft    fourier.FFT
	seq    []float64
	coeff  []complex128
	power  []float64
	bands  []envelopeBand
	top    int // highest bin wanted
	frames int
}

type envelopeBand struct {
	from, n int // bins of the frame's spectrum
	m       int // samples of the decimated envelope
	inverse fourier.CmplxFFT
	forward fourier.FFT
	a, out  []complex128
	e, hann []float64
	coeff   []complex128
	power   []float64 // summed over the frames
	kurt    float64   // likewise
}

// Prepare makes e ready for frames as cfg says and forgets what was added. It allocates
// only what it has not got. The error names what cannot be.
func (e *Envelope) Prepare(cfg EnvelopeConfig) error {
	if !(cfg.RateHz > 0) || math.IsInf(cfg.RateHz, 0) || cfg.Samples < 16 || len(cfg.Bands) == 0 {
		return fmt.Errorf("prepare envelope: %d samples at %g Hz and %d bands; it needs 16, a rate and one band", cfg.Samples, cfg.RateHz, len(cfg.Bands))
	}
	n := cfg.Samples
	binHz := cfg.RateHz / float64(n)
	top := math.Ceil(cfg.TopHz / binHz)
	if !(top >= 1 && top < float64(n)/2) {
		return fmt.Errorf("prepare envelope: a top of %g Hz lies outside 0 to %g Hz", cfg.TopHz, cfg.RateHz/2)
	}
	e.cfg, e.top = cfg, int(top)+floorBins+1 // for the surroundings of a line at the top
	if e.fft.Len() != n || e.seq == nil {
		e.fft.Reset(n)
	}
	e.seq, e.coeff, e.power = grow(e.seq, n), grow(e.coeff, n/2+1), grow(e.power, n/2+1)
	if cap(e.bands) < len(cfg.Bands) {
		e.bands = append(e.bands[:cap(e.bands)], make([]envelopeBand, len(cfg.Bands)-cap(e.bands))...)
	}
	e.bands = e.bands[:len(cfg.Bands)]
	for i, b := range cfg.Bands {
		from, to := math.Ceil(b.LoHz/binHz), math.Ceil(b.HiHz/binHz)
		if !(from >= 1 && to <= float64(n/2+1) && to-from >= 8) {
			return fmt.Errorf("prepare envelope: band %g to %g Hz does not hold 8 bins of %g Hz below %g Hz", b.LoHz, b.HiHz, binHz, cfg.RateHz/2)
		}
		e.bands[i].prepare(int(from), int(to-from), e.top)
	}
	e.Reset()
	return nil
}

func (b *envelopeBand) prepare(from, n, top int) {
	b.from, b.n = from, n
	// |a|² holds differences of up to n bins; in m samples the difference n−1 folds to
	// m−n+1, which must lie above top. The spectrum must reach top, too.
	m := nextGoodLength(max(n+top+1, 2*top+2))
	if b.m != m || b.a == nil {
		b.m = m
		b.inverse.Reset(m)
		b.forward.Reset(m)
		b.a, b.out, b.e, b.hann = grow(b.a, m), grow(b.out, m), grow(b.e, m), grow(b.hann, m)
		b.coeff = grow(b.coeff, m/2+1)
		for i := range b.hann {
			b.hann[i] = 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(m))
		}
	}
	b.power = grow(b.power, top+1)
}

// Reset forgets the frames that were added.
func (e *Envelope) Reset() {
	e.frames = 0
	for i := range e.bands {
		clear(e.bands[i].power)
		e.bands[i].kurt = 0
	}
}

// Add adds the frame xs, which has as many samples as was prepared for, all finite. A
// constant frame adds nothing: there is no envelope.
func (e *Envelope) Add(xs []float64) {
	xs = xs[:len(e.seq)]
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	mean, largest := sum/float64(len(xs)), 0.0
	for i, x := range xs {
		d := x - mean
		e.seq[i] = d
		largest = max(largest, math.Abs(d))
	}
	if largest <= 1e-12*math.Abs(mean) || largest == 0 {
		return
	}
	scale := 1 / largest // squares of squares follow: stay clear of both ends of the range
	for i := range e.seq {
		e.seq[i] *= scale
	}
	e.fft.Coefficients(e.coeff, e.seq)
	first, last := len(e.coeff), 0
	for i := range e.bands {
		first, last = min(first, e.bands[i].from), max(last, e.bands[i].from+e.bands[i].n)
	}
	e.whiten(first, last)
	for i := range e.bands {
		e.bands[i].add(e.coeff)
	}
	e.frames++
}

// halfWidth is how many bins on either side local whitening looks at.
const halfWidth = 50

// whiten divides the bins from first to last.
func (e *Envelope) whiten(first, last int) {
	switch e.cfg.Whitening {
	case WhitenNot:
		return
	case WhitenFully:
		for k := first; k < last; k++ {
			if a := math.Hypot(real(e.coeff[k]), imag(e.coeff[k])); a > 0 {
				e.coeff[k] *= complex(1/a, 0)
			}
		}
		return
	}
	p, sum := e.power, 0.0
	for k, c := range e.coeff {
		p[k] = real(c)*real(c) + imag(c)*imag(c)
		sum += p[k]
	}
	p[0] = p[1]
	floor := 1e-12 * sum / float64(len(p)) // below that a bin is rounding
	w := min(halfWidth, len(p)/4)
	at := func(k int) float64 { // mirrored at both ends
		if k < 0 {
			k = -k
		}
		if k >= len(p) {
			k = 2*len(p) - 2 - k
		}
		return p[k]
	}
	share := 1 / float64(2*w+1)
	around := 0.0
	for k := first - w; k < first+w; k++ {
		around += at(k)
	}
	for k := first; k < last; k++ {
		around += at(k + w)
		e.coeff[k] *= complex(1/math.Sqrt(max(around*share, floor)), 0)
		around -= at(k - w)
	}
}

// add adds one frame's spectrum.
func (b *envelopeBand) add(spectrum []complex128) {
	copy(b.a, spectrum[b.from:b.from+b.n])
	clear(b.a[b.n:])
	b.inverse.Sequence(b.out, b.a)
	var second, fourth float64
	for i, c := range b.out {
		p := real(c)*real(c) + imag(c)*imag(c)
		b.e[i] = p
		second += p
		fourth += p * p
	}
	m := float64(b.m)
	mean := second / m
	if mean <= 0 {
		return
	}
	b.kurt += fourth/m/(mean*mean) - 2
	for i := range b.e {
		b.e[i] = (b.e[i]/mean - 1) * b.hann[i]
	}
	b.forward.Coefficients(b.coeff, b.e)
	for k := range b.power {
		c := b.coeff[k]
		b.power[k] += (real(c)*real(c) + imag(c)*imag(c)) / (m * m)
	}
}

// Frames returns how many frames were added that were not constant.
func (e *Envelope) Frames() int { return e.frames }

// Bands returns how many bands there are.
func (e *Envelope) Bands() int { return len(e.bands) }

// BinHz returns the distance of two bins of Spectrum.
func (e *Envelope) BinHz() float64 { return e.cfg.RateHz / float64(e.cfg.Samples) }

// Spectrum returns the sum over the frames of the power spectrum of band i's squared
// envelope, relative to the squared mean of each: bin k belongs to k·BinHz, from 0 to
// 20 bins beyond TopHz. It is e's and changes with the next Add.
func (e *Envelope) Spectrum(i int) []float64 { return e.bands[i].power }

// Kurtosis returns the spectral kurtosis of band i, mean over the frames:
// ⟨|a|⁴⟩/⟨|a|²⟩² − 2, which is 0 for normal noise, −1 for a lone tone, and large when
// the band holds impacts; from the decimated samples (J. Antoni, The spectral kurtosis, Mechanical Systems and
// Signal Processing 20 (2006) 282–307). Without frames it is 0.
func (e *Envelope) Kurtosis(i int) float64 {
	if e.frames == 0 {
		return 0
	}
	return e.bands[i].kurt / float64(e.frames)
}
