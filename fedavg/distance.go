package fedavg

import (
	"math"
	"runtime"
	"sync"
)

// distanceBytes is how much of the updates, as float64, is compared at a time.
const distanceBytes = 512 << 10

// distances returns the squared distance of every two updates, n×n. They are
// sums in float64 of squared differences, exact but for rounding: nearly equal
// updates do not drown, as they would in |a|² + |b|² − 2ab. Each pair is added up
// by one goroutine in the order of the parameters, so that the result does not depend on their
// number.
func (c *columns) distances() ([]float64, error) {
	sums := make([]float64, c.n*c.n)
	segments := c.layout.cut(max(distanceBytes/(8*c.n)&^3, 32))
	workers := min(runtime.GOMAXPROCS(0), c.n/8+1)
	err := c.blocks(segments, func(segments []segment, rows func(*scratch, *segment) [][]float32) error {
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				s := new(scratch)
				for i := range segments {
					c.compare(sums, rows(s, &segments[i]), s, w, workers)
				}
			})
		}
		wg.Wait()
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range c.n {
		for j := range i {
			sums[i*c.n+j] = sums[j*c.n+i]
		}
	}
	for _, d := range sums {
		if math.IsNaN(d) || math.IsInf(d, 0) {
			return nil, c.verify()
		}
	}
	return sums, nil
}

// compare adds worker w's part of the squared distances between rows to sums:
// every pair of updates 2b and 2b+1 with all after them, for the b that w has.
func (c *columns) compare(sums []float64, rows [][]float32, s *scratch, w, workers int) {
	size := len(rows[0])
	stride := (size + 3) &^ 3
	n := c.n + c.n&1 // an odd one out is compared with zero, to no end
	if len(s.wide) < n*stride {
		s.wide = make([]float64, n*stride)
	}
	row := func(i int) []float64 { return s.wide[i*stride : (i+1)*stride] }
	for i, x := range rows {
		dst := row(i)
		for k, v := range x {
			dst[k] = float64(v)
		}
		clear(dst[size:])
	}
	var d [4]float64
	for b := range n / 2 {
		// First to last and back, so that everyone has long rows and short ones.
		if turn := b % (2 * workers); turn != w && turn != 2*workers-1-w {
			continue
		}
		i := 2 * b
		for j := i; j < n; j += 2 {
			squaresFast(row(i), row(i+1), row(j), row(j+1), &d)
			for k, x := range d {
				if p, q := i+k/2, j+k%2; p < q && q < c.n {
					sums[p*c.n+q] += x
				}
			}
		}
	}
}

// verify names the first update with an element that is not finite.
func (c *columns) verify() error {
	err := c.updates.Each(func(u *Update) error {
		if err := u.Verify(c.layout); err != nil {
			return &UpdateError{Agent: u.Agent, Err: err}
		}
		return nil
	})
	if err == nil {
		err = errChanged
	}
	return err
}

// squares writes Σ(a0−b0)², Σ(a0−b1)², Σ(a1−b0)² and Σ(a1−b1)² of rows whose length
// is a multiple of 4. Elements 4k, 4k+1, 4k+2 and 4k+3 are summed apart, as vector
// instructions do.
func squares(a0, a1, b0, b1 []float64, out *[4]float64) {
	for k, rows := range [4][2][]float64{{a0, b0}, {a0, b1}, {a1, b0}, {a1, b1}} {
		a, b := rows[0], rows[1][:len(rows[0])]
		var s [4]float64
		for i := 0; i+3 < len(a); i += 4 {
			d0, d1, d2, d3 := a[i]-b[i], a[i+1]-b[i+1], a[i+2]-b[i+2], a[i+3]-b[i+3]
			s[0] += float64(d0 * d0)
			s[1] += float64(d1 * d1)
			s[2] += float64(d2 * d2)
			s[3] += float64(d3 * d3)
		}
		out[k] = (s[0] + s[1]) + (s[2] + s[3])
	}
}
