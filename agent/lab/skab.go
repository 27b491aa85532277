package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
	"github.com/millwright-iot/millwright/sensors/replay"
)

// SKABColumn is one measured column of the Skoltech Anomaly Benchmark 0.9.
type SKABColumn struct {
	Column  string // as in the files
	Channel string // as jobs name it
	Unit    string
}

// SKABColumns are the measured columns in the order of the files; units from
// the benchmark's description.
var SKABColumns = []SKABColumn{
	{"Accelerometer1RMS", "accelerometer_1", "g"},
	{"Accelerometer2RMS", "accelerometer_2", "g"},
	{"Current", "current", "A"},
	{"Pressure", "pressure", "bar"},
	{"Temperature", "temperature", "degC"},
	{"Thermocouple", "thermocouple", "degC"},
	{"Voltage", "voltage", "V"},
	{"Volume Flow RateRMS", "flow", "L/min"},
}

const (
	// SKABTimeColumn holds each row's time.
	SKABTimeColumn = "datetime"
	// SKABLabel holds what was true.
	SKABLabel = "anomaly"
	// SKABHead is how many rows at the start of a file are healthy by protocol;
	// only the rest is scored.
	SKABHead = 400
	// skabWindow is how many seconds, which are rows, a window spans.
	skabWindow = 15
)

// SKABJob is the job that machines of the benchmark run: causal means of 15 s,
// one a second, scored by model, which "gaussian" and "autoencoder" name. Every
// setting is a default or from the published protocol; none is tuned on labels.
func SKABJob(kind string) job.Spec { return skabJob(kind, skabWindow) }

func skabJob(kind string, windowRows int) job.Spec {
	s := job.Spec{
		Name: "skab-" + kind, Class: "skab-pump",
		Features: job.FeatureSpec{Window: time.Duration(windowRows) * time.Second, Hop: time.Second},
		Model:    model.Spec{Kind: kind},
		// The head's last row closes window number SKABHead−windowRows. The protocol
		// scores each row, so there is no on-delay.
		Alarm: job.AlarmSpec{Baseline: SKABHead - windowRows, OnDelay: 1},
	}
	for _, c := range SKABColumns {
		s.Features.Channels = append(s.Features.Channels, job.ChannelFeatures{Channel: c.Channel, Features: []string{"mean"}})
	}
	return s.WithDefaults()
}

// SKABFile is one experiment of the benchmark.
type SKABFile struct {
	Path  string
	Name  string // group/number, e.g. "valve1/0"
	Group string // "valve1", "valve2", "other"
	Times []time.Time
	Truth []bool // anomalous, one a row
}

// FindSKAB reads times and labels of the labelled experiments below dir: the
// benchmark's folder, or one group's. A file of another shape is an error that
// names it and the column it lacks.
func FindSKAB(dir string) ([]SKABFile, error) {
	var files []SKABFile
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		group := filepath.Base(filepath.Dir(path))
		number, isCSV := strings.CutSuffix(strings.TrimSuffix(d.Name(), ".gz"), ".csv")
		if d.IsDir() || !isCSV || group == "anomaly-free" {
			return nil
		}
		name := group + "/" + number
		files = append(files, SKABFile{Path: path, Name: name, Group: group})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find SKAB files: %w", err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("find SKAB files: no .csv or .csv.gz file in or below %q (anomaly-free holds no labels); name the benchmark's data folder", dir)
	}
	slices.SortFunc(files, func(a, b SKABFile) int { return compareNames(a.Name, b.Name) })
	var errs []error
	for i := range files {
		errs = append(errs, files[i].readLabels())
	}
	return files, errors.Join(errs...)
}

// readLabels fills in what was true at each row.
func (f *SKABFile) readLabels() error {
	labels, err := replay.ReadLabels(f.Path, replay.Format{}, SKABLabel)
	if err != nil {
		return err
	}
	for _, l := range labels {
		f.Truth = append(f.Truth, l.Values[0] > 0)
	}
	if len(f.Truth) <= SKABHead {
		return fmt.Errorf("%s: %d rows; the protocol takes %d as healthy and scores the rest, so more are needed", f.Path, len(f.Truth), SKABHead)
	}
	return f.readTimes()
}

func (f *SKABFile) readTimes() error {
	r, err := replay.Open(f.Path, replay.Format{})
	if err != nil {
		return err
	}
	defer r.Close()
	column, err := r.Column(SKABTimeColumn)
	if err != nil {
		return err
	}
	label, err := r.Column(SKABLabel)
	if err != nil {
		return err
	}
	for range f.Truth {
		row, err := r.Next()
		if err != nil {
			return err
		}
		if strings.Trim(row.Fields[label], "01. ") != "" || strings.TrimSpace(row.Fields[label]) == "" {
			return fmt.Errorf("%s:%d: column %q: %q is not 0 or 1", f.Path, row.Line, SKABLabel, row.Fields[label])
		}
		t, _, err := decode.ParseTime(row.Fields[column], decode.TimeAuto)
		if err != nil {
			return fmt.Errorf("%s:%d: column %q: %w", f.Path, row.Line, SKABTimeColumn, err)
		}
		if n := len(f.Times); n > 0 && t.Before(f.Times[n-1]) {
			return fmt.Errorf("%s:%d: time goes backwards; sort the rows by %q", f.Path, row.Line, SKABTimeColumn)
		}
		f.Times = append(f.Times, t)
	}
	return nil
}

// source plays the measured columns, as fast as they are consumed; it never
// shows the labels.
func (f *SKABFile) source() (sensors.Source, error) {
	columns := make([]replay.Column, len(SKABColumns))
	for i, c := range SKABColumns {
		unit, err := sensors.ParseUnit(c.Unit)
		if err != nil {
			return nil, err
		}
		columns[i] = replay.Column{Name: c.Column, Channel: c.Channel, Unit: unit}
	}
	return replay.New(f.Path, f.Name, columns, replay.Options{TimeColumn: SKABTimeColumn})
}

// compareNames orders valve1/2 before valve1/10.
func compareNames(a, b string) int {
	pa, na := splitNumber(a)
	pb, nb := splitNumber(b)
	if c := strings.Compare(pa, pb); c != 0 {
		return c
	}
	return na - nb
}

func splitNumber(name string) (prefix string, number int) {
	prefix = strings.TrimRight(name, "0123456789")
	number, _ = strconv.Atoi(name[len(prefix):]) // no digits: 0
	return prefix, number
}
