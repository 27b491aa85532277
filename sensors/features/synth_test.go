package features

import (
	"context"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/bearing"
	"github.com/millwright-iot/millwright/sensors/synth"
	"github.com/millwright-iot/millwright/sensors/window"
)

// Generated machines whose truth is known, from blocks to the accused part.
func TestAccuse_GeneratedMachines(t *testing.T) {
	for _, kind := range []synth.Kind{synth.OuterRace, synth.InnerRace, synth.Ball} {
		t.Run(string(kind), func(t *testing.T) {
			m, err := synth.New(synth.Config{Name: "m", Seed: 5, Duration: 25 * time.Second, ShaftHz: 25, RateHz: 12000, BurstSamples: 12000, ResonanceHz: 3000,
				Faults: []synth.Fault{{Kind: kind, Severity: 0.5}}})
			if err != nil {
				t.Fatal(err)
			}
			// The shaft slows down by a few percent under load, which slip search allows.
			e, err := New([]ChannelSpec{{Channel: synth.Vibration, Quantity: sensors.Acceleration,
				Features: []string{"bpfo_snr", "bpfi_snr", "bsf_snr", "ftf_snr"}, Context: Context{ShaftHz: 24.7, Bearing: m.Config().Bearing}}})
			if err != nil {
				t.Fatal(err)
			}
			w, err := window.New("m", window.Spec{Window: 10 * time.Second, Channels: []string{synth.Vibration}})
			if err != nil {
				t.Fatal(err)
			}
			windows := 0
			err = m.Run(context.Background(), func(b sensors.Block) error {
				if b.Channel != synth.Vibration {
					return nil
				}
				return w.Add(b, func(w *window.Window) error {
					windows++
					v, err := e.Extract(nil, w)
					if err != nil {
						return err
					}
					got := bearing.Evidence{OuterDB: v[0], InnerDB: v[1], BallDB: v[2], CageDB: v[3]}
					t.Logf("%+v", got)
					if part := got.Accuse(0).Part; part != bearing.Part(kind) {
						t.Errorf("%+v accuses the %s", got, part)
					}
					return nil
				})
			})
			if err != nil || windows == 0 {
				t.Fatalf("%d windows, %v", windows, err)
			}
		})
	}
}
