package agent

import (
	"math"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/sensors/features"
)

func TestMechanics_ChannelReplacesMachine(t *testing.T) {
	cfg, err := load(t, strings.Replace(good, "    class: pump\n", `    class: pump
    mechanics:
      bearing: SKF 6205-2RS/C3
      shaft_hz: 24.7
      line_hz: 50
      iso_group: 1
      ambient_channel: temperature
      load_channel: temperature
      load_slope: -0.5
`, 1)+`        mechanics:
          bearing_geometry: {balls: 8, ball_diameter_mm: 10, pitch_diameter_mm: 50, contact_angle_deg: 60}
          speed_channel: temperature
          pulses_per_turn: 2
          vanes: 5
          zones_mm_s: [1, 2, 3]
`)
	if err != nil {
		t.Fatal(err)
	}
	x := cfg.Machines[0].contexts()
	// 6205: 9 balls of 7.94 mm on 39.04 mm; the zones of group 1, rigid, are 2.3, 4.5, 7.1.
	got := x["temperature"]
	if got.Bearing.Balls != 9 || got.ShaftHz != 24.7 || got.LineHz != 50 || got.Zones != (features.Zones{AB: 2.3, BC: 4.5, CD: 7.1}) || got.AmbientChannel != "" || got.LoadChannel != "" || got.LoadSlope != 0 {
		t.Errorf("temperature: %+v", got)
	}
	got = x["vibration"]
	if got.Bearing.Balls != 8 || math.Abs(got.Bearing.ContactAngleRad-math.Pi/3) > 1e-12 || got.ShaftHz != 0 || got.SpeedChannel != "temperature" || got.PulsesPerTurn != 2 ||
		got.LineHz != 50 || got.Vanes != 5 || got.Zones != (features.Zones{AB: 1, BC: 2, CD: 3}) || got.AmbientChannel != "temperature" ||
		got.LoadChannel != "temperature" || got.LoadSlope != -0.5 {
		t.Errorf("vibration: %+v", got)
	}
	if plain, err := load(t, good); err != nil || len(plain.Machines[0].contexts()) != 0 {
		t.Errorf("nothing is known, but there is %v, %v", plain.Machines[0].contexts(), err)
	}
}

func TestMechanics_Mistakes(t *testing.T) {
	for block, want := range map[string]string{
		"bearing: 6205-ZZZ9\n":                       "",
		"bearing: 62O5\n":                            `a.yaml:18: machines[0].channels[1].mechanics.bearing: find bearing "62O5": not in the catalogue; did you mean 6205?`,
		"shaft_hz: -1\n":                             `mechanics.shaft_hz: is -1; it must be a positive number`,
		"shaft_hz: 25\nspeed_channel: temperature\n": `mechanics.speed_channel: excludes shaft_hz`,
		"speed_channel: tacho\n":                     `mechanics.speed_channel: "tacho" is not a channel of this machine`,
		"pulses_per_turn: 2\n":                       `mechanics.pulses_per_turn: belongs to a tacho`,
		"ambient_channel: vibration\n":               `mechanics.ambient_channel: "vibration" is not a channel of this machine that measures a temperature`,
		"load_channel: amps\nload_slope: 1\n":        `mechanics.load_channel: "amps" is not a channel of this machine`,
		"load_channel: temperature\n":                `mechanics.load_slope: belongs together with load_channel`,
		"load_slope: 2\n":                            `mechanics.load_slope: belongs together with load_channel`,
		"iso_group: 3\n":                             `mechanics.iso_group: is 3; the groups of ISO 20816-3 are 1 and 2`,
		"zones_mm_s: [1, 2]\n":                       `mechanics.zones_mm_s: has 2 numbers; give three`,
		"zones_mm_s: [3, 2, 1]\n":                    `mechanics.zones_mm_s: zone boundaries must be positive and increase`,
		"bearing_geometry: {balls: 2}\n":             `mechanics.bearing_geometry: `,
		"bearing: 6205\nbearing_geometry: {balls: 9, ball_diameter_mm: 8, pitch_diameter_mm: 39}\n": `mechanics.bearing_geometry: excludes bearing`,
		"line_hz: .nan\n": `mechanics.line_hz: want a finite number`,
		"gears: 3\n":      `mechanics.gears: unknown key`,
	} {
		text := good + "        mechanics:\n"
		for line := range strings.Lines(block) {
			text += "          " + line
		}
		_, err := load(t, text)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", block, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want %s", block, err, want)
		}
	}
}
