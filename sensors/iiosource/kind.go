package iiosource

import (
	"fmt"
	"math"
	"strings"

	"github.com/millwright-iot/millwright/sensors"
)

// kind is a type of IIO channel: its quantity, and what one of the kernel's units is
// in the base unit.
type kind struct {
	name     string
	quantity sensors.Quantity
	toBase   float64
}

// kinds are the types with their units by Documentation/ABI/testing/sysfs-bus-iio,
// "after application of scale and offset". A longer name comes before its prefix.
var kinds = []kind{
	{"accel", sensors.Acceleration, 1},                      // m/s²
	{"anglvel", sensors.RotationSpeed, 1 / (2 * math.Pi)},   // rad/s
	{"angl", sensors.Angle, 1},                              // rad
	{"temp", sensors.Temperature, 1e-3},                     // m°C
	{"pressure", sensors.Pressure, 1e3},                     // kPa
	{"humidityrelative", sensors.Dimensionless, 1e-3 / 1e2}, // m%
	{"voltage", sensors.Voltage, 1e-3},                      // mV
	{"current", sensors.Current, 1e-3},                      // mA
	{"power", sensors.Power, 1e-3},                          // mW
	{"distance", sensors.Displacement, 1},                   // m
	{"velocity", sensors.Velocity, 1},                       // m/s
}

// element is a channel of an IIO device.
type element struct {
	name string // such as in_accel_z
	kind kind
}

// kindOf returns the type of an element by its name: in_, the type, a number or
// nothing, and perhaps a modifier such as _x.
func kindOf(name string) (kind, error) {
	rest, ok := strings.CutPrefix(name, "in_")
	if name == "" {
		return kind{}, fmt.Errorf("element is missing; name it as in sysfs, such as in_accel_z")
	}
	if !ok || strings.ContainsAny(name, `/\ `) {
		return kind{}, fmt.Errorf("element: %q is none; name it as in sysfs, such as in_accel_z, without _raw or _input", name)
	}
	for _, suffix := range []string{"_raw", "_input", "_scale", "_offset"} {
		if s, ok := strings.CutSuffix(name, suffix); ok {
			return kind{}, fmt.Errorf("element: %q names a file; write %s", name, s)
		}
	}
	typ, _, _ := strings.Cut(rest, "_")
	typ, _, _ = strings.Cut(typ, "-") // a difference: voltage0-voltage1
	typ = strings.TrimRight(typ, "0123456789")
	var names []string
	for _, k := range kinds {
		if k.name == typ {
			return k, nil
		}
		names = append(names, k.name)
	}
	return kind{}, fmt.Errorf("element: %q is of type %q, which cannot be used; choose from %s", name, typ, strings.Join(names, ", "))
}

// shared returns the names under which an attribute of an element may be found: its
// own, and the ones that elements of its type share.
func (e element) shared(attribute string) []string {
	names := []string{e.name + "_" + attribute}
	return append(names, "in_"+e.kind.name+"_"+attribute, "in_"+attribute, attribute)
}
