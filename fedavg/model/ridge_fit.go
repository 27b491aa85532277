package model

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/millwright-iot/millwright/fedavg"
)

// ridge is the mean of its members' linear predictions.
type ridge struct {
	family *ridgeFamily
	coef   [][]float64 // of each member, as wide as φ
	φ      []float64   // scratch
	z      []float64   // scratch
}

// Load implements Family: it solves each member's normal equations in O(p³).
func (f *ridgeFamily) Load(params []fedavg.Vector) (Model, error) {
	if err := f.layout.Check(params); err != nil {
		return nil, fmt.Errorf("load ridge: %w", err)
	}
	if n := params[0].F64[0]; n == 0 {
		return nil, ErrUntrained
	}
	m, err := f.fit(params)
	if err != nil {
		return nil, fmt.Errorf("load ridge: %w", err)
	}
	return m, nil
}

func (f *ridgeFamily) fit(params []fedavg.Vector) (*ridge, error) {
	m := &ridge{family: f, φ: make([]float64, f.width), z: make([]float64, f.features)}
	for k := range f.members {
		coef, err := f.solve(params[2*k], params[2*k+1])
		if err != nil {
			return nil, err
		}
		m.coef = append(m.coef, coef)
	}
	return m, nil
}

// solve returns (G + λD)⁻¹ c, where D is the identity but for the intercept,
// which is not shrunk. Exact sums make G positive semidefinite and the matrix
// definite; sums that were compressed or noised may not, then λ grows tenfold
// until it is.
func (f *ridgeFamily) solve(gram, moment fedavg.Vector) ([]float64, error) {
	p := f.width
	if n := gram.F64[0]; !(n > 0) || math.IsInf(n, 0) {
		return nil, fmt.Errorf("%s counts %v rows", gram.Name, n)
	}
	for _, v := range []fedavg.Vector{gram, moment} {
		for i, x := range v.F64 {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return nil, &fedavg.ValueError{Vector: v.Name, Index: i, Value: x}
			}
		}
	}
	const tries = 8
	λ := f.spec.Lambda
	for range tries {
		a, k := mat.NewSymDense(p, nil), 0
		for i := range p {
			for j := i; j < p; j++ {
				a.SetSym(i, j, gram.F64[k])
				k++
			}
			if i > 0 {
				a.SetSym(i, i, a.At(i, i)+λ)
			}
		}
		var chol mat.Cholesky
		coef := mat.NewVecDense(p, nil)
		// Cond is +Inf or near it when rounding has eaten the solution.
		if chol.Factorize(a) && chol.Cond() < 1e14 && chol.SolveVecTo(coef, mat.NewVecDense(p, moment.F64)) == nil {
			return coef.RawVector().Data, nil
		}
		λ *= 10
	}
	return nil, fmt.Errorf("%s is far from positive definite: the sums cannot come from real rows", gram.Name)
}

// Predict implements Regressor.
func (m *ridge) Predict(z []float64) float64 {
	sum := 0.0
	for k := range m.coef {
		m.family.members[k].write(m.φ, z)
		sum += dot(m.coef[k], m.φ)
	}
	return capped(m.family.spec.Cap, finite(sum/float64(len(m.coef))))
}

// Score is how much of Cap is used up: 0 while Predict is Cap, 1 at 0.
func (m *ridge) Score(z []float64) float64 { return 1 - m.Predict(z)/m.family.spec.Cap }

// Contributions implements Model; see occlude.
func (m *ridge) Contributions(dst, z []float64) []float64 {
	return occlude(dst, z, m.z, m.Predict, m.family.spec.Cap)
}
