package features

import (
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/sensors"
)

// shape computes centroid, spread and entropy. Entropy is −Σ q ln q / ln K with q the
// share of each of the K bins (C. E. Shannon, A Mathematical Theory of Communication,
// 1948, section 6).
func (sp *spectrum) shape() {
	sp.centroidHz, sp.spreadHz, sp.entropy = 0, 0, 0
	if sp.total <= 0 {
		return
	}
	first, logs := 0.0, 0.0
	for k, p := range sp.power {
		first += float64(k) * p
		if p > 0 {
			logs += p * math.Log(p/sp.total)
		}
	}
	centre, second := first/sp.total, 0.0
	for k, p := range sp.power {
		d := float64(k) - centre
		second += d * d * p
	}
	sp.centroidHz = centre * sp.binHz()
	sp.spreadHz = math.Sqrt(second/sp.total) * sp.binHz()
	sp.entropy = max(0, -logs/sp.total/math.Log(float64(len(sp.power)-1)))
}

// dominantHz returns the frequency of the highest bin, moved towards its higher
// neighbour by the rule for the Hann window (T. Grandke, Interpolation algorithms for
// discrete Fourier transforms of weighted signals, IEEE Trans. Instrum. Meas. 32 (1983)
// 350–355).
func (sp *spectrum) dominantHz() float64 {
	best := 0
	for k, p := range sp.power {
		if p > sp.power[best] {
			best = k
		}
	}
	at := float64(best)
	if best > 1 && best < len(sp.power)-2 {
		side, neighbour := 1.0, sp.power[best+1]
		if sp.power[best-1] > neighbour {
			side, neighbour = -1, sp.power[best-1]
		}
		a := math.Sqrt(neighbour / sp.power[best])
		at += side * max(0, (2*a-1)/(a+1))
	}
	return at * sp.binHz()
}

// allows reports whether a frequency can be told from this spectrum: it is not above
// half the sampling rate, and at least two of its periods fit in the stretch, because
// below that the window's main lobe reaches zero and a few samples that a window's edge
// cut off a burst would pass for a measurement.
func (sp *spectrum) allows(hz float64) error {
	const periods = 2
	// Frequencies that are a multiple of the width of a bin are not refused for the
	// last bit of a division.
	switch {
	case hz > sp.rateHz/2:
		return fmt.Errorf("%g Hz is above half the sampling rate of %g Hz; sample faster or lower the frequency", hz, sp.rateHz)
	case hz*(1+sloppy) < periods*sp.binHz():
		return fmt.Errorf("%g Hz needs %g s of samples without a break, which is two periods, and there are %g s; use a longer burst or window", hz, periods/hz, 1/sp.binHz())
	}
	return nil
}

const sloppy = 1e-9 // relative error of a frequency that does not matter

// bins returns the bins of the band [lo, hi] in Hz; lo may be 0.
func (sp *spectrum) bins(lo, hi float64) (from, to int, err error) {
	if lo > 0 {
		err = sp.allows(lo)
	}
	if err == nil {
		err = sp.allows(hi)
	}
	if err != nil {
		return 0, 0, err
	}
	from = max(1, int(math.Ceil(lo/sp.binHz()*(1-sloppy))))
	to = min(len(sp.power)-1, int(math.Floor(hi/sp.binHz()*(1+sloppy)))) + 1
	if from >= to {
		return 0, 0, fmt.Errorf("the spectrum has no bin between %g and %g Hz: bins are %g Hz apart; use a longer burst or window", lo, hi, sp.binHz())
	}
	return from, to, nil
}

// meanSquare returns the mean square of the signal in the band.
func (sp *spectrum) meanSquare(lo, hi float64) (float64, error) {
	from, to, err := sp.bins(lo, hi)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, p := range sp.power[from:to] {
		sum += p
	}
	return sum, nil
}

// amplitude returns the peak amplitude of the oscillation at hz: all of the power in
// the main lobe of the Hann window, which is four bins wide, so it does not matter where
// between two bins the frequency lies.
func (sp *spectrum) amplitude(hz float64) (float64, error) {
	if err := sp.allows(hz); err != nil {
		return 0, err
	}
	at := int(math.Round(hz / sp.binHz()))
	sum := 0.0
	for _, p := range sp.power[max(1, at-2):min(len(sp.power), at+3)] {
		sum += p
	}
	return math.Sqrt(2 * sum), nil
}

// velocityRMS returns the velocity of a vibration in the band, in mm/s (ISO 20816-1
// and -3: root mean square of the velocity, usually from 10 to 1000 Hz). Acceleration is
// integrated by dividing each bin by (2πf)².
func (sp *spectrum) velocityRMS(lo, hi float64, q sensors.Quantity) (float64, error) {
	from, to, err := sp.bins(lo, hi)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	if q == sensors.Acceleration {
		for k, p := range sp.power[from:to] {
			f := float64(from + k)
			sum += p / (f * f)
		}
		w := 2 * math.Pi * sp.binHz()
		sum /= w * w
	} else {
		for _, p := range sp.power[from:to] {
			sum += p
		}
	}
	const mmPerM = 1000
	return math.Sqrt(sum) * mmPerM, nil
}

// smallestRMS is the least value a logarithm is taken of.
const smallestRMS = 1e-12

func logRMS(meanSquare float64) float64 {
	return math.Log10(max(math.Sqrt(meanSquare), smallestRMS))
}
