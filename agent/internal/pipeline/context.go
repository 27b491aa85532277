package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/sensors/features"
)

// context is what is known of a channel, as far as the job's channels allow: a speed, a
// surroundings' temperature or a load that the job does not take part in is not there.
func (m *Machine) context(spec job.FeatureSpec, channel string) features.Context {
	c := m.cfg.Contexts[channel]
	if !takes(spec, c.SpeedChannel) {
		c.SpeedChannel, c.PulsesPerTurn = "", 0
	}
	if !takes(spec, c.AmbientChannel) {
		c.AmbientChannel = ""
	}
	if !takes(spec, c.LoadChannel) {
		c.LoadChannel, c.LoadSlope = "", 0
	}
	return c
}

func takes(spec job.FeatureSpec, channel string) bool {
	return slices.ContainsFunc(spec.Channels, func(c job.ChannelFeatures) bool { return c.Channel == channel })
}

// explain says where to mend a feature spec that the machine cannot compute.
func (m *Machine) explain(spec job.FeatureSpec, err error) error {
	err = fmt.Errorf("machine %s: %w", m.cfg.Name, err)
	if !strings.Contains(err.Error(), " needs the ") {
		return err
	}
	for _, c := range spec.Channels {
		known := m.cfg.Contexts[c.Channel]
		for _, other := range []string{known.SpeedChannel, known.AmbientChannel, known.LoadChannel} {
			if other != "" && !takes(spec, other) {
				return fmt.Errorf("%w; the machine measures that with channel %q, which the job does not list: list it there with a feature", err, other)
			}
		}
	}
	return fmt.Errorf("%w; say it under `mechanics` of the machine or the channel in the agent's configuration", err)
}

// featuresDigest identifies what vectors mean on this machine: a feature spec, and
// what is known of the machine, since the same name is another number with another
// bearing.
func (m *Machine) featuresDigest(f job.FeatureSpec) string {
	digest := FeaturesDigest(f)
	known := make([]features.Context, len(f.Channels))
	for i, c := range f.Channels {
		known[i] = m.context(f, c.Channel)
	}
	if !slices.ContainsFunc(known, func(c features.Context) bool { return c != features.Context{} }) {
		return digest
	}
	data, _ := json.Marshal(known) // finite numbers and text: cannot fail
	sum := sha256.Sum256(data)
	return digest + "-" + hex.EncodeToString(sum[:8])
}
