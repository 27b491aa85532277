package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/replay"
)

// recordedMachine is one machine of a folder of recordings.
type recordedMachine struct {
	name    string
	gateway string // that recorded it; the machine's own name if the recording does not say
	files   []string
	units   map[string]sensors.Quantity // of its channels
	rows    []featureRow
	labels  []labels.Label
	truth   *labels.Truth
}

// findMachines reads the headers of all recordings in or below dir and lists the
// machines that have every channel of the job; notes tell of the others.
func findMachines(dir string, spec job.FeatureSpec) (machines []*recordedMachine, notes []string, err error) {
	found := map[string]*recordedMachine{}
	starts := map[string]time.Time{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isRecording(path) {
			return err
		}
		r, err := replay.OpenRecording(path)
		if err != nil {
			return err
		}
		head := r.Header()
		starts[path] = head.Started
		if err := r.Close(); err != nil {
			return err
		}
		return gather(found, path, head)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("find recordings: %w", err)
	}
	if len(found) == 0 {
		return nil, nil, fmt.Errorf("find recordings: no machine is recorded in a .jsonl or .jsonl.gz file in or below %q; make some with millwright-agent record", dir)
	}
	for _, name := range slices.SortedFunc(maps.Keys(found), compareNames) {
		m := found[name]
		var lacks []string
		for _, c := range spec.Channels {
			if _, ok := m.units[c.Channel]; !ok {
				lacks = append(lacks, c.Channel)
			}
		}
		if lacks != nil {
			notes = append(notes, fmt.Sprintf("machine %s is left out: its recordings lack %s", name, strings.Join(lacks, ", ")))
			continue
		}
		slices.SortStableFunc(m.files, func(a, b string) int { return starts[a].Compare(starts[b]) })
		machines = append(machines, m)
	}
	return machines, notes, nil
}

// isRecording tells recordings from labels and the rest by their first line.
func isRecording(path string) bool {
	if strings.HasSuffix(path, ".jsonl.gz") {
		return true
	}
	if filepath.Ext(path) != ".jsonl" {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return true // opening it again says why
	}
	defer f.Close()
	head := make([]byte, 64)
	n, _ := f.Read(head)
	return replay.IsRecording(head[:n])
}

// gather notes what a recording holds.
func gather(found map[string]*recordedMachine, path string, head replay.RecordingHeader) error {
	for _, c := range head.Channels {
		unit, err := sensors.ParseUnit(c.BaseUnit)
		if err != nil {
			return fmt.Errorf("%s: channel %s/%s: %w", path, c.Machine, c.Channel, err)
		}
		m := found[c.Machine]
		if m == nil {
			m = &recordedMachine{name: c.Machine, gateway: head.Gateway, units: map[string]sensors.Quantity{}}
			if m.gateway == "" {
				m.gateway = c.Machine
			}
			found[c.Machine] = m
		}
		if q, ok := m.units[c.Channel]; ok && q != unit.Quantity {
			return fmt.Errorf("%s: channel %s/%s is of another quantity than in %s", path, c.Machine, c.Channel, m.files[0])
		}
		m.units[c.Channel] = unit.Quantity
		if !slices.Contains(m.files, path) {
			m.files = append(m.files, path)
		}
	}
	return nil
}

// Run implements sensors.Source: it plays the machine's blocks of its recordings, one
// after the other.
func (m *recordedMachine) Run(ctx context.Context, emit func(sensors.Block) error) error {
	for _, path := range m.files {
		p, err := replay.NewPlayer(path, 0)
		if err != nil {
			return err
		}
		err = p.Run(ctx, func(b sensors.Block) error {
			if b.Machine != m.name {
				return nil
			}
			return emit(b)
		})
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// extract computes the machine's feature vectors.
func (m *recordedMachine) extract(ctx context.Context, spec job.FeatureSpec) error {
	var err error
	m.rows, err = extract(ctx, m.name, m, spec, func(c string) sensors.Quantity { return m.units[c] })
	return err
}

// readLabels reads labels, one JSON object a line, as POST /api/v1/labels takes them.
func readLabels(path string) ([]labels.Label, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read labels: %w", err)
	}
	var all []labels.Label
	var errs []error
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, labels.MaxBytes+1)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		l, err := labels.Decode(lines.Bytes())
		if err == nil {
			err = l.Check(time.Now())
		}
		if err == nil && (l.Kind == labels.Failure || l.Kind == labels.Maintenance) && l.At.IsZero() {
			err = fmt.Errorf("at is missing; a recording is no matter of now")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", path, n, err))
			continue
		}
		all = append(all, l)
	}
	if err := lines.Err(); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w; write one label a line", path, err))
	}
	if len(all) == 0 && errs == nil {
		errs = append(errs, fmt.Errorf("%s: holds no label", path))
	}
	return all, errors.Join(errs...)
}

// label gives machines their labels; those of other machines are counted.
func label(machines []*recordedMachine, all []labels.Label, spec job.LabelSpec) (others int) {
	for _, l := range all {
		i := slices.IndexFunc(machines, func(m *recordedMachine) bool { return m.name == l.Machine })
		if i < 0 {
			others++
			continue
		}
		machines[i].labels = append(machines[i].labels, l)
	}
	for _, m := range machines {
		slices.SortStableFunc(m.labels, func(a, b labels.Label) int { return a.Time().Compare(b.Time()) })
		m.truth = labels.NewTruth(m.labels, spec)
	}
	return others
}
