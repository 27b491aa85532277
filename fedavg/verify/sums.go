package verify

import (
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/fedavg"
)

// The vectors of a Gaussian's sums, as fedavg/model names them.
const (
	vectorCount    = "count"
	vectorSum      = "sum"
	vectorOuter    = "outer"
	vectorWander   = "wander_log"
	vectorMachines = "machines"
)

const (
	rowsPerMachine = 120          // least rows from which a machine's wander is measured
	maxWanderLog   = 6.9077552790 // ln 1000, the largest wander a machine reports
	rounding       = 1e-9         // relative slack for sums of float64
	maxSquares     = 1e17         // 1e5 rows at model.ZLimit; fedavg.Accumulator holds 46 such gateways
)

// ImpossibleSums says why u cannot be sums over any rows, or "" if it can. It needs
// nobody to compare with, so it holds in a federation of one. It knows the sums
// of Gaussian jobs; those of others pass.
//
// Rows z₁…zₙ with weight n satisfy n = count, (Σzᵢ)² ≤ n·Σzᵢ², and
// (Σzᵢzⱼ)² ≤ Σzᵢ²·Σzⱼ² (Cauchy and Schwarz).
func ImpossibleSums(u *fedavg.Update) string {
	by := map[string][]float64{}
	for _, v := range u.Vectors {
		by[v.Name] = v.F64
	}
	count, sum, outer, wander, machines := by[vectorCount], by[vectorSum], by[vectorOuter], by[vectorWander], by[vectorMachines]
	p := len(sum)
	if len(by) != 5 || len(count) != 1 || p == 0 || len(outer) != p*(p+1)/2 || len(wander) != p || len(machines) != 1 {
		return ""
	}
	n := count[0]
	if n != u.Weight || n != math.Trunc(n) {
		return fmt.Sprintf("sums over %.6g rows come with a weight of %.6g", n, u.Weight)
	}
	if m := machines[0]; m < 0 || m != math.Trunc(m) || m*rowsPerMachine > n {
		return fmt.Sprintf("wander of %.6g machines cannot be measured in %.6g rows", m, n)
	}
	for i, w := range wander {
		if limit := machines[0] * maxWanderLog * (1 + rounding); !(math.Abs(w) <= limit) {
			return fmt.Sprintf("feature %d wanders by ln %.4g, more than %.6g machines can report", i, w, machines[0])
		}
	}
	return impossibleMoments(n, sum, outer)
}

func impossibleMoments(n float64, sum, outer []float64) string {
	p := len(sum)
	root := make([]float64, p) // √Σzᵢ²
	at := 0
	for i := range p {
		square := outer[at]
		if square < 0 || square > maxSquares {
			return fmt.Sprintf("sum of squares of feature %d is %.6g", i, square)
		}
		root[i] = math.Sqrt(square)
		if math.Abs(sum[i]) > math.Sqrt(n)*root[i]*(1+rounding)+math.SmallestNonzeroFloat64 {
			return fmt.Sprintf("feature %d has sum %.6g but sum of squares %.6g over %.6g rows", i, sum[i], square, n)
		}
		at += p - i
	}
	at = 0
	for i := range p {
		for j := i; j < p; j++ {
			if math.Abs(outer[at]) > root[i]*root[j]*(1+rounding)+math.SmallestNonzeroFloat64 {
				return fmt.Sprintf("products of features %d and %d sum to %.6g, more than their squares allow", i, j, outer[at])
			}
			at++
		}
	}
	return ""
}
