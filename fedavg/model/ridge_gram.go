package model

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
)

// gramBatch is how many rows are added at a time: enough to keep a matrix product
// busy, few enough to stay in a small processor's cache.
const gramBatch = 64

// gramSummer sums φφᵀ and φy over rows, with memory for one matrix.
type gramSummer struct {
	rows   blas64.General   // gramBatch×p, the rows not yet added
	gram   blas64.Symmetric // p×p, upper triangle
	moment []float64
	n      int
}

func newGramSummer(p int) *gramSummer {
	return &gramSummer{
		rows:   blas64.General{Rows: gramBatch, Cols: p, Stride: p, Data: make([]float64, gramBatch*p)},
		gram:   blas64.Symmetric{N: p, Stride: p, Data: make([]float64, p*p), Uplo: blas.Upper},
		moment: make([]float64, p),
	}
}

// next returns where the caller writes the next φ.
func (s *gramSummer) next() []float64 {
	return s.rows.Data[s.n*s.rows.Stride : (s.n+1)*s.rows.Stride]
}

// add counts the row last written, with target y, so many times.
func (s *gramSummer) add(y, weight float64) {
	φ := s.next()
	axpy(s.moment, float64(weight*y), φ)
	if weight != 1 {
		root := math.Sqrt(weight)
		for i := range φ {
			φ[i] *= root
		}
	}
	if s.n++; s.n == gramBatch {
		s.flush()
	}
}

func (s *gramSummer) flush() {
	part := s.rows
	part.Rows = s.n
	if s.n > 0 {
		blas64.Syrk(blas.Trans, 1, part, 1, s.gram)
	}
	s.n = 0
}

// finish writes the sums; gram as an upper triangle, row by row.
func (s *gramSummer) finish(gram, moment []float64) {
	s.flush()
	p, k := s.gram.N, 0
	for i := range p {
		k += copy(gram[k:], s.gram.Data[i*p+i:(i+1)*p])
	}
	copy(moment, s.moment)
}
