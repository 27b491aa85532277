package model

import (
	"fmt"
	"math"
)

// Regressor is a Model that predicts a target. Its Score is how much of the cap of
// targets is used up: 0 while the prediction is the cap, 1 at 0.
type Regressor interface {
	Model
	// Predict returns the target expected at z: finite, from 0 to the spec's Cap.
	Predict(z []float64) float64
}

// capped limits a target or a prediction.
func capped(ceiling, y float64) float64 { return min(max(y, 0), ceiling) }

// occlude shares out the square of a regressor's score by how much the prediction
// changes when one feature takes its mean, 0. Scratch is as long as z.
func occlude(dst, z, scratch []float64, predict func([]float64) float64, ceiling float64) []float64 {
	if dst == nil {
		dst = make([]float64, len(z))
	}
	at, total := predict(z), 0.0
	copy(scratch, z)
	for i, x := range z {
		scratch[i] = 0
		dst[i] = math.Abs(predict(scratch) - at)
		scratch[i] = x
		total += dst[i]
	}
	score := 1 - at/ceiling
	square := float64(score * score)
	for i := range dst {
		if total > 0 {
			dst[i] *= square / total
		} else { // no single feature moves it
			dst[i] = square / float64(len(dst))
		}
	}
	return dst
}

// checkTargets is checkSets for supervised learning.
func checkTargets(sets []Set, features int) error {
	for _, set := range sets {
		if len(set.Targets) != len(set.Rows) {
			return fmt.Errorf("machine %q: has %d targets for %d rows; a supervised model needs one for each", set.Machine, len(set.Targets), len(set.Rows))
		}
		for r, y := range set.Targets {
			if math.IsNaN(y) || math.IsInf(y, 0) {
				return fmt.Errorf("machine %q, row %d: target is %v", set.Machine, r, y)
			}
		}
	}
	return checkSets(sets, features)
}
