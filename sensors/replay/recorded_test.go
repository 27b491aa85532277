package replay

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/millwright-iot/millwright/sensors"
)

// recordings finds the recorded data: MILLWRIGHT_DATA, else shared/data beside
// the repository.
func recordings(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("MILLWRIGHT_DATA"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			data := filepath.Join(filepath.Dir(dir), "shared", "data")
			if _, err := os.Stat(data); err == nil {
				return data
			}
		}
	}
	t.Skip("no recorded data; set MILLWRIGHT_DATA to its folder")
	return ""
}

// The counts come from awk: rows with anomaly = 1, and the sum of Current.
//
//	awk -F';' 'NR>1{n++; a+=$10; s+=$4} END{print n, a, s}' skab/valve1/0.csv
func TestSource_SKAB(t *testing.T) {
	path := filepath.Join(recordings(t), "skab", "valve1", "0.csv")
	a := unit(t, "A")
	s, err := New(path, "valve-0", []Column{{Name: "Current", Channel: "current", Unit: a}}, Options{TimeColumn: "datetime"})
	if err != nil {
		t.Fatal(err)
	}
	rows, sum := 0, 0.0
	if err := s.Run(t.Context(), func(b sensors.Block) error { rows++; sum += b.Samples[0]; return b.Validate() }); err != nil {
		t.Fatal(err)
	}
	labels, err := ReadLabels(path, Format{}, "anomaly", "changepoint")
	if err != nil {
		t.Fatal(err)
	}
	anomalous := 0.0
	for _, l := range labels {
		anomalous += l.Values[0]
	}
	if rows != 1147 || len(labels) != 1147 || anomalous != 401 || math.Abs(sum-1152.3111) > 1e-4 {
		t.Errorf("%d rows, %d labels, %v anomalous, sum %.4f; want 1147, 1147, 401, 1152.3111", rows, len(labels), anomalous, sum)
	}
}

// Evenly spaced rows of a gzip-compressed file with a comma.
func TestSource_Gearbox(t *testing.T) {
	path := filepath.Join(recordings(t), "gearbox", "h30hz0.csv.gz")
	s, err := New(path, "gearbox", []Column{{Name: "a1", Unit: unit(t, "m/s2")}, {Name: "a4", Unit: unit(t, "m/s2")}}, Options{RateHz: 6000, ToRow: 15000})
	if err != nil {
		t.Fatal(err)
	}
	samples := map[string]int{}
	if err := s.Run(t.Context(), func(b sensors.Block) error { samples[b.Channel] += len(b.Samples); return b.Validate() }); err != nil {
		t.Fatal(err)
	}
	if samples["a1"] != 15000 || samples["a4"] != 15000 {
		t.Errorf("samples %v; want 15000 of each", samples)
	}
}
