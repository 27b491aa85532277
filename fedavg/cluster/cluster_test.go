package cluster

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/fedavg"
)

// threeHeaps are (7i²+3i mod 11)/10 and (5i²+i mod 13)/10, moved apart by i mod 3.
func threeHeaps() [][]float64 {
	var points [][]float64
	for i := range 15 {
		x, y := float64((7*i*i+3*i)%11)/10, float64((5*i*i+i)%13)/10
		switch i % 3 {
		case 0:
			x += 3
		case 1:
			y += 4
		}
		points = append(points, []float64{x, y})
	}
	return points
}

// Partitions and silhouettes of the points with scipy 1.17 and scikit-learn 1.9:
// silhouette_score(P, fcluster(linkage(P, "ward"), k, "maxclust")).
func TestWard_LikeScipy(t *testing.T) {
	d := distances(threeHeaps())
	all := ward(d, 5)
	for k, want := range map[int]struct {
		of         []int
		silhouette float64
	}{
		2: {[]int{0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0}, 0.6433333519010478},
		3: {[]int{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2}, 0.7800182217856897},
		4: {[]int{0, 1, 2, 3, 1, 2, 3, 1, 2, 0, 1, 2, 3, 1, 2}, 0.59614380641573},
		5: {[]int{0, 1, 2, 3, 1, 2, 3, 1, 2, 4, 1, 2, 3, 1, 2}, 0.5897706558560368},
	} {
		if !slices.Equal(all[k], want.of) {
			t.Errorf("%d groups: got %v, want %v", k, all[k], want.of)
		}
		if s := silhouette(d, all[k], k); math.Abs(s-want.silhouette) > 1e-12 {
			t.Errorf("%d groups: silhouette %v, want %v", k, s, want.silhouette)
		}
	}
}

func TestFind_TakesTheNumberWithTheLargestSilhouette(t *testing.T) {
	g, err := Find(threeHeaps(), 5)
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Centres) != 3 || math.Abs(g.Silhouette-0.7800182217856897) > 1e-12 {
		t.Errorf("%d groups, silhouette %v", len(g.Centres), g.Silhouette)
	}
	for i, p := range threeHeaps() {
		if g.Nearest(p) != g.Of[i] {
			t.Errorf("point %d is of group %d but nearest to %d", i, g.Of[i], g.Nearest(p))
		}
	}
}

// One heap has no structure, however it is cut.
func TestFind_OneHeap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var points [][]float64
	for range 40 {
		p := make([]float64, 8)
		for k := range p {
			p[k] = r.NormFloat64()
		}
		points = append(points, p)
	}
	g, err := Find(points, 4)
	if err != nil || len(g.Centres) != 1 || g.Silhouette != 0 || slices.Max(g.Of) != 0 {
		t.Errorf("got %d groups, silhouette %v, %v", len(g.Centres), g.Silhouette, err)
	}
}

// Who belongs together does not depend on the order of the points.
func TestFind_Permutation(t *testing.T) {
	points := threeHeaps()
	r := rand.New(rand.NewPCG(7, 7))
	for range 20 {
		order := r.Perm(len(points))
		moved := make([][]float64, len(points))
		for i, at := range order {
			moved[i] = points[at]
		}
		g, err := Find(moved, 5)
		if err != nil {
			t.Fatal(err)
		}
		for i := range order {
			for j := range order {
				if (g.Of[i] == g.Of[j]) != (order[i]%3 == order[j]%3) {
					t.Fatalf("order %v: points %d and %d", order, order[i], order[j])
				}
			}
		}
	}
}

func TestFind_FewOrEqualPoints(t *testing.T) {
	for _, points := range [][][]float64{{{1, 2}}, {{1, 2}, {3, 4}}, {{1, 1}, {1, 1}, {1, 1}, {1, 1}}} {
		if g, err := Find(points, 3); err != nil || len(g.Centres) != 1 || g.Nearest([]float64{9, 9}) != 0 {
			t.Errorf("%v: got %+v, %v", points, g, err)
		}
	}
}

func TestFind_Refuses(t *testing.T) {
	for want, points := range map[string][][]float64{
		"there are 0":          nil,
		"no numbers":           {{}},
		"point 1 has 1":        {{1, 2}, {1}},
		"point 1: number 0 is": {{1}, {math.NaN()}},
		"number 1 is +Inf":     {{1, math.Inf(1)}},
		"there are 2001":       make([][]float64, 2001),
	} {
		if _, err := Find(points, 3); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func TestDirection(t *testing.T) {
	got := Direction([]fedavg.Vector{{Name: "a", F32: []float32{3, 0}}, {Name: "b", F64: []float64{-4}}})
	if !slices.Equal(got, []float64{0.6, 0, -0.8}) {
		t.Errorf("got %v", got)
	}
	if got := Direction([]fedavg.Vector{{Name: "a", F32: []float32{0, 0}}}); !slices.Equal(got, []float64{0, 0}) {
		t.Errorf("of zeros: got %v", got)
	}
	huge := []float64{1e200, 1e200}
	if Unit(huge); math.Abs(huge[0]-math.Sqrt(0.5)) > 1e-12 {
		t.Errorf("of huge numbers: got %v", huge)
	}
}
