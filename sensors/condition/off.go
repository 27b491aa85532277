// Package condition says in which state a machine is measured: off or running. Rules are
// learned from the machine's own healthy data and then stay as they are. They look at one
// window's values only: never at its position, never ahead.
package condition

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// OffRule tells a machine that is off from one that runs, by one number that is small
// when it is off: the RMS of a vibration, a current, a speed.
type OffRule struct {
	// Below is the level under which the machine is off.
	Below float64
	// Seen says that the machine was both off and running in what was learned;
	// otherwise Below is a guess below the quietest running window.
	Seen bool
}

const (
	leastGap    = 0.5 // decades between off and running: a factor of three
	quieter     = 4.0 // an unseen off state is taken to be this much quieter
	leastShare  = 0.02
	smallest    = 1e-12 // of the largest level counts as zero
	leastLevels = 5
)

// LearnOff learns the rule from the levels of healthy windows, in any order; zero is a
// level, negative ones count as their size. When the sorted levels have a gap of a factor
// of three or more, with at least 2 % of them on each side, what is below the widest is
// off and the rule is the gap's geometric middle. Else all windows ran, and off is what is
// four times quieter than the quietest. An error: fewer than 5 levels, one that is not
// finite, or no level above zero.
func LearnOff(levels []float64) (OffRule, error) {
	if len(levels) < leastLevels {
		return OffRule{}, fmt.Errorf("learn when the machine is off: %d levels; it takes %d", len(levels), leastLevels)
	}
	sorted := make([]float64, len(levels))
	for i, x := range levels {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return OffRule{}, fmt.Errorf("learn when the machine is off: level %d is %g", i, x)
		}
		sorted[i] = math.Abs(x)
	}
	slices.Sort(sorted)
	largest := sorted[len(sorted)-1]
	if largest == 0 {
		return OffRule{}, errors.New("learn when the machine is off: all levels are zero; learn again when the machine has run")
	}
	floor := largest * smallest
	side := max(1, int(math.Ceil(leastShare*float64(len(sorted)))))
	widest, at := 0.0, 0
	for i := side; i <= len(sorted)-side; i++ {
		if gap := math.Log10(max(sorted[i], floor) / max(sorted[i-1], floor)); gap > widest {
			widest, at = gap, i
		}
	}
	if widest >= leastGap {
		return OffRule{Below: math.Sqrt(max(sorted[at], floor) * max(sorted[at-1], floor)), Seen: true}, nil
	}
	return OffRule{Below: max(sorted[0], floor) / quieter}, nil
}

// Off reports whether a machine at this level is off. A level that is not a number is
// not off: what cannot be measured must not silence alarms.
func (r OffRule) Off(level float64) bool { return math.Abs(level) < r.Below }
