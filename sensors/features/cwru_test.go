package features

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/bearing"
	"github.com/millwright-iot/millwright/sensors/window"
)

// recording is one file of the Case Western Reserve set, drive-end accelerometer.
type recording struct {
	shaftHz float64
	part    bearing.Part // empty for a good bearing
	mil     int
	xs      []float64 // g
}

const cwruHz = 12000

// cwru reads the recordings, or skips the test.
func cwru(t *testing.T) []recording {
	t.Helper()
	dir := os.Getenv("MILLWRIGHT_DATA")
	if dir == "" {
		at, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for up := at; up != filepath.Dir(up); up = filepath.Dir(up) {
			if _, err := os.Stat(filepath.Join(up, "go.mod")); err == nil {
				dir = filepath.Join(filepath.Dir(up), "shared", "data")
			}
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "cwru", "*.npz"))
	if len(files) == 0 {
		t.Skip("no recordings of the CWRU bearing set; set MILLWRIGHT_DATA to the folder that holds cwru/")
	}
	name := regexp.MustCompile(`^(\d+)_(?:(B|IR|OR6)_(\d+)_DE12|Normal)\.npz$`)
	parts := map[string]bearing.Part{"B": bearing.Ball, "IR": bearing.InnerRace, "OR6": bearing.OuterRace}
	var rs []recording
	for _, f := range files {
		m := name.FindStringSubmatch(filepath.Base(f))
		if m == nil {
			continue
		}
		rpm, _ := strconv.ParseFloat(m[1], 64)
		mil, _ := strconv.Atoi(m[3])
		xs, err := driveEnd(f)
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, recording{rpm / 60, parts[m[2]], mil, xs})
	}
	return rs
}

// driveEnd reads the array DE, float32 in little-endian order, of an npz file.
func driveEnd(path string) ([]float64, error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	f, err := z.Open("DE.npy")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	if len(data) < 10 || string(data[:7]) != "\x93NUMPY\x01" {
		return nil, fmt.Errorf("%s: not an array of version 1", path)
	}
	data = data[10+int(binary.LittleEndian.Uint16(data[8:])):]
	xs := make([]float64, len(data)/4)
	for i := range xs {
		xs[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
	}
	return xs, nil
}

// evidence returns one row for each second of a recording.
func (r recording) evidence(t *testing.T) (rows []bearing.Evidence) {
	t.Helper()
	b, err := bearing.Lookup("6205-2RS")
	if err != nil {
		t.Fatal(err)
	}
	e, err := New([]ChannelSpec{{Channel: "a", Quantity: sensors.Acceleration, Features: []string{"bpfo_snr", "bpfi_snr", "bsf_snr", "ftf_snr"},
		Context: Context{ShaftHz: r.shaftHz, Bearing: b.Geometry}}})
	if err != nil {
		t.Fatal(err)
	}
	for lo := 0; lo+12800 <= len(r.xs); lo += 12800 { // a frame is 30 turns, 12000 to 12342 samples
		v, err := e.Extract(nil, &window.Window{Segments: []window.Segment{window.Regular("a", cwruHz, r.xs[lo:lo+12800])}})
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, bearing.Evidence{OuterDB: v[0], InnerDB: v[1], BallDB: v[2], CageDB: v[3]})
	}
	return rows
}

type judged struct {
	recording int
	mil       int
	part      bearing.Part
	bearing.Evidence
}

// threshold is the middle of the thresholds that make the fewest errors, races and
// balls weighted alike.
func threshold(rows []judged) float64 {
	var levels []float64
	for _, r := range rows {
		levels = append(levels, max(r.OuterDB, r.InnerDB))
	}
	slices.Sort(levels)
	n := map[bool]float64{}
	for _, r := range rows {
		n[r.part == bearing.Ball]++
	}
	best, sum, count := math.Inf(1), 0.0, 0.0
	for i := 1; i < len(levels); i++ {
		at, wrong := (levels[i-1]+levels[i])/2, 0.0
		for _, r := range rows {
			if ball := r.part == bearing.Ball; ball == (max(r.OuterDB, r.InnerDB) > at) {
				wrong += 1 / n[ball]
			}
		}
		switch {
		case wrong < best-1e-9:
			best, sum, count = wrong, at, 1
		case wrong < best+1e-9:
			sum, count = sum+at, count+1
		}
	}
	return sum / count
}

// Leaving one fault size out, so that no bearing is on both sides: the threshold is
// learned from two sizes and tried on the third. In numpy the same rule gave 0.888 of
// the seconds. Case Western's outer race of 14 mil shows weaker lines of its race than
// the balls of 7 and 21 mil do (W. A. Smith and R. B. Randall, Rolling element bearing
// diagnostics using the Case Western Reserve University data, Mechanical Systems and
// Signal Processing 64–65 (2015) 100–131), so 8 of 9 bearings is what this rule can reach.
//
// Only the threshold is held out. The layout of the envelope (bands, whitening,
// sidebands) was chosen with all sizes in sight; choosing that, too, from two sizes among
// 24 layouts gave 0.866 in numpy. The shipped threshold has seen all sizes.
func TestAccuse_CaseWesternLeaveSizeOut(t *testing.T) {
	var rows []judged
	for i, r := range cwru(t) {
		if r.part == "" {
			continue
		}
		for _, e := range r.evidence(t) {
			rows = append(rows, judged{i, r.mil, r.part, e})
		}
	}
	confusion := map[[2]bearing.Part]int{}
	bySize := map[string][2]int{}
	right, fixed, largest := 0, 0, 0
	sizes := []int{7, 14, 21}
	for _, mil := range sizes {
		var train []judged
		for _, r := range rows {
			if r.mil != mil {
				train = append(train, r)
			}
		}
		at := threshold(train)
		t.Logf("without %d mil: threshold %.2f dB", mil, at)
		if math.Abs(at-bearing.RaceDB) > 1 {
			t.Errorf("the shipped threshold is %g dB, without %d mil it is %.2f", bearing.RaceDB, mil, at)
		}
		for _, r := range rows {
			if r.mil != mil {
				continue
			}
			got := r.Accuse(at).Part
			confusion[[2]bearing.Part{r.part, got}]++
			key := fmt.Sprintf("%s %d", r.part, mil)
			c := bySize[key]
			c[1]++
			if got == r.part {
				c[0]++
				right++
			}
			bySize[key] = c
			if r.Accuse(0).Part == r.part {
				fixed++
			}
			best := bearing.OuterRace
			if r.InnerDB > r.OuterDB {
				best = bearing.InnerRace
			}
			if r.BallDB > max(r.OuterDB, r.InnerDB) {
				best = bearing.Ball
			}
			if best == r.part {
				largest++
			}
		}
	}
	n := float64(len(rows))
	t.Logf("%d seconds: %.3f right; with the shipped threshold %.3f; largest SNR wins %.3f", len(rows), float64(right)/n, float64(fixed)/n, float64(largest)/n)
	t.Logf("true, said: %v", confusion)
	t.Logf("right of all, by bearing: %v", bySize)
	if float64(right)/n < 0.87 {
		t.Errorf("%.3f of the seconds are right", float64(right)/n)
	}
}
