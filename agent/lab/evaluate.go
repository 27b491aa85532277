// Package lab evaluates, on recorded data, the code that runs on the gateway:
// the same windows, features, models and alarms, judged by honest protocols and
// shown beside null baselines and published results.
package lab

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/compress"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/sensors"
)

// The ways in which machines can learn.
const (
	LocalOnly = "local only" // each machine from its own head
	Federated = "federated"  // each machine sends an update a round
	Central   = "central"    // one fit over all machines' standardised heads
)

// gradientRounds is how many rounds a gradient model is trained for.
const gradientRounds = 30

// EvaluateSKAB runs the benchmark's protocol on files: one machine a file. The
// gradient model is also federated with each way of making updates smaller.
func EvaluateSKAB(ctx context.Context, files []SKABFile) (*Report, error) {
	report := newSKABReport(files)
	if err := addGaps(ctx, report, files); err != nil {
		return nil, err
	}
	if err := addLines(ctx, report, files, SKABJob(model.KindGaussian), Federated, Central, LocalOnly); err != nil {
		return nil, err
	}
	if err := addChosen(ctx, report, files); err != nil {
		return nil, err
	}
	if err := addLines(ctx, report, files, SKABJob(model.KindAutoencoder), Federated, Central, LocalOnly); err != nil {
		return nil, err
	}
	for _, method := range compress.Methods() {
		spec := SKABJob(model.KindAutoencoder)
		spec.Compression = []string{string(method)}
		if err := addLines(ctx, report, files, spec, Federated); err != nil {
			return nil, err
		}
	}
	return report, nil
}

// addLines adds what spec reaches when learned in each of the ways.
func addLines(ctx context.Context, report *Report, files []SKABFile, spec job.Spec, ways ...string) error {
	rows, err := skabRows(ctx, files, spec)
	if err != nil {
		return err
	}
	for _, how := range ways {
		t, err := newTrainer(spec)
		if err != nil {
			return err
		}
		said, err := t.detectAll(ctx, files, rows, how)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", spec.Name, how, err)
		}
		line := Line{Source: Ours, Name: spec.Model.Kind, Learning: how}
		if how == Federated {
			line.BytesPerUpdate, line.Compression = t.bytesPerUpdate(), string(t.method)
			if t.family.Learning() == model.Gradient {
				line.Losses = slices.Clone(t.losses)
			}
		}
		for i := range files {
			line.add(files[i], said[i])
		}
		report.Lines = append(report.Lines, line.Done())
	}
	return nil
}

// detectAll learns, and follows each machine through its file.
func (t *trainer) detectAll(ctx context.Context, files []SKABFile, rows [][]featureRow, how string) ([]told, error) {
	globals, err := t.learn(ctx, files, rows, how)
	if err != nil {
		return nil, fmt.Errorf("learn: %w", err)
	}
	said := make([]told, len(files))
	for i := range files {
		if said[i], err = detect(t.spec, globals[i], rows[i], files[i]); err != nil {
			return nil, fmt.Errorf("score %s: %w", files[i].Name, err)
		}
	}
	return said, nil
}

func skabRows(ctx context.Context, files []SKABFile, spec job.Spec) ([][]featureRow, error) {
	quantities := map[string]sensors.Quantity{}
	for _, c := range SKABColumns {
		unit, err := sensors.ParseUnit(c.Unit)
		if err != nil {
			return nil, err
		}
		quantities[c.Channel] = unit.Quantity
	}
	rows := make([][]featureRow, len(files))
	for i := range files {
		src, err := files[i].source()
		if err != nil {
			return nil, err
		}
		rows[i], err = extract(ctx, files[i].Name, src, spec.Features, func(c string) sensors.Quantity { return quantities[c] })
		if err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// leastHead is how many windows of its head a machine needs at least: enough for the
// block means by which wandering channels are told.
const leastHead = 120

// ownSpec is spec with a baseline of the windows that end with the machine's head: where
// there are gaps they are fewer, and none of what is scored takes their place.
func ownSpec(spec job.Spec, rows []featureRow, f SKABFile) (job.Spec, error) {
	end, n := f.Times[SKABHead-1].Add(time.Second), 0
	for n < len(rows) && !rows[n].end.After(end) {
		n++
	}
	if n < leastHead {
		return spec, fmt.Errorf("%s: %d windows of its first %d rows are complete; a baseline takes %d: too much is missing there", f.Path, n, SKABHead, leastHead)
	}
	spec.Alarm.Baseline = min(spec.Alarm.Baseline, n)
	return spec, nil
}

// addGaps notes what is wrong with recordings and can be lived with.
func addGaps(ctx context.Context, report *Report, files []SKABFile) error {
	spec := SKABJob(model.KindGaussian)
	rows, err := skabRows(ctx, files, spec)
	if err != nil {
		return err
	}
	for i, f := range files {
		own, err := ownSpec(spec, rows[i], f)
		if err != nil {
			return err
		}
		if n := own.Alarm.Baseline; n < spec.Alarm.Baseline {
			report.Notes = append(report.Notes, fmt.Sprintf("%s: gaps in its head leave a baseline of %d windows instead of %d", f.Name, n, spec.Alarm.Baseline))
		}
		if still := stillChannels(spec.Features, rows[i]); len(still) > 0 {
			report.Notes = append(report.Notes, stillNote(f.Name, still))
		}
		if n := trueRows(f.Truth[:SKABHead]); n > 0 {
			report.Notes = append(report.Notes, fmt.Sprintf("%s: %d rows of its head, which the protocol takes as healthy, are labelled anomalous", f.Name, n))
		}
	}
	return nil
}

func trueRows(truth []bool) (n int) {
	for _, t := range truth {
		if t {
			n++
		}
	}
	return n
}

// detect follows one machine through its file. Only windows of the head are in
// its baseline, and no label is seen.
func detect(spec job.Spec, global []fedavg.Vector, rows []featureRow, f SKABFile) (told, error) {
	own, err := ownSpec(spec, rows, f)
	if err != nil {
		return told{}, err
	}
	d, err := infer.NewDetector(own)
	if err != nil {
		return told{}, err
	}
	if global != nil {
		if err := d.SetModel(global, 1); err != nil {
			return told{}, err
		}
	}
	return follow(d, rows, f.Times)
}
