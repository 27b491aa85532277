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
// # A machine that is off
//
// A constant signal is not an error. When all samples are equal (to 1e-12 of the largest), std,
// the spectrum and all its features are 0, skewness is 0 and kurtosis is 3, as for
// normal noise; when they are 0, crest, shape, impulse and clearance are 1, as for any
// other constant. Logarithms are of at least 1e-12.
package features
