package features

import (
	"fmt"

	"github.com/millwright-iot/millwright/sensors/bearing"
	"github.com/millwright-iot/millwright/sensors/dsp"
	"github.com/millwright-iot/millwright/sensors/window"
)

const (
	// frameTurns is how much of the signal one spectrum of the envelope is taken of:
	// long enough to part the cage's lines from the shaft's, short enough that slip does
	// not smear them. Spectra of all frames are averaged.
	frameTurns = 30
	// fewestTurns part the cage's line (0.4 orders) from 0 by the width of the Hann
	// window's main lobe.
	fewestTurns = 10
	// lowestOrder is where the envelope's bands begin: above the harmonics of the shaft.
	lowestOrder = 16
	// highestPart of half the rate is where they end: above it is the converter's filter.
	highestPart = 0.98
	maxBands    = 4
	roomyBand   = 1.5 // width of a band in heights of the highest line
)

// envelope is the envelope analysis of one channel.
type envelope struct {
	bearing  bearing.Geometry
	dsp      dsp.Envelope
	bands    [maxBands]dsp.Band
	snr      [4]float64 // in dB, mean over the bands: outer race, inner race, ball, cage
	kurtosis float64    // mean over the bands
}

// compute analyses s for a shaft turning at shaftHz.
func (v *envelope) compute(s *window.Segment, shaftHz float64) error {
	longest, rateHz, _ := longestStretch(s)
	n := dsp.GoodLength(int(min(frameTurns*rateHz/shaftHz, float64(len(longest)))))
	if turns := float64(n) * shaftHz / rateHz; !(turns >= fewestTurns) {
		return fmt.Errorf("%.3g turns of the shaft without a break; the envelope needs %d: use a longer burst or window", turns, fewestTurns)
	}
	families := [4]dsp.Family{
		{HarmonicHz: v.bearing.BPFO(shaftHz)},
		{HarmonicHz: v.bearing.BPFI(shaftHz), SidebandHz: shaftHz},
		{HarmonicHz: 2 * v.bearing.BSF(shaftHz), SidebandHz: v.bearing.FTF(shaftHz)},
		{HarmonicHz: v.bearing.FTF(shaftHz)},
	}
	topHz := 0.0
	for _, f := range families {
		topHz = max(topHz, f.TopHz())
	}
	lo, hi := lowestOrder*shaftHz, highestPart*rateHz/2
	if hi-lo < topHz {
		return fmt.Errorf("sampled at %.4g per second or turn, and the envelope needs %.4g: four harmonics of the bearing above %d of the shaft", rateHz, 2*(lo+topHz)/highestPart, lowestOrder)
	}
	count := min(max(int((hi-lo)/(roomyBand*topHz)), 1), maxBands)
	for i := range count {
		width := (hi - lo) / float64(count)
		v.bands[i] = dsp.Band{LoHz: lo + float64(i)*width, HiHz: lo + float64(i+1)*width}
	}
	err := v.dsp.Prepare(dsp.EnvelopeConfig{RateHz: rateHz, Samples: n, TopHz: topHz, Bands: v.bands[:count]})
	if err != nil {
		return err
	}
	for piece, lo := 0, 0; piece < len(s.Pieces); {
		next, hi, rate := s.Stretch(piece, lo)
		for ; rate == rateHz && hi-lo >= n; lo += n {
			v.dsp.Add(s.Samples[lo : lo+n])
		}
		piece, lo = next, hi
	}
	v.snr, v.kurtosis = [4]float64{}, 0
	if v.dsp.Frames() == 0 { // a constant signal
		return nil
	}
	for i := range count {
		for j, f := range families {
			dB, _ := dsp.SNR(v.dsp.Spectrum(i), v.dsp.BinHz(), f)
			v.snr[j] += dB / float64(count)
		}
		v.kurtosis += v.dsp.Kurtosis(i) / float64(count)
	}
	return nil
}
