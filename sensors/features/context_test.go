package features

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/window"
)

func TestNew_ContextProblems(t *testing.T) {
	bad := context25()
	bad.SpeedChannel = "a"
	bad.LineHz = math.NaN()
	bad.Bearing.Balls = 1
	bad.Zones = Zones{3, 2, 1}
	_, err := New([]ChannelSpec{
		{Channel: "a", Quantity: sensors.Acceleration, Features: []string{"bpfo_snr", "order_amp_1", "line_amp", "gear_mesh_amp", "vane_pass_amp", "order_amp_0"}},
		{Channel: "b", Quantity: sensors.Acceleration, Features: []string{"rms"}, Context: bad},
		{Channel: "c", Quantity: sensors.Temperature, Features: []string{"above_ambient"}},
		{Channel: "d", Quantity: sensors.Temperature, Features: []string{"above_ambient"}, Context: Context{AmbientChannel: "a"}},
		{Channel: "h", Quantity: sensors.Temperature, Features: []string{"load_residual"}, Context: Context{LoadChannel: "a"}},
		{Channel: "i", Quantity: sensors.Temperature, Features: []string{"load_residual"}, Context: Context{LoadChannel: "i", LoadSlope: math.Inf(1)}},
		{Channel: "e", Quantity: sensors.Acceleration, Features: []string{"bsf_snr"}, Context: Context{ShaftHz: 25}},
		{Channel: "f", Quantity: sensors.Acceleration, Features: []string{"order_amp_1"}, Context: Context{SpeedChannel: "tacho"}},
		{Channel: "g", Quantity: sensors.Pressure, Features: []string{"bpfo_snr"}},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`channel "a": feature "bpfo_snr" needs the shaft's speed: give ShaftHz, or SpeedChannel`,
		`feature "order_amp_1" needs the shaft's speed`, `feature "line_amp" needs the mains' frequency`,
		`feature "gear_mesh_amp" needs the shaft`, `feature "order_amp_0": the order must be more than 0`,
		`channel "b": ShaftHz and SpeedChannel are both given`, `LineHz is NaN`, `at least 3 balls`, `zone boundaries must be`,
		`feature "above_ambient" needs the surroundings' temperature`, `channel "d": its ambient channel "a" is not`,
		`channel "h": feature "load_residual" needs the load: give LoadChannel and LoadSlope`,
		`channel "i": its load channel "i" is not`, `channel "i": LoadSlope is +Inf`,
		`channel "e": feature "bsf_snr" needs the bearing`, `channel "f": its speed channel "tacho" is not`,
		`feature "bpfo_snr" is not meaningful for pressure`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
}

func TestExtract_AboveAmbient(t *testing.T) {
	e, err := New([]ChannelSpec{
		{Channel: "housing", Quantity: sensors.Temperature, Features: []string{"above_ambient"}, Context: Context{AmbientChannel: "hall"}},
		{Channel: "hall", Quantity: sensors.Temperature, Features: []string{"mean"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Extract(nil, &window.Window{Segments: []window.Segment{
		window.Regular("hall", 1, []float64{20, 22}), window.Regular("housing", 1, []float64{60, 61, 65})}})
	if err != nil || got[0] != 41 || got[1] != 21 {
		t.Errorf("got %v, %v; want 62 − 21 = 41", got, err)
	}
}

// The temperatures of a machine that warms by 20 °C from 0 to 1 kW, and then by 5 °C more
// than its load explains.
func TestExtract_LoadResidual(t *testing.T) {
	e, err := New([]ChannelSpec{
		{Channel: "housing", Quantity: sensors.Temperature, Features: []string{"load_residual"}, Context: Context{LoadChannel: "power", LoadSlope: 0.02}},
		{Channel: "power", Quantity: sensors.Power, Features: []string{"mean"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		housing, power []float64
		want           float64
	}{
		{[]float64{25, 25}, []float64{0}, 25},
		{[]float64{34, 36}, []float64{500, 450, 550}, 25},
		{[]float64{50}, []float64{1000}, 30},
	} {
		got, err := e.Extract(nil, &window.Window{Segments: []window.Segment{
			window.Regular("housing", 1, c.housing), window.Regular("power", 1, c.power)}})
		if err != nil || math.Abs(got[0]-c.want) > 1e-12 {
			t.Errorf("%v °C at %v W: got %v, %v; want %g", c.housing, c.power, got, err, c.want)
		}
	}
	var bad *Error
	if _, err := e.Extract(nil, &window.Window{Segments: []window.Segment{window.Regular("housing", 1, []float64{25})}}); !errors.As(err, &bad) || bad.Feature != "load_residual" {
		t.Errorf("without the load: %v", err)
	}
}
