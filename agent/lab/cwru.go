package lab

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sbinet/npyio/npz"

	"github.com/millwright-iot/millwright/sensors/bearing"
)

const (
	cwruHz     = 12000
	cwruWindow = cwruHz // samples: 1 s
	// cwruBearing is the drive-end bearing.
	cwruBearing = "6205-2RS"
	standardG   = 9.80665 // m/s²
)

// CWRURecording is one recording of the Case Western Reserve set: the drive-end
// accelerometer, with a fault in the drive-end bearing or none.
type CWRURecording struct {
	Name    string // of the file, without .npz
	Path    string
	ShaftHz float64
	Part    bearing.Part // empty for a good bearing
	Mil     int          // diameter of the fault, thousandths of an inch
	Bearing string       // "OR6 14": all recordings of one bearing
	Samples []float64    // m/s², at 12 kHz
}

// cwruName is <rpm>_<fault>_<mil>_DE12, or <rpm>_Normal. Outer-race faults name the
// hour at which the fault sits.
var cwruName = regexp.MustCompile(`^(\d{3,5})_(?:(B|IR|OR)@?(\d{0,2})_0*(\d{1,2})_DE12|Normal)\.npz$`)

var cwruParts = map[string]bearing.Part{"B": bearing.Ball, "IR": bearing.InnerRace, "OR": bearing.OuterRace}

// FindCWRU reads the recordings of dir taken at 12 kHz at the drive end. Files of the
// set's other parts are left out. There must be a fault of each part in two
// sizes or more, or there is nothing to hold out.
func FindCWRU(dir string) ([]CWRURecording, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.npz"))
	if err != nil {
		return nil, fmt.Errorf("find CWRU files: %w", err)
	}
	var recordings []CWRURecording
	var errs []error
	for _, path := range paths {
		m := cwruName.FindStringSubmatch(filepath.Base(path))
		if m == nil {
			continue
		}
		rpm, _ := strconv.ParseFloat(m[1], 64) // digits
		mil, _ := strconv.Atoi("0" + m[4])
		r := CWRURecording{Name: strings.TrimSuffix(filepath.Base(path), ".npz"), Path: path, ShaftHz: rpm / 60, Part: cwruParts[m[2]], Mil: mil}
		if r.Part != "" {
			r.Bearing = fmt.Sprintf("%s%s %d", m[2], m[3], mil)
		}
		if rpm < 100 {
			errs = append(errs, fmt.Errorf("%s: %g rpm in its name is too slow for this data", path, rpm))
			continue
		}
		errs = append(errs, r.read())
		recordings = append(recordings, r)
	}
	if len(recordings) == 0 {
		return nil, fmt.Errorf("find CWRU files: none of the %d .npz files in %q is named as <rpm>_<B|IR|OR6>_<mil>_DE12.npz; name the folder of the recordings at 12 kHz of the drive end", len(paths), dir)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return recordings, checkSizes(recordings)
}

// checkSizes refuses a set in which no size can be held out.
func checkSizes(recordings []CWRURecording) error {
	sizes := map[bearing.Part][]int{}
	for _, r := range recordings {
		if r.Part != "" && !slices.Contains(sizes[r.Part], r.Mil) {
			sizes[r.Part] = append(sizes[r.Part], r.Mil)
		}
	}
	for _, part := range cwruClasses {
		if len(sizes[part]) < 2 {
			return fmt.Errorf("find CWRU files: faults of the part %s are there in %d sizes; to leave one size out there must be two or more", part, len(sizes[part]))
		}
	}
	return nil
}

// cwruMost bounds a recording: 46 minutes.
const cwruMost = 1 << 25

// read fills in Samples.
func (r *CWRURecording) read() (err error) {
	defer func() { // the decoder of arrays trusts their headers
		if p := recover(); p != nil {
			err = fmt.Errorf("read %s: not a sound .npz file: %v", r.Path, p)
		}
	}()
	z, err := npz.Open(r.Path)
	if err != nil {
		return fmt.Errorf("read %s: %w; copy the file anew", r.Path, err)
	}
	defer z.Close()
	name, ok := "", false
	for _, key := range z.Keys() {
		if key == "DE.npy" || key == "DE" {
			name, ok = key, true
		}
	}
	if !ok {
		return fmt.Errorf("read %s: there is no array DE, the drive-end accelerometer; there are %v", r.Path, z.Keys())
	}
	header := z.Header(name)
	if header == nil {
		return fmt.Errorf("read %s: array DE has no header", r.Path)
	}
	elements := 1
	for _, n := range header.Descr.Shape {
		if n < 1 || n > cwruMost || elements > cwruMost/n {
			return fmt.Errorf("read %s: array DE has the shape %v; it must be of 1 to %d samples", r.Path, header.Descr.Shape, cwruMost)
		}
		elements *= n
	}
	if elements < cwruWindow {
		return fmt.Errorf("read %s: array DE has %d samples; one window takes %d", r.Path, elements, cwruWindow)
	}
	switch kind := strings.TrimLeft(header.Descr.Type, "<=|"); kind {
	case "f4":
		var xs []float32
		if err := z.Read(name, &xs); err != nil {
			return fmt.Errorf("read %s: array DE: %w", r.Path, err)
		}
		for _, x := range xs {
			r.Samples = append(r.Samples, float64(x))
		}
	case "f8":
		if err := z.Read(name, &r.Samples); err != nil {
			return fmt.Errorf("read %s: array DE: %w", r.Path, err)
		}
	default:
		return fmt.Errorf("read %s: array DE is of type %q; it must be float32 or float64 in little-endian order", r.Path, header.Descr.Type)
	}
	for i := range r.Samples {
		if r.Samples[i] *= standardG; !(math.Abs(r.Samples[i]) < 1e6) {
			return fmt.Errorf("read %s: sample %d of array DE is %g g; no accelerometer says that: mend the recording or leave it out", r.Path, i, r.Samples[i]/standardG)
		}
	}
	if first := r.Samples[0]; !slices.ContainsFunc(r.Samples, func(x float64) bool { return x != first }) {
		return fmt.Errorf("read %s: every sample of array DE is %g g; the sensor did not measure: leave the recording out", r.Path, first/standardG)
	}
	return nil
}
