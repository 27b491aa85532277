package condition

import (
	"bufio"
	"compress/gzip"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestLearnOff_SeenAndUnseen(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var both, running []float64
	for range 200 {
		running = append(running, 2+0.3*rng.NormFloat64())
	}
	both = append(both, running...)
	for range 20 {
		both = append(both, 0.02+0.002*rng.NormFloat64())
	}
	rng.Shuffle(len(both), func(i, j int) { both[i], both[j] = both[j], both[i] })
	r, err := LearnOff(both)
	if err != nil || !r.Seen || r.Below < 0.03 || r.Below > 1 {
		t.Errorf("off and running: %+v, %v", r, err)
	}
	r, err = LearnOff(running)
	if err != nil || r.Seen || r.Off(1) || !r.Off(0.1) || !r.Off(0) || r.Off(math.NaN()) {
		t.Errorf("running only: %+v, %v", r, err)
	}
	// A switched-off channel that reads exactly zero.
	r, err = LearnOff([]float64{0, 0, 5, 5.1, 4.9, 5, 0})
	if err != nil || !r.Seen || !r.Off(0) || r.Off(4) {
		t.Errorf("zeros: %+v, %v", r, err)
	}
	// One outlier in a hundred is no state.
	r, err = LearnOff(append([]float64{1e-6}, running...))
	if err != nil || r.Seen {
		t.Errorf("one quiet window: %+v, %v", r, err)
	}
	for _, bad := range [][]float64{nil, {1, 2}, {0, 0, 0, 0, 0, 0}, {1, 2, 3, 4, math.NaN()}, {1, 2, 3, 4, math.Inf(1)}} {
		if _, err := LearnOff(bad); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}

// The rule depends neither on the order of the levels nor on their unit.
func TestLearnOff_BlindToPositionAndUnit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		levels := rapid.SliceOfN(rapid.Float64Range(0.001, 100), 5, 60).Draw(t, "levels")
		a, err := LearnOff(levels)
		if err != nil {
			t.Fatal(err)
		}
		turned := make([]float64, len(levels))
		for i, x := range levels {
			turned[len(levels)-1-i] = 8 * x
		}
		b, err := LearnOff(turned)
		if err != nil || b.Seen != a.Seen || math.Abs(b.Below-8*a.Below) > 1e-9*b.Below {
			t.Fatalf("%+v, turned and times 8 %+v, %v", a, b, err)
		}
	})
}

// C-MAPSS FD002 was flown at six combinations of altitude, Mach number and throttle
// (A. Saxena et al., Damage propagation modeling for aircraft engine run-to-failure
// simulation, PHM 2008), in thousand feet, Mach and degrees of the throttle resolver; the
// third is 60 at one of them and 100 at the others of this file.
func TestLearnPoints_CMAPSS(t *testing.T) {
	rows := settings(t, "train_FD002.txt.gz")
	p, err := LearnPoints(rows[:3000])
	if err != nil {
		t.Fatal(err)
	}
	want := [][]float64{{0, 0, 100}, {10, 0.25, 100}, {20, 0.7, 100}, {25, 0.62, 60}, {35, 0.84, 100}, {42, 0.84, 100}}
	if p.Len() != len(want) {
		t.Fatalf("%d operating points, want %d", p.Len(), len(want))
	}
	for i, w := range want {
		for j := range w {
			if math.Abs(p.Centre(i)[j]-w[j]) > 0.02 {
				t.Errorf("point %d is %v, want %v", i, p.Centre(i), w)
				break
			}
		}
	}
	for i, r := range rows {
		if _, known := p.Of(r); !known {
			t.Fatalf("row %d, %v, is at no operating point", i, r)
		}
	}
	if _, known := p.Of([]float64{15, 0.5, 100}); known {
		t.Error("15/0.5/100 is no operating point")
	}
}

// settings reads the three operational settings of a C-MAPSS file, or skips the test.
func settings(t *testing.T, name string) (rows [][]float64) {
	t.Helper()
	dir := os.Getenv("MILLWRIGHT_DATA")
	if dir == "" {
		at, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for ; at != filepath.Dir(at); at = filepath.Dir(at) {
			if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
				dir = filepath.Join(filepath.Dir(at), "shared", "data")
			}
		}
	}
	f, err := os.Open(filepath.Join(dir, "cmapss", name))
	if err != nil {
		t.Skipf("no C-MAPSS data (%v); set MILLWRIGHT_DATA to the folder that holds cmapss/", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(z); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		row := make([]float64, 3)
		for j := range row {
			if row[j], err = strconv.ParseFloat(fields[2+j], 64); err != nil {
				t.Fatal(err)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func TestLearnPoints_Edges(t *testing.T) {
	p, err := LearnPoints([][]float64{{25, 7}, {25, 7}, {25, 7}})
	if err != nil || p.Len() != 1 {
		t.Fatalf("one constant point: %v, %v", p, err)
	}
	if i, known := p.Of([]float64{25, 7}); i != 0 || !known {
		t.Errorf("its own point: %d, %v", i, known)
	}
	for _, row := range [][]float64{{25}, {math.NaN(), 7}, {25, math.Inf(1)}} {
		if _, known := p.Of(row); known {
			t.Errorf("%v is known", row)
		}
	}
	var ramp [][]float64
	for i := range 100 {
		ramp = append(ramp, []float64{float64(i), float64(i * i)})
	}
	for _, bad := range [][][]float64{nil, {{}}, {{1}, {1, 2}}, {{1}, {math.NaN()}}, grid()} {
		if _, err := LearnPoints(bad); err == nil {
			t.Errorf("%d rows: no error", len(bad))
		}
	}
	if _, err := LearnPoints(ramp); err != nil {
		t.Errorf("a ramp: %v", err)
	}
}

// grid is more points than there may be.
func grid() (rows [][]float64) {
	for i := range 6 {
		for j := range 6 {
			rows = append(rows, []float64{float64(i), float64(j)})
		}
	}
	return rows
}

// By hand: loads 1 2 3 4, measured 10 12 13 17 have slope 2.2 and mean 13 at 2.5.
func TestLoad_Line(t *testing.T) {
	var l Load
	if l.Residual(3, 5) != 0 || l.Slope() != 0 {
		t.Error("nothing learned, but a residual")
	}
	for i, y := range []float64{10, 12, 13, 17} {
		l.Learn(float64(i+1), y)
		l.Learn(math.NaN(), y)
		l.Learn(1, math.Inf(1))
	}
	for _, c := range [][3]float64{{2.5, 13, 0}, {4, 20, 3.7}, {9, 20, 3.7}, {-9, 10, 0.3}} {
		if got := l.Residual(c[0], c[1]); math.Abs(got-c[2]) > 1e-12 {
			t.Errorf("residual of %g at load %g is %g, want %g", c[1], c[0], got, c[2])
		}
	}
	if math.Abs(l.Slope()-2.2) > 1e-12 {
		t.Errorf("slope %g", l.Slope())
	}
	var constant Load
	constant.Learn(5, 40)
	constant.Learn(5, 42)
	if got := constant.Residual(7, 44); got != 3 {
		t.Errorf("constant load: residual %g, want 44 − 41", got)
	}
}
