package features

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/millwright-iot/millwright/sensors"
)

// feature is one element of the vector.
type feature struct {
	name   string // as configured
	kind   kind
	needs  needs
	lo, hi float64 // Hz; amp_<hz> and order_amp_<order> have it in lo
}

// parse reads a feature's name for a channel of quantity q.
func parse(name string, q sensors.Quantity) (feature, error) {
	stem, params := split(name)
	for _, d := range definitions {
		if definedStem, _, _ := strings.Cut(d.Name, "_<"); definedStem != stem || d.params != len(params) {
			continue
		}
		if slices.Contains(d.except, q) || len(d.only) > 0 && !slices.Contains(d.only, q) {
			return feature{}, fmt.Errorf("feature %q is not meaningful for %s: %s", name, q, d.why)
		}
		f := feature{name: name, kind: d.kind, needs: d.needs}
		switch {
		case d.params == 1:
			f.lo = params[0]
			if f.lo <= 0 && d.kind == kindOrder {
				return feature{}, fmt.Errorf("feature %q: the order must be more than 0", name)
			}
			if f.lo <= 0 {
				return feature{}, fmt.Errorf("feature %q: the frequency must be more than 0 Hz", name)
			}
		case d.params == 2:
			f.lo, f.hi = params[0], params[1]
			if f.lo >= f.hi {
				return feature{}, fmt.Errorf("feature %q: the band must go from a lower to a higher frequency", name)
			}
		case d.kind == kindVelocityRMS:
			f.lo, f.hi = 10, 1000
		}
		return f, nil
	}
	return feature{}, fmt.Errorf("unknown feature %q; did you mean %q?", name, nearest(name))
}

// split takes the frequencies off the end of a name: "band_10_24.5" is "band" and
// 10, 24.5.
func split(name string) (stem string, params []float64) {
	parts := strings.Split(name, "_")
	n := len(parts)
	for n > 1 && isNumber(parts[n-1]) {
		n--
	}
	for _, p := range parts[n:] {
		x, err := strconv.ParseFloat(p, 64)
		if err != nil || math.IsInf(x, 0) {
			return name, nil
		}
		params = append(params, x)
	}
	return strings.Join(parts[:n], "_"), params
}

// isNumber reports whether s is digits with at most one point between them: no
// sign and no exponent.
func isNumber(s string) bool {
	whole, part, point := strings.Cut(s, ".")
	digits := func(s string) bool {
		return s != "" && strings.Trim(s, "0123456789") == ""
	}
	return digits(whole) && (!point || digits(part)) && len(s) <= 20
}

// nearest returns the known feature whose name takes the fewest edits, where any
// number counts as the <frequency> it stands for.
func nearest(name string) string {
	blank := func(name string) string {
		parts := strings.Split(name, "_")
		for i, p := range parts {
			if isNumber(p) || strings.HasPrefix(p, "<") {
				parts[i] = "#"
			}
		}
		return strings.Join(parts, "_")
	}
	if len(name) > 100 {
		name = name[:100]
	}
	best, bestDistance := "", math.MaxInt
	for _, d := range definitions {
		if n := levenshtein.ComputeDistance(blank(strings.ToLower(name)), blank(d.Name)); n < bestDistance {
			best, bestDistance = d.Name, n
		}
	}
	return best
}
