package pipeline

import (
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/bearing"
	"github.com/millwright-iot/millwright/sensors/features"
)

func TestMachine_JobThatNeedsToKnowTheMachine(t *testing.T) {
	r := newRig(t)
	const channel = "vibration"
	r.m.cfg.Channels[channel] = sensors.Acceleration
	lines := pumps("lines", job.Live, 5*time.Second, "bpfo_snr")
	lines.Features.Channels = []job.ChannelFeatures{{Channel: channel, Features: []string{"bpfo_snr"}}}
	unserved := func() string {
		r.m.SetJobs([]job.Spec{lines}, nil, nil)
		return r.m.Status().Unserved["lines"]
	}
	if got := unserved(); !strings.Contains(got, "machine pump-1") || !strings.Contains(got, `"bpfo_snr" needs the `) || !strings.Contains(got, "`mechanics`") {
		t.Errorf("nothing is known: %q", got)
	}
	b, err := bearing.Lookup("6205")
	if err != nil {
		t.Fatal(err)
	}
	r.m.cfg.Contexts = map[string]features.Context{channel: {Bearing: b.Geometry, SpeedChannel: "speed"}}
	if got := unserved(); !strings.Contains(got, `with channel "speed", which the job does not list`) {
		t.Errorf("the speed is left out: %q", got)
	}
	r.m.cfg.Contexts = map[string]features.Context{channel: {Bearing: b.Geometry, ShaftHz: 25}}
	if got := unserved(); got != "" {
		t.Errorf("all is known: %q", got)
	}
}

// Vectors taken with another bearing are not the baseline of this one.
func TestMachine_FeaturesDigestFollowsTheMachine(t *testing.T) {
	r := newRig(t)
	spec := job.FeatureSpec{Window: time.Second, Channels: []job.ChannelFeatures{{Channel: "v", Features: []string{"rms"}}}}
	plain := r.m.featuresDigest(spec)
	if plain != FeaturesDigest(spec) {
		t.Error("the digest of a machine of which nothing is known has changed: its baselines are lost")
	}
	seen := map[string]bool{plain: true}
	for _, c := range []features.Context{{ShaftHz: 25}, {ShaftHz: 26}, {ShaftHz: 25, Bearing: bearing.Geometry{Balls: 9}}} {
		r.m.cfg.Contexts = map[string]features.Context{"v": c}
		d := r.m.featuresDigest(spec)
		if seen[d] {
			t.Errorf("%+v has the digest of another", c)
		}
		seen[d] = true
	}
}
