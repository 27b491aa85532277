package lab

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// 14 files of the set's first loads hold 331 windows: one for each whole 4128 rows, counted with
// Python's gzip. The goal is 0.999: the set is a smoke test.
func TestEvaluateGearbox_RecordedData(t *testing.T) {
	data, ok := DataDir()
	dir := filepath.Join(data, "gearbox")
	if _, err := os.Stat(dir); !ok || err != nil {
		t.Skip("recorded data is not here: set MILLWRIGHT_DATA to the folder that holds gearbox/")
	}
	recordings, err := FindGearbox(dir)
	if err != nil {
		t.Fatal(err)
	}
	if underRace { // slow: every other load says as much of softmax
		recordings = slices.DeleteFunc(recordings, func(r GearboxRecording) bool { return r.LoadPercent%20 != 0 })
	}
	r, err := EvaluateGearbox(t.Context(), recordings)
	if err != nil {
		t.Fatal(err)
	}
	if len(recordings) == 14 && r.Windows != 331 {
		t.Errorf("got %d windows, want 331", r.Windows)
	}
	for _, how := range []string{Federated, Central} {
		if l := faultLine(t, r, "softmax", how); l.Windows < 0.999 || l.Right != l.Of {
			t.Errorf("softmax, %s: %.4f of windows, %d of %d recordings", how, l.Windows, l.Right, l.Of)
		}
		if l := faultLine(t, r, "gaussian detector", how); !underRace && (l.Windows < 0.97 || l.Right != l.Of) {
			t.Errorf("gaussian detector, %s: %.4f of windows, %d of %d recordings", how, l.Windows, l.Right, l.Of)
		}
	}
	federated, central := faultLine(t, r, "gaussian detector", Federated), faultLine(t, r, "gaussian detector", Central)
	if federated.Windows != central.Windows {
		t.Errorf("gaussian detector: federated %v, central %v", federated.Windows, central.Windows)
	}
	var page strings.Builder
	if err := r.Page().Write(&page); err != nil || !strings.Contains(page.String(), "broken tooth") {
		t.Errorf("page: %v", err)
	}
}

func TestFindGearbox_BadInput(t *testing.T) {
	write := func(dir, name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := "a1,a2,a3,a4\n1,2,3,4\n"
	dir := t.TempDir()
	if _, err := FindGearbox(dir); err == nil || !strings.Contains(err.Error(), "none in") {
		t.Errorf("nothing there: %v", err)
	}
	write(dir, "h30hz0.csv", good)
	write(dir, "b30hz0.csv", good)
	if _, err := FindGearbox(dir); err == nil || !strings.Contains(err.Error(), "to leave one load out") {
		t.Errorf("one load: %v", err)
	}
	write(dir, "h30hz10.csv", good)
	write(dir, "b30hz10.csv", "a1,a2,a3\n1,2,3\n")
	if _, err := FindGearbox(dir); err == nil || !strings.Contains(err.Error(), "b30hz10.csv") || !strings.Contains(err.Error(), "a4") {
		t.Errorf("missing column: %v", err)
	}
	write(dir, "b30hz10.csv", "a4,a3,a2,a1\n1,2,3,4\n") // reordered columns are found by name
	recordings, err := FindGearbox(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := EvaluateGearbox(t.Context(), recordings); err == nil || !strings.Contains(err.Error(), "not one window of 320ms") {
		t.Errorf("too short: %v", err)
	}
	write(dir, "b30hz10.csv", "a1,a2,a3,a4\n1,2,three,4\n")
	if _, err := EvaluateGearbox(t.Context(), recordings); err == nil {
		t.Error("text for a number is taken")
	}
}
