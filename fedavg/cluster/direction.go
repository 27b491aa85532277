package cluster

import (
	"math"

	"github.com/millwright-iot/millwright/fedavg"
)

// Direction flattens the vectors of an update to one point of length 1, so that machines
// count as alike if they pull the model the same way, however much data they have. An
// update of nothing but zeros is the zero point.
func Direction(vectors []fedavg.Vector) []float64 {
	var flat []float64
	for _, v := range vectors {
		for _, x := range v.F32 {
			flat = append(flat, float64(x))
		}
		flat = append(flat, v.F64...)
	}
	Unit(flat)
	return flat
}

// Unit scales x to length 1, in place; zeros stay zeros.
func Unit(x []float64) {
	most := 0.0
	for _, v := range x {
		most = max(most, math.Abs(v))
	}
	if most == 0 || math.IsInf(most, 0) || math.IsNaN(most) {
		return
	}
	s := 0.0
	for _, v := range x {
		s += float64((v / most) * (v / most))
	}
	length := math.Sqrt(s)
	for i, v := range x {
		x[i] = v / most / length
	}
}
