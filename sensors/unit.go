package sensors

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Quantity is a kind of physical quantity. Each has one base unit, used for
// every value behind the door.
type Quantity string

// The quantities a channel can measure, with their base unit.
const (
	Acceleration  Quantity = "acceleration"  // m/s²
	Velocity      Quantity = "velocity"      // m/s
	Displacement  Quantity = "displacement"  // m
	Temperature   Quantity = "temperature"   // °C
	Pressure      Quantity = "pressure"      // Pa
	Flow          Quantity = "flow"          // m³/s
	Current       Quantity = "current"       // A
	Voltage       Quantity = "voltage"       // V
	Power         Quantity = "power"         // W
	RotationSpeed Quantity = "rotation"      // Hz (revolutions per second)
	Force         Quantity = "force"         // N
	Torque        Quantity = "torque"        // N·m
	Angle         Quantity = "angle"         // rad
	Dimensionless Quantity = "dimensionless" // 1
)

// BaseUnit returns the symbol of q's base unit, as ParseUnit reads it.
func (q Quantity) BaseUnit() string { return baseUnits[q] }

var baseUnits = map[Quantity]string{
	Acceleration: "m/s2", Velocity: "m/s", Displacement: "m", Temperature: "degC", Pressure: "Pa",
	Flow: "m3/s", Current: "A", Voltage: "V", Power: "W", RotationSpeed: "Hz", Force: "N",
	Torque: "Nm", Angle: "rad", Dimensionless: "1",
}

// Unit is a unit of measurement: base = (value + Offset) · Scale.
type Unit struct {
	Symbol   string
	Quantity Quantity
	Scale    float64
	Offset   float64
}

// Base converts x from u to the base unit of u's quantity.
func (u Unit) Base(x float64) float64 { return (x + u.Offset) * u.Scale }

// String returns the symbol.
func (u Unit) String() string { return u.Symbol }

const (
	standardGravity = 9.80665           // m/s², by definition (3rd CGPM, 1901)
	poundForcePerIn = 6894.757293168361 // Pa, from lb = 0.45359237 kg, in = 0.0254 m, g as above
	degree          = 0.017453292519943295
)

// units maps every accepted spelling; factors follow the SI brochure and NIST SP 811.
var units = func() map[string]Unit {
	m := map[string]Unit{}
	add := func(q Quantity, scale, offset float64, spellings ...string) {
		for _, s := range spellings {
			m[s] = Unit{Symbol: spellings[0], Quantity: q, Scale: scale, Offset: offset}
		}
	}
	add(Acceleration, 1, 0, "m/s2", "m/s²", "m/s^2")
	add(Acceleration, 1e-3, 0, "mm/s2", "mm/s²", "mm/s^2")
	add(Acceleration, standardGravity, 0, "g")
	add(Acceleration, standardGravity/1000, 0, "mg")
	add(Velocity, 1, 0, "m/s")
	add(Velocity, 1e-3, 0, "mm/s")
	add(Velocity, 0.0254, 0, "in/s", "ips")
	add(Displacement, 1, 0, "m")
	add(Displacement, 1e-3, 0, "mm")
	add(Displacement, 1e-6, 0, "um", "µm", "μm")
	add(Displacement, 25.4e-6, 0, "mil")
	add(Temperature, 1, 0, "degC", "°C", "celsius")
	add(Temperature, 1, -273.15, "K", "kelvin")
	add(Temperature, 5.0/9, -32, "degF", "°F", "fahrenheit")
	add(Pressure, 1, 0, "Pa")
	add(Pressure, 1e2, 0, "hPa", "mbar")
	add(Pressure, 1e3, 0, "kPa")
	add(Pressure, 1e6, 0, "MPa")
	add(Pressure, 1e5, 0, "bar")
	add(Pressure, poundForcePerIn, 0, "psi")
	add(Flow, 1, 0, "m3/s", "m³/s")
	add(Flow, 1.0/3600, 0, "m3/h", "m³/h")
	add(Flow, 1e-3, 0, "L/s", "l/s")
	add(Flow, 1e-3/60, 0, "L/min", "l/min", "lpm")
	add(Current, 1, 0, "A")
	add(Current, 1e-3, 0, "mA")
	add(Voltage, 1, 0, "V")
	add(Voltage, 1e-3, 0, "mV")
	add(Power, 1, 0, "W")
	add(Power, 1e3, 0, "kW")
	add(RotationSpeed, 1, 0, "Hz", "rps")
	add(RotationSpeed, 1.0/60, 0, "rpm", "1/min")
	add(Force, 1, 0, "N")
	add(Force, 1e3, 0, "kN")
	add(Torque, 1, 0, "Nm", "N·m")
	add(Angle, 1, 0, "rad")
	add(Angle, degree, 0, "deg", "°")
	add(Dimensionless, 1, 0, "1")
	add(Dimensionless, 0.01, 0, "%", "percent")
	return m
}()

// ParseUnit returns the unit spelled symbol. Spelling is case-sensitive, as SI
// is (mPa is not MPa). An unknown one is a *UnknownUnitError.
func ParseUnit(symbol string) (Unit, error) {
	if u, ok := units[symbol]; ok {
		return u, nil
	}
	return Unit{}, &UnknownUnitError{Symbol: symbol, Nearest: nearestUnit(symbol)}
}

// UnitSymbols lists every accepted spelling, sorted.
func UnitSymbols() []string { return slices.Sorted(maps.Keys(units)) }

// UnknownUnitError names a unit that is not known and the nearest that is, if any
// is near.
type UnknownUnitError struct{ Symbol, Nearest string }

func (e *UnknownUnitError) Error() string {
	if e.Symbol == "" {
		return `channel has no unit; name one, such as "g", "m/s2", "degC" or "bar"`
	}
	if e.Nearest == "" {
		return fmt.Sprintf("unknown unit %q; known are %s", e.Symbol, strings.Join(UnitSymbols(), ", "))
	}
	return fmt.Sprintf("unknown unit %q; did you mean %q?", e.Symbol, e.Nearest)
}

// nearestUnit prefers a difference in case only, then the fewest edits. When
// none is near enough to be meant it returns "".
func nearestUnit(symbol string) string {
	best, bestDistance := "", max(3, len(symbol)+1)
	for _, s := range UnitSymbols() {
		d := 2 * levenshtein.ComputeDistance(symbol, s)
		if strings.EqualFold(symbol, s) {
			d = 1
		}
		if d < bestDistance {
			best, bestDistance = s, d
		}
	}
	return best
}
