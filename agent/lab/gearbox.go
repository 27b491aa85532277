package lab

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/replay"
)

const (
	// gearboxHz is the sampling rate. The set does not state it; the spectra have their
	// fundamental at 0.002325 of it, and the shaft turns at 30 Hz.
	gearboxHz     = 12900
	gearboxWindow = 320 * time.Millisecond
)

// gearboxClasses are the classes in their order.
var gearboxClasses = []string{"healthy", "broken tooth"}

// gearboxChannels are the accelerometers; gearboxFeatures are taken of each.
var (
	gearboxChannels = []string{"a1", "a2", "a3", "a4"}
	gearboxFeatures = []string{"std", "kurtosis", "band_100_800", "band_800_1600", "band_1600_2400", "band_2400_3200", "band_3200_4000", "band_4000_4800", "band_4800_5600", "band_5600_6400"}
)

// GearboxRecording is one file of the SpectraQuest gearbox set: four accelerometers on
// a gearbox that is healthy or has a broken tooth.
type GearboxRecording struct {
	Path        string
	Name        string
	Broken      bool
	LoadPercent int
}

var gearboxName = regexp.MustCompile(`^([hb])\d+hz(\d{1,3})\.csv(?:\.gz)?$`)

// FindGearbox lists the recordings in dir, which must hold both states at two loads or
// more, and checks the columns of each.
func FindGearbox(dir string) ([]GearboxRecording, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*hz*.csv*"))
	if err != nil {
		return nil, fmt.Errorf("find gearbox files: %w", err)
	}
	var recordings []GearboxRecording
	var errs []error
	loads := map[bool][]int{}
	for _, path := range paths {
		m := gearboxName.FindStringSubmatch(filepath.Base(path))
		if m == nil {
			continue
		}
		load, _ := strconv.Atoi(m[2]) // digits
		r := GearboxRecording{Path: path, Broken: m[1] == "b", LoadPercent: load}
		r.Name = fmt.Sprintf("%s at %d %%", gearboxClasses[r.class()], load)
		if _, err := r.source(); err != nil {
			errs = append(errs, err)
		}
		if slices.Contains(loads[r.Broken], load) {
			errs = append(errs, fmt.Errorf("%s: there are two recordings of %s; remove one", path, r.Name))
		}
		loads[r.Broken] = append(loads[r.Broken], load)
		recordings = append(recordings, r)
	}
	if len(recordings) == 0 {
		return nil, fmt.Errorf("find gearbox files: none in %q is named as h30hz0.csv, b30hz90.csv or such, plain or with .gz", dir)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for broken, name := range map[bool]string{false: gearboxClasses[0], true: gearboxClasses[1]} {
		if len(loads[broken]) < 2 {
			return nil, fmt.Errorf("find gearbox files: %d recordings are of a gearbox that is %s; to leave one load out there must be two or more", len(loads[broken]), name)
		}
	}
	slices.SortFunc(recordings, func(a, b GearboxRecording) int { return compareNames(a.Name, b.Name) })
	return recordings, nil
}

func (r *GearboxRecording) class() int {
	if r.Broken {
		return 1
	}
	return 0
}

func (r *GearboxRecording) source() (*replay.Source, error) {
	// The set does not state a unit; models standardise it away.
	unit, err := sensors.ParseUnit("m/s²")
	if err != nil {
		return nil, err
	}
	var columns []replay.Column
	for _, c := range gearboxChannels {
		columns = append(columns, replay.Column{Name: c, Unit: unit})
	}
	// A window waits for a channel no longer than it is long, so blocks are shorter.
	return replay.New(r.Path, r.Name, columns, replay.Options{RateHz: gearboxHz, Start: time.Unix(0, 0), BlockRows: gearboxHz / 10})
}

// gearboxRows computes the features of all recordings. A plant runs at one load.
// notes tell of channels that never change.
func gearboxRows(ctx context.Context, recordings []GearboxRecording) (rows []faultRow, notes []string, err error) {
	spec := job.FeatureSpec{Window: gearboxWindow, Hop: gearboxWindow, MaxGap: gearboxWindow}
	for _, c := range gearboxChannels {
		spec.Channels = append(spec.Channels, job.ChannelFeatures{Channel: c, Features: gearboxFeatures})
	}
	parts, still := make([][]faultRow, len(recordings)), make([][]string, len(recordings))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, r := range recordings {
		g.Go(func() error {
			src, err := r.source()
			if err != nil {
				return err
			}
			rows, err := extract(ctx, r.Name, src, spec, func(string) sensors.Quantity { return sensors.Acceleration })
			if err != nil {
				return err
			}
			still[i] = stillChannels(spec, rows)
			load := fmt.Sprintf("load %d", r.LoadPercent)
			for _, row := range rows {
				parts[i] = append(parts[i], faultRow{class: r.class(), machine: r.Name, fold: load, plant: load, vector: row.vector})
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	for i, channels := range still {
		if len(channels) > 0 {
			notes = append(notes, stillNote(recordings[i].Name, channels))
		}
	}
	return slices.Concat(parts...), notes, nil
}
