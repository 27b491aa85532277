package pipeline

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/bearing"
	"github.com/millwright-iot/millwright/sensors/features"
	"github.com/millwright-iot/millwright/sensors/window"
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
	lines.Features.Channels[0].Features = []string{"load_residual"}
	r.m.cfg.Contexts = map[string]features.Context{channel: {LoadChannel: "power", LoadSlope: 2}}
	if got := unserved(); !strings.Contains(got, `with channel "power", which the job does not list`) {
		t.Errorf("the load is left out: %q", got)
	}
	r.m.cfg.Channels["power"] = sensors.Power
	lines.Features.Channels = append(lines.Features.Channels, job.ChannelFeatures{Channel: "power", Features: []string{"mean"}})
	if got := unserved(); got != "" {
		t.Errorf("the load is listed: %q", got)
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
	load := func(slope float64) string {
		r.m.cfg.Contexts = map[string]features.Context{"v": {LoadChannel: "p", LoadSlope: slope}}
		return r.m.featuresDigest(spec)
	}
	if d := load(1); d != plain {
		t.Errorf("the load is a channel that the job does not list, but the digest %s is not %s", d, plain)
	}
	spec.Channels = append(spec.Channels, job.ChannelFeatures{Channel: "p", Features: []string{"mean"}})
	if one := load(1); one == FeaturesDigest(spec) || one == load(2) {
		t.Errorf("digest %s does not follow the load", one)
	}
}

// A generated outer race: a pulse of 3 kHz ringing at each ball that passes.
func TestMachine_EvidenceOfABearing(t *testing.T) {
	r := newRig(t)
	b, err := bearing.Lookup("6205")
	if err != nil {
		t.Fatal(err)
	}
	const rateHz, shaftHz = 12000.0, 30.0
	r.m.cfg.Channels["vibration"] = sensors.Acceleration
	r.m.cfg.Contexts = map[string]features.Context{"vibration": {Bearing: b.Geometry, ShaftHz: shaftHz}}
	spec := pumps("lines", job.Live, 2*time.Second, "bpfo_snr")
	spec.Features.Channels = []job.ChannelFeatures{{Channel: "vibration", Features: []string{"rms", "bpfo_snr", "bpfi_snr", "bsf_snr"}}}
	front, err := r.m.newFront(spec.WithDefaults().Features)
	if err != nil {
		t.Fatal(err)
	}
	vector := func(damaged bool) []float64 {
		xs, since := make([]float64, 2*rateHz), 0.0
		for i := range xs {
			if since += b.Geometry.BPFO(shaftHz) / rateHz; since >= 1 {
				since--
			}
			xs[i] = 0.1 * r.rng.NormFloat64()
			if s := since / b.Geometry.BPFO(shaftHz); damaged {
				xs[i] += math.Exp(-800*s) * math.Sin(2*math.Pi*3000*s)
			}
		}
		v, err := front.extractor.Extract(nil, &window.Window{Segments: []window.Segment{window.Regular("vibration", rateHz, xs)}})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if e := front.evidence(vector(true)); e.Channel != "vibration" || e.Part != string(bearing.OuterRace) || e.OuterRaceDB < e.InnerRaceDB+6 {
		t.Errorf("damaged outer race: %+v", e)
	}
	if e := front.evidence(vector(false)); e.Part != infer.NoPart || e.OuterRaceDB > 10 {
		t.Errorf("noise: %+v", e)
	}
	// Without all three lines there is no evidence.
	spec.Features.Channels[0].Features = []string{"rms", "bpfo_snr", "bpfi_snr"}
	if front, err = r.m.newFront(spec.WithDefaults().Features); err != nil {
		t.Fatal(err)
	}
	if e := front.evidence([]float64{1, 30, 5}); e != nil {
		t.Errorf("two of three: %+v", e)
	}
}
