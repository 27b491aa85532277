package features

import (
	"errors"
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/dsp"
	"github.com/millwright-iot/millwright/sensors/window"
)

const (
	// stillHz is the speed below which a measured shaft stands still: 3 turns a minute.
	stillHz = 0.05
	// kurtogramSamples bounds what the kurtogram is taken of: its tree costs ten
	// transforms, and this many fill all its levels.
	kurtogramSamples = 8192
	fewestPerTurn    = 16 // samples
)

// complete fills in what follows from the features and the context.
func (c *channel) complete() {
	if c.context.PulsesPerTurn == 0 {
		c.context.PulsesPerTurn = 1
	}
	if c.context.Zones == (Zones{}) {
		c.context.Zones = DefaultZones()
	}
	for i := range c.features {
		if f := &c.features[i]; f.kind == kindZone {
			f.lo, f.hi = zoneBand(c.context.ShaftHz)
		}
	}
	if c.needs&needOrders != 0 && c.context.ShaftHz > 0 {
		c.needs |= needSpectrum
	}
	if c.needs&needEnvelope != 0 {
		c.envelope = &envelope{bearing: c.context.Bearing}
	}
}

// turning computes what belongs to the shaft: its speed, the signal in angle, the
// envelope's lines; and the kurtogram. The error says why there is none.
func (e *Extractor) turning(c *channel, s *window.Segment, w *window.Window) error {
	if c.needs&needKurtogram != 0 {
		xs, rateHz, _ := longestStretch(s)
		if rateHz <= 0 {
			return errors.New("the kurtogram needs samples at a known rate")
		}
		c.peak = e.kurtogram.Compute(xs[:dsp.GoodLength(min(len(xs), kurtogramSamples))], rateHz)
	}
	if c.needs&needShaft == 0 {
		return nil
	}
	if c.speed < 0 {
		c.shaftHz = c.context.ShaftHz
		if c.envelope != nil {
			return c.envelope.compute(s, c.shaftHz)
		}
		return nil
	}
	if err := e.rotate(c, w); err != nil {
		return err
	}
	if c.shaftHz == 0 || c.needs&(needOrders|needEnvelope) == 0 {
		return nil
	}
	xs, rateHz, startS := longestStretch(s)
	if rateHz <= 0 {
		return errors.New("order tracking needs samples at a known rate")
	}
	// A good length of a turn makes that of a frame one, too, and stays the same while
	// the speed wavers.
	perTurn := dsp.GoodLength(int(math.Round(min(rateHz/c.shaftHz, float64(len(xs))))))
	if perTurn < fewestPerTurn {
		return fmt.Errorf("a turn of the shaft at %.3g Hz has %d samples; order tracking needs %d: sample faster, or use a longer window", c.shaftHz, perTurn, fewestPerTurn)
	}
	var err error
	if e.turned, err = e.rotation.Resample(e.turned[:0], xs, rateHz, startS, perTurn); err != nil {
		return err
	}
	if len(e.turned) < shortest {
		return fmt.Errorf("the shaft's speed is known for only %d samples of the window", len(e.turned))
	}
	e.turnedSeg.Samples = e.turned
	e.turnedSeg.Pieces = append(e.turnedSeg.Pieces[:0], window.Piece{RateHz: float64(perTurn), N: len(e.turned)})
	if c.needs&needOrders != 0 {
		if err = e.orders.compute(&e.turnedSeg, e.moments.peak(), &e.plans); err != nil {
			return err
		}
	}
	if c.envelope != nil {
		return c.envelope.compute(&e.turnedSeg, 1)
	}
	return nil
}

// rotate reads the speed channel of c.
func (e *Extractor) rotate(c *channel, w *window.Window) error {
	speed := &e.channels[c.speed]
	s := segment(w, c.speed, speed.name)
	if s == nil {
		return fmt.Errorf("the window does not have the speed channel %q", speed.name)
	}
	if err := check(s); err != nil {
		return fmt.Errorf("speed channel %q: %w", speed.name, err)
	}
	r := &e.rotation
	r.Reset()
	c.shaftHz = 0
	switch speed.quantity {
	case sensors.RotationSpeed:
		lo := 0
		for _, p := range s.Pieces {
			r.AddSpeed(s.Samples[lo:lo+p.N], p.RateHz, p.OffsetS)
			lo += p.N
		}
	case sensors.Angle:
		xs, rateHz, startS := longestStretch(s)
		r.AddPhase(xs, rateHz, startS)
	default:
		xs, rateHz, startS := longestStretch(s)
		if err := r.AddPulses(xs, rateHz, startS, c.context.PulsesPerTurn); err != nil {
			return err
		}
	}
	hz, err := r.MeanHz()
	switch {
	case errors.Is(err, dsp.ErrStill) || hz < stillHz: // the machine is off
	case !finite(hz):
		return fmt.Errorf("speed channel %q: the mean speed is %g Hz", speed.name, hz)
	default:
		c.shaftHz = hz
	}
	return nil
}

// longestStretch returns the longest run of samples without a break.
func longestStretch(s *window.Segment) (xs []float64, rateHz, startS float64) {
	for piece, lo := 0, 0; piece < len(s.Pieces); {
		next, hi, rate := s.Stretch(piece, lo)
		if hi-lo > len(xs) {
			xs, rateHz, startS = s.Samples[lo:hi], rate, s.Pieces[piece].OffsetS
		}
		piece, lo = next, hi
	}
	return xs, rateHz, startS
}

func (e *Extractor) turningDomain(f *feature, c *channel, noSpectrum error) (float64, error) {
	switch f.kind {
	case kindKurtogramMax:
		return c.peak.Kurtosis, nil
	case kindKurtogramHz:
		return (c.peak.Band.LoHz + c.peak.Band.HiHz) / 2, nil
	case kindShaft:
		return c.shaftHz, nil
	}
	if c.shaftHz == 0 {
		return 0, nil
	}
	switch f.kind {
	case kindOrder:
		return e.order(c, f.lo, noSpectrum)
	case kindGearMesh:
		return e.order(c, float64(c.context.GearTeeth), noSpectrum)
	case kindVanePass:
		return e.order(c, float64(c.context.Vanes), noSpectrum)
	case kindBPFO, kindBPFI, kindBSF, kindFTF:
		return c.envelope.snr[f.kind-kindBPFO], nil
	case kindEnvelopeKurtosis:
		return c.envelope.kurtosis, nil
	}
	return 0, fmt.Errorf("feature %d does not belong to the shaft", f.kind)
}

// order returns the amplitude at a multiple of the shaft's speed.
func (e *Extractor) order(c *channel, k float64, noSpectrum error) (float64, error) {
	if c.speed < 0 {
		if noSpectrum != nil {
			return 0, noSpectrum
		}
		return e.spectrum.amplitude(k * c.shaftHz)
	}
	x, err := e.orders.amplitude(k)
	if err != nil {
		return 0, fmt.Errorf("order %g cannot be told from %d turns at %g samples a turn; use a longer window, or sample faster", k, int(1/e.orders.binHz()), e.orders.rateHz)
	}
	return x, nil
}

// meanOf returns the mean of another channel, which is what its role says.
func (e *Extractor) meanOf(role string, channel int, w *window.Window) (float64, error) {
	name := e.channels[channel].name
	s := segment(w, channel, name)
	if s == nil {
		return 0, fmt.Errorf("the window does not have the %s channel %q", role, name)
	}
	if err := check(s); err != nil {
		return 0, fmt.Errorf("%s channel %q: %w", role, name, err)
	}
	e.scratch.compute(s.Samples, 0)
	return e.scratch.mean, nil
}
