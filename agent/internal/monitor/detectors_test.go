package monitor

import (
	"math"
	"slices"
	"testing"
)

// uniform is SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014), which is as short in
// Python, where the expected numbers below were computed, as it is here.
type uniform uint64

func (u *uniform) next() float64 {
	*u += 0x9E3779B97F4A7C15
	z := uint64(*u)
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return float64((z^z>>31)>>11) / (1 << 53)
}

// normal is a standard normal variable by Box and Muller.
func (u *uniform) normal() float64 {
	return math.Sqrt(-2*math.Log(1-u.next())) * math.Cos(2*math.Pi*u.next())
}

// steps are 6000 uniform numbers, raised by 0.3 from the 2000th on and lowered by 0.2
// from the 4000th on.
func steps() []float64 {
	x, u := make([]float64, 6000), uniform(1)
	for i := range x {
		x[i] = u.next()
		if i >= 4000 {
			x[i] -= 0.2
		} else if i >= 2000 {
			x[i] += 0.3
		}
	}
	return x
}

var sqrt12 = math.Sqrt(12) // one over the standard deviation of a uniform number

// The expected numbers of ADWIN, PageHinkley and DDM are those of river 0.26.1 (Python)
// on the same stream.
func TestADWIN_AsRiver(t *testing.T) {
	for _, c := range []struct {
		delta float64
		clock int
		at    []int
		left  []int64
		width int64
	}{
		{0, 0, []int{2079, 4031}, []int64{288, 288}, 1968},
		{0.01, 1, []int{2042, 4026}, []int64{891, 576}, 1973},
	} {
		a := NewADWIN(c.delta, c.clock)
		var at []int
		var left []int64
		for i, x := range steps() {
			if a.Observe(x) {
				at, left = append(at, i), append(left, a.Len())
				a = NewADWIN(c.delta, c.clock) // river begins anew after drift; the paper does not
			}
		}
		if !slices.Equal(at, c.at) || !slices.Equal(left, c.left) || a.Len() != c.width {
			t.Errorf("delta %v: drift at %v leaving %v and %d in the end, want %v leaving %v and %d", c.delta, at, left, a.Len(), c.at, c.left, c.width)
		}
		if c.delta == 0 && math.Abs(a.Mean()-0.2911565794034896) > 1e-12 || c.delta == 0 && math.Abs(a.variance-166.49591277768621) > 1e-8 {
			t.Errorf("mean %v and variance %v of the window, want 0.29115… and 166.4959…", a.Mean(), a.variance)
		}
	}
}

func TestPageHinkley_AsRiver(t *testing.T) {
	p := NewPageHinkley(PageHinkleyOptions{})
	var at []int
	for i, x := range steps() {
		if p.Observe((x - 0.5) * sqrt12) {
			at = append(at, i)
		}
	}
	if want := []int{2009, 3608, 4030, 5277}; !slices.Equal(at, want) {
		t.Errorf("drift at %v, want %v", at, want)
	}
}

// An error in 10 predictions, then 2, then 4.
func TestDDM_AsRiver(t *testing.T) {
	var d DDM
	var at, warned []int
	u := uniform(7)
	for i := range 4000 {
		rate := 0.1
		if i >= 3000 {
			rate = 0.4
		} else if i >= 1500 {
			rate = 0.2
		}
		if d.Observe(u.next() < rate) {
			at = append(at, i)
		}
		if d.Warning() {
			warned = append(warned, i)
		}
	}
	if want := []int{1700, 3510}; !slices.Equal(at, want) {
		t.Errorf("drift at %v, want %v", at, want)
	}
	if len(warned) != 1012 || !slices.Equal(warned[:5], []int{36, 37, 43, 44, 45}) {
		t.Errorf("%d warnings from %v on, want 1012 from 36, 37, 43, 44, 45 on", len(warned), warned[:min(5, len(warned))])
	}
}

func TestDDM_FirstErrorAfterManyRightIsNoDrift(t *testing.T) {
	var d DDM
	for range 100 {
		d.Observe(false)
	}
	if d.Observe(true) {
		t.Error("the first error in 101 predictions was taken for drift")
	}
	n := 0
	for ; n < 100 && !d.Observe(true); n++ {
	}
	if n == 100 {
		t.Error("100 errors in a row were not taken for drift")
	}
}

// Expected: scipy.stats.ks_2samp(window[:70], window[70:], method="exact") at 0.005 on
// the same stream.
func TestKSWIN_AsExactTest(t *testing.T) {
	k := NewKSWIN(0)
	var at []int
	distances := map[int]float64{99: 0.1619047619047619, 150: 0.21904761904761905}
	for i, x := range steps() {
		if k.Observe(x) {
			at = append(at, i)
		}
		if want, ok := distances[i]; ok {
			if got := k.stat; math.Abs(got-want) > 1e-12 {
				t.Errorf("distance at %d is %v, want %v", i, got, want)
			}
		}
	}
	if want := []int{882, 1424, 1818, 2023, 4016}; !slices.Equal(at, want) {
		t.Errorf("drift at %v, want %v", at, want)
	}
}

