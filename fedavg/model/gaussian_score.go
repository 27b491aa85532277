package model

import "math"

// gaussian scores by Mahalanobis distance.
type gaussian struct {
	features int
	index    []int     // features that take part
	mean     []float64 // of those
	scale    []float64 // 1/standard deviation of those
	lower    []float64 // L of the correlation R = LLᵀ, row by row
	root     []float64 // R^(−1/2), symmetric
	logDet   float64   // ln of the covariance's determinant
	y, u     []float64 // scratch
}

// standardise fills y with the deviations from the mean in standard deviations.
func (g *gaussian) standardise(z []float64) {
	for a, i := range g.index {
		g.y[a] = (z[i] - g.mean[a]) * g.scale[a]
	}
}

// Score returns the Mahalanobis distance √((z−μ)ᵀC⁻¹(z−μ)), C the shrunk
// covariance of the features that take part: for Gaussian z its square is χ²
// with as many degrees of freedom. It solves Lu = y and returns |u|. len(z) must
// be the number of features of the family. The largest float64 stands in for a
// distance that overflows.
func (g *gaussian) Score(z []float64) float64 {
	g.standardise(z)
	l, sum := g.lower, 0.0
	for a, y := range g.y {
		for b, x := range g.u[:a] {
			y -= float64(l[b] * x)
		}
		y /= l[a]
		l = l[a+1:]
		g.u[a] = y
		sum += float64(y * y)
	}
	return finite(math.Sqrt(sum))
}

// Contributions splits the square of Score: element i is the square of element i
// of R^(−1/2)y, where R is the correlation and y the deviation in standard
// deviations. All are ≥ 0 and they sum to Score(z)²; a feature that was left out
// has 0. Among the ways to undo correlation this one keeps each new variable as
// close as possible to its feature (corr-max: Garthwaite & Koch, Aust. N. Z. J.
// Stat. 58(1), 2016).
func (g *gaussian) Contributions(dst, z []float64) []float64 {
	if dst == nil {
		dst = make([]float64, g.features)
	}
	g.standardise(z)
	clear(dst)
	q := len(g.index)
	for a, i := range g.index {
		s := 0.0
		for b, w := range g.root[a*q : (a+1)*q] {
			s += float64(w * g.y[b])
		}
		dst[i] = finite(s * s)
	}
	return dst
}

// finite replaces what an overflow leaves behind.
func finite(x float64) float64 {
	if x <= math.MaxFloat64 {
		return x
	}
	return math.MaxFloat64
}
