package lab

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/bearing"
	"github.com/millwright-iot/millwright/sensors/dsp"
	"github.com/millwright-iot/millwright/sensors/features"
	"github.com/millwright-iot/millwright/sensors/window"
)

// cwruFeatures are computed by the gateway's code: what physics says of the
// bearing, then features that know nothing of it.
var cwruFeatures = []string{
	"bpfo_snr", "bpfi_snr", "bsf_snr", "ftf_snr",
	"std", "kurtosis", "skewness", "crest", "impulse", "shape",
	"band_10_1000", "band_1000_2000", "band_2000_3000", "band_3000_4000", "band_4000_5000", "band_5000_5900",
}

// cwruSNRs is how many of cwruFeatures are the bearing's.
const cwruSNRs = 4

// cwruWindows is what the windows of one recording measure.
type cwruWindows struct {
	vectors  [][]float64          // of cwruFeatures
	evidence [][]bearing.Evidence // by layout, then window
}

// layout is a way to take the envelope's spectrum. The first of cwruLayouts is
// what features use.
type layout struct {
	whitening dsp.Whitening
	bands     int
	sidebands bool // count the lines beside those of inner race and ball
	highest   bool // of the bands' SNRs, instead of their mean
}

func cwruLayouts() []layout {
	all := []layout{{dsp.WhitenLocally, 4, true, false}}
	for _, w := range []dsp.Whitening{dsp.WhitenLocally, dsp.WhitenFully, dsp.WhitenNot} {
		for _, bands := range []int{1, 2, 4} {
			for _, sidebands := range []bool{true, false} {
				for _, highest := range []bool{false, true} {
					if l := (layout{w, bands, sidebands, highest}); l != all[0] && (bands > 1 || !highest) {
						all = append(all, l)
					}
				}
			}
		}
	}
	return all
}

func (l layout) String() string {
	s := []string{"locally whitened", "fully whitened", "not whitened"}[l.whitening] + fmt.Sprintf(", %d bands", l.bands)
	if l.sidebands {
		s += ", sidebands"
	}
	if l.highest {
		s += ", highest band"
	}
	return s
}

// cwruMeasure computes features and evidence of all recordings.
func cwruMeasure(ctx context.Context, recordings []CWRURecording, layouts []layout) ([]cwruWindows, error) {
	b, err := bearing.Lookup(cwruBearing)
	if err != nil {
		return nil, err
	}
	all := make([]cwruWindows, len(recordings))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, r := range recordings {
		g.Go(func() error {
			var err error
			if all[i], err = r.measure(ctx, b.Geometry, layouts); err != nil {
				return fmt.Errorf("measure %s: %w", r.Name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return all, nil
}

func (r *CWRURecording) measure(ctx context.Context, b bearing.Geometry, layouts []layout) (cwruWindows, error) {
	var m cwruWindows
	e, err := features.New([]features.ChannelSpec{{
		Channel: "drive_end", Quantity: sensors.Acceleration, Features: cwruFeatures,
		Context: features.Context{ShaftHz: r.ShaftHz, Bearing: b},
	}})
	if err != nil {
		return m, err
	}
	m.evidence = make([][]bearing.Evidence, len(layouts))
	envelopes := map[layout]*dsp.Envelope{} // by whitening and bands
	hop := cwruWindow
	if r.Part == "" {
		hop /= 4 // there is little of good bearings
	}
	for lo := 0; lo+cwruWindow <= len(r.Samples); lo += hop {
		if ctx.Err() != nil {
			return m, ctx.Err()
		}
		xs := r.Samples[lo : lo+cwruWindow]
		v, err := e.Extract(nil, &window.Window{Segments: []window.Segment{window.Regular("drive_end", cwruHz, xs)}})
		if err != nil {
			return m, err
		}
		m.vectors = append(m.vectors, v)
		for k := range envelopes {
			envelopes[k].Reset()
			envelopes[k].Add(xs[:dsp.GoodLength(len(xs))])
		}
		for i, l := range layouts {
			key := layout{whitening: l.whitening, bands: l.bands}
			if envelopes[key] == nil {
				if envelopes[key], err = r.envelope(b, l, len(xs)); err != nil {
					return m, err
				}
				envelopes[key].Add(xs[:dsp.GoodLength(len(xs))])
			}
			m.evidence[i] = append(m.evidence[i], evidenceOf(envelopes[key], l, b, r.ShaftHz))
		}
	}
	return m, nil
}

// families are the lines of outer race, inner race, ball and cage.
func families(b bearing.Geometry, shaftHz float64, sidebands bool) [4]dsp.Family {
	f := [4]dsp.Family{{HarmonicHz: b.BPFO(shaftHz)}, {HarmonicHz: b.BPFI(shaftHz)}, {HarmonicHz: 2 * b.BSF(shaftHz)}, {HarmonicHz: b.FTF(shaftHz)}}
	if sidebands {
		f[1].SidebandHz, f[2].SidebandHz = shaftHz, b.FTF(shaftHz)
	}
	return f
}

// envelope prepares l's envelope between 16 times the shaft's speed and 0.98 of half
// the rate, as features do.
func (r *CWRURecording) envelope(b bearing.Geometry, l layout, samples int) (*dsp.Envelope, error) {
	top := 0.0
	for _, f := range families(b, r.ShaftHz, true) {
		top = max(top, f.TopHz())
	}
	lo, hi := 16*r.ShaftHz, 0.98*cwruHz/2
	bands := make([]dsp.Band, l.bands)
	for i := range bands {
		width := (hi - lo) / float64(l.bands)
		bands[i] = dsp.Band{LoHz: lo + float64(i)*width, HiHz: lo + float64(i+1)*width}
	}
	e := new(dsp.Envelope)
	return e, e.Prepare(dsp.EnvelopeConfig{RateHz: cwruHz, Samples: dsp.GoodLength(samples), TopHz: top, Bands: bands, Whitening: l.whitening})
}

func evidenceOf(e *dsp.Envelope, l layout, b bearing.Geometry, shaftHz float64) bearing.Evidence {
	var snr [4]float64
	if e.Frames() > 0 {
		for j, f := range families(b, shaftHz, l.sidebands) {
			for i := range e.Bands() {
				dB, _ := dsp.SNR(e.Spectrum(i), e.BinHz(), f)
				if l.highest {
					snr[j] = max(snr[j], dB)
				} else {
					snr[j] += dB / float64(e.Bands())
				}
			}
		}
	}
	return bearing.Evidence{OuterDB: snr[0], InnerDB: snr[1], BallDB: snr[2], CageDB: snr[3]}
}
