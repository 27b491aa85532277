// Package features turns a window into a feature vector: one finite number for
// each feature of each channel.
//
// Values are in the base unit of the channel's quantity except where the name or the
// description says otherwise. [Known] lists every feature with its meaning.
//
// # Time domain
//
// With n samples x: mean Σx/n, std √(Σ(x−mean)²/n), rms √(Σx²/n), peak max|x|,
// crest peak/rms, shape rms/mean|x|, impulse peak/mean|x|, clearance
// peak/(mean √|x|)², skewness m₃/m₂^1.5 and kurtosis m₄/m₂² of the central moments
// (biased; a normal distribution has kurtosis 3). Source: Y. Lei, Intelligent Fault
// Diagnosis and Remaining Useful Life Prediction of Rotating Machinery,
// Butterworth-Heinemann 2017, chapter 2. rms and the ratios are of the signal as
// it is: an accelerometer that measures gravity too shows it there, and not in std,
// kurtosis, skewness, velocity_rms and the spectrum.
//
// # Spectrum
//
// The spectrum is taken over the longest stretch of samples without a break, and
// averaged over all other stretches that are long enough (bursts). Its length is the
// largest number that has no prime factor above 5 and is not longer than the stretch.
// Each stretch has its mean removed and is weighted with a periodic Hann window w; bin k
// at frequency f = k·rate/n holds the mean square
//
//	p(k) = 2|X(k)|² / (n·Σw²), half of that at rate/2
//
// which is scipy.signal.periodogram(x, rate, "hann") times the width of a bin. The
// bin at 0 is left out everywhere. A frequency or a band that reaches above rate/2, or
// starts so low that the stretch holds less than two periods of it, is an error.
//
// # Shaft and bearing
//
// Features that need to know the machine take that from the channel's [Context]. With a
// SpeedChannel, the signal is resampled evenly in shaft angle first, so that orders and
// bearing lines stay sharp while the speed varies; shaft_hz is the mean speed then.
// Amplitudes by order are those of amp_<hz> at the shaft's speed times the order.
//
// The envelope is that of up to four equal bands from 16 times the shaft's speed to 0.98
// times half the sampling rate, each at least 1.5 times as wide as the highest line of the
// bearing is high, or of one band if there is no room. Every spectrum is of 30 turns of
// the shaft (at least 10 if the window has no more), whitened locally, and the mean of
// all is taken. bpfo_snr, bpfi_snr, bsf_snr and ftf_snr are the means over the bands of what
// [dsp.SNR] says, in dB. In noise they are about 5 dB, with sidebands 9. Which part a
// damaged bearing's numbers accuse is told by bearing.Evidence.
//
// The kurtogram is of the first 8192 samples of the longest stretch.
//
// iso_zone uses velocity_rms and the boundaries of Context.Zones; for a shaft that always
// turns slower than 600 times a minute it is from 2 Hz on.
//
// # A machine that is off
//
// A shaft that is measured to turn slower than 3 times a minute stands still: shaft_hz,
// the amplitudes by order, the SNRs and envelope_kurtosis are 0, as they are for a constant
// signal.
//
// A constant signal is not an error. When all samples are equal (to 1e-12 of the largest), std,
// the spectrum and all its features are 0, skewness is 0 and kurtosis is 3, as for
// normal noise; when they are 0, crest, shape, impulse and clearance are 1, as for any
// other constant. Logarithms are of at least 1e-12.
package features
