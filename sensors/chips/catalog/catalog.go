// Package catalog lists the chips that there are drivers for.
package catalog

import (
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/chips/ads1115"
	"github.com/millwright-iot/millwright/sensors/chips/adxl345"
	"github.com/millwright-iot/millwright/sensors/chips/adxl355"
	"github.com/millwright-iot/millwright/sensors/chips/bmx280"
	"github.com/millwright-iot/millwright/sensors/chips/ds18b20"
	"github.com/millwright-iot/millwright/sensors/chips/lis3dh"
	"github.com/millwright-iot/millwright/sensors/chips/max31855"
	"github.com/millwright-iot/millwright/sensors/chips/mcp9808"
)

// Models returns every chip, sorted by name.
func Models() []*chips.Model {
	return []*chips.Model{
		ads1115.Model(), adxl345.Model(), adxl355.Model(), bmx280.BME280(), bmx280.BMP280(), ds18b20.Model(),
		lis3dh.Model(), max31855.Model(), mcp9808.Model(),
	}
}

// Find returns the chip called name. The error names the nearest there is.
func Find(name string) (*chips.Model, error) {
	best, distance := "", len(name)+1
	for _, m := range Models() {
		if m.Name == name {
			return m, nil
		}
		if d := levenshtein.ComputeDistance(strings.ToLower(name), m.Name); best == "" || d < distance {
			best, distance = m.Name, d
		}
	}
	if name == "" {
		return nil, fmt.Errorf("chip is missing; name it, such as %q", "adxl345")
	}
	return nil, fmt.Errorf("unknown chip %q; did you mean %q?", name, best)
}
