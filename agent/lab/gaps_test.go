package lab

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// mended writes a recorded file with cells changed; cells of row 0 are the header's.
func mended(t *testing.T, f SKABFile, mend func(row int, cells []string)) []SKABFile {
	t.Helper()
	text, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for i, l := range lines {
		cells := strings.Split(l, ";")
		mend(i, cells)
		lines[i] = strings.Join(cells, ";")
	}
	dir := filepath.Join(t.TempDir(), "valve1")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	z, err := os.Create(filepath.Join(dir, "0.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	w := gzip.NewWriter(z)
	if _, err := w.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := FindSKAB(dir)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

const flowColumn, currentColumn = 8, 3

// What is scored never takes the place of a head with gaps.
func TestOwnSpec_GapInTheHead(t *testing.T) {
	whole := skabFiles(t)[0]
	spec := SKABJob(model.KindGaussian)
	baseline := func(files []SKABFile) (job.Spec, error) {
		rows, err := skabRows(t.Context(), files, spec)
		if err != nil {
			t.Fatal(err)
		}
		own, err := ownSpec(spec, rows[0], files[0])
		if err == nil && rows[0][own.Alarm.Baseline-1].end.After(files[0].Times[SKABHead]) {
			t.Errorf("the last of %d baseline windows ends at %v, after the head", own.Alarm.Baseline, rows[0][own.Alarm.Baseline-1].end)
		}
		return own, err
	}
	if own, err := baseline([]SKABFile{whole}); err != nil || own.Alarm.Baseline != spec.Alarm.Baseline {
		t.Errorf("without gaps: baseline of %d, %v", own.Alarm.Baseline, err)
	}
	gap := mended(t, whole, func(row int, cells []string) {
		if row > 200 && row <= 260 {
			cells[flowColumn] = "NaN"
		}
	})
	own, err := baseline(gap)
	if err != nil || own.Alarm.Baseline >= spec.Alarm.Baseline-15 {
		t.Errorf("a minute without flow: baseline of %d of %d, %v", own.Alarm.Baseline, spec.Alarm.Baseline, err)
	}
	r := newSKABReport(gap)
	if err := addGaps(t.Context(), r, gap); err != nil || !strings.Contains(strings.Join(r.Notes, "\n"), "gaps in its head") {
		t.Errorf("notes %q, %v", r.Notes, err)
	}
	empty := mended(t, whole, func(row int, cells []string) {
		if row > 0 && row <= 390 {
			cells[flowColumn] = ""
		}
	})
	if _, err := baseline(empty); err == nil || !strings.Contains(err.Error(), "too much is missing") {
		t.Errorf("no head: %v", err)
	}
}

func TestStillChannels_StuckSensor(t *testing.T) {
	files := mended(t, skabFiles(t)[0], func(row int, cells []string) {
		if row > 0 {
			cells[currentColumn] = "0.7"
		}
	})
	spec := SKABJob(model.KindGaussian)
	rows, err := skabRows(t.Context(), files, spec)
	if err != nil {
		t.Fatal(err)
	}
	if still := stillChannels(spec.Features, rows[0]); !slices.Equal(still, []string{"current"}) {
		t.Errorf("still: %v", still)
	}
}

func TestSKABRows_ChannelWithoutValues(t *testing.T) {
	files := mended(t, skabFiles(t)[0], func(row int, cells []string) {
		if row > 0 {
			cells[flowColumn] = "NaN"
		}
	})
	_, err := skabRows(t.Context(), files, SKABJob(model.KindGaussian))
	if err == nil || !strings.Contains(err.Error(), `channel "flow" has no value`) {
		t.Errorf("got %v", err)
	}
}

// Two sizes suffice for what leaves one out; what leaves one out among the others says
// that it cannot.
func TestEvaluateCWRU_TwoSizes(t *testing.T) {
	recordings := cwruRecordings(t)
	recordings = slices.DeleteFunc(recordings, func(r CWRURecording) bool { return r.Mil == 14 || r.ShaftHz*60 != 1772 })
	for i := range recordings {
		recordings[i].Samples = recordings[i].Samples[:2*cwruWindow]
	}
	c, err := newCWRUEvaluation(t.Context(), recordings, cwruLayouts()[:1])
	if err != nil {
		t.Fatal(err)
	}
	if err := c.nested(t.Context()); err != nil || len(c.report.Lines) != 0 {
		t.Errorf("%d lines, %v", len(c.report.Lines), err)
	}
	if notes := strings.Join(c.report.Notes, "\n"); !strings.Contains(notes, "2 sizes") {
		t.Errorf("notes %q", notes)
	}
}

func TestEvaluate_NotAFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "0.csv")
	if err := os.WriteFile(file, []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{file: "is a file; name the folder", filepath.Join(file, "x"): "open the data", file + "none": "no such file"} {
		for _, d := range Datasets() {
			if r, err := Evaluate(t.Context(), d.Name, path); err == nil || r != nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s of %s: %v, %v", d.Name, path, r, err)
			}
		}
	}
}
