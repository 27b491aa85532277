package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"go.uber.org/goleak"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/prognosis"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/synth"
)

const (
	wearingHz    = 512 // sampling rate of vibration
	cycleSeconds = 2   // of operation: an hour in small
	lifeJob      = "pump-life"
)

// wearing is a generated machine whose bearing wears out, life after life. A crack in
// the outer race grows until the machine fails; then the bearing is replaced.
type wearing struct {
	p    *plant
	name string
	now  time.Time // event time at which the next life begins
	seed uint64
}

func (p *plant) wearing(name string) *wearing {
	seed, _ := strconv.ParseUint(strings.TrimPrefix(name, "pump-"), 10, 64)
	return &wearing{p: p, name: name, now: epoch, seed: 100 * seed}
}

// live publishes a life of so many cycles, from one of them on up to another.
func (w *wearing) live(cycles, from, to int) {
	w.p.t.Helper()
	second := func(cycle int) time.Duration { return time.Duration(cycle) * cycleSeconds * time.Second }
	m, err := synth.New(synth.Config{
		Name: w.name, Seed: w.seed, Start: w.now, ShaftHz: 10, RateHz: wearingHz, BurstSamples: wearingHz, ResonanceHz: 150,
		ThermalLag: 20 * time.Second, Duration: second(to),
		Faults: []synth.Fault{{Kind: synth.OuterRace, GrowsOver: second(cycles), Severity: 1, Fatigue: true}},
	})
	if err != nil {
		w.p.t.Fatal(err)
	}
	var tokens []paho.Token
	temperature := 0.0
	err = m.Run(w.p.t.Context(), func(b sensors.Block) error {
		if at := b.Start.Sub(w.now); at < second(from) || at >= second(to) {
			return nil
		}
		switch b.Channel {
		case synth.Temperature:
			temperature = b.Samples[0]
		case synth.Pressure:
			tokens = append(tokens, w.p.client.Publish("plant/"+w.name+"/process", 1, false,
				fmt.Sprintf(`{"ts":%d,"temp":%.4f,"press":%.4f}`, b.Start.Unix(), temperature, b.Samples[0]/1e5)))
		case synth.Vibration:
			text := fmt.Appendf(nil, `{"ts":%d,"x":[`, b.Start.Unix())
			for i, x := range b.Samples {
				if i > 0 {
					text = append(text, ',')
				}
				text = strconv.AppendFloat(text, x, 'f', 4, 64)
			}
			tokens = append(tokens, w.p.client.Publish("plant/"+w.name+"/vibration", 1, false, append(text, "]}"...)))
		}
		return nil
	})
	if err != nil {
		w.p.t.Fatal(err)
	}
	for _, token := range tokens {
		w.p.wait(token)
	}
}

// fail publishes a whole life and returns when it ended. The next one begins.
func (w *wearing) fail(cycles int) time.Time {
	w.live(cycles, 0, cycles)
	w.now = w.now.Add(time.Duration(cycles*cycleSeconds) * time.Second)
	w.seed++
	return w.now
}

func (g *gateway) life(machine string) *fleet.Life {
	g.t.Helper()
	var m struct {
		Life *fleet.Life `json:"life"`
	}
	if err := getJSON(g.url+"/api/v1/machines/"+machine, &m); err != nil {
		g.t.Fatal(err)
	}
	return m.Life
}

