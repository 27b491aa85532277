package lab

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/fedavg/compress"
	"github.com/millwright-iot/millwright/fedavg/model"
)

func skabFiles(t *testing.T) []SKABFile {
	t.Helper()
	data, ok := DataDir()
	if !ok {
		t.Skip("recorded data is not here: set MILLWRIGHT_DATA to the folder that holds skab/")
	}
	files, err := FindSKAB(filepath.Join(data, "skab"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func find(t *testing.T, r *Report, name, learning string) Line {
	t.Helper()
	i := slices.IndexFunc(r.Lines, func(l Line) bool { return l.Name == name && l.Learning == learning })
	if i < 0 {
		t.Fatalf("report has no line %q %q", name, learning)
	}
	return r.Lines[i]
}

func TestEvaluateSKAB_RecordedData(t *testing.T) {
	files := skabFiles(t)
	r := newSKABReport(files)
	if err := addLines(t.Context(), r, files, SKABJob(model.KindGaussian), Federated, Central, LocalOnly); err != nil {
		t.Fatal(err)
	}
	if len(files) == 20 { // valve1 and valve2: counted with numpy, apart from this code
		if r.ScoredRows != 14472 || r.AnomalousRows != 7826 {
			t.Errorf("got %d scored rows, %d anomalous, want 14472, 7826", r.ScoredRows, r.AnomalousRows)
		}
		if c := find(t, r, "flag rows 570–970", "").Confusion; *c != (Confusion{TP: 7733, FP: 287, FN: 93, TN: 6359}) {
			t.Errorf("position baseline: got %+v", *c)
		}
	}
	federated, central := find(t, r, model.KindGaussian, Federated), find(t, r, model.KindGaussian, Central)
	if *federated.Confusion != *central.Confusion {
		t.Errorf("federated statistics decide otherwise than central ones: %+v, %+v", *federated.Confusion, *central.Confusion)
	}
	if always := find(t, r, "always alarm", ""); federated.F1 <= always.F1 {
		t.Errorf("federated F1 %.3f is no better than always alarming, %.3f", federated.F1, always.F1)
	}
	var table bytes.Buffer
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
}

// The autoencoder takes its time: two files tell whether it works.
func TestEvaluateSKAB_Autoencoder(t *testing.T) {
	files := skabFiles(t)[:2]
	r := newSKABReport(files)
	if err := addLines(t.Context(), r, files, SKABJob(model.KindAutoencoder), Federated, Central, LocalOnly); err != nil {
		t.Fatal(err)
	}
	small := SKABJob(model.KindAutoencoder)
	small.Compression = []string{string(compress.Int8)}
	if err := addLines(t.Context(), r, files, small, Federated); err != nil {
		t.Fatal(err)
	}
	plain := find(t, r, model.KindAutoencoder, Federated)
	if last := r.Lines[len(r.Lines)-1]; last.Compression != "int8" || last.BytesPerUpdate == 0 || last.BytesPerUpdate >= plain.BytesPerUpdate {
		t.Errorf("compressed updates take %d bytes (%s), plain ones %d", last.BytesPerUpdate, last.Compression, plain.BytesPerUpdate)
	}
	for _, how := range []string{Federated, Central, LocalOnly} {
		if l := find(t, r, model.KindAutoencoder, how); l.Confusion.TP == 0 || l.Confusion.TN == 0 {
			t.Errorf("%s: says the same of every row: %+v", how, *l.Confusion)
		}
	}
}

// What is said of a row must not depend on later rows.
func TestFollow_Causal(t *testing.T) {
	f := skabFiles(t)[0]
	spec := SKABJob(model.KindGaussian)
	rows, err := skabRows(t.Context(), []SKABFile{f}, spec)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := detect(spec, nil, rows[0], f)
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{450, 640, 900} {
		path := filepath.Join(t.TempDir(), "cut.csv")
		text, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(string(text), "\n")
		if err := os.WriteFile(path, []byte(strings.Join(lines[:cut+1], "")), 0o600); err != nil {
			t.Fatal(err)
		}
		short := f
		short.Path, short.Times, short.Truth = path, f.Times[:cut], f.Truth[:cut]
		rows, err := skabRows(t.Context(), []SKABFile{short}, spec)
		if err != nil {
			t.Fatal(err)
		}
		said, err := detect(spec, nil, rows[0], short)
		if err != nil {
			t.Fatal(err)
		}
		// The window of the very last row closes with the row after it.
		if !slices.Equal(said.alarm[:cut-1], whole.alarm[:cut-1]) || !slices.Equal(said.score[:cut-1], whole.score[:cut-1]) {
			t.Errorf("cut after %d rows: what was said of earlier rows changed", cut)
		}
	}
}

func TestFindSKAB_BadInput(t *testing.T) {
	write := func(t *testing.T, text string) string {
		dir := filepath.Join(t.TempDir(), "valve1")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "0.csv"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	row := "2020-03-09 10:14:33;1;0\n"
	for name, c := range map[string]struct{ text, want string }{
		"other dataset": {"time;a;b\n1;2;3\n", `no column "anomaly"`},
		"too few rows":  {"datetime;Current;anomaly\n" + strings.Repeat(row, 400), "400 rows"},
		"no time":       {"datetime;Current;anomaly\n" + strings.Repeat("yesterday;1;0\n", 401), `column "datetime"`},
		"backwards":     {"datetime;Current;anomaly\n" + row + strings.Repeat("2020-03-09 10:14:32;1;0\n", 400), "0.csv:3: time goes backwards"},
		"no label":      {"datetime;Current;anomaly\n" + strings.Repeat(row, 400) + "2020-03-09 10:14:33;1;\n", `0.csv:402: column "anomaly": "" is not 0 or 1`},
		"label of 2":    {"datetime;Current;anomaly\n" + strings.Repeat(row, 400) + "2020-03-09 10:14:33;1;2\n", `"2" is not 0 or 1`},
		"label text":    {"datetime;Current;anomaly\n" + strings.Repeat("2020-03-09 10:14:33;1;yes\n", 401), "0.csv:2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := FindSKAB(write(t, c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	t.Run("empty folder", func(t *testing.T) {
		if _, err := FindSKAB(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no .csv or .csv.gz file") {
			t.Errorf("got %v", err)
		}
	})
}
