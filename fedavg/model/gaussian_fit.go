package model

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/millwright-iot/millwright/fedavg"
)

// moments is what sums say about the distribution of feature vectors.
type moments struct {
	n      float64
	mean   []float64
	cov    []float64 // p×p, divided by n
	wander []float64 // geometric mean over machines; nil if not measured
}

// trained says whether there are enough rows for a variance.
func (m moments) trained() bool { return m.n >= 2 }

func (f *gaussianFamily) moments(params []fedavg.Vector) (moments, error) {
	if err := f.layout.Check(params); err != nil {
		return moments{}, err
	}
	m := moments{n: params[gaussianCount].F64[0]}
	if !(m.n >= 0) || math.IsInf(m.n, 0) {
		return moments{}, fmt.Errorf("parameters count %v rows", m.n)
	}
	if !m.trained() {
		return m, nil
	}
	p := f.features
	m.mean, m.cov = make([]float64, p), make([]float64, p*p)
	for i, s := range params[gaussianSum].F64 {
		m.mean[i] = s / m.n
	}
	k := 0
	for i := range p {
		for j := i; j < p; j++ {
			c := params[gaussianOuter].F64[k]/m.n - float64(m.mean[i]*m.mean[j])
			if math.IsNaN(c) || math.IsInf(c, 0) {
				return moments{}, fmt.Errorf("parameters make the covariance of features %d and %d %v", i, j, c)
			}
			m.cov[i*p+j], m.cov[j*p+i] = c, c
			k++
		}
	}
	if machines := params[gaussianMachines].F64[0]; machines >= 1 {
		m.wander = make([]float64, p)
		for i, s := range params[gaussianWander].F64 {
			m.wander[i] = math.Exp(s / machines)
		}
	}
	return m, nil
}

// Load implements Family.
func (f *gaussianFamily) Load(params []fedavg.Vector) (Model, error) {
	m, err := f.moments(params)
	if err != nil {
		return nil, fmt.Errorf("load gaussian: %w", err)
	}
	if !m.trained() {
		return nil, ErrUntrained
	}
	g, err := f.fit(m)
	if err != nil {
		return nil, fmt.Errorf("load gaussian: %w", err)
	}
	return g, nil
}

// LoadBlended implements LocalBlender: mean and covariance are the machine's own
// with weight n/(n+n₀) and the fleet's for the rest, where n is the machine's rows
// and n₀ is PriorRows. Which features wander is for the fleet to say, if it can.
func (f *gaussianFamily) LoadBlended(global, local []fedavg.Vector) (Model, error) {
	g, err := f.moments(global)
	if err != nil {
		return nil, fmt.Errorf("load gaussian: global: %w", err)
	}
	l, err := f.moments(local)
	if err != nil {
		return nil, fmt.Errorf("load gaussian: local: %w", err)
	}
	switch {
	case !l.trained():
		return f.Load(global)
	case !g.trained():
		return f.Load(local)
	}
	own := l.n / (l.n + f.spec.PriorRows)
	blend := func(dst, other []float64) {
		for i, x := range other {
			dst[i] = float64(own*dst[i]) + float64((1-own)*x)
		}
	}
	blend(l.mean, g.mean)
	blend(l.cov, g.cov)
	if g.wander != nil {
		l.wander = g.wander
	}
	m, err := f.fit(l)
	if err != nil {
		return nil, fmt.Errorf("load gaussian: %w", err)
	}
	return m, nil
}

// constantVariance is the variance of a standardised feature below which it
// counts as constant: its covariances are noise, so they are taken as 0, and its
// variance as 1, the unit in which Baseline measures a feature that stood still.
const constantVariance = 1e-6

// kept lists the features that do not wander. If all do, all are kept: a model
// of nothing would never alarm.
func (f *gaussianFamily) kept(wander []float64) []int {
	var index []int
	for i := range f.features {
		if wander == nil || wander[i] <= f.spec.MaxWander {
			index = append(index, i)
		}
	}
	if index == nil {
		return f.kept(nil)
	}
	return index
}

// fit makes the model of m. It works on correlations rather than covariances,
// so that shrinkage towards the diagonal is (1−λ)R + λI, whose eigenvalues are at
// least λ whatever the scales of the features.
func (f *gaussianFamily) fit(m moments) (*gaussian, error) {
	index := f.kept(m.wander)
	q := len(index)
	g := &gaussian{
		features: f.features, index: index,
		mean: make([]float64, q), scale: make([]float64, q),
		lower: make([]float64, 0, q*(q+1)/2), root: make([]float64, q*q),
		y: make([]float64, q), u: make([]float64, q),
	}
	constant := make([]bool, q)
	for a, i := range index {
		variance := m.cov[i*f.features+i]
		if constant[a] = variance < constantVariance; constant[a] {
			variance = 1
		}
		g.mean[a], g.scale[a] = m.mean[i], 1/math.Sqrt(variance)
		g.logDet += math.Log(variance)
	}
	r := mat.NewSymDense(q, nil)
	for a, i := range index {
		r.SetSym(a, a, 1)
		for b := a + 1; b < q && !constant[a]; b++ {
			if !constant[b] {
				r.SetSym(a, b, (1-f.spec.Shrinkage)*m.cov[i*f.features+index[b]]*g.scale[a]*g.scale[b])
			}
		}
	}
	if err := g.factorise(r); err != nil {
		return nil, err
	}
	return g, nil
}

// factorise stores the Cholesky factor and the inverse square root of r.
func (g *gaussian) factorise(r *mat.SymDense) error {
	var chol mat.Cholesky
	if !chol.Factorize(r) {
		return fmt.Errorf("covariance of %d features is not positive definite: the sums cannot come from real rows", len(g.index))
	}
	g.logDet += chol.LogDet()
	var l mat.TriDense
	chol.LTo(&l)
	for a := range g.index {
		for b := range a + 1 {
			g.lower = append(g.lower, l.At(a, b))
		}
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(r, true) {
		return fmt.Errorf("eigenvalues of the covariance of %d features do not converge", len(g.index))
	}
	values := eigen.Values(nil)
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	q := len(g.index)
	for k, value := range values {
		if !(value > 0) {
			return fmt.Errorf("covariance of %d features has eigenvalue %v", q, value)
		}
		for a := range q {
			v := vectors.At(a, k) / math.Sqrt(value)
			for b := range q {
				g.root[a*q+b] += float64(v * vectors.At(b, k))
			}
		}
	}
	return nil
}
