package features

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/window"
)

// dataDir finds the recorded data, or skips the test.
func dataDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("MILLWRIGHT_DATA"); dir != "" {
		return dir
	}
	for dir, _ := os.Getwd(); ; dir = filepath.Dir(dir) {
		data := filepath.Join(dir, "shared", "data")
		if _, err := os.Stat(data); err == nil {
			return data
		}
		if dir == filepath.Dir(dir) {
			t.Skip("no recorded data: set MILLWRIGHT_DATA to a folder that has skab/")
		}
	}
}

// skab has numbers that numpy gave for windows of 15 s that start each second, leaving
// out those with more than 3 s of silence:
//
//	for s in range(t[0], t[-1] - 13):
//	    i = (t >= s) & (t < s + 15)
//	    if i.any() and np.diff(np.r_[s, t[i], s + 15]).max() <= 3:
//	        n += 1; mean += x[i].mean(axis=0); std += x[i].std(axis=0)
var skab = []struct {
	file             string
	windows, skipped int64
	first, mean, std []float64 // mean in the first window; sum of mean and of std over all
}{
	{
		"valve1/0.csv", 1186, 0,
		[]float64{0.026147640000000003, 0.0400321, 1.1803884000000002, 0.14215819999999998, 79.48464, 26.034413333333337, 229.20953333333333, 32.06668},
		[]float64{31.45363174725273, 47.64583460333323, 1188.57850318608, 98.67225550439528, 91840.44322036627, 30786.802568351664, 273900.0627150183, 37977.211024358985},
		[]float64{0.29294088301311183, 0.6767981759677507, 244.97797465392182, 278.04556834298535, 116.03285886090376, 7.331547573224699, 11968.783808460917, 451.9036882360293},
	},
	{
		"valve2/1.csv", 1115, 72, // a minute is missing
		[]float64{0.027679992857142864, 0.039739028571428574, 0.9431444285714286, -0.06240578571428572, 67.88052142857144, 24.321485714285718, 228.38314285714287, 32.14301428571429},
		[]float64{30.844864887509168, 44.64264316485516, 1090.2408578724448, 53.402318109640454, 75701.22964334335, 27055.398956663324, 256607.98981555089, 35099.52715392266},
		[]float64{0.33195635659687794, 1.056776105528167, 227.81296379274403, 281.3378465082166, 113.50673777631565, 5.6778164491608285, 11846.123151987658, 508.6453543722181},
	},
}

func TestExtract_SKAB(t *testing.T) {
	dir := dataDir(t)
	for _, want := range skab {
		t.Run(want.file, func(t *testing.T) {
			header, rows := readSKAB(t, filepath.Join(dir, "skab", want.file))
			specs, spec := []ChannelSpec{}, window.Spec{Window: 15 * time.Second, Hop: time.Second, MaxGap: 3 * time.Second, Channels: header}
			for _, name := range header {
				specs = append(specs, ChannelSpec{Channel: name, Quantity: sensors.Dimensionless, Features: []string{"mean", "std"}})
			}
			e, err := New(specs)
			if err != nil {
				t.Fatal(err)
			}
			w, err := window.New("pump", spec)
			if err != nil {
				t.Fatal(err)
			}
			var first, dst []float64
			sum := make([]float64, 2*len(header))
			emit := func(w *window.Window) (err error) {
				if dst, err = e.Extract(dst, w); err != nil {
					return err
				}
				for i, x := range dst {
					sum[i] += x
				}
				if first == nil {
					first = append(first, dst...)
				}
				return nil
			}
			for _, row := range rows {
				for i, name := range header {
					b := sensors.Block{Machine: "pump", Channel: name, Start: row.at, RateHz: 1, Samples: row.x[i : i+1]}
					if err := w.Add(b, emit); err != nil {
						t.Fatal(err)
					}
				}
			}
			s := w.Stats()
			if s.Emitted != want.windows || s.Skipped != want.skipped {
				t.Errorf("%d windows and %d skipped, want %d and %d", s.Emitted, s.Skipped, want.windows, want.skipped)
			}
			for i, name := range header {
				for _, c := range []struct {
					what      string
					got, want float64
				}{{"mean of the first window", first[2*i], want.first[i]}, {"sum of means", sum[2*i], want.mean[i]}, {"sum of stds", sum[2*i+1], want.std[i]}} {
					if math.Abs(c.got-c.want) > 1e-10*math.Abs(c.want) {
						t.Errorf("%s: %s is %.16g, want %.16g", name, c.what, c.got, c.want)
					}
				}
			}
		})
	}
}

type skabRow struct {
	at time.Time
	x  []float64
}

// readSKAB returns the eight channels of a file, without its labels.
func readSKAB(t *testing.T, path string) (header []string, rows []skabRow) {
	t.Helper()
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		t.Skip("no recorded data: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma = ';'
	records, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range records[1:] {
		at, err := time.Parse(time.DateTime, rec[0])
		if err != nil {
			t.Fatal(err)
		}
		row := skabRow{at: at}
		for _, s := range rec[1:9] {
			x, err := strconv.ParseFloat(s, 64)
			if err != nil {
				t.Fatal(err)
			}
			row.x = append(row.x, x)
		}
		rows = append(rows, row)
	}
	return records[0][1:9], rows
}
