package lab

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/millwright-iot/millwright/agent/lab/choice"
	"github.com/millwright-iot/millwright/fedavg"
)

// FaultGap is by how much the figures of a federated model differ from those of the
// central one, relative to them.
type FaultGap struct {
	Name         string  `json:"name"`
	Windows      float64 `json:"window_accuracy"`
	CrossEntropy float64 `json:"cross_entropy"`
}

// crossEntropy is the mean of −ln p of what was true; probabilities below 10⁻⁶ count as
// that, since rules are sure of themselves.
func crossEntropy(answers []answer) float64 {
	s := 0.0
	for _, a := range answers {
		s -= math.Log(max(a.probabilities[a.row.class], 1e-6)) / float64(len(answers))
	}
	return s
}

// compare keeps what a federated model said of windows, and once the central one has
// spoken notes how far they are apart. They hold back other windows for their
// temperature, so they are not the same.
func (r *FaultReport) compare(name, how string, answers []answer) {
	if r.said == nil {
		r.said = map[string][]answer{}
	}
	switch {
	case how == Federated:
		r.said[name] = answers
		return
	case how != Central || r.said[name] == nil:
		return
	}
	f, c := r.said[name], answers
	r.Gaps = append(r.Gaps, FaultGap{
		Name: name, Windows: windowAccuracy(f)/windowAccuracy(c) - 1, CrossEntropy: crossEntropy(f)/crossEntropy(c) - 1,
	})
	r.Notes = append(r.Notes, fmt.Sprintf("%s: federated and central models get %.4f and %.4f of windows right, at a cross-entropy of %.4f and %.4f",
		name, windowAccuracy(f), windowAccuracy(c), crossEntropy(f), crossEntropy(c)))
}

// writeChoice prints the choice, if one was made.
func (r *FaultReport) writeChoice(out io.Writer) error {
	if r.Choice == nil {
		return nil
	}
	if _, err := fmt.Fprintln(out, "\nChoice among the models, federated"); err != nil {
		return err
	}
	return r.Choice.WriteTable(out)
}

// choose compares the classifiers, federated, by sizes left out.
func (c *cwruEvaluation) choose(ctx context.Context) error {
	rows, models := c.snrs(), cwruModels()
	task := choice.Task{Measure: "share of windows of one fault size that are answered wrongly", Machines: folds(rows)}
	for _, m := range models {
		task.Candidates = append(task.Candidates, m.name)
	}
	task.Fit = func(ctx context.Context, candidate int, sizes []int) (choice.Fitted, error) {
		m := models[candidate]
		var train []faultRow
		for _, s := range sizes {
			_, own := holdOut(rows, task.Machines[s])
			train = append(train, own...)
		}
		fit, err := m.fit(ctx, Federated, train)
		if err != nil {
			return choice.Fitted{}, err
		}
		return choice.Fitted{Cost: fit.cost, Loss: func(_ context.Context, size int) (float64, error) {
			_, test := holdOut(rows, task.Machines[size])
			return 1 - windowAccuracy(fit.answers(test)), nil
		}}, nil
	}
	var err error
	c.report.Choice, err = choice.Compare(ctx, task)
	return err
}

// costOf is what a model takes that was trained in so much processor time; score makes
// one prediction.
func (t *trainer) costOf(global []fedavg.Vector, cpu time.Duration, score func(row []float64), rows [][]float64) (choice.Cost, error) {
	encoded, err := fedavg.EncodeGlobal(&fedavg.Global{Job: t.spec.Name, Version: 1, Vectors: global})
	return choice.Cost{
		PredictionMicroseconds: microseconds(score, rows), TrainingCPUSeconds: cpu.Seconds(),
		ModelBytes: len(encoded), UpdateBytes: t.bytesPerUpdate(), Rounds: t.rounds,
	}, err
}

// fitted is a classifier with what it looks at.
type fitted struct {
	*classifier
	look func([]float64) []float64 // nil: at the rows as they are
}

func (f fitted) answers(rows []faultRow) []answer {
	if f.look != nil {
		rows = mapped(rows, f.look)
	}
	return f.classifier.answers(rows)
}

// fit learns m centrally or federated.
func (m cwruModel) fit(ctx context.Context, how string, train []faultRow) (fitted, error) {
	participants := byPlant(train)
	if how == Central {
		participants = [][]faultRow{train}
	}
	f := fitted{}
	if m.clues {
		at, err := learnRaceDB(participants)
		if err != nil {
			return f, err
		}
		f.look = func(v []float64) []float64 { return clues(v, at) }
		for i := range participants {
			participants[i] = mapped(participants[i], f.look)
		}
	}
	var err error
	f.classifier, err = fitClassifier(ctx, m.spec, participants)
	return f, err
}
