package features

import (
	"errors"
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/dsp"
	"github.com/millwright-iot/millwright/sensors/window"
)

// ChannelSpec names the features taken of one channel.
type ChannelSpec struct {
	Channel  string
	Quantity sensors.Quantity
	Features []string // at least one; see Known
	Context           // what bearing, order, line and zone features need besides
}

// Extractor computes feature vectors. It reuses its buffers: one goroutine at a time.
type Extractor struct {
	channels []channel
	names    []string
	plans    plans
	moments  moments
	spectrum spectrum

	orders    spectrum // of the signal resampled in angle; frequencies are orders
	rotation  dsp.Rotation
	turned    []float64
	turnedSeg window.Segment
	kurtogram dsp.Kurtogram
	scratch   moments
}

type channel struct {
	name     string
	quantity sensors.Quantity
	features []feature
	needs    needs // of all features together
	context  Context
	speed    int // index of the channel that measures the shaft, or -1
	ambient  int // of the one that measures the surroundings, or -1
	load     int // of the one that measures the load, or -1
	envelope *envelope
	shaftHz  float64 // in this window; 0 when the shaft stands still
	peak     dsp.Peak
}

// New returns an Extractor for windows that have these channels, or everything that is
// wrong with the specification.
func New(channels []ChannelSpec) (*Extractor, error) {
	e := &Extractor{channels: make([]channel, len(channels))}
	var errs []error
	if len(channels) == 0 {
		errs = append(errs, errors.New("no channel is named; a feature vector needs at least one"))
	}
	seen := map[string]bool{}
	for i, spec := range channels {
		c := &e.channels[i]
		c.name, c.quantity, c.context = spec.Channel, spec.Quantity, spec.Context
		add := func(err error) { errs = append(errs, fmt.Errorf("channel %q: %w", spec.Channel, err)) }
		switch {
		case spec.Channel == "":
			errs = append(errs, fmt.Errorf("channel %d has no name", i))
		case seen["channel "+spec.Channel]:
			add(errors.New("named twice"))
		}
		seen["channel "+spec.Channel] = true
		if spec.Quantity.BaseUnit() == "" {
			add(fmt.Errorf("unknown quantity %q", spec.Quantity))
			continue
		}
		for _, err := range spec.problems() {
			add(err)
		}
		if len(spec.Features) == 0 {
			add(errors.New("no feature is named"))
		}
		for _, name := range spec.Features {
			full := spec.Channel + "." + name
			f, err := parse(name, spec.Quantity)
			switch {
			case err != nil:
				add(err)
				continue
			case seen[full]:
				add(fmt.Errorf("feature %q is named twice", name))
			}
			if missing := c.context.lacks(f.needs); missing != "" {
				add(fmt.Errorf("feature %q needs %s", name, missing))
			}
			seen[full] = true
			c.features = append(c.features, f)
			c.needs |= f.needs
			e.names = append(e.names, full)
		}
		c.complete()
	}
	errs = append(errs, e.refer()...)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return e, nil
}

// Names returns "channel.feature" for each element of the vector. It is the caller's.
func (e *Extractor) Names() []string { return append([]string(nil), e.names...) }

// Error says which feature could not be computed, and why.
type Error struct {
	Channel, Feature string // Feature is empty when the whole channel is unusable
	Problem          string // what is wrong and how to mend it
}

func (e *Error) Error() string {
	if e.Feature == "" {
		return fmt.Sprintf("compute features of channel %q: %s", e.Channel, e.Problem)
	}
	return fmt.Sprintf("compute %s.%s: %s", e.Channel, e.Feature, e.Problem)
}

