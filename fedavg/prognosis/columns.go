package prognosis

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Columns tells the elements of a feature vector that say how a machine is run, the
// settings, from those that say what it shows, the channels. It is immutable and safe
// for concurrent use.
type Columns struct{ settings, channels []int }

// NewColumns finds settings among the names of features; all others are channels. A
// setting that is none of the features, or nothing beside settings, is an error.
func NewColumns(features, settings []string) (Columns, error) {
	var c Columns
	for _, s := range settings {
		i := slices.Index(features, s)
		if i < 0 {
			return c, fmt.Errorf("find settings: %q is none of the features; there are %s", s, strings.Join(features, ", "))
		}
		c.settings = append(c.settings, i)
	}
	for i := range features {
		if !slices.Contains(c.settings, i) {
			c.channels = append(c.channels, i)
		}
	}
	if len(c.channels) == 0 {
		return c, errors.New("find settings: all features are settings; add one that shows wear")
	}
	return c, nil
}

// len is the number of features of a row.
func (c *Columns) len() int { return len(c.settings) + len(c.channels) }

// split writes the settings and the channels of a row into settings and x.
func (c *Columns) split(settings, x, row []float64) {
	for i, at := range c.settings {
		settings[i] = row[at]
	}
	for i, at := range c.channels {
		x[i] = squash(row[at])
	}
}

// check refuses a row that does not fit or is not finite.
func (c *Columns) check(row []float64) error {
	if len(row) != c.len() {
		return fmt.Errorf("has %d features, want %d", len(row), c.len())
	}
	for i, v := range row {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("feature %d is %v", i, v)
		}
	}
	return nil
}

// squashKnee is up to where a measurement counts as it is.
const squashKnee = 1e4

// squash lets a measurement beyond ±squashKnee grow with its logarithm, without a
// kink: squares of pressures in Pa, summed over a fleet, would not fit fedavg's sums.
func squash(x float64) float64 {
	if a := math.Abs(x); a > squashKnee {
		return math.Copysign(squashKnee*(1+math.Log(a/squashKnee)), x)
	}
	return x
}
