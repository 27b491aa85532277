package infer

import (
	"bufio"
	"compress/gzip"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// Turbofans that run to failure (NASA C-MAPSS, FD001): how long, of what was left until
// the alarm, is told when half, three quarters and nine tenths of the way are gone. The
// threshold is 4 × the baseline's largest score, so that there is a way to go.
func TestTrend_RecordedGrowth(t *testing.T) {
	engines := turbofans(t)
	spec := jobOf(14, model.KindGaussian)
	spec.Alarm = job.AlarmSpec{Baseline: 40, Threshold: 4, Smooth: 15}
	marks := []float64{0.5, 0.75, 0.9}
	errs, ways := make([][]float64, len(marks)), 0
	for _, rows := range engines {
		d := newDetector(t, spec)
		var told []*float64
		raised := -1
		for i, row := range rows {
			out, err := d.Observe(time.Unix(int64(i)*3600, 0), row)
			if err != nil {
				t.Fatal(err)
			}
			told = append(told, nil)
			if tr := out.Advice.Clone().Trend; tr != nil {
				told[i] = tr.HoursToAlarm
			}
			if out.Active {
				raised = i
				break
			}
		}
		way := raised - spec.Alarm.Baseline
		if way < 50 {
			continue // too short a way for a trend, or none
		}
		ways++
		for k, m := range marks {
			at := spec.Alarm.Baseline + int(m*float64(way))
			if h := told[at]; h != nil {
				left := float64(raised - at)
				errs[k] = append(errs[k], (*h-left)/left)
			}
		}
	}
	if ways < 50 {
		t.Fatalf("%d engines of %d go a way of 50 cycles", ways, len(engines))
	}
	for k, m := range marks {
		e := errs[k]
		if len(e) == 0 {
			t.Errorf("at %v nothing is ever told", m)
			continue
		}
		size := make([]float64, len(e))
		for i, x := range e {
			size[i] = math.Abs(x)
		}
		mid, off := median(slices.Clone(e)), median(size)
		t.Logf("at %2.0f %% of the way: told for %d of %d engines, median error %+.0f %% of what was left, median size %.0f %%", 100*m, len(e), ways, 100*mid, 100*off)
		if k > 0 && (math.Abs(mid) > 0.5 || off > 1 || len(e) < ways/5) {
			t.Errorf("at %v: told for %d, median error %v, median size %v", m, len(e), mid, off)
		}
	}
}

// turbofans are the 14 sensors that change, by engine and cycle.
func turbofans(t *testing.T) [][][]float64 {
	t.Helper()
	path := ""
	for _, dir := range []string{os.Getenv("MILLWRIGHT_DATA"), filepath.Join("..", "..", "..", "..", "shared", "data")} {
		name := filepath.Join(dir, "cmapss", "train_FD001.txt.gz")
		if _, err := os.Stat(name); dir != "" && err == nil {
			path = name
			break
		}
	}
	if path == "" {
		t.Skip("recorded data is not here: set MILLWRIGHT_DATA to the folder that holds cmapss/")
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var engines [][][]float64
	last := ""
	for lines := bufio.NewScanner(text); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if fields[0] != last {
			engines, last = append(engines, nil), fields[0]
		}
		var row []float64
		for _, s := range []int{2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21} {
			x, err := strconv.ParseFloat(fields[4+s], 64)
			if err != nil {
				t.Fatal(err)
			}
			row = append(row, x)
		}
		engines[len(engines)-1] = append(engines[len(engines)-1], row)
	}
	return engines
}
