package features

import (
	"reflect"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/sensors"
)

func TestNew_Names(t *testing.T) {
	e, err := New([]ChannelSpec{
		{Channel: "vibration", Quantity: sensors.Acceleration, Features: []string{"velocity_rms", "band_10_1000", "amp_24.5"}},
		{Channel: "oil", Quantity: sensors.Temperature, Features: []string{"mean"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"vibration.velocity_rms", "vibration.band_10_1000", "vibration.amp_24.5", "oil.mean"}
	if got := e.Names(); !reflect.DeepEqual(got, want) {
		t.Errorf("Names() = %q, want %q", got, want)
	}
}

func TestNew_Problems(t *testing.T) {
	_, err := New([]ChannelSpec{
		{Channel: "v", Quantity: sensors.Acceleration, Features: []string{"kurtosi", "bnd_10_100", "band_100_10", "amp_0", "rms", "rms", "ripple", "band_10", "VELOCITY_RMS", "band_1e2_1e3"}},
		{Channel: "t", Quantity: sensors.Temperature, Features: []string{"crest", "velocity_rms"}},
		{Channel: "v", Quantity: sensors.Acceleration, Features: nil},
		{Channel: "", Quantity: sensors.Acceleration, Features: []string{"mean"}},
		{Channel: "x", Quantity: "loudness", Features: []string{"mean"}},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`channel "v": unknown feature "kurtosi"; did you mean "kurtosis"?`,
		`unknown feature "bnd_10_100"; did you mean "band_<lo>_<hi>"?`,
		`feature "band_100_10": the band must go from a lower to a higher frequency`,
		`feature "amp_0": the frequency must be more than 0 Hz`,
		`feature "rms" is named twice`,
		`feature "ripple" is not meaningful for acceleration: it divides by the mean`,
		`unknown feature "band_10"; did you mean "band_<lo>_<hi>"?`,
		`unknown feature "VELOCITY_RMS"; did you mean "velocity_rms"?`,
		`unknown feature "band_1e2_1e3"; did you mean "band_<lo>_<hi>"?`,
		`channel "t": feature "crest" is not meaningful for temperature: the zero of °C is arbitrary`,
		`feature "velocity_rms" is not meaningful for temperature: only acceleration and velocity`,
		`channel "v": named twice`,
		`channel "v": no feature is named`,
		`channel 3 has no name`,
		`channel "x": unknown quantity "loudness"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 15 {
		t.Errorf("%d problems, want 15:\n%v", n, err)
	}
	if _, err := New(nil); err == nil {
		t.Error("no channels, no error")
	}
}

// Every listed feature can be configured, for at least one quantity, and every default is listed.
func TestKnown_EveryNameParses(t *testing.T) {
	concrete := strings.NewReplacer("<lo>", "10", "<hi>", "1000.5", "<hz>", "24.5", "<order>", "0.5")
	for _, info := range Known() {
		_, a := parse(concrete.Replace(info.Name), sensors.Acceleration)
		_, p := parse(concrete.Replace(info.Name), sensors.Pressure)
		_, c := parse(concrete.Replace(info.Name), sensors.Temperature)
		if a != nil && p != nil && c != nil {
			t.Errorf("%s: %v; %v; %v", info.Name, a, p, c)
		}
		if info.About == "" || strings.Contains(info.About, "\n") {
			t.Errorf("%s is described by %q", info.Name, info.About)
		}
	}
	for _, q := range []sensors.Quantity{
		sensors.Acceleration, sensors.Velocity, sensors.Displacement, sensors.Temperature, sensors.Pressure, sensors.Flow, sensors.Current,
		sensors.Voltage, sensors.Power, sensors.RotationSpeed, sensors.Force, sensors.Torque, sensors.Angle, sensors.Dimensionless,
	} {
		if len(Default(q)) == 0 {
			t.Errorf("%s has no default", q)
		}
		for _, name := range Default(q) {
			if _, err := parse(name, q); err != nil {
				t.Error(err)
			}
		}
	}
	if got := Default("loudness"); got != nil {
		t.Errorf("default of an unknown quantity is %q", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"mean", "band_10_100", "amp_24.5", "_", "band__1", "band_1._2", "amp_99999999999999999999999", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got, err := parse(name, sensors.Acceleration)
		if err == nil && (got.name != name || got.lo < 0 || got.hi < 0 || got.hi != 0 && got.hi <= got.lo) {
			t.Errorf("parse(%q) = %+v", name, got)
		}
	})
}
