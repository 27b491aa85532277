package job

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/prognosis"
)

// WithDefaults returns a copy of s in which every setting left at its zero
// value has the default its field documents. It shares no memory with s that
// either could change.
func (s Spec) WithDefaults() Spec {
	setDefault(&s.Role, Live)
	setDefault(&s.Features.Hop, s.Features.Window)
	setDefault(&s.Features.MaxGap, s.Features.Window)
	s.Model = s.Model.WithDefaults()
	setDefault(&s.Alarm.Baseline, 300)
	setDefault(&s.Alarm.Threshold, 1.5)
	setDefault(&s.Alarm.OnDelay, 3)
	setDefault(&s.Alarm.Clear, 0.3)
	s.Labels = s.Labels.withDefaults()
	setDefault(&s.Rounds.Every, time.Hour)
	setDefault(&s.Rounds.MinParticipants, 1)
	setDefault(&s.Rounds.Deadline, 10*time.Minute)
	setDefault(&s.Rounds.Late, LateDrop)
	setDefault(&s.Seed, 1)
	s.Strategy = s.Strategy.withDefaults(s.Model.Kind)
	s.Quarantine = s.Quarantine.withDefaults()
	s.Compression = append([]string(nil), s.Compression...)
	s.withLifeDefaults()

	channels := make([]ChannelFeatures, len(s.Features.Channels))
	for i, c := range s.Features.Channels {
		channels[i] = ChannelFeatures{Channel: c.Channel, Features: append([]string(nil), c.Features...)}
	}
	s.Features.Channels = channels
	return s
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Digest identifies s: the lower-case hex SHA-256 of its JSON with all defaults
// filled in. Two specs that mean the same have the same digest, whether or not
// they spell the defaults out.
func (s Spec) Digest() string {
	// encoding/json writes fields in declaration order and a Spec has no maps,
	// so its JSON is canonical. It fails only for NaN and Inf, which Validate
	// refuses; such a spec gets the digest of the error text and matches nothing.
	data, err := json.Marshal(s.WithDefaults())
	if err != nil {
		data = []byte(err.Error())
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Family returns the model family that s federates, for feature vectors of
// s.Features. s needs no defaults filled in; it must be valid.
func (s Spec) Family() (model.Family, error) {
	s = s.WithDefaults()
	spec := s.Model
	spec.Overlap = s.Features.Overlap()
	if spec.Kind == model.KindRUL && spec.RUL != nil {
		return prognosis.New(*spec.RUL, s.Features.Names())
	}
	return model.NewFamily(spec, s.Features.Len())
}

// NewStrategy returns how the updates of one round of s become the next global
// model. s needs no defaults filled in; it must be valid.
func (s Spec) NewStrategy() (fedavg.Strategy, error) {
	s = s.WithDefaults()
	f, err := s.Family()
	if err != nil {
		return nil, err
	}
	return s.Strategy.Build(f.Learning())
}

// TrainOptions returns how agents train for s in a round with this seed that starts
// from this version of the global model. What an agent keeps or receives beside (see
// model.TrainOptions) is for it to add.
func (s Spec) TrainOptions(seed, version uint64) model.TrainOptions {
	return s.WithDefaults().Strategy.trainOptions(seed, version)
}

// Len is the number of features, the length of Names.
func (f FeatureSpec) Len() int {
	n := 0
	for _, c := range f.Channels {
		n += len(c.Features)
	}
	return n
}

// Overlap is how many consecutive windows share samples: Window over Hop,
// rounded up, at least 1. A Hop of zero means Window.
func (f FeatureSpec) Overlap() int {
	if f.Hop <= 0 || f.Window <= f.Hop {
		return 1
	}
	n := f.Window / f.Hop
	if f.Window%f.Hop != 0 {
		n++
	}
	return int(min(n, 1<<20))
}