// Three plants see machines wear out and fail, and say so. A fourth, where none ever
// failed, is told how long its machine will last.
func TestFederation_RemainingLife(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	const confidence, ceiling = 0.8, 40
	spec := job.Spec{
		Name: lifeJob, Class: "pump",
		Features: job.FeatureSpec{Window: cycleSeconds * time.Second, Channels: []job.ChannelFeatures{
			{Channel: "vibration", Features: []string{"rms", "kurtosis", "crest"}},
			{Channel: "temperature", Features: []string{"mean"}},
			{Channel: "pressure", Features: []string{"mean"}},
		}},
		Model: model.Spec{Kind: model.KindRUL, RUL: &model.RULSpec{
			Cycle: cycleSeconds * time.Second, Cap: ceiling, Units: 60, Confidence: confidence,
		}},
		Rounds: job.RoundPolicy{Every: 300 * time.Millisecond, MinParticipants: 3, Deadline: 20 * time.Second},
	}.WithDefaults()
	dir, plant := t.TempDir(), newPlant(t)
	hq := newHeadquarters(t, dir, []job.Spec{spec})
	hq.start()
	token := hq.token(4)
	var gateways []*gateway
	machines := map[string]*wearing{}
	for i, names := range [][]string{{"pump-1", "pump-2"}, {"pump-3", "pump-4"}, {"pump-5", "pump-6"}, {"pump-7"}} {
		g := newGateway(t, plant, fmt.Sprintf("hall-%d", i+1), dir, hq.relay.address(), token, names...)
		for k := range g.cfg.Machines {
			g.cfg.Machines[k].Channels[2].Decode.RateHz = wearingHz
		}
		g.start()
		eventually(t, "gateway "+g.cfg.Gateway+" to hear the broker", func() bool { return g.status().Broker.Reading })
		hq.waitFor("gateway "+g.cfg.Gateway+" to know its job", func(s fleet.Snapshot) bool {
			return len(s.Jobs) == 1 && strings.Contains(s.Jobs[0].Waiting[g.cfg.Gateway], "in operation for a whole cycle")
		})
		gateways = append(gateways, g)
		for _, name := range names {
			machines[name] = plant.wearing(name)
		}
	}
	for i, g := range gateways[:3] {
		for k, name := range []string{fmt.Sprintf("pump-%d", 2*i+1), fmt.Sprintf("pump-%d", 2*i+2)} {
			for life := range 2 {
				failed := machines[name].fail(62 + 7*((2*i+k+3*life)%6))
				g.label(map[string]any{"machine": name, "kind": "failure", "at": failed, "order": fmt.Sprintf("WO-%s-%d", name, life)})
			}
			// The new bearing runs, so that the last window of the old one is complete.
			machines[name].live(70, 0, 3)
		}
	}
	// From when all is known it takes as many rounds as there are stages.
	first := newest(hq.snapshot(), lifeJob).Round
	s := hq.waitFor("the rounds that it takes", func(s fleet.Snapshot) bool { return newest(s, lifeJob).Round > first+prognosis.Rounds+1 })
	r := newest(s, lifeJob)
	if loss, ok := r.Metrics["left_out_loss"]; !ok || !(loss > 0 && loss < ceiling*ceiling/16) {
		t.Errorf("round %d on machines left out: %v", r.Round, r.Metrics)
	}

	const whole = 84
	stranger, hall4 := machines["pump-7"], gateways[3]
	at := 0
	for _, cycle := range []int{30, 60, 70, 76, 81} {
		stranger.live(whole, at, cycle+1)
		at = cycle + 1
		end := epoch.Add(time.Duration(cycle*cycleSeconds) * time.Second)
		var l *fleet.Life
		eventually(t, fmt.Sprintf("the life after cycle %d", cycle), func() bool {
			l = hall4.life("pump-7")
			return l != nil && l.At.Equal(end) && l.ModelVersion > r.Round
		}, func() string { return fmt.Sprintf("it is %+v, version wanted above %d", l, r.Round) })
		hours := (time.Second * cycleSeconds).Hours()
		truth := min(float64(whole-cycle), ceiling)
		t.Logf("after %d of %d cycles: %.1f (%.1f to %.1f) cycles, at least: %v, truth %.0f", cycle, whole, l.Hours/hours, l.Low/hours, l.High/hours, l.AtLeast, truth)
		if l.Confidence != confidence || !(l.Low/hours <= truth+1 && truth-1 <= l.High/hours) {
			t.Errorf("after %d cycles the interval is %.1f to %.1f cycles with confidence %v, the truth %.0f", cycle, l.Low/hours, l.High/hours, l.Confidence, truth)
		}
		if l.AtLeast != (cycle == 30) && cycle != 60 {
			t.Errorf("after %d cycles it lasts at least %.1f: %v", cycle, l.Hours/hours, l.AtLeast)
		}
	}
	if l := hall4.life("pump-7"); l.Hours/(time.Second*cycleSeconds).Hours() > 15 {
		t.Errorf("3 cycles before the end %v hours are predicted", l.Hours)
	}
	hq.waitFor("the same at the coordinator", func(s fleet.Snapshot) bool {
		for _, g := range s.Gateways {
			for _, m := range g.Machines {
				if l := m.Life; m.Name == "pump-7" && l != nil && l.Job == lifeJob && l.Confidence == confidence {
					return true
				}
			}
		}
		return false
	})

	// A restart forgets nothing; a repair begins a new life.
	was := hall4.life("pump-7")
	hall4.stop()
	hall4.start()
	if l := hall4.life("pump-7"); l == nil || !l.At.Equal(was.At) {
		t.Errorf("after a restart the life is %+v, it was %+v", l, was)
	}
	hall4.label(map[string]any{"machine": "pump-7", "kind": "maintenance", "at": epoch.Add(time.Hour)})
	eventually(t, "the old life to be forgotten", func() bool { return hall4.life("pump-7") == nil })
}
