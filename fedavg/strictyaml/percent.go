package strictyaml

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Percent is a share, written "25%": 25 of 100.
type Percent float64

// ParsePercent reads a share of 0% and more. The sign is not optional: 0.25 may be
// meant as a quarter.
func ParsePercent(text string) (Percent, error) {
	number, ok := strings.CutSuffix(strings.TrimSpace(text), "%")
	x, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil || !(x >= 0) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("parse share %q: want a share such as 25%%", text)
	}
	return Percent(x), nil
}

// UnmarshalYAML reads p as ParsePercent does.
func (p *Percent) UnmarshalYAML(n *yaml.Node) error {
	v, err := ParsePercent(n.Value)
	if err == nil {
		*p = v
	}
	return err
}

// String writes p as ParsePercent reads it.
func (p Percent) String() string { return strconv.FormatFloat(float64(p), 'g', -1, 64) + "%" }

// MarshalYAML writes p as UnmarshalYAML reads it.
func (p Percent) MarshalYAML() (any, error) { return p.String(), nil }
