package features

import (
	"math"
	"testing"

	"github.com/millwright-iot/millwright/sensors/window"
)

func TestZones_Boundaries(t *testing.T) {
	for v, want := range map[float64]int{0: 0, 1.39: 0, 1.4: 1, 2.79: 1, 2.8: 2, 4.49: 2, 4.5: 3, 100: 3} {
		if got := DefaultZones().Of(v); got != want {
			t.Errorf("zone of %g mm/s is %d, want %d", v, got, want)
		}
	}
	// As printed in GB/T 6075.3-2011, tables A.1 and A.2 (ISO 10816-3:2009).
	for _, c := range []struct {
		group    int
		flexible bool
		want     Zones
	}{{1, false, Zones{2.3, 4.5, 7.1}}, {1, true, Zones{3.5, 7.1, 11}}, {2, false, Zones{1.4, 2.8, 4.5}}, {2, true, Zones{2.3, 4.5, 7.1}}} {
		if z, ok := ISOZones(c.group, c.flexible); !ok || z != c.want || z.Validate() != nil {
			t.Errorf("group %d, flexible %v: %v, %v", c.group, c.flexible, z, ok)
		}
	}
	if _, ok := ISOZones(3, false); ok {
		t.Error("there is no group 3 any more")
	}
	// 100 Hz with a velocity of 3.1 mm/s RMS.
	xs := make([]float64, 3200)
	for i := range xs {
		xs[i] = 3.1e-3 * math.Sqrt2 * 2 * math.Pi * 100 * math.Cos(2*math.Pi*100*float64(i)/3200)
	}
	for zones, want := range map[Zones]float64{{}: 2, {3.5, 7.1, 11}: 0, {1, 2, 3}: 3} {
		if got := with(t, Context{Zones: zones}, window.Regular("a", 3200, xs), "iso_zone")[0]; got != want {
			t.Errorf("zone by %v is %g, want %g", zones, got, want)
		}
	}
}

// 3 mm/s at 5 Hz, of a shaft that turns at 5 Hz: the standard has it in zone C, and from
// 10 Hz on there would be nothing. When the speed is not known, it stays at 10 Hz.
func TestZones_SlowShaft(t *testing.T) {
	xs := make([]float64, 6400)
	for i := range xs {
		xs[i] = 3e-3 * math.Sqrt2 * 2 * math.Pi * 5 * math.Cos(2*math.Pi*5*float64(i)/3200)
	}
	s := window.Regular("a", 3200, xs)
	for shaftHz, want := range map[float64]float64{5: 2, 9.99: 2, 10: 0, 25: 0} {
		if got := with(t, Context{ShaftHz: shaftHz}, s, "iso_zone")[0]; got != want {
			t.Errorf("shaft of %g Hz: zone %g, want %g", shaftHz, got, want)
		}
	}
	// The window's two bins beside 5 Hz integrate by their own frequency: 0.5 % more.
	if got := with(t, Context{}, s, "iso_zone", "velocity_rms_2_1000"); got[0] != 0 || math.Abs(got[1]-3) > 0.02 {
		t.Errorf("speed not known: zone %g, from 2 Hz on %g mm/s", got[0], got[1])
	}
}
