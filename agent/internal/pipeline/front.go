package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/features"
	"github.com/millwright-iot/millwright/sensors/window"
)

// FeaturesDigest identifies a feature spec: vectors of specs with the same digest
// mean the same.
func FeaturesDigest(f job.FeatureSpec) string {
	data, _ := json.Marshal(f) // durations and text only: cannot fail
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// front turns the blocks of one machine into feature vectors, for all tracks that
// want the same features.
type front struct {
	key       samples.Key
	spec      window.Spec
	windower  *window.Windower
	extractor *features.Extractor
	vector    []float64
	standard  []float64 // vector, standardised; scratch
	bearings  []bearingAt
	found     infer.Evidence             // scratch
	emit      func(*window.Window) error // made once, so that a block allocates nothing

	tracks []*track
	lives  []*lifeTrack
	stored int // baseline vectors in the sample store
	recent int // recent healthy ones
	before Counts
}

// track is one job on one machine.
type track struct {
	spec     job.Spec // with defaults
	digest   string
	detector *infer.Detector
	front    *front

	global  []fedavg.Vector // newest release, nil if none
	version uint64

	out     infer.Output // newest; Reasons points into reasons
	reasons [infer.MaxReasons]infer.Reason
	at      time.Time // local clock, monotonic, of the newest output
}

// newFront fails when the machine cannot deliver what spec asks for.
func (m *Machine) newFront(spec job.FeatureSpec) (*front, error) {
	f := &front{
		key:  samples.Key{Machine: m.cfg.Name, Features: m.featuresDigest(spec)},
		spec: window.Spec{Window: spec.Window, Hop: spec.Hop, MaxGap: spec.MaxGap},
	}
	var channels []features.ChannelSpec
	for _, c := range spec.Channels {
		quantity, ok := m.cfg.Channels[c.Channel]
		if !ok {
			return nil, fmt.Errorf("machine %s has no channel %q; add it to the agent's configuration", m.cfg.Name, c.Channel)
		}
		f.spec.Channels = append(f.spec.Channels, c.Channel)
		channels = append(channels, features.ChannelSpec{Channel: c.Channel, Quantity: quantity, Features: c.Features, Context: m.context(spec, c.Channel)})
	}
	var err error
	if f.windower, err = window.New(m.cfg.Name, f.spec); err != nil {
		return nil, err
	}
	if f.extractor, err = features.New(channels); err != nil {
		return nil, m.explain(spec, err)
	}
	f.bearings = bearings(f.spec.Channels, f.extractor.Names())
	f.emit = func(w *window.Window) error { m.window(f, w); return nil }
	return f, nil
}

// add gives the front a block.
func (f *front) add(b sensors.Block) { _ = f.windower.Add(b, f.emit) } // emit returns nil

// restart begins windows anew; samples that wait are dropped for reason.
func (f *front) restart(machine, reason string) {
	f.before = f.counts()
	// Not what counts as stored: a failure may have come between two of its counts.
	f.before.Dropped[reason] += f.before.Received - f.before.Used - f.before.total()
	f.before.Stored = 0
	f.windower, _ = window.New(machine, f.spec) // the spec was good before
}

// counts returns what became of the samples given to the front.
func (f *front) counts() Counts {
	st := f.windower.Stats()
	c := Counts{
		Received: f.before.Received + st.Received,
		Used:     f.before.Used + st.Used,
		Stored:   st.Pending,
		Dropped:  map[string]int64{},
	}
	for reason, n := range f.before.Dropped {
		c.Dropped[reason] += n
	}
	st.Dropped.Each(func(reason string, n int64) { c.Dropped[reason] += n })
	return c
}
