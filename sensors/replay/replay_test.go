package replay

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/sensortest"
)

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func unit(t testing.TB, symbol string) sensors.Unit {
	t.Helper()
	u, err := sensors.ParseUnit(symbol)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

const pumpCSV = `time;acc;temp;anomaly
2020-03-09 10:14:33;0.5;79.5;0.0
2020-03-09 10:14:34;1.5;;0.0
2020-03-09 10:14:36;NaN;81;1.0
2020-03-09 10:14:37;2.5;82;1.0
`

func columns(t testing.TB) []Column {
	return []Column{{Name: "acc", Channel: "vibration", Unit: unit(t, "g")}, {Name: "temp", Unit: unit(t, "degC")}}
}

// collect plays a file as fast as it goes and writes each block as text.
func collect(t *testing.T, path string, cols []Column, o Options) ([]string, error) {
	t.Helper()
	s, err := New(path, "m", cols, o)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = s.Run(t.Context(), func(b sensors.Block) error {
		if err := b.Validate(); err != nil {
			t.Error(err)
		}
		got = append(got, fmt.Sprintf("%s %s %v %vHz q%d", b.Start.UTC().Format("05.0"), b.Channel, b.Samples, b.RateHz, b.Quality))
		return nil
	})
	return got, err
}

func TestSource_TimeColumn(t *testing.T) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write([]byte(pumpCSV))
	w.Close()
	want := []string{
		"33.0 vibration [4.903325] 0Hz q0", "33.0 temp [79.5] 0Hz q0",
		"34.0 vibration [14.709975] 0Hz q0",
		"36.0 temp [81] 0Hz q4", // the cell before was empty: QualityGap
		"37.0 vibration [24.516624999999998] 0Hz q4", "37.0 temp [82] 0Hz q0",
	}
	for name, path := range map[string]string{
		"plain": write(t, "a.csv", pumpCSV), "gzip": write(t, "a.csv.gz", z.String()),
		"byte order mark": write(t, "b.csv", "\xef\xbb\xbf"+pumpCSV), "CRLF": write(t, "c.csv", strings.ReplaceAll(pumpCSV, "\n", "\r\n")),
	} {
		for _, layout := range []string{"", "2006-01-02 15:04:05"} {
			got, err := collect(t, path, columns(t), Options{TimeColumn: "time", TimeLayout: layout})
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: got %v\n%s\nwant\n%s", name, err, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
	got, err := collect(t, write(t, "a.csv", pumpCSV), columns(t), Options{TimeColumn: "time", FromRow: 1, ToRow: 3})
	if err != nil || len(got) != 2 || !strings.HasPrefix(got[0], "34.0 vib") || !strings.HasPrefix(got[1], "36.0 temp") {
		t.Errorf("rows 1 to 3: got %v, %v", got, err)
	}
}

func TestSource_EvenRows(t *testing.T) {
	path := write(t, "a.csv", "0.0,9\n0.1,9\n0.2,9\n0.3,9\n,9\n0.5,9\n0.6,9\n")
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	got, err := collect(t, path, []Column{{Name: "a", Unit: unit(t, "1")}},
		Options{Format: Format{Header: []string{"a", "b"}}, RateHz: 10, BlockRows: 3, Start: start})
	// Row 4 is missing: it ends a block, and the next one says so.
	want := []string{"00.0 a [0 0.1 0.2] 10Hz q0", "00.3 a [0.3] 10Hz q0", "00.5 a [0.5 0.6] 10Hz q4"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestSource_Pace(t *testing.T) {
	path := write(t, "a.csv", pumpCSV)
	for speed, want := range map[float64]time.Duration{0: 0, 1: 4 * time.Second, 8: 500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			if _, err := collect(t, path, columns(t), Options{TimeColumn: "time", Speed: speed}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took != want {
				t.Errorf("4 s of recording at speed %v took %v; want %v", speed, took, want)
			}
		})
	}
}

func TestSource_BadFiles(t *testing.T) {
	for _, c := range []struct {
		name, text, says string
	}{
		{"word in a cell", "time;acc;temp\n1;0.5;20\n2;off;21\n", `:3: column "acc": "off" is not a finite number`},
		{"decimal comma", "time;acc;temp\n1;0,5;20\n", `:2: column "acc": "0,5"`},
		{"infinite", "time;acc;temp\n1;Inf;20\n", `:2: column "acc"`},
		{"beyond a double", "time;acc;temp\n1;1e308;20\n", `:2: column "acc": value is beyond a double in m/s2`},
		{"short line", "time;acc;temp\n1;0.5\n", ":2: the line has another number of fields than the header's 3"},
		{"bad time", "time;acc;temp\nnoon;0.5;20\n", `:2: column "time": read time "noon"`},
		{"open quote", "time;acc;temp\n1;\"0.5;20\n", ":2: "},
	} {
		path := write(t, "bad.csv", c.text)
		got, err := collect(t, path, columns(t), Options{TimeColumn: "time"})
		if err == nil || !strings.Contains(err.Error(), path+c.says) {
			t.Errorf("%s: got %v, %v; want an error with %q", c.name, got, err, path+c.says)
		}
	}
}

func TestNew_Problems(t *testing.T) {
	good := write(t, "a.csv", pumpCSV)
	for _, c := range []struct {
		name, path, machine string
		columns             []Column
		opts                Options
		says                string
	}{
		{"no file", good + "x", "m", columns(t), Options{TimeColumn: "time"}, "no such file"},
		{"not gzip", write(t, "a.csv.gz", pumpCSV), "m", columns(t), Options{TimeColumn: "time"}, "not gzip"},
		{"empty file", write(t, "e.csv", ""), "m", columns(t), Options{TimeColumn: "time"}, "file is empty"},
		{"missing column", good, "m", []Column{{Name: "pressure", Unit: unit(t, "Pa")}}, Options{TimeColumn: "time"},
			`no column "pressure"; the file has "time", "acc", "temp", "anomaly"`},
		{"missing time column", good, "m", columns(t), Options{TimeColumn: "datetime"}, `no column "datetime"`},
		{"no unit", good, "m", []Column{{Name: "acc"}}, Options{TimeColumn: "time"}, `column "acc": channel has no unit`},
		{"no machine", good, "", columns(t), Options{TimeColumn: "time"}, "no machine name"},
		{"no columns", good, "m", nil, Options{TimeColumn: "time"}, "no columns"},
		{"no time", good, "m", columns(t), Options{}, "set TimeColumn or RateHz"},
		{"two times", good, "m", columns(t), Options{TimeColumn: "time", RateHz: 1}, "set one of them"},
		{"speed", good, "m", columns(t), Options{TimeColumn: "time", Speed: -1}, "speed -1"},
		{"rows", good, "m", columns(t), Options{TimeColumn: "time", FromRow: 5, ToRow: 5}, "rows 5 to 5"},
	} {
		if _, err := New(c.path, c.machine, c.columns, c.opts); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got error %v; want one that says %q", c.name, err, c.says)
		}
	}
}

func TestSource_Contract(t *testing.T) {
	for name, o := range map[string]Options{
		"free": {TimeColumn: "time"}, "fast": {TimeColumn: "time", Speed: 1000}, "even": {RateHz: 100, BlockRows: 2},
	} {
		t.Run(name, func(t *testing.T) {
			sensortest.TestSource(t, func(t *testing.T) sensortest.Fixture {
				s, err := New(write(t, "a.csv", pumpCSV), "m", columns(t), o)
				if err != nil {
					t.Fatal(err)
				}
				return sensortest.Fixture{Source: s, Channels: []string{"m/vibration", "m/temp"}}
			})
		})
	}
}

func TestReadLabels(t *testing.T) {
	path := write(t, "a.csv", pumpCSV)
	got, err := ReadLabels(path, Format{}, "anomaly")
	if err != nil {
		t.Fatal(err)
	}
	var flat []float64
	for i, l := range got {
		if l.Row != i || len(l.Values) != 1 {
			t.Errorf("entry %d: %+v", i, l)
		}
		flat = append(flat, l.Values...)
	}
	if !slices.Equal(flat, []float64{0, 0, 1, 1}) {
		t.Errorf("labels %v; want 0 0 1 1", flat)
	}
	if _, err := ReadLabels(path, Format{}, "changepoint"); err == nil || !strings.Contains(err.Error(), `"anomaly"`) {
		t.Errorf("missing column: %v; want an error that names those present", err)
	}
}

// FuzzSource plays any file: no panic, and only valid blocks.
func FuzzSource(f *testing.F) {
	f.Add([]byte(pumpCSV))
	f.Add([]byte("time,acc,temp\n\"1\",2,3\n"))
	f.Add([]byte("time;acc;temp\n1;2;3\n0;1e400;\n"))
	u := unit(f, "g")
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "f.csv")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := New(path, "m", []Column{{Name: "acc", Unit: u}}, Options{TimeColumn: "time"})
		if err != nil {
			return
		}
		_ = s.Run(t.Context(), func(b sensors.Block) error {
			if err := b.Validate(); err != nil {
				t.Error(err)
			}
			return nil
		})
	})
}
