package lab

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writeCMAPSS writes a small dataset in the shape of C-MAPSS, at two operating points.
func writeCMAPSS(t *testing.T, dir string, engines int) {
	t.Helper()
	writeSubset(t, dir, "FD009", engines, [][3]float64{{0, 0, 100}, {35, 0.84, 100}}, 1)
}

// writeSubset writes one subset: engines live 60 to 100 cycles at given operating points,
// and sensors drift the faster the nearer the end, each in as many ways as there are
// modes of failure.
func writeSubset(t *testing.T, dir, name string, engines int, points [][3]float64, modes int) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 5))
	var train, test, rul strings.Builder
	write := func(out *strings.Builder, unit, life, cycles int) {
		for c := 1; c <= cycles; c++ {
			at := (unit + c) % len(points)
			p := points[at]
			fmt.Fprintf(out, "%d %d %.4f %.4f %.1f", unit, c, p[0]+0.002*r.NormFloat64(), p[1], p[2])
			wear := math.Exp(4 * (float64(c)/float64(life) - 1))
			for s := range cmapssSensors {
				drift := float64(s%3 - 1)
				if unit%modes == 1 {
					drift = float64(s%5-2) / 2
				}
				fmt.Fprintf(out, " %.4f", 500*float64(1+at)+drift*10*wear+0.5*r.NormFloat64())
			}
			out.WriteString("  \n") // as the original, with trailing blanks
		}
	}
	for unit := 1; unit <= engines; unit++ {
		life := 60 + r.IntN(41)
		write(&train, unit, life, life)
		life = 60 + r.IntN(41)
		cycles := 20 + r.IntN(life-25)
		write(&test, unit, life, cycles)
		fmt.Fprintf(&rul, "%d\n", life-cycles)
	}
	for file, text := range map[string]string{"train_": train.String(), "test_": test.String(), "RUL_": rul.String()} {
		if err := os.WriteFile(filepath.Join(dir, file+name+".txt"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// smallPlan does little work.
func smallPlan(candidates ...prognosisChoice) prognosisPlan {
	return prognosisPlan{candidates: candidates, units: 60, members: 2, rounds: 5}
}

func rulLine(t *testing.T, s RULSubset, name, learning string) RULLine {
	t.Helper()
	i := slices.IndexFunc(s.Lines, func(l RULLine) bool { return l.Name == name && l.Learning == learning })
	if i < 0 {
		t.Fatalf("no line %q %q", name, learning)
	}
	return s.Lines[i]
}

func TestEvaluateCMAPSS_SmallFleet(t *testing.T) {
	dir := t.TempDir()
	writeCMAPSS(t, dir, 12)
	subsets, err := FindCMAPSS(dir)
	if err != nil {
		t.Fatal(err)
	}
	subset, err := evaluateSubset(t.Context(), subsets[0], smallPlan(prognosisChoice{1, 3}, prognosisChoice{2, 3}, prognosisChoice{2, 30}))
	if err != nil {
		t.Fatal(err)
	}
	s, result := *subset, &RULReport{Dataset: "cmapss", Protocol: cmapssProtocol(), Subsets: []RULSubset{*subset}}
	if s.Name != "FD009" || s.TrainEngines != 12 || s.TestEngines != 12 || s.Participants != 2 || s.Conditions != 2 {
		t.Errorf("got %s, %d and %d engines, %d participants, %d conditions", s.Name, s.TrainEngines, s.TestEngines, s.Participants, s.Conditions)
	}
	if s.Gap > 1e-9 {
		t.Errorf("federated predictions differ from central ones by %v", s.Gap)
	}
	ridge, mean := rulLine(t, s, "ridge on random features", Federated), rulLine(t, s, "mean RUL", "")
	if ridge.RMSE > 0.7*mean.RMSE || *ridge.Coverage == 0 {
		t.Errorf("RMSE %.1f, of the mean %.1f, coverage %v", ridge.RMSE, mean.RMSE, *ridge.Coverage)
	}
	var table, page bytes.Buffer
	if err := result.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	if err := result.Page().Write(&page); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"local only", "MTSTAN", "linear in age"} {
		if (want != "MTSTAN") != strings.Contains(table.String(), want) { // published for FD001 to FD004 only
			t.Errorf("table and %q:\n%s", want, table.String())
		}
	}
	if n := strings.Count(page.String(), "<svg"); n != 3 {
		t.Errorf("page has %d plots, want 3", n)
	}
	if data, err := json.Marshal(result); err != nil || !bytes.Contains(data, []byte(`"federated_central_gap"`)) {
		t.Errorf("JSON: %v", err)
	}
}

// The subsets that are not at hand have two modes of failure, one of them six operating
// conditions: they are read and learned from all the same.
func TestEvaluateCMAPSS_TwoModesOfFailure(t *testing.T) {
	if underRace {
		t.Skip("too slow under the race detector; make system-test runs it without")
	}
	dir := t.TempDir()
	flights := [][3]float64{{0, 0, 100}, {10, 0.25, 100}, {20, 0.7, 100}, {25, 0.62, 60}, {35, 0.84, 100}, {42, 0.84, 100}}
	writeSubset(t, dir, "FD003", 30, flights[:1], 2)
	writeSubset(t, dir, "FD004", 30, flights, 2)
	subsets, err := FindCMAPSS(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{1, 6} {
		s, err := evaluateSubset(t.Context(), subsets[i], smallPlan(prognosisChoice{2, 3}))
		if err != nil {
			t.Fatal(err)
		}
		ridge, mean := rulLine(t, *s, "ridge on random features", Federated), rulLine(t, *s, "mean RUL", "")
		t.Logf("%s: RMSE %.1f, of the mean %.1f, coverage %v", s.Name, ridge.RMSE, mean.RMSE, *ridge.Coverage)
		if s.Conditions != want || !(ridge.RMSE < 0.6*mean.RMSE) || *ridge.Coverage == 0 || s.Gap > 1e-9 {
			t.Errorf("%s: %d conditions, RMSE %v, of the mean %v, coverage %v, gap %v", s.Name, s.Conditions, ridge.RMSE, mean.RMSE, *ridge.Coverage, s.Gap)
		}
		rulLine(t, *s, "MTSTAN", "")
		if _, err := json.Marshal(s); err != nil { // NaN and Inf are no JSON
			t.Errorf("%s: %v", s.Name, err)
		}
	}
}

// The figures that the README may quote, without the parts that take long: the
// federation as evaluated, its settings fixed to those that cross-validation chose.
func TestLearnPrognosis_RecordedData(t *testing.T) {
	if underRace {
		t.Skip("too slow under the race detector; make system-test runs it without")
	}
	data, ok := DataDir()
	if !ok {
		t.Skip("recorded data is not here: set MILLWRIGHT_DATA to the folder that holds cmapss/")
	}
	dir := filepath.Join(data, "cmapss")
	if _, err := os.Stat(filepath.Join(dir, "train_FD001.txt.gz")); err != nil {
		t.Skip("FD001 is not here: ", err)
	}
	s, err := readCMAPSS(dir, "FD001")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.Train); n != 100 || len(s.Test) != 100 || s.Train[0].Len() != 192 || s.Test[0].RUL != 112 {
		t.Fatalf("%d and %d engines, the first with %d cycles and %v left", n, len(s.Test), s.Train[0].Len(), s.Test[0].RUL)
	}
	fit, err := learnPrognosis(t.Context(), divide(s.Train), wholePlan().with(prognosisChoice{2, 3}))
	if err != nil {
		t.Fatal(err)
	}
	l, err := fleetLine("ridge", Federated, fit.fleet, s.Test)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("RMSE %.2f, score %.0f, cross-validated %.2f, coverage %.2f, width %.1f", l.RMSE, *l.Score, fit.cvRMSE, *l.Coverage, *l.Width)
	if l.RMSE > 10.9 || *l.Coverage < 0.88 || *l.Coverage > 0.92 {
		t.Errorf("RMSE %.2f, aim 10.9; coverage %.3f, aim 0.88 to 0.92", l.RMSE, *l.Coverage)
	}
}

// Expected numbers by hand: d = −13 and 10 give e−1 each.
func TestScoreRUL(t *testing.T) {
	s := scoreRUL([]float64{113, 10, 140}, []float64{100, 20, 125}, 125)
	if want := math.Sqrt((169. + 100) / 3); math.Abs(s.RMSE-want) > 1e-12 || math.Abs(s.Score-2*(math.E-1)) > 1e-12 || math.Abs(s.Bias+1) > 1e-12 {
		t.Errorf("got %+v, want RMSE %v, score %v, bias −1", s, want, 2*(math.E-1))
	}
	if s := scoreRUL([]float64{140}, []float64{125}, math.Inf(1)); s.RMSE != 15 {
		t.Errorf("without limit: %+v, want RMSE 15", s)
	}
}

func TestFindCMAPSS_BadInput(t *testing.T) {
	row := func(unit, cycle int) []string {
		f := []string{fmt.Sprint(unit), fmt.Sprint(cycle), "0.0", "0.0", "100"}
		for s := range cmapssSensors {
			f = append(f, fmt.Sprintf("%d.5", 100+s))
		}
		return f
	}
	for name, c := range map[string]struct {
		file string
		rows [][]string
		want string
	}{
		"missing column":       {"train", [][]string{row(1, 1)[:25]}, "train_FD009.txt:1: 25 columns, want 26"},
		"reordered columns":    {"train", [][]string{append(row(1, 1)[5:], row(1, 1)[:5]...)}, "must be whole numbers; are the columns reordered"},
		"reordered settings":   {"train", [][]string{append(append(row(1, 1)[:2:2], row(1, 1)[5:]...), "0", "0", "100")}, "operating setting 1 is 100.5"},
		"heading":              {"train", [][]string{{"unit", "cycle"}}, `column 1: "unit" is no number`},
		"NaN":                  {"train", [][]string{append(row(1, 1)[:25:25], "NaN")}, "column 26 is NaN"},
		"gap in cycles":        {"train", [][]string{row(1, 1), row(1, 3)}, "unit 1 goes from cycle 1 to 3"},
		"unsorted units":       {"train", [][]string{row(2, 1), row(1, 1)}, "unit 1 comes after unit 2"},
		"too few engines":      {"train", [][]string{row(1, 1), row(1, 2)}, "1 engines; at least 10"},
		"empty":                {"test", nil, "test_FD009.txt: no rows"},
		"RUL of another set":   {"RUL", [][]string{{"1"}, {"2"}}, "2 lines for the 12 engines"},
		"negative RUL":         {"RUL", [][]string{{"-1"}}, "RUL_FD009.txt:1: want one number"},
		"RUL with two columns": {"RUL", [][]string{{"1", "2"}}, "RUL_FD009.txt:1: want one number"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeCMAPSS(t, dir, 12)
			var text strings.Builder
			for _, r := range c.rows {
				text.WriteString(strings.Join(r, " ") + "\n")
			}
			if err := os.WriteFile(filepath.Join(dir, c.file+"_FD009.txt"), []byte(text.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := FindCMAPSS(dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
	t.Run("empty folder", func(t *testing.T) {
		if _, err := FindCMAPSS(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no train_FD001.txt") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("file missing", func(t *testing.T) {
		dir := t.TempDir()
		writeCMAPSS(t, dir, 12)
		if err := os.Remove(filepath.Join(dir, "test_FD009.txt")); err != nil {
			t.Fatal(err)
		}
		if _, err := FindCMAPSS(dir); err == nil || !strings.Contains(err.Error(), "neither test_FD009.txt nor test_FD009.txt.gz") {
			t.Errorf("got %v", err)
		}
	})
}

func TestFindCMAPSS_Gzip(t *testing.T) {
	dir := t.TempDir()
	writeCMAPSS(t, dir, 12)
	plain, err := FindCMAPSS(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"train_FD009.txt", "test_FD009.txt", "RUL_FD009.txt"} {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+".gz", z.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	zipped, err := FindCMAPSS(dir)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := plain[0].Test[3], zipped[0].Test[3]; a.RUL != b.RUL || a.Len() != b.Len() || !slices.Equal(a.Sensors[5], b.Sensors[5]) {
		t.Error("zipped files read otherwise")
	}
}

func TestEvaluateCMAPSS_DegradedData(t *testing.T) {
	read := func(t *testing.T) CMAPSSSubset {
		dir := t.TempDir()
		writeCMAPSS(t, dir, 12)
		s, err := FindCMAPSS(dir)
		if err != nil {
			t.Fatal(err)
		}
		return s[0]
	}
	learn := func(t *testing.T, s CMAPSSSubset) (*prognosisFit, error) {
		return learnPrognosis(t.Context(), divide(s.Train), smallPlan(prognosisChoice{2, 10}))
	}
	t.Run("constant channels", func(t *testing.T) {
		s := read(t)
		for _, e := range append(slices.Clone(s.Train), s.Test...) {
			for _, x := range e.Sensors {
				x[1], x[7] = 8.4, 0
			}
		}
		fit, err := learn(t, s)
		if err != nil {
			t.Fatal(err)
		}
		l, err := fleetLine("ridge", Federated, fit.fleet, s.Test)
		if err != nil || !(l.RMSE < 30) {
			t.Errorf("RMSE %v, %v", l.RMSE, err)
		}
	})
	t.Run("nothing varies", func(t *testing.T) {
		s := read(t)
		for _, e := range s.Train {
			for _, x := range e.Sensors {
				for i := range x {
					x[i] = 3
				}
			}
		}
		if _, err := learn(t, s); err == nil || !strings.Contains(err.Error(), "no channel varies") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("test of another set", func(t *testing.T) {
		s := read(t)
		for _, e := range s.Test {
			for _, x := range e.Sensors {
				slices.Reverse(x)
				for i := range x {
					x[i] += 100
				}
			}
		}
		if _, err := evaluateSubset(t.Context(), s, smallPlan(prognosisChoice{2, 10})); err == nil || !strings.Contains(err.Error(), "are columns reordered") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an engine of one cycle", func(t *testing.T) {
		s := read(t)
		s.Test[0].Sensors, s.Test[0].Settings = s.Test[0].Sensors[:1], s.Test[0].Settings[:1]
		fit, err := learn(t, s)
		if err != nil {
			t.Fatal(err)
		}
		e, err := predictTest(fit.fleet, s.Test[:1])
		if err != nil || !(e[0].RUL >= 0 && e[0].RUL <= rulCap && e[0].Low <= e[0].RUL) {
			t.Errorf("%+v, %v", e, err)
		}
	})
}
