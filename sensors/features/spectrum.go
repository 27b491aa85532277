package features

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/dsp/fourier"

	"github.com/millwright-iot/millwright/sensors/dsp"
	"github.com/millwright-iot/millwright/sensors/window"
)

// shortest is the fewest samples a spectrum is taken of.
const shortest = 8

// plan is what a transform of one length needs, made once.
type plan struct {
	n     int
	fft   fourier.FFT
	hann  []float64
	scale float64 // 2/(n·Σhann²)
	seq   []float64
	coeff []complex128
	age   int
}

// prepare makes p a plan for n samples; it allocates only if p was made for fewer.
func (p *plan) prepare(n int) {
	p.n = n
	p.fft.Reset(n)
	if cap(p.seq) < n {
		p.hann, p.seq, p.coeff = make([]float64, n), make([]float64, n), make([]complex128, n/2+1)
	}
	p.hann, p.seq, p.coeff = p.hann[:n], p.seq[:n], p.coeff[:n/2+1]
	sum := 0.0
	for i := range p.hann {
		w := 0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(n))
		p.hann[i] = w
		sum += w * w
	}
	p.scale = 2 / (float64(n) * sum)
}

// planCount bounds the lengths that are kept ready. A machine has few: one for each
// kind of burst.
const planCount = 4

// plans keeps the plans used last.
type plans struct {
	all  [planCount]plan
	tick int
}

func (ps *plans) get(n int) *plan {
	ps.tick++
	oldest := &ps.all[0]
	for i := range ps.all {
		p := &ps.all[i]
		if p.n == n {
			p.age = ps.tick
			return p
		}
		if p.age < oldest.age {
			oldest = p
		}
	}
	oldest.prepare(n)
	oldest.age = ps.tick
	return oldest
}

// spectrum is the power of a segment by frequency.
type spectrum struct {
	rateHz float64
	n      int       // length of the transform
	power  []float64 // mean square of bin k, at k·rate/n; bin 0 is not used
	total  float64   // Σ power[1:]; zero when the signal is constant

	centroidHz, spreadHz, entropy float64
}

func (sp *spectrum) binHz() float64 { return sp.rateHz / float64(sp.n) }

// compute takes the spectrum of s, whose largest absolute value is peak. The error
// says what is missing.
func (sp *spectrum) compute(s *window.Segment, peak float64, ps *plans) error {
	longest := 0
	for piece, lo := 0, 0; piece < len(s.Pieces); {
		next, hi, rateHz := s.Stretch(piece, lo)
		if hi-lo > longest && rateHz > 0 {
			longest, sp.rateHz = hi-lo, rateHz
		}
		piece, lo = next, hi
	}
	if longest < shortest {
		return fmt.Errorf("the longest stretch without a break has %d samples; a spectrum needs %d", longest, shortest)
	}
	sp.n = dsp.GoodLength(longest)
	p := ps.get(sp.n)
	if cap(sp.power) < len(p.coeff) {
		sp.power = make([]float64, len(p.coeff))
	}
	sp.power = sp.power[:len(p.coeff)]
	clear(sp.power)
	stretches := 0
	for piece, lo := 0, 0; piece < len(s.Pieces); {
		next, hi, rateHz := s.Stretch(piece, lo)
		if rateHz == sp.rateHz && hi-lo >= sp.n {
			p.addPower(sp.power, s.Samples[lo:lo+sp.n])
			stretches++
		}
		piece, lo = next, hi
	}
	sp.finish(stretches, peak)
	return nil
}

// addPower adds |X(k)|² of xs to dst.
func (p *plan) addPower(dst, xs []float64) {
	sum := 0.0
	for _, x := range xs {
		sum += x
	}
	mean := sum / float64(len(xs))
	seq, hann := p.seq[:len(xs)], p.hann[:len(xs)]
	for i, x := range xs {
		seq[i] = (x - mean) * hann[i]
	}
	p.fft.Coefficients(p.coeff, seq)
	dst = dst[:len(p.coeff)]
	for k, c := range p.coeff {
		dst[k] += p.scale * (real(c)*real(c) + imag(c)*imag(c))
	}
}

// finish averages over the stretches and clears what is only rounding.
func (sp *spectrum) finish(stretches int, peak float64) {
	share := 1 / float64(stretches)
	sp.power[0] = 0
	if sp.n%2 == 0 {
		sp.power[len(sp.power)-1] /= 2
	}
	sp.total = 0
	for k := range sp.power {
		sp.power[k] *= share
		sp.total += sp.power[k]
	}
	if limit := constant * peak; sp.total <= limit*limit {
		clear(sp.power)
		sp.total = 0
	}
}
