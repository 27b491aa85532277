package verify

import (
	"math"

	"github.com/millwright-iot/millwright/fedavg"
)

// Kind says what the updates of a job hold.
type Kind uint8

// Deltas are parameter deltas of gradient jobs; Sums are the sums over rows of
// statistics jobs.
const (
	Deltas Kind = iota + 1
	Sums
)

// Size is how large an update is.
type Size struct {
	// Body is the Euclidean norm over all vectors but the counters. For Sums it is
	// put per row, and its root taken: sums of squares grow with the square of what
	// was measured, and MaxNorm is meant for the latter.
	Body float64 `json:"body"`
	// Counters is the norm over the counters: vectors of one element, which count
	// something (rows, machines, rounds), and "fleet", in which a classifier
	// averages such things; for Sums per row. They are kept apart because a count of
	// 1 would hide what becomes of small deltas.
	Counters float64 `json:"counters"`
	// Weight is the number of rows the update claims.
	Weight float64 `json:"weight"`
}

// SizeOf measures u, whose numbers are finite. The results are finite.
func SizeOf(u *fedavg.Update, kind Kind) Size {
	body, counters := split(u.Vectors)
	s := Size{Body: norm(body), Counters: norm(counters), Weight: u.Weight}
	if kind == Sums {
		s.Body = math.Sqrt(min(s.Body/u.Weight, math.MaxFloat64))
		s.Counters = min(s.Counters/u.Weight, math.MaxFloat64)
	}
	return s
}

// vectorFleet is what fedavg/model names the part of a classifier's parameters that
// is not learned by gradient.
const vectorFleet = "fleet"

// split tells bodies from counters. A model of single numbers only has no counters.
func split(vectors []fedavg.Vector) (body, counters []fedavg.Vector) {
	for _, v := range vectors {
		if v.Len() == 1 || v.Name == vectorFleet {
			counters = append(counters, v)
		} else {
			body = append(body, v)
		}
	}
	if body == nil {
		return counters, nil
	}
	return body, counters
}

func dimensions(vectors []fedavg.Vector) int {
	n := 0
	for _, v := range vectors {
		n += v.Len()
	}
	return n
}

// norm is the Euclidean norm over all elements, at most the largest float64.
func norm(vectors []fedavg.Vector) float64 {
	if n := math.Sqrt(squares(vectors, 1)); n > 1e-150 && n < math.Inf(1) {
		return n
	}
	// Squares overflow or vanish: take out the largest element first.
	largest := 0.0
	for _, v := range vectors {
		for _, x := range v.F32 {
			largest = max(largest, math.Abs(float64(x)))
		}
		for _, x := range v.F64 {
			largest = max(largest, math.Abs(x))
		}
	}
	if largest == 0 {
		return 0
	}
	return min(largest*math.Sqrt(squares(vectors, largest)), math.MaxFloat64)
}

func squares(vectors []fedavg.Vector, unit float64) float64 {
	s := 0.0
	for _, v := range vectors {
		for _, x := range v.F32 {
			y := float64(x) / unit
			s += float64(y * y)
		}
		for _, x := range v.F64 {
			y := x / unit
			s += float64(y * y)
		}
	}
	return s
}

// direction is the sum of some updates' unit vectors.
type direction []float64

// add adds u/‖u‖.
func (d direction) add(body []fedavg.Vector, norm float64) {
	at := 0
	for _, v := range body {
		for _, x := range v.F32 {
			d[at] += float64(x) / norm
			at++
		}
		for _, x := range v.F64 {
			d[at] += x / norm
			at++
		}
	}
}

// dot returns d·u/‖u‖.
func (d direction) dot(body []fedavg.Vector, norm float64) float64 {
	s, at := 0.0, 0
	for _, v := range body {
		for _, x := range v.F32 {
			s += float64(d[at] * (float64(x) / norm))
			at++
		}
		for _, x := range v.F64 {
			s += float64(d[at] * (x / norm))
			at++
		}
	}
	return s
}

func (d direction) square() float64 {
	s := 0.0
	for _, x := range d {
		s += float64(x * x)
	}
	return s
}
