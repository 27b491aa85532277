package lab

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// CMAPSSSensors are the sensors, numbered as in the data's description, that vary
// in any of the four subsets' usual use: the choice of the literature.
var CMAPSSSensors = []int{2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21}

const (
	cmapssSettings = 3
	cmapssSensors  = 21
	cmapssColumns  = 2 + cmapssSettings + cmapssSensors
	// cmapssMinTrain is how many engines are needed for the folds of a
	// cross-validation to mean anything.
	cmapssMinTrain = 10
)

// Engine is one turbofan of the C-MAPSS data, a row a flight.
type Engine struct {
	Unit     int
	Settings [][]float64 // altitude, Mach number, throttle resolver angle
	Sensors  [][]float64 // CMAPSSSensors
	// RUL is how many cycles remained after the last row: 0 for training engines,
	// which run to failure.
	RUL float64
}

// Len is the number of cycles recorded.
func (e *Engine) Len() int { return len(e.Sensors) }

// CMAPSSSubset is one of FD001 to FD004.
type CMAPSSSubset struct {
	Name        string
	Train, Test []Engine
}

// FindCMAPSS reads every subset in dir that has its three files, train_, test_ and
// RUL_FDxxx.txt, plain or with .gz. A subset with a file missing, or a file of
// another shape, is an error that names it.
func FindCMAPSS(dir string) ([]CMAPSSSubset, error) {
	found, err := filepath.Glob(filepath.Join(dir, "train_FD*.txt*"))
	if err != nil {
		return nil, fmt.Errorf("find C-MAPSS files: %w", err)
	}
	var names []string
	for _, path := range found {
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".gz"), ".txt")
		names = append(names, strings.TrimPrefix(name, "train_"))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return nil, fmt.Errorf("find C-MAPSS files: no train_FD001.txt, or .txt.gz, or such of another subset in %q", dir)
	}
	var subsets []CMAPSSSubset
	var errs []error
	for _, name := range names {
		s, err := readCMAPSS(dir, name)
		errs = append(errs, err)
		subsets = append(subsets, s)
	}
	return subsets, errors.Join(errs...)
}

func readCMAPSS(dir, name string) (CMAPSSSubset, error) {
	s := CMAPSSSubset{Name: name}
	train, err := readEngines(dir, "train_"+name+".txt")
	if err != nil {
		return s, err
	}
	test, err := readEngines(dir, "test_"+name+".txt")
	if err != nil {
		return s, err
	}
	s.Train, s.Test = train, test
	if len(train) < cmapssMinTrain {
		return s, fmt.Errorf("train_%s.txt: %d engines; at least %d are needed to learn and cross-validate", name, len(train), cmapssMinTrain)
	}
	path := "RUL_" + name + ".txt"
	n := 0
	err = eachRow(dir, path, func(place string, row []float64) error {
		if len(row) != 1 || !(row[0] >= 0) {
			return fmt.Errorf("%s: want one number, the cycles that remain, got %v", place, row)
		}
		if n < len(test) {
			test[n].RUL = row[0]
		}
		n++
		return nil
	})
	if err == nil && n != len(test) {
		err = fmt.Errorf("%s: %d lines for the %d engines of test_%s.txt; are both of one subset?", path, n, len(test), name)
	}
	return s, err
}

// readEngines reads a file of rows: unit, cycle, 3 settings, 21 sensors.
func readEngines(dir, name string) ([]Engine, error) {
	var engines []Engine
	err := eachRow(dir, name, func(place string, row []float64) error {
		if len(row) != cmapssColumns {
			return fmt.Errorf("%s: %d columns, want %d (unit, cycle, %d settings, %d sensors); is this C-MAPSS data?",
				place, len(row), cmapssColumns, cmapssSettings, cmapssSensors)
		}
		unit, cycle := row[0], row[1]
		if unit != math.Trunc(unit) || cycle != math.Trunc(cycle) || unit < 1 || unit > 1e6 {
			return fmt.Errorf("%s: unit %v and cycle %v must be whole numbers; are the columns reordered?", place, unit, cycle)
		}
		if n := len(engines); n == 0 || engines[n-1].Unit != int(unit) {
			if n > 0 && int(unit) < engines[n-1].Unit {
				return fmt.Errorf("%s: unit %v comes after unit %d; sort the rows by unit and cycle", place, unit, engines[n-1].Unit)
			}
			engines = append(engines, Engine{Unit: int(unit)})
		}
		e := &engines[len(engines)-1]
		if int(cycle) != e.Len()+1 {
			return fmt.Errorf("%s: unit %d goes from cycle %d to %v; cycles must count from 1 without gaps (are the columns reordered?)", place, e.Unit, e.Len(), cycle)
		}
		if err := checkSettings(row[2 : 2+cmapssSettings]); err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
		sensors := make([]float64, len(CMAPSSSensors))
		for i, s := range CMAPSSSensors {
			sensors[i] = row[2+cmapssSettings+s-1]
		}
		e.Settings = append(e.Settings, row[2:2+cmapssSettings:2+cmapssSettings])
		e.Sensors = append(e.Sensors, sensors)
		return nil
	})
	if err == nil && len(engines) == 0 {
		err = fmt.Errorf("%s: no rows", name)
	}
	return engines, err
}

// eachRow calls fn with the numbers of each line of a file, which may be named
// with .gz, and its place for messages. Rows are fn's to keep.
func eachRow(dir, name string, fn func(place string, row []float64) error) error {
	r, err := openText(dir, name)
	if err != nil {
		return err
	}
	defer r.Close()
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		place := fmt.Sprintf("%s:%d", name, n)
		var row []float64
		for field := range strings.FieldsSeq(lines.Text()) {
			x, err := strconv.ParseFloat(field, 64)
			if err != nil {
				return fmt.Errorf("%s: column %d: %q is no number; C-MAPSS files hold numbers separated by spaces, without a heading", place, len(row)+1, field)
			}
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return fmt.Errorf("%s: column %d is %v; remove the row or the engine", place, len(row)+1, x)
			}
			row = append(row, x)
		}
		if len(row) == 0 {
			continue
		}
		if err := fn(place, row); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// openText opens dir/name, or dir/name.gz if that is what there is.
func openText(dir, name string) (io.ReadCloser, error) {
	path := filepath.Join(dir, name)
	f, err := os.Open(path)
	if err == nil {
		return f, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open C-MAPSS file: %w", err)
	}
	f, err = os.Open(path + ".gz")
	if err != nil {
		return nil, fmt.Errorf("open C-MAPSS file: neither %s nor %s.gz can be read: %w", name, name, err)
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open C-MAPSS file %s.gz: %w", name, err), f.Close())
	}
	return unzipped{z, f}, nil
}

// unzipped closes both the decoder and the file.
type unzipped struct {
	*gzip.Reader
	file *os.File
}

func (u unzipped) Close() error { return errors.Join(u.Reader.Close(), u.file.Close()) }