// Expected: the smallest distance that scipy's exact two-sided test of 70 and 30
// observations (_compute_outer_prob_inside_method) gives at most alpha, and that probability.
func TestKSLimit_AsExactTest(t *testing.T) {
	for _, c := range []struct{ alpha, smallest, p float64 }{
		{0.005, 0.37142857142857144, 0.004424915662631635},
		{1e-6, 0.5666666666666667, 9.371108959036412e-07},
	} {
		// Distances are multiples of 1/210; the one below the smallest must not speak.
		limit := ksLimit(70, 30, c.alpha)
		if !(limit < c.smallest && limit > c.smallest-1.0/210) {
			t.Errorf("limit at %g is %v, want it just below %v", c.alpha, limit, c.smallest)
		}
		k := int(math.Round(c.smallest*2100)) - 1
		if p := ksExceeds(70, 30, k); math.Abs(p/c.p-1) > 1e-9 {
			t.Errorf("probability of %v or more is %g, want %g", c.smallest, p, c.p)
		}
	}
}

// Expected: scipy.stats.chi2.isf.
func TestChiSquareQuantile(t *testing.T) {
	for _, c := range []struct {
		k           int
		alpha, want float64
	}{
		{9, 0.05, 16.91897760462045}, {9, 1e-4, 33.719948438964636}, {2, 0.01, 9.210340371976182},
		{1, 1e-6, 23.928126976934827}, {9, 1e-9, 60.6603083737724},
	} {
		if got := chiSquareQuantile(c.k, c.alpha); math.Abs(got/c.want-1) > 1e-9 {
			t.Errorf("χ²(%d) is above %v with probability %g, want above %v", c.k, got, c.alpha, c.want)
		}
	}
}

// Expected: numpy, of the same numbers: counts by numpy.histogram, then the sum.
func TestPSI_AsNumpy(t *testing.T) {
	was, is := make([]float64, 300), make([]float64, 360)
	u, v := uniform(11), uniform(12)
	for i := range was {
		was[i] = (u.next() - 0.5) * sqrt12
	}
	for i := range is {
		is[i] = (v.next() + 0.1 - 0.5) * sqrt12
	}
	e := EdgesOf(was)
	var h, g Histogram
	for _, z := range was {
		h.Add(&e, z)
	}
	for _, z := range is {
		g.Add(&e, z)
	}
	if want := [PSIBins]uint32{28, 23, 41, 30, 37, 41, 44, 19, 35, 62}; g.count != want {
		t.Fatalf("counts are %v, want %v", g.count, want)
	}
	if got := PSI(&g, &h); math.Abs(got-0.09418742567914673) > 1e-12 {
		t.Errorf("PSI is %v, want 0.09418…", got)
	}
	if PSI(&g, &Histogram{}) != 0 || PSI(&Histogram{}, &h) != 0 {
		t.Error("PSI of nothing is not 0")
	}
}

func TestEdgesOf_ValuesThatComeAgain(t *testing.T) {
	constant := EdgesOf(slices.Repeat([]float64{0}, 50))
	if constant.Bins() != 3 || constant.Bin(1e-6) != constant.Bin(-1e-6) || constant.Bin(2) == constant.Bin(0) {
		t.Errorf("bins of a constant: %+v", constant)
	}
	two := EdgesOf(append(slices.Repeat([]float64{-1}, 60), slices.Repeat([]float64{1}, 40)...))
	if two.Bin(-1) == two.Bin(1) || two.Bin(-1) != two.Bin(-1+1e-9) || two.Bin(-1) != two.Bin(-1-1e-9) || two.Bin(1) != two.Bin(1-1e-9) {
		t.Errorf("bins of two values: %+v", two)
	}
	if e := EdgesOf(nil); e.Bins() < 2 || e.Bin(math.NaN()) != e.Bins()-1 {
		t.Errorf("bins of nothing: %+v", e)
	}
}

// Numbers that are no numbers leave a detector as it was.
func TestDetectors_IgnoreWhatIsNotFinite(t *testing.T) {
	a, p, k := NewADWIN(0, 1), NewPageHinkley(PageHinkleyOptions{}), NewKSWIN(0)
	u := uniform(3)
	for range 300 {
		x := u.next()
		a.Observe(x)
		p.Observe(x)
		k.Observe(x)
	}
	wasA, wasP, wasK := *a, *p, *k
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if a.Observe(x) || p.Observe(x) || k.Observe(x) {
			t.Errorf("%v was taken for drift", x)
		}
	}
	if *a != wasA || *p != wasP || *k != wasK {
		t.Error("a detector changed")
	}
}

func TestDetectors_AllocateNothing(t *testing.T) {
	a, p, k, d := NewADWIN(0, 1), NewPageHinkley(PageHinkleyOptions{}), NewKSWIN(0), &DDM{}
	u := uniform(4)
	if n := testing.AllocsPerRun(2000, func() {
		x := u.next()
		a.Observe(x)
		p.Observe(x)
		k.Observe(x)
		d.Observe(x < 0.2)
	}); n != 0 {
		t.Errorf("%v allocations an observation", n)
	}
}
