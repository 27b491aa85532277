package dsp

import (
	"math"
	"slices"
)

// Family is the lines that one fault makes in the spectrum of an envelope.
type Family struct {
	HarmonicHz float64 // of the first harmonic, without slip
	SidebandHz float64 // distance of one line on either side of each harmonic; 0 for none
}

const (
	// Harmonics is how many of a family are looked at.
	Harmonics = 4
	// MaxSlip is how far a bearing's frequencies may be off those of pure rolling
	// (Randall and Antoni 2011, section 2: 1 to 2 %).
	MaxSlip   = 0.015
	slipSteps = 12
	floorBins = 20 // on either side of a line, of which the median is its floor
)

// TopHz returns the highest frequency that the family needs.
func (f Family) TopHz() float64 {
	return Harmonics*f.HarmonicHz*(1+MaxSlip) + f.SidebandHz
}

// SNR returns how far the lines of f stand out of the envelope's spectrum, in dB, and
// the slip at which they do so most.
//
// A line is the highest of the three bins around its frequency, over the median of the
// 41 bins around where it is without slip. A harmonic is the sum of its line and its
// sidebands; the SNR is 10·lg of the geometric mean of the four harmonics, so that one
// strong line of other origin does not make a fault. The slip is sought in 13 steps from
// −1.5 to 1.5 %, and only the harmonics move with it. What is left when there is
// no fault depends on the number of lines: in noise about 5 dB without sidebands and 9 dB
// with them. An empty spectrum has an SNR of 0.
//
// spectrum must reach 20 bins beyond f.TopHz, as that of an Envelope does.
func SNR(spectrum []float64, binHz float64, f Family) (dB, slip float64) {
	var floors [Harmonics][3]float64
	offsets := [3]float64{0, -f.SidebandHz, f.SidebandHz}
	lines := 1
	if f.SidebandHz > 0 {
		lines = 3
	}
	for h := range floors {
		for j, off := range offsets[:lines] {
			floors[h][j] = floorAt(spectrum, (float64(h+1)*f.HarmonicHz+off)/binHz)
			if !(floors[h][j] > 0) {
				return 0, 0
			}
		}
	}
	best := math.Inf(-1)
	for step := range slipSteps + 1 {
		s := MaxSlip * (2*float64(step)/slipSteps - 1)
		product := 1.0
		for h := range floors {
			at, sum := float64(h+1)*f.HarmonicHz*(1+s), 0.0
			for j, off := range offsets[:lines] {
				sum += peakAt(spectrum, (at+off)/binHz) / floors[h][j]
			}
			product *= sum
		}
		if product > best {
			best, slip = product, s
		}
	}
	return 10 * math.Log10(max(best, 1e-300)) / Harmonics, slip
}

// peakAt returns the highest of the three bins around at.
func peakAt(spectrum []float64, at float64) float64 {
	k := min(max(int(math.Round(at)), 1), len(spectrum)-2)
	return max(spectrum[k-1], spectrum[k], spectrum[k+1])
}

// floorAt returns the median of the bins around at, bin 0 left out.
func floorAt(spectrum []float64, at float64) float64 {
	k := min(max(int(math.Round(at)), 1), len(spectrum)-1)
	var around [2*floorBins + 1]float64
	n := copy(around[:], spectrum[max(1, k-floorBins):min(len(spectrum), k+floorBins+1)])
	slices.Sort(around[:n])
	return (around[n/2] + around[(n-1)/2]) / 2
}
