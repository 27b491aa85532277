package features

import (
	"slices"

	"github.com/millwright-iot/millwright/sensors"
)

// Info describes one feature.
type Info struct {
	Name  string // as it is configured; <lo>, <hi> and <hz> stand for a frequency in Hz, such as 10 or 24.5, <order> for a multiple of the shaft's speed
	About string // what it is, in one line
}

type kind uint8

const (
	kindMean kind = iota
	kindStd
	kindRMS
	kindPeak
	kindPeakToPeak
	kindCrest
	kindKurtosis
	kindSkewness
	kindShape
	kindImpulse
	kindClearance
	kindMin
	kindMax
	kindLast
	kindSlope
	kindSlopePerMinute
	kindRipple
	kindCentroid
	kindSpread
	kindEntropy
	kindDominant
	kindAmplitude
	kindBandRMS
	kindBandLog
	kindVelocityRMS
	kindZone
	kindLine
	kindLine2
	kindOrder
	kindGearMesh
	kindVanePass
	kindShaft
	kindBPFO
	kindBPFI
	kindBSF
	kindFTF
	kindEnvelopeKurtosis
	kindKurtogramMax
	kindKurtogramHz
	kindAboveAmbient
	kindLoadResidual
)

// needs says which shared intermediates a feature is made from.
type needs uint16

const (
	needCentral   needs = 1 << iota // second to fourth central moments
	needRoots                       // Σ√|x|
	needTrend                       // least-squares slope
	needSpectrum                    // power of each bin
	needShape                       // centroid, spread and entropy of the spectrum
	needShaft                       // speed of the shaft
	needOrders                      // amplitude by order
	needEnvelope                    // lines of the envelope
	needKurtogram                   // the most impulsive band
	needLine                        // the mains' frequency
	needGear                        // the number of teeth
	needVanes                       // the number of vanes
	needAmbient                     // another channel's mean
	needLoad                        // likewise
)

// definition is one feature, or a family whose members differ in frequencies.
type definition struct {
	Info
	kind   kind
	needs  needs
	params int // frequencies in the name, after the last letter
	except []sensors.Quantity
	only   []sensors.Quantity // if not empty
	why    string             // why it is not for the other quantities
}

var (
	vibration = []sensors.Quantity{sensors.Acceleration, sensors.Velocity}
	celsius   = []sensors.Quantity{sensors.Temperature}
	signed    = []sensors.Quantity{sensors.Acceleration, sensors.Velocity, sensors.Displacement, sensors.Angle, sensors.Temperature}
)

const (
	whyCelsius  = "the zero of °C is arbitrary"
	whySigned   = "it divides by the mean, which has no meaning there"
	whyAmbient  = "only temperatures have an ambient one"
	whyVelocity = "only acceleration and velocity give a vibration velocity"
)

func fixed(name, about string, k kind, n needs) definition {
	return definition{Info: Info{name, about}, kind: k, needs: n}
}

func (d definition) notFor(q []sensors.Quantity, why string) definition {
	d.except, d.why = q, why
	return d
}

func (d definition) onlyFor(q []sensors.Quantity, why string) definition {
	d.only, d.why = q, why
	return d
}

func (d definition) with(params int) definition {
	d.params = params
	return d
}

