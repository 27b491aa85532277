package lab

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/sensors/bearing"
)

func cwruProtocol() []string {
	return []string{
		"drive-end accelerometer at 12 kHz, windows of 1 s; classes outer race, inner race, ball",
		"one fault size is left out after the other, so that no bearing is in training and test; all loads of a bearing are one bearing",
		"windows: share of windows whose likeliest class is right; bearings: each judged by all its windows together (mean evidence for the rules, mean probabilities for the models)",
		"answered: the share of windows with an answer other than \"unknown\": rules withhold a ball that is named only because no line stands out, models one less likely than 0.7",
		"federated: six plants a fold, each with one bearing, hence one class; counts for the threshold and the scale of features add up, models learn by one gradient step over all rows a round, 300 rounds",
		"local only: each plant's own model on the bearings held out, mean over plants",
		"a race whose lines do not stand out and a ball whose lines do not cannot be told apart by lines: the rule calls both a ball, and withholds it as \"unknown\"",
		"the rule is for a bearing known to be damaged; the healthy recordings are a check of their own, see the notes",
		"LEAKY: windows held out at random, as is usual for this set; not comparable with the rest",
		"published and experimental rows are as printed; those of the literature mostly use random segments",
	}
}

// cwruPublished is context: ranges are given by their ends.
var cwruPublished = []FaultLine{
	{Source: Published, Name: "deep networks, random segments", Leaky: true, Windows: 0.99, Note: "99 to 100 % is customary: the same bearings in training and test"},
	{Source: Experiment, Name: "generic features, one size left out", Windows: 0.64, Note: "25 to 64 %"},
	{Source: Experiment, Name: "bearing physics, one size left out", Windows: 0.83},
	{Source: Experiment, Name: "largest SNR wins", Windows: 0.82, Note: "balls .54"},
}

// cwruHealthyFeatures are watched on a bearing that is not known to be damaged.
var cwruHealthyFeatures = []string{"bpfo_snr", "bpfi_snr", "bsf_snr", "ftf_snr", "std", "kurtosis"}

// healthy checks that good bearings raise no alarm: by the rule, on all their windows,
// and by the gateway's detector, whose baseline is the first half of a recording; it is
// then shown the other half and the faults at the same speed.
func (c *cwruEvaluation) healthy(context.Context) error {
	found := false
	for i, r := range c.recordings {
		if r.Part != "" {
			continue
		}
		found = true
		windows := c.measured[i].vectors
		shows := 0
		for _, v := range windows {
			if e := evidenceIn(v); max(e.OuterDB, e.InnerDB) >= bearing.RaceDB {
				shows++
			}
		}
		note := fmt.Sprintf("good bearing %s, windows of 1 s each 0.25 s: a race shows in %d of %d", r.Name, shows, len(windows))
		if head := len(windows) / 2; head >= 10 {
			alarms, caught, of, err := c.watch(i, head)
			if err != nil {
				return err
			}
			note += fmt.Sprintf("; gaussian detector with a baseline of the first %d: %d false alarms in the other %d", head, alarms, len(windows)-head)
			if of > 0 {
				note += fmt.Sprintf(", %d of %d windows of faults at this speed detected", caught, of)
			}
		} else {
			note += "; too short for a detector's baseline"
		}
		c.report.Notes = append(c.report.Notes, note)
	}
	if !found {
		c.report.Notes = append(c.report.Notes, "no recording of a good bearing (<rpm>_Normal.npz): false alarms could not be counted")
	}
	return nil
}

// watch follows recording i with a detector, then shows it the faults at its speed.
func (c *cwruEvaluation) watch(i, head int) (alarms, caught, of int, err error) {
	at := make([]int, len(cwruHealthyFeatures))
	for k, name := range cwruHealthyFeatures {
		at[k] = slices.Index(cwruFeatures, name)
	}
	spec := job.Spec{
		Name: "cwru", Class: "bearing",
		Features: job.FeatureSpec{Window: time.Second, Channels: []job.ChannelFeatures{{Channel: "drive_end", Features: cwruHealthyFeatures}}},
		Model:    model.Spec{Kind: model.KindGaussian}, Alarm: job.AlarmSpec{Baseline: head},
	}
	d, err := infer.NewDetector(spec)
	if err != nil {
		return 0, 0, 0, err
	}
	now := time.Unix(0, 0)
	alarm := func(v []float64) (bool, error) {
		x := make([]float64, len(at))
		for k := range at {
			x[k] = v[at[k]]
		}
		now = now.Add(time.Second)
		out, err := d.Observe(now, x)
		return out.State == infer.Running && out.Score >= 1, err
	}
	for k, v := range c.measured[i].vectors {
		hit, err := alarm(v)
		if err != nil {
			return 0, 0, 0, err
		}
		if hit && k >= head {
			alarms++
		}
	}
	for k, r := range c.recordings {
		if r.Part == "" || r.ShaftHz != c.recordings[i].ShaftHz {
			continue
		}
		for _, v := range c.measured[k].vectors {
			hit, err := alarm(v)
			if err != nil {
				return 0, 0, 0, err
			}
			of++
			if hit {
				caught++
			}
		}
	}
	return alarms, caught, of, nil
}
