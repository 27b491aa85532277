package model

import "math"

// Wander is measured over blocks of so many rows, and only if a machine has at
// least so many blocks.
const (
	wanderBlock     = 30
	wanderMinBlocks = 4
	// wanderMost and its inverse bound the ratio, which a constant feature with a
	// single step would make infinite.
	wanderMost = 1e3
)

// Wander returns, for each feature, how much more its level drifts than its
// noise explains: the standard deviation of the means of 30-row blocks, over the
// standard error of such a mean. White noise has 1; a temperature that follows
// the weather has 10 and more, and says little about the machine. It is nil for
// fewer than 120 rows. A feature that never changes has 1.
//
// With overlap 1 the noise is the standard deviation within blocks. If overlap
// k > 1 consecutive rows share samples, that would mistake smoothing for calm.
// Then a row is taken as the mean of k steps x, of which the newest replaces the
// oldest from row to row: x has noise variance k²/2·E(Δy²), and the standard
// error follows from the autocovariance (k−|h|)/k² of such means. On recorded
// data both ways agree within 10 % up to k = 15.
func Wander(rows [][]float64, overlap int) []float64 {
	blocks := len(rows) / wanderBlock
	if blocks < wanderMinBlocks {
		return nil
	}
	ratios := make([]float64, len(rows[0]))
	for i := range ratios {
		ratios[i] = wanderOf(rows[:blocks*wanderBlock], i, overlap)
	}
	return ratios
}

func wanderOf(rows [][]float64, feature, overlap int) float64 {
	blocks := len(rows) / wanderBlock
	var grand, noise float64 // mean of the block means; mean noise variance
	var spread float64       // Σ(block mean − grand)², by Welford's recurrence
	for b := range blocks {
		block := rows[b*wanderBlock:][:wanderBlock]
		mean := 0.0
		for _, row := range block {
			mean += row[feature] / wanderBlock
		}
		if overlap > 1 {
			noise += stepNoise(block, feature, overlap) / float64(blocks)
		} else {
			noise += variance(block, feature, mean) / float64(blocks)
		}
		d := mean - grand
		grand += d / float64(b+1)
		spread += float64(d * (mean - grand))
	}
	drift := spread / float64(blocks-1)
	// Means of equal numbers differ by rounding, which is neither drift nor noise.
	tiny := 1e-24 * (1 + float64(grand*grand))
	if drift <= tiny {
		drift = 0
	}
	standardError := noise * nullVariance(overlap)
	switch {
	case drift == 0 && noise <= tiny:
		return 1
	case noise <= tiny:
		return wanderMost
	}
	return min(max(math.Sqrt(drift/standardError), 1/wanderMost), wanderMost)
}

// variance is the sample variance (n−1) of a feature.
func variance(block [][]float64, feature int, mean float64) float64 {
	s := 0.0
	for _, row := range block {
		d := row[feature] - mean
		s += float64(d * d)
	}
	return s / float64(len(block)-1)
}

// stepNoise is k²/2 times the mean squared difference of consecutive rows.
func stepNoise(block [][]float64, feature, k int) float64 {
	s := 0.0
	for r := 1; r < len(block); r++ {
		d := block[r][feature] - block[r-1][feature]
		s += float64(d * d)
	}
	return 0.5 * float64(k) * float64(k) * s / float64(len(block)-1)
}

// nullVariance is the variance of the mean of a block of rows, each the mean of
// k steps of unit white noise.
func nullVariance(k int) float64 {
	s := 0.0
	for h := -(wanderBlock - 1); h < wanderBlock; h++ {
		lag := h
		if lag < 0 {
			lag = -lag
		}
		if lag < k {
			s += float64(wanderBlock-lag) * float64(k-lag)
		}
	}
	return s / (wanderBlock * wanderBlock) / (float64(k) * float64(k))
}
