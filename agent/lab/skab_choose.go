package lab

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/fedavg/model"
)

// skabSetting is what a plant could choose otherwise: how long windows are, over how
// many of them features are smoothed, how far above its head a machine must be, and
// below which part of its peak an alarm ends.
type skabSetting struct {
	WindowRows, Smooth int
	Threshold, Clear   float64
}

func (s skabSetting) String() string {
	return fmt.Sprintf("windows of %d s, smoothed over %d, threshold %g × head, clear below %g of the peak", s.WindowRows, s.Smooth, s.Threshold, s.Clear)
}

// skabSettings are the candidates, the shipped one first: all combinations of round
// numbers around it.
func skabSettings() []skabSetting {
	var all []skabSetting
	for _, w := range []int{skabWindow, 10, 20, 30} {
		for _, smooth := range []int{0, 10, 20, 40} {
			for _, t := range []float64{1.5, 1.25, 2} {
				for _, c := range []float64{0.3, 0.2} {
					all = append(all, skabSetting{w, smooth, t, c})
				}
			}
		}
	}
	return all
}

// skabMostFAR is what a choice may cost in false alarms.
const skabMostFAR = 0.10

// addChosen adds what is reached when each group's settings are chosen by the labels of
// the other groups, and says what keeps any detector from reaching more.
func addChosen(ctx context.Context, report *Report, files []SKABFile) error {
	if len(report.Groups) < 2 {
		report.Notes = append(report.Notes, "there is one group of recordings: no setting can be chosen on another; the lines above have the shipped settings")
		return addTraces(ctx, report, files)
	}
	settings := skabSettings()
	said := make([][]told, len(settings)) // by setting, then file
	rows := map[int][][]featureRow{}
	for i, s := range settings {
		spec := skabJob(model.KindGaussian, s.WindowRows)
		spec.Alarm.Smooth, spec.Alarm.Threshold, spec.Alarm.Clear = s.Smooth, s.Threshold, s.Clear
		var err error
		if rows[s.WindowRows] == nil {
			if rows[s.WindowRows], err = skabRows(ctx, files, spec); err != nil {
				return err
			}
		}
		t, err := newTrainer(spec)
		if err != nil {
			return err
		}
		if said[i], err = t.detectAll(ctx, files, rows[s.WindowRows], Federated); err != nil {
			return fmt.Errorf("try %s: %w", s, err)
		}
	}
	line := Line{Source: Ours, Name: model.KindGaussian + ", settings chosen on other groups", Learning: Federated}
	for _, group := range report.Groups {
		best, on := chooseSetting(files, said, group)
		report.Notes = append(report.Notes, fmt.Sprintf("for %s the others choose %s of %d (there F1 %.3f, FAR %.1f %%)", group, settings[best], len(settings), on.F1(), 100*on.FAR()))
		for i, f := range files {
			if f.Group == group {
				line.add(f, said[best][i])
			}
		}
	}
	report.Lines = append(report.Lines, line.Done())
	return addTraces(ctx, report, files)
}

// chooseSetting returns the best setting on the files of other groups than the one given,
// and its counts there: the highest F1 among those with at most skabMostFAR, or if
// none keeps that, the lowest FAR. Equal ones are decided for the earlier.
func chooseSetting(files []SKABFile, said [][]told, group string) (best int, on Confusion) {
	for s := range said {
		var c Confusion
		for i, f := range files {
			if f.Group != group {
				c.Add(f.Truth[SKABHead:], said[s][i].alarm[SKABHead:])
			}
		}
		keeps, kept := c.FAR() <= skabMostFAR, on.FAR() <= skabMostFAR
		switch {
		case s == 0, keeps && !kept, keeps && c.F1() > on.F1(), !keeps && !kept && c.FAR() < on.FAR():
			best, on = s, c
		}
	}
	return best, on
}

// trace is one machine's course, for a chart.
type trace struct {
	file SKABFile
	told told
}

// addTraces keeps the course of the first machine of each group, and notes how much of
// the labelled time shows nothing: at the begin and end of an event the machine still,
// or again, looks as it did in its head.
func addTraces(ctx context.Context, report *Report, files []SKABFile) error {
	spec := SKABJob(model.KindGaussian)
	rows, err := skabRows(ctx, files, spec)
	if err != nil {
		return err
	}
	t, err := newTrainer(spec)
	if err != nil {
		return err
	}
	said, err := t.detectAll(ctx, files, rows, Federated)
	if err != nil {
		return err
	}
	var before, after []time.Duration
	inside, groups := 0, map[string]bool{}
	for i, f := range files {
		if !groups[f.Group] {
			groups[f.Group] = true
			report.traces = append(report.traces, trace{f, said[i]})
		}
		for lo, hi := range runs(f.Truth) {
			if lo = max(lo, SKABHead); lo >= hi {
				continue
			}
			first, last := -1, -1
			for k, s := range said[i].score[lo:hi] {
				if s*spec.Alarm.Threshold <= 1 {
					inside++
				}
				if s >= 1 {
					if first < 0 {
						first = lo + k
					}
					last = lo + k
				}
			}
			if first >= 0 {
				before = append(before, f.Times[first].Sub(f.Times[lo]))
				after = append(after, f.Times[hi-1].Sub(f.Times[last]))
			}
		}
	}
	if len(before) == 0 {
		return nil
	}
	slices.Sort(before)
	slices.Sort(after)
	report.Notes = append(report.Notes, fmt.Sprintf("what stands in the way: labels reach beyond what the channels show; the score first passes the threshold %.0f s into the median event and last does so %.0f s before its end, and %.0f %% of the anomalous rows score no higher than the machine's own healthy head",
		before[len(before)/2].Seconds(), after[len(after)/2].Seconds(), 100*float64(inside)/float64(report.AnomalousRows)))
	return nil
}