// Extract writes the features of w into dst, in the order of Names, and returns it. dst
// is grown if it is too short; nil allocates. All values are finite: what cannot be
// computed is an *Error, and the vector is then nil.
func (e *Extractor) Extract(dst []float64, w *window.Window) ([]float64, error) {
	dst = dst[:0]
	for i := range e.channels {
		c := &e.channels[i]
		s := segment(w, i, c.name)
		if s == nil {
			return nil, &Error{Channel: c.name, Problem: "the window does not have it"}
		}
		var err error
		if dst, err = e.channel(dst, c, s, w); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// segment finds the channel in w; usually it is at i.
func segment(w *window.Window, i int, name string) *window.Segment {
	if i < len(w.Segments) && w.Segments[i].Channel == name {
		return &w.Segments[i]
	}
	for j := range w.Segments {
		if w.Segments[j].Channel == name {
			return &w.Segments[j]
		}
	}
	return nil
}

func (e *Extractor) channel(dst []float64, c *channel, s *window.Segment, w *window.Window) ([]float64, error) {
	if err := check(s); err != nil {
		return nil, &Error{Channel: c.name, Problem: err.Error()}
	}
	e.moments.compute(s.Samples, c.needs)
	if !finite(e.moments.meanSquare) {
		return nil, &Error{Channel: c.name, Problem: "a sample is NaN, infinite or too large to be squared"}
	}
	var noSpectrum error
	if c.needs&needSpectrum != 0 {
		noSpectrum = e.spectrum.compute(s, e.moments.peak(), &e.plans)
		if noSpectrum == nil && c.needs&needShape != 0 {
			e.spectrum.shape()
		}
	}
	noTurning := e.turning(c, s, w)
	for i := range c.features {
		f := &c.features[i]
		var x float64
		var err error
		switch {
		case f.needs&(needShaft|needKurtogram) != 0:
			if err = noTurning; err == nil {
				x, err = e.turningDomain(f, c, noSpectrum)
			}
		case f.needs&needAmbient != 0:
			x, err = e.meanOf("ambient", c.ambient, w)
			x = e.moments.mean - x
		case f.needs&needLoad != 0:
			x, err = e.meanOf("load", c.load, w)
			x = e.moments.mean - float64(c.context.LoadSlope*x)
		case f.needs&needSpectrum != 0:
			if err = noSpectrum; err == nil {
				x, err = e.frequencyDomain(f, c)
			}
		default:
			x, err = e.timeDomain(f, s)
		}
		if err == nil && !finite(x) {
			err = errors.New("the result is not finite; the samples are too large")
		}
		if err != nil {
			return nil, &Error{Channel: c.name, Feature: f.name, Problem: err.Error()}
		}
		dst = append(dst, x)
	}
	return dst, nil
}

// check reports why s cannot be read.
func check(s *window.Segment) error {
	n := 0
	for i, p := range s.Pieces {
		if p.N < 1 || p.N > len(s.Samples)-n || !finite(p.OffsetS) || !finite(p.RateHz) || p.RateHz < 0 || p.N > 1 && p.RateHz == 0 {
			return fmt.Errorf("piece %d of the segment has %d samples at %g Hz and %g s", i, p.N, p.RateHz, p.OffsetS)
		}
		n += p.N
	}
	if n != len(s.Samples) || n == 0 {
		return fmt.Errorf("the segment has %d samples in pieces of %d", len(s.Samples), n)
	}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

func (e *Extractor) timeDomain(f *feature, s *window.Segment) (float64, error) {
	m := &e.moments
	switch f.kind {
	case kindMean:
		return m.mean, nil
	case kindStd:
		return math.Sqrt(m.m2), nil
	case kindRMS:
		return m.rms(), nil
	case kindPeak:
		return m.peak(), nil
	case kindPeakToPeak:
		return m.max - m.min, nil
	case kindCrest:
		return ratio(m.peak(), m.rms()), nil
	case kindKurtosis:
		return m.kurtosis(), nil
	case kindSkewness:
		return m.skewness(), nil
	case kindShape:
		return ratio(m.rms(), m.meanAbs), nil
	case kindImpulse:
		return ratio(m.peak(), m.meanAbs), nil
	case kindClearance:
		return ratio(m.peak(), m.meanRoot*m.meanRoot), nil
	case kindMin:
		return m.min, nil
	case kindMax:
		return m.max, nil
	case kindLast:
		return m.last, nil
	case kindRipple:
		return m.ripple(), nil
	case kindSlope, kindSlopePerMinute:
		perSecond, ok := slope(s, m.mean)
		if !ok {
			return 0, errors.New("a slope needs two samples at different times; use a longer window")
		}
		if f.kind == kindSlopePerMinute {
			perSecond *= 60
		}
		return perSecond, nil
	}
	return 0, fmt.Errorf("feature %d is not of the time domain", f.kind)
}

func (e *Extractor) frequencyDomain(f *feature, c *channel) (float64, error) {
	sp := &e.spectrum
	switch f.kind {
	case kindCentroid:
		return sp.centroidHz, nil
	case kindSpread:
		return sp.spreadHz, nil
	case kindEntropy:
		return sp.entropy, nil
	case kindDominant:
		return sp.dominantHz(), nil
	case kindAmplitude:
		return sp.amplitude(f.lo)
	case kindBandRMS:
		ms, err := sp.meanSquare(f.lo, f.hi)
		return math.Sqrt(ms), err
	case kindBandLog:
		ms, err := sp.meanSquare(f.lo, f.hi)
		return logRMS(ms), err
	case kindVelocityRMS:
		return sp.velocityRMS(f.lo, f.hi, c.quantity)
	case kindZone:
		mmPerS, err := sp.velocityRMS(f.lo, f.hi, c.quantity)
		return float64(c.context.Zones.Of(mmPerS)), err
	case kindLine:
		return sp.amplitude(c.context.LineHz)
	case kindLine2:
		return sp.amplitude(2 * c.context.LineHz)
	}
	return 0, fmt.Errorf("feature %d is not of the spectrum", f.kind)
}
