package model

import (
	"fmt"
	"math"
)

// Baseline is what is normal for one machine: mean and standard deviation of
// each feature over its healthy windows. It stays on the machine. The zero
// value is not usable; see NewBaseline. It marshals to JSON as its fields.
type Baseline struct {
	Count int       `json:"count"` // rows added
	Mean  []float64 `json:"mean"`
	// M2 is the sum of squared deviations from the mean.
	M2 []float64 `json:"m2"`
}

const (
	// StdFloor is the least standard deviation, relative to |mean|, that a feature
	// is credited with: a channel that stood still through the whole baseline must
	// not alarm at the first flicker of its converter's last bit (a 12-bit
	// converter resolves 2.4e-4 of full scale). A feature that was constantly zero
	// is measured in its own unit.
	StdFloor = 1e-4
	// ZLimit bounds a standardised value, so that one absurd measurement can
	// neither overflow a score nor own a sum.
	ZLimit = 1e6
)

// NewBaseline returns an empty baseline of so many features.
func NewBaseline(features int) *Baseline {
	return &Baseline{Mean: make([]float64, features), M2: make([]float64, features)}
}

// Add learns from one healthy feature vector by Welford's recurrence (Technometrics
// 4(3), 1962). A row of the wrong length or with NaN, Inf or a value whose square
// overflows is refused and changes nothing.
func (b *Baseline) Add(row []float64) error {
	if len(row) != len(b.Mean) {
		return fmt.Errorf("add to baseline: row has %d features, want %d", len(row), len(b.Mean))
	}
	for i, x := range row {
		if !(math.Abs(x) <= 1e150) {
			return fmt.Errorf("add to baseline: feature %d is %v", i, x)
		}
	}
	b.Count++
	n := float64(b.Count)
	for i, x := range row {
		d := x - b.Mean[i]
		b.Mean[i] += d / n
		b.M2[i] += float64(d * (x - b.Mean[i]))
	}
	return nil
}

// Std returns the standard deviation feature i is credited with: the sample
// standard deviation (n−1), at least StdFloor·|mean|, and 1 where that is zero.
func (b *Baseline) Std(i int) float64 {
	std := 0.0
	if b.Count > 1 {
		std = math.Sqrt(b.M2[i] / float64(b.Count-1))
	}
	std = max(std, StdFloor*math.Abs(b.Mean[i]))
	if std < math.SmallestNonzeroFloat64*(1<<52) { // subnormal: 1/std overflows
		return 1
	}
	return std
}

// Standardize writes (x − mean)/std, limited to ±ZLimit, into dst, which may be
// x itself; nil allocates. x must be finite and as long as the baseline. An
// empty baseline has mean 0 and std 1.
func (b *Baseline) Standardize(dst, x []float64) []float64 {
	if dst == nil {
		dst = make([]float64, len(x))
	}
	for i, v := range x {
		z := (v - b.Mean[i]) / b.Std(i)
		dst[i] = min(max(z, -ZLimit), ZLimit)
	}
	return dst
}

// Validate reports why b, perhaps read from a file, cannot be used for so many
// features.
func (b *Baseline) Validate(features int) error {
	if len(b.Mean) != features || len(b.M2) != features {
		return fmt.Errorf("check baseline: has %d means and %d squares, want %d features", len(b.Mean), len(b.M2), features)
	}
	if b.Count < 0 {
		return fmt.Errorf("check baseline: count is %d", b.Count)
	}
	for i := range b.Mean {
		if m, s := b.Mean[i], b.M2[i]; math.IsNaN(m) || math.IsInf(m, 0) || !(s >= 0) || math.IsInf(s, 0) {
			return fmt.Errorf("check baseline: feature %d has mean %v and sum of squares %v", i, m, s)
		}
	}
	return nil
}
