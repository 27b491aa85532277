package lab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/features"
	"github.com/millwright-iot/millwright/sensors/window"
)

// featureRow is the feature vector of one window.
type featureRow struct {
	end    time.Time
	vector []float64
}

// extract runs a source through the job's windows and features, as the agent
// does with live channels.
func extract(ctx context.Context, machine string, src sensors.Source, spec job.FeatureSpec, quantity func(channel string) sensors.Quantity) ([]featureRow, error) {
	names := make([]string, len(spec.Channels))
	specs := make([]features.ChannelSpec, len(spec.Channels))
	for i, c := range spec.Channels {
		names[i] = c.Channel
		specs[i] = features.ChannelSpec{Channel: c.Channel, Quantity: quantity(c.Channel), Features: c.Features}
	}
	windower, err := window.New(machine, window.Spec{Window: spec.Window, Hop: spec.Hop, MaxGap: spec.MaxGap, Channels: names})
	if err != nil {
		return nil, err
	}
	extractor, err := features.New(specs)
	if err != nil {
		return nil, err
	}
	var rows []featureRow
	samples := map[string]int{}
	err = src.Run(ctx, func(b sensors.Block) error {
		samples[b.Channel] += len(b.Samples)
		return windower.Add(b, func(w *window.Window) error {
			v, err := extractor.Extract(nil, w)
			if err != nil {
				return err
			}
			rows = append(rows, featureRow{end: w.End, vector: v})
			return nil
		})
	})
	if err == nil && len(rows) == 0 {
		err = noWindow(spec, names, samples)
	}
	if err != nil {
		return nil, fmt.Errorf("compute features of %s: %w", machine, err)
	}
	return rows, nil
}

// noWindow says why there is not one complete window.
func noWindow(spec job.FeatureSpec, channels []string, samples map[string]int) error {
	for _, c := range channels {
		if samples[c] == 0 {
			return fmt.Errorf("channel %q has no value; mend its column, or leave the recording out", c)
		}
	}
	return fmt.Errorf("the recording has not one window of %s in which every channel has values; a longer one is needed, or one with fewer gaps", spec.Window)
}

// stillChannels lists the channels of which no feature ever changes but by rounding, of
// rows by spec.
func stillChannels(spec job.FeatureSpec, rows []featureRow) []string {
	var still []string
	same := func(a, b float64) bool { return math.Abs(a-b) <= 1e-12*math.Abs(b) }
	at := 0
	for _, c := range spec.Channels {
		n := len(c.Features)
		moves := slices.ContainsFunc(rows, func(r featureRow) bool { return !slices.EqualFunc(r.vector[at:at+n], rows[0].vector[at:at+n], same) })
		if !moves {
			still = append(still, c.Channel)
		}
		at += n
	}
	return still
}

// stillNote tells of channels that never change.
func stillNote(recording string, channels []string) string {
	return fmt.Sprintf("%s: no change of %s in the whole recording, which says nothing; look at the sensor", recording, strings.Join(channels, ", "))
}

// told is what a detector said of each row of a recording.
type told struct {
	alarm []bool    // the machine was in alarm
	score []float64 // relative to its threshold, before hysteresis; 0 while there was none
}

// follow gives rows to a detector and returns, for each of times, what was known
// then: the last window that had ended one second after the row, which is the row's
// own when rows come each second.
func follow(d *infer.Detector, rows []featureRow, times []time.Time) (told, error) {
	t := told{make([]bool, len(times)), make([]float64, len(times))}
	active, score, next := false, 0.0, 0
	for i, at := range times {
		for ; next < len(rows) && !rows[next].end.After(at.Add(time.Second)); next++ {
			out, err := d.Observe(rows[next].end, rows[next].vector)
			if err != nil {
				return told{}, err
			}
			active = out.Active
			if out.State == infer.Running {
				score = out.Raw / d.Threshold()
			}
		}
		t.alarm[i], t.score[i] = active, score
	}
	return t, nil
}

// baselineZ returns the standardised healthy head of a machine, which is what it
// learns from.
func baselineZ(spec job.Spec, rows []featureRow) ([][]float64, error) {
	d, err := baselineOf(spec, rows)
	if err != nil {
		return nil, err
	}
	return slices.Clip(d.BaselineZ(spec.Alarm.Baseline)), nil
}

// baselineOf returns a detector whose baseline is the head of rows; vectors that a
// gateway would not use are left out.
func baselineOf(spec job.Spec, rows []featureRow) (*infer.Detector, error) {
	d, err := infer.NewDetector(spec)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if d.State() == infer.Running {
			return d, nil
		}
		if _, err := observe(d, r); err != nil {
			return nil, err
		}
	}
	if d.State() != infer.Running {
		have, want := d.Progress()
		return nil, fmt.Errorf("%d of %d windows can be used, but the baseline takes %d", have, len(rows), want)
	}
	return d, nil
}

// observe gives a row to a detector, which ignores it if a vector cannot be used.
func observe(d *infer.Detector, r featureRow) (infer.Output, error) {
	out, err := d.Observe(r.end, r.vector)
	if unusable := (*infer.VectorError)(nil); errors.As(err, &unusable) {
		return infer.Output{}, nil
	}
	return out, err
}
