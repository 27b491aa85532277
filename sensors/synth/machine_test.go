package synth

import (
	"context"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/sensortest"
)

func TestMachine_Contract(t *testing.T) {
	for name, cfg := range map[string]Config{
		"free":  {Name: "pump-1", BurstSamples: 320},
		"paced": {Name: "pump-1", BurstSamples: 320, ScalarEvery: 100 * time.Millisecond, Speed: 50, Faults: []Fault{{Kind: Ball, Severity: 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			sensortest.TestSource(t, func(t *testing.T) sensortest.Fixture {
				m, err := New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				return sensortest.Fixture{Source: m, Channels: []string{"pump-1/vibration", "pump-1/temperature", "pump-1/pressure"}}
			})
		})
	}
}

func blocks(t *testing.T, cfg Config) []sensors.Block {
	t.Helper()
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var all []sensors.Block
	if err := m.Run(t.Context(), func(b sensors.Block) error { all = append(all, b); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestMachine_Reproducible(t *testing.T) {
	cfg := Config{
		Name: "m", Seed: 5, Start: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Duration: 20 * time.Second,
		Faults: []Fault{{InnerRace, 5 * time.Second, 10 * time.Second, 1, false}, {Imbalance, 0, 0, 0.3, false}},
	}
	first := blocks(t, cfg)
	if !reflect.DeepEqual(first, blocks(t, cfg)) {
		t.Error("the same configuration gave other blocks")
	}
	// 20 s: 20 seamless bursts, 21 instants with two scalars each.
	if len(first) != 20+2*21 {
		t.Errorf("%d blocks in 20 s; want 62", len(first))
	}
	cfg.Seed = 6
	if reflect.DeepEqual(first, blocks(t, cfg)) {
		t.Error("another seed gave the same blocks")
	}
}

// A fault changes nothing before it begins.
func TestMachine_SoundUntilFaultBegins(t *testing.T) {
	cfg := Config{Name: "m", Seed: 5, Start: time.Unix(1700000000, 0), Duration: 10 * time.Second}
	sound := blocks(t, cfg)
	cfg.Faults = []Fault{{Kind: OuterRace, Begins: 5 * time.Second, Severity: 1}}
	broken := blocks(t, cfg)
	begins := cfg.Start.Add(5 * time.Second)
	for i := range sound {
		same := slices.Equal(sound[i].Samples, broken[i].Samples)
		if before := sound[i].Start.Before(begins); before && !same {
			t.Errorf("block at %v differs before the fault begins", sound[i].Start)
		} else if !before && same && sound[i].Channel == Vibration {
			t.Errorf("vibration at %v does not show the fault", sound[i].Start)
		}
	}
}

func TestMachine_Speed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Config{Name: "m", Speed: 10, Duration: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := m.Run(context.Background(), func(sensors.Block) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 6*time.Second {
			t.Errorf("a minute at speed 10 took %v; want 6 s", took)
		}
	})
}

func TestFault_At(t *testing.T) {
	f := Fault{OuterRace, 60 * time.Second, 100 * time.Second, 0.8, false}
	for at, want := range map[time.Duration]float64{0: 0, 59 * time.Second: 0, 60 * time.Second: 0, 110 * time.Second: 0.4, 160 * time.Second: 0.8, time.Hour: 0.8} {
		if got := f.At(at); got != want {
			t.Errorf("severity after %v is %v; want %v", at, got, want)
		}
	}
	if got := (Fault{Ball, time.Second, 0, 1, false}).At(time.Second); got != 1 {
		t.Errorf("sudden fault has severity %v; want 1", got)
	}
}

func TestParseFault(t *testing.T) {
	for text, want := range map[string]Fault{
		"outer-race@60s":        {OuterRace, time.Minute, 2 * time.Minute, 1, false},
		"ball@10m/5m*0.5":       {Ball, 10 * time.Minute, 5 * time.Minute, 0.5, false},
		"imbalance@0s/0s":       {Imbalance, 0, 0, 1, false},
		"misalignment@1h30m*2":  {Misalignment, 90 * time.Minute, 2 * time.Minute, 2, false},
		"inner-race@1500ms*1e1": {InnerRace, 1500 * time.Millisecond, 2 * time.Minute, 10, false},
		"ball@0s/9h*2~fatigue":  {Ball, 0, 9 * time.Hour, 2, true},
	} {
		if got, err := ParseFault(text); err != nil || got != want {
			t.Errorf("ParseFault(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for text, says := range map[string]string{
		"": "no @", "outer-race": "no @", "rust@60s": "unknown fault", "ball@60": "missing unit", "ball@1s*x": "invalid syntax",
		"ball@1s*0": "must be positive", "ball@-1s": "negative", "ball@1s*nan": "must be positive", "ball@1s/x": "invalid duration",
		"ball@1s~rust": "unknown unit",
	} {
		if _, err := ParseFault(text); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "outer-race@60s") {
			t.Errorf("ParseFault(%q): %v; want an error with %q and an example", text, err, says)
		}
	}
}

// Expected numbers: scipy 1.17 solve_ivp of da/dx = 0.98/0.02·a², a(0) = 0.02.
func TestFault_Fatigue(t *testing.T) {
	f := Fault{Kind: Ball, Begins: time.Hour, GrowsOver: 100 * time.Hour, Severity: 3, Fatigue: true}
	for hours, want := range map[int]float64{0: 0, 1: 0.06, 51: 3 * 0.0392156863, 91: 3 * 0.1694915254, 100: 3 * 0.6711409396, 101: 3, 200: 3} {
		if got := f.At(time.Duration(hours) * time.Hour); math.Abs(got-want) > 1e-9 {
			t.Errorf("after %d h: severity %v, want %v", hours, got, want)
		}
	}
}

func FuzzParseFault(f *testing.F) {
	f.Add("outer-race@60s/2m*0.5")
	f.Add("ball@1h")
	f.Add("inner-race@0s/200h~fatigue")
	f.Fuzz(func(t *testing.T, text string) {
		fault, err := ParseFault(text)
		if err != nil {
			return
		}
		if again, err := ParseFault(fault.String()); err != nil || again != fault {
			t.Errorf("%q is %v, which reads back as %v, %v", text, fault, again, err)
		}
	})
}

func TestNew_Problems(t *testing.T) {
	good := Config{Name: "m"}
	for says, change := range map[string]func(*Config){
		"no name":           func(c *Config) { c.Name = "" },
		"would alias":       func(c *Config) { c.ResonanceHz = 1600 },
		"shorter than":      func(c *Config) { c.BurstEvery = time.Millisecond },
		"Damping":           func(c *Config) { c.Damping = 1 },
		"load negative":     func(c *Config) { c.LoadSwings = []Swing{{0.7, time.Second}} },
		"swing with period": func(c *Config) { c.LoadSwings = []Swing{{0.1, 0}} },
		"balls":             func(c *Config) { c.Bearing.Balls = -1 },
		"unknown fault":     func(c *Config) { c.Faults = []Fault{{Kind: "rust", Severity: 1}} },
		"Speed":             func(c *Config) { c.Speed = -1 },
		"not a speed":       func(c *Config) { c.ShaftHz = -1 },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got error %v; want one that says %q", err, says)
		}
	}
}

func BenchmarkVibration_Burst(b *testing.B) {
	m, err := New(Config{Name: "m", Faults: []Fault{{Kind: OuterRace, Severity: 1}}})
	if err != nil {
		b.Fatal(err)
	}
	x := make([]float64, 3200)
	for i := uint64(0); b.Loop(); i++ {
		m.vib.burst(x, float64(i), m.rng(streamBursts, i))
	}
}
