// Package cluster groups machines that are alike, from what a coordinator may see of
// them: the direction of their updates, or a signature of few numbers. The same points in
// the same order give the same groups.
package cluster

import (
	"errors"
	"fmt"
	"math"
)

// MaxPoints bounds the work, which grows with the cube of the number of points.
const MaxPoints = 2000

// least is the mean silhouette below which there is no structure to speak of (Kaufman &
// Rousseeuw, Finding Groups in Data, 1990, table 2.4).
const least = 0.25

// Groups says which points belong together.
type Groups struct {
	Of         []int       // the group of each point, numbered in the order of their first points
	Centres    [][]float64 // mean of each group's points
	Silhouette float64     // mean over the points, −1 to 1; 0 for a single group
}

// Find groups points by Ward's criterion (J. H. Ward, J. Am. Stat. Assoc. 58, 1963; the
// update formula of Lance & Williams, Comput. J. 9, 1967): the two groups whose union
// adds least to the sum of squared distances from their centres are joined first. Of 2 to
// most groups it takes the number with the largest mean silhouette (Rousseeuw, J. Comput.
// Appl. Math. 20, 1987), and a single group if that is below 0.25. Points must be of one
// length and finite, 1 to MaxPoints of them.
func Find(points [][]float64, most int) (Groups, error) {
	if err := check(points); err != nil {
		return Groups{}, fmt.Errorf("group points: %w", err)
	}
	d := distances(points)
	best := Groups{Of: make([]int, len(points))}
	for k, of := range ward(d, min(most, len(points)-1)) {
		if k < 2 {
			continue
		}
		if s := silhouette(d, of, k); s >= least && s > best.Silhouette {
			best = Groups{Of: of, Silhouette: s}
		}
	}
	best.Centres = centres(points, best.Of)
	return best, nil
}

// Nearest returns the group whose centre is nearest to x, which is as long as the points.
func (g Groups) Nearest(x []float64) int {
	nearest, at := math.Inf(1), 0
	for i, c := range g.Centres {
		if d := square(c, x); d < nearest {
			nearest, at = d, i
		}
	}
	return at
}

func check(points [][]float64) error {
	if len(points) == 0 || len(points) > MaxPoints {
		return fmt.Errorf("there are %d; 1 to %d can be grouped", len(points), MaxPoints)
	}
	if len(points[0]) == 0 {
		return errors.New("they have no numbers")
	}
	for i, p := range points {
		if len(p) != len(points[0]) {
			return fmt.Errorf("point %d has %d numbers, point 0 has %d", i, len(p), len(points[0]))
		}
		for k, x := range p {
			if math.IsNaN(x) || math.Abs(x) > 1e100 { // squares must be finite
				return fmt.Errorf("point %d: number %d is %v", i, k, x)
			}
		}
	}
	return nil
}

// square is the squared Euclidean distance.
func square(a, b []float64) float64 {
	s := 0.0
	for i, x := range a {
		d := x - b[i]
		s += float64(d * d)
	}
	return s
}

// distances are the squared distances between all points.
func distances(points [][]float64) [][]float64 {
	d := make([][]float64, len(points))
	for i := range d {
		d[i] = make([]float64, len(points))
		for j := range i {
			d[i][j] = square(points[i], points[j])
			d[j][i] = d[i][j]
		}
	}
	return d
}

// ward returns the partitions into 1 to most groups, by their number.
func ward(between [][]float64, most int) map[int][]int {
	n := len(between)
	d := make([][]float64, n) // between groups: twice what joining them adds
	group, size, alive := make([]int, n), make([]float64, n), make([]bool, n)
	for i := range d {
		d[i] = append([]float64(nil), between[i]...)
		group[i], size[i], alive[i] = i, 1, true
	}
	found := map[int][]int{}
	for left := n; ; left-- {
		if left <= most {
			found[left] = numbered(group)
		}
		if left <= 1 {
			return found
		}
		a, b := closest(d, alive)
		for k := range n {
			if !alive[k] || k == a || k == b {
				continue
			}
			total := size[a] + size[b] + size[k]
			d[a][k] = (float64((size[a]+size[k])*d[a][k]) + float64((size[b]+size[k])*d[b][k]) - float64(size[k]*d[a][b])) / total
			d[k][a] = d[a][k]
		}
		size[a], alive[b] = size[a]+size[b], false
		for i, g := range group {
			if g == b {
				group[i] = a
			}
		}
	}
}

// closest are the two groups, the first of equal ones, that joining costs least.
func closest(d [][]float64, alive []bool) (a, b int) {
	least := math.Inf(1)
	for i := range d {
		if !alive[i] {
			continue
		}
		for j := i + 1; j < len(d); j++ {
			if alive[j] && d[i][j] < least {
				least, a, b = d[i][j], i, j
			}
		}
	}
	return a, b
}

// numbered numbers groups from 0 in the order of their first points.
func numbered(group []int) []int {
	numbers, of := map[int]int{}, make([]int, len(group))
	for i, g := range group {
		if _, ok := numbers[g]; !ok {
			numbers[g] = len(numbers)
		}
		of[i] = numbers[g]
	}
	return of
}

// silhouette is the mean over points of (b−a)/max(a, b), where a is the mean distance
// to the others of the point's group and b that to the nearest other group; 0 for a point
// alone in its group.
func silhouette(d [][]float64, of []int, groups int) float64 {
	total := 0.0
	sum, size := make([]float64, groups), make([]float64, groups)
	for _, g := range of {
		size[g]++
	}
	for i, own := range of {
		clear(sum)
		for j, g := range of {
			sum[g] += math.Sqrt(d[i][j])
		}
		if size[own] == 1 {
			continue
		}
		a, b := sum[own]/(size[own]-1), math.Inf(1)
		for g := range sum {
			if g != own {
				b = min(b, sum[g]/size[g])
			}
		}
		if m := max(a, b); m > 0 {
			total += (b - a) / m
		}
	}
	return total / float64(len(of))
}

func centres(points [][]float64, of []int) [][]float64 {
	var c [][]float64
	var size []float64
	for i, p := range points {
		for of[i] >= len(c) {
			c, size = append(c, make([]float64, len(p))), append(size, 0)
		}
		size[of[i]]++
		for k, x := range p {
			c[of[i]][k] += x
		}
	}
	for g := range c {
		for k := range c[g] {
			c[g][k] /= size[g]
		}
	}
	return c
}