var definitions = []definition{
	fixed("mean", "mean value", kindMean, 0),
	fixed("std", "standard deviation (divided by n)", kindStd, needCentral),
	fixed("rms", "root mean square", kindRMS, 0).notFor(celsius, whyCelsius),
	fixed("peak", "largest absolute value", kindPeak, 0).notFor(celsius, whyCelsius),
	fixed("peak_to_peak", "largest value minus smallest", kindPeakToPeak, 0),
	fixed("crest", "peak over rms; impacts raise it", kindCrest, 0).notFor(celsius, whyCelsius),
	fixed("kurtosis", "fourth central moment over variance squared; 3 for normal noise, impacts raise it", kindKurtosis, needCentral),
	fixed("skewness", "third central moment over std cubed; 0 when symmetric", kindSkewness, needCentral),
	fixed("shape", "rms over mean absolute value", kindShape, 0).notFor(celsius, whyCelsius),
	fixed("impulse", "peak over mean absolute value", kindImpulse, 0).notFor(celsius, whyCelsius),
	fixed("clearance", "peak over the square of the mean root of the absolute value", kindClearance, needRoots).notFor(celsius, whyCelsius),
	fixed("min", "smallest value", kindMin, 0),
	fixed("max", "largest value", kindMax, 0),
	fixed("last", "newest value", kindLast, 0),
	fixed("slope", "least-squares slope over the sample times, per second", kindSlope, needTrend),
	fixed("slope_per_minute", "least-squares slope over the sample times, per minute", kindSlopePerMinute, needTrend),
	fixed("ripple", "peak to peak over the absolute mean, at most 100", kindRipple, 0).notFor(signed, whySigned),
	fixed("centroid", "mean frequency of the spectrum weighted by power, in Hz", kindCentroid, needSpectrum|needShape),
	fixed("spread", "standard deviation of frequency weighted by power, in Hz", kindSpread, needSpectrum|needShape),
	fixed("entropy", "Shannon entropy of the spectrum, 0 for one tone to 1 for white noise", kindEntropy, needSpectrum|needShape),
	fixed("dominant_frequency", "frequency of the highest bin, interpolated, in Hz", kindDominant, needSpectrum),
	fixed("amp_<hz>", "amplitude (peak) of the oscillation at a frequency, from the five bins around it", kindAmplitude, needSpectrum).with(1),
	fixed("band_<lo>_<hi>", "decimal logarithm of the rms between two frequencies, both included", kindBandLog, needSpectrum).with(2),
	fixed("band_rms_<lo>_<hi>", "rms between two frequencies, both included", kindBandRMS, needSpectrum).with(2),
	fixed("velocity_rms", "vibration velocity from 10 to 1000 Hz (ISO 20816), rms, in mm/s", kindVelocityRMS, needSpectrum).onlyFor(vibration, whyVelocity),
	fixed("velocity_rms_<lo>_<hi>", "vibration velocity between two frequencies, rms, in mm/s", kindVelocityRMS, needSpectrum).with(2).onlyFor(vibration, whyVelocity),
	fixed("iso_zone", "zone of velocity_rms by the channel's zone table: 0 is A, 1 B, 2 C, 3 D", kindZone, needSpectrum).onlyFor(vibration, whyVelocity),
	fixed("line_amp", "amplitude (peak) at the mains' frequency", kindLine, needSpectrum|needLine),
	fixed("line2_amp", "amplitude (peak) at twice the mains' frequency", kindLine2, needSpectrum|needLine),
	fixed("shaft_hz", "speed of the shaft, in Hz", kindShaft, needShaft),
	fixed("order_amp_<order>", "amplitude (peak) at a multiple of the shaft's speed, such as 0.5 or 2", kindOrder, needShaft|needOrders).with(1),
	fixed("gear_mesh_amp", "amplitude (peak) at the shaft's speed times the gear's teeth", kindGearMesh, needShaft|needOrders|needGear),
	fixed("vane_pass_amp", "amplitude (peak) at the shaft's speed times the pump's or fan's vanes", kindVanePass, needShaft|needOrders|needVanes),
	fixed("bpfo_snr", "lines of an outer race fault in the envelope, above their surroundings, in dB", kindBPFO, needShaft|needEnvelope).onlyFor(vibration, whyVelocity),
	fixed("bpfi_snr", "lines of an inner race fault, with sidebands at the shaft's speed, in dB", kindBPFI, needShaft|needEnvelope).onlyFor(vibration, whyVelocity),
	fixed("bsf_snr", "lines of a ball fault (twice the ball's spin), with sidebands at the cage's speed, in dB", kindBSF, needShaft|needEnvelope).onlyFor(vibration, whyVelocity),
	fixed("ftf_snr", "lines at the cage's speed, in dB", kindFTF, needShaft|needEnvelope).onlyFor(vibration, whyVelocity),
	fixed("envelope_kurtosis", "spectral kurtosis of the bands of the envelope, mean; 0 for normal noise, impacts raise it", kindEnvelopeKurtosis, needShaft|needEnvelope).onlyFor(vibration, whyVelocity),
	fixed("kurtogram_max", "highest spectral kurtosis of any band", kindKurtogramMax, needKurtogram).onlyFor(vibration, whyVelocity),
	fixed("kurtogram_hz", "middle of the band with the highest spectral kurtosis, in Hz", kindKurtogramHz, needKurtogram).onlyFor(vibration, whyVelocity),
	fixed("above_ambient", "mean less the mean of the ambient channel, in °C", kindAboveAmbient, needAmbient).onlyFor(celsius, whyAmbient),
	fixed("load_residual", "mean less what the mean of the load channel explains: its slope times that", kindLoadResidual, needLoad),
}

// Known lists every feature there is, in the order of the documentation.
func Known() []Info {
	infos := make([]Info, len(definitions))
	for i, d := range definitions {
		infos[i] = d.Info
	}
	return infos
}

// Default returns features that suit a channel of quantity q when nothing was
// configured. All of them can be computed from any window with at least one sample,
// whatever the sampling rate; an unknown quantity has none.
func Default(q sensors.Quantity) []string {
	switch {
	case q.BaseUnit() == "":
		return nil
	case q == sensors.Temperature:
		return []string{"mean"}
	case q == sensors.Pressure:
		return []string{"mean", "ripple"}
	case slices.Contains(vibration, q), q == sensors.Displacement:
		return []string{"rms", "peak_to_peak", "crest", "kurtosis", "skewness"}
	}
	return []string{"mean", "std"}
}
