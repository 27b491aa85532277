package fedavg

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// pickPlainly is Bulyan's choice word by word (El Mhamdi et al. 2018, section 4): Krum's
// choice of those left, every score added up anew.
func pickPlainly(d []float64, n, f, count int) []int {
	gone := make([]bool, n)
	var picked []int
	for len(picked) < count {
		best, bestScore := -1, 0.0
		for i := range n {
			if gone[i] {
				continue
			}
			var others []float64
			for j := range n {
				if j != i && !gone[j] {
					others = append(others, d[i*n+j])
				}
			}
			slices.Sort(others)
			score := total(others[:min(max(n-len(picked)-f-2, 1), len(others))])
			if best < 0 || score < bestScore {
				best, bestScore = i, score
			}
		}
		gone[best] = true
		picked = append(picked, best)
	}
	return picked
}

func TestBulyan_Picks(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{7, 64, 65, 66, 200} {
		f := (n - 3) / 4
		c := &columns{n: n}
		points := make([][3]float64, n)
		for i := range points {
			c.agents = append(c.agents, fmt.Sprintf("%04d", i))
			for k := range points[i] {
				points[i][k] = r.NormFloat64()
			}
			if i%4 == 3 { // a quarter lies, some of them so much that nothing else shows beside it
				points[i][i%3] *= []float64{3, 1e3, 1e20}[r.IntN(3)]
			}
		}
		d := make([]float64, n*n)
		for i, a := range points {
			for j, b := range points {
				for k := range a {
					d[i*n+j] += (a[k] - b[k]) * (a[k] - b[k])
				}
			}
		}
		for _, count := range []int{1, n - 2*f, n} {
			if got, want := c.pick(d, f, count), pickPlainly(d, n, f, count); !slices.Equal(got, want) {
				t.Errorf("%d of %d: picked %v, want %v", count, n, got, want)
			}
		}
	}
}

// Of equals the first by name is picked, in whatever order they came.
func TestBulyan_PicksByName(t *testing.T) {
	const n = 70
	c := &columns{n: n}
	for i := range n {
		c.agents = append(c.agents, fmt.Sprintf("%04d", (i*37)%n))
	}
	for at, i := range c.pick(make([]float64, n*n), 5, n) {
		if want := fmt.Sprintf("%04d", at); c.agents[i] != want {
			t.Fatalf("choice %d is %s, want %s", at, c.agents[i], want)
		}
	}
}
