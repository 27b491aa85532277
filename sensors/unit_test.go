package sensors

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// Expected values: NIST SP 811 (2008), appendix B.8, to the digits it gives,
// and the definitions of the units.
func TestUnit_Base(t *testing.T) {
	for _, c := range []struct {
		symbol   string
		x, want  float64
		quantity Quantity
	}{
		{"g", 1, 9.80665, Acceleration},
		{"mg", 1000, 9.80665, Acceleration},
		{"m/s²", 3, 3, Acceleration},
		{"mm/s", 4.5, 0.0045, Velocity},
		{"in/s", 1, 0.0254, Velocity},
		{"ips", 2, 0.0508, Velocity},
		{"mil", 1, 2.54e-5, Displacement},
		{"µm", 1, 1e-6, Displacement}, // U+00B5
		{"μm", 1, 1e-6, Displacement}, // U+03BC
		{"degF", 212, 100, Temperature},
		{"degF", -40, -40, Temperature},
		{"K", 273.15, 0, Temperature},
		{"degC", 21.5, 21.5, Temperature},
		{"psi", 1, 6894.757, Pressure},
		{"bar", 1, 1e5, Pressure},
		{"mbar", 1013.25, 101325, Pressure},
		{"m3/h", 3600, 1, Flow},
		{"l/min", 60000, 1, Flow},
		{"mA", 20, 0.02, Current},
		{"kW", 1.5, 1500, Power},
		{"rpm", 1500, 25, RotationSpeed},
		{"kN", 2, 2000, Force},
		{"deg", 180, math.Pi, Angle},
		{"%", 50, 0.5, Dimensionless},
	} {
		u, err := ParseUnit(c.symbol)
		if err != nil {
			t.Errorf("%s: %v", c.symbol, err)
			continue
		}
		if got := u.Base(c.x); math.Abs(got-c.want) > 1e-7*max(1, math.Abs(c.want)) || u.Quantity != c.quantity {
			t.Errorf("%v %s = %v of %s; want %v of %s", c.x, c.symbol, got, u.Quantity, c.want, c.quantity)
		}
	}
}

func TestParseUnit_Unknown(t *testing.T) {
	for symbol, nearest := range map[string]string{"MM/S": "mm/s", "degc": "degC", "psig": "psi", "Bar": "bar"} {
		_, err := ParseUnit(symbol)
		var unknown *UnknownUnitError
		if !errors.As(err, &unknown) || unknown.Nearest != nearest {
			t.Errorf("ParseUnit(%q): %v; want %q as the nearest", symbol, err, nearest)
		}
	}
	if _, err := ParseUnit(""); err == nil || !strings.Contains(err.Error(), "has no unit") {
		t.Errorf("no unit: %v", err)
	}
}

// Every spelling leads to a finite conversion, every quantity has a base unit
// that converts to itself, and a unit's String reads back as the unit.
func TestUnits_Complete(t *testing.T) {
	seen := map[Quantity]bool{}
	for _, s := range UnitSymbols() {
		u, err := ParseUnit(s)
		if err != nil {
			t.Fatal(err)
		}
		seen[u.Quantity] = true
		if again, err := ParseUnit(u.String()); err != nil || again != u {
			t.Errorf("%s reads back as %v, %v", u, again, err)
		}
		if u.Scale == 0 || math.IsInf(u.Base(1), 0) || math.IsNaN(u.Base(1)) {
			t.Errorf("%s converts 1 to %v", s, u.Base(1))
		}
	}
	for q := range seen {
		u, err := ParseUnit(q.BaseUnit())
		if err != nil || u.Quantity != q || u.Base(12.5) != 12.5 {
			t.Errorf("base unit %q of %s: %v, converts 12.5 to %v", q.BaseUnit(), q, err, u.Base(12.5))
		}
	}
	if len(seen) != len(baseUnits) {
		t.Errorf("%d quantities have units, %d have a base unit", len(seen), len(baseUnits))
	}
}
