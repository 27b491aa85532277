package lab

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/millwright-iot/millwright/agent/lab/plot"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/sensors/bearing"
	"github.com/millwright-iot/millwright/sensors/dsp"
)

// EvaluateCWRU leaves one fault size out after the other.
func EvaluateCWRU(ctx context.Context, recordings []CWRURecording) (*FaultReport, error) {
	c, err := newCWRUEvaluation(ctx, recordings, cwruLayouts())
	if err != nil {
		return nil, err
	}
	r := c.report
	r.Lines = append(append(r.Lines, cwruPublished...), nullFaults(c.rows, r.Classes))
	for _, step := range []func(context.Context) error{c.physics, c.whole, c.layouts, c.learnedAll, c.choose, c.nested, c.generic, c.healthy} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.charts(); err != nil {
		return nil, err
	}
	return r, nil
}

func newCWRUEvaluation(ctx context.Context, recordings []CWRURecording, layouts []layout) (*cwruEvaluation, error) {
	measured, err := cwruMeasure(ctx, recordings, layouts)
	if err != nil {
		return nil, err
	}
	c := &cwruEvaluation{recordings: recordings, measured: measured, byLayout: make([][]faultRow, len(layouts)), wrong: map[string]bool{}}
	c.collect()
	c.report = &FaultReport{Dataset: "cwru", Recordings: len(recordings), Windows: len(c.rows), Machines: "bearings", Protocol: cwruProtocol()}
	for _, part := range cwruClasses {
		c.report.Classes = append(c.report.Classes, string(part))
	}
	return c, nil
}

type cwruEvaluation struct {
	recordings []CWRURecording
	measured   []cwruWindows
	rows       []faultRow // of faults; all cwruFeatures
	byLayout   [][]faultRow
	wrong      map[string]bool // bearings that the rule with its learned threshold calls wrongly
	report     *FaultReport
}

// collect makes rows of the recordings with a fault. A plant holds one bearing.
func (c *cwruEvaluation) collect() {
	for i, r := range c.recordings {
		if r.Part == "" {
			continue
		}
		row := faultRow{class: slices.Index(cwruClasses, r.Part), machine: r.Bearing, fold: fmt.Sprintf("%d mil", r.Mil), plant: r.Bearing}
		for _, v := range c.measured[i].vectors {
			row.vector = v
			c.rows = append(c.rows, row)
		}
		for l, evidence := range c.measured[i].evidence {
			for _, e := range evidence {
				row.vector = []float64{e.OuterDB, e.InnerDB, e.BallDB, e.CageDB}
				c.byLayout[l] = append(c.byLayout[l], row)
			}
		}
	}
}

// add judges answers with the window's own verdicts.
func (c *cwruEvaluation) add(line FaultLine, answers []answer, verdict func(machine string) int) {
	c.report.Lines = append(c.report.Lines, judgeFaults(line, c.report.Classes, answers, verdict))
}

// snrs are the rows with the bearing's evidence only.
func (c *cwruEvaluation) snrs() []faultRow {
	return mapped(c.rows, func(v []float64) []float64 { return v[:cwruSNRs] })
}

// physics judges the rules that know how a bearing fails.
func (c *cwruEvaluation) physics(context.Context) error {
	rows := c.snrs()
	mean := meanEvidence(rows)
	c.add(FaultLine{Name: "physics: largest SNR wins", Note: "no training at all"}, largestAnswers(rows),
		func(machine string) int { return mostLikely(mean[machine][:len(cwruClasses)]) })
	accuse := func(v []float64, raceDB float64) int {
		return slices.Index(cwruClasses, evidenceIn(v).Accuse(raceDB).Part)
	}
	c.add(FaultLine{Name: "physics: threshold as shipped", Note: fmt.Sprintf("no training here, but the shipped %g dB have seen all sizes", bearing.RaceDB)},
		ruleAnswers(bearing.RaceDB, rows), func(machine string) int { return accuse(mean[machine], bearing.RaceDB) })
	for _, how := range []string{Federated, Central} {
		learned := map[string]float64{} // by machine
		answers, err := acrossFolds(rows, func(train, test []faultRow) ([]answer, error) {
			participants := byPlant(train)
			if how == Central {
				participants = [][]faultRow{train}
			}
			at, err := learnRaceDB(participants)
			for _, r := range test {
				learned[r.machine] = at
			}
			return ruleAnswers(at, test), err
		})
		if err != nil {
			return err
		}
		c.add(FaultLine{Name: "physics: threshold learned", Learning: how, Note: "the envelope's layout has seen all sizes"}, answers,
			func(machine string) int { return accuse(mean[machine], learned[machine]) })
		if how == Central {
			c.explainWrong(rows, mean, func(machine string) int { return accuse(mean[machine], learned[machine]) })
		}
	}
	return nil
}

// explainWrong notes what the bearings show that the rule got wrong, and how many
// damaged balls show as little.
func (c *cwruEvaluation) explainWrong(rows []faultRow, mean map[string][]float64, verdict func(machine string) int) {
	truth := map[string]int{}
	for _, r := range rows {
		truth[r.machine] = r.class
	}
	hidden := 0
	for machine, class := range truth {
		if cwruClasses[class] == bearing.Ball && evidenceIn(mean[machine]).Accuse(0).Eliminated {
			hidden++
		}
	}
	for _, machine := range slices.SortedFunc(maps.Keys(truth), compareNames) {
		if said := verdict(machine); said != truth[machine] {
			c.wrong[machine] = true
			v := mean[machine]
			c.report.Notes = append(c.report.Notes, fmt.Sprintf("the rule calls bearing %s a %s: its lines stand at outer race %.1f, inner race %.1f, ball %.1f dB; %d bearings with a damaged ball show no line either",
				machine, cwruClasses[said], v[0], v[1], v[2], hidden))
		}
	}
}

// whole judges the rule on the one layout that is the literature's and not ours: cepstrum
// pre-whitening, and the envelope of the whole band above the shaft's harmonics. Nothing
// of it was chosen here.
func (c *cwruEvaluation) whole(context.Context) error {
	at := slices.Index(cwruLayouts(), layout{dsp.WhitenFully, 1, true, false})
	rows, learned := c.byLayout[at], map[string]float64{}
	answers, err := acrossFolds(rows, func(train, test []faultRow) ([]answer, error) {
		raceDB, err := learnRaceDB(byPlant(train))
		for _, r := range test {
			learned[r.machine] = raceDB
		}
		return ruleAnswers(raceDB, test), err
	})
	if err != nil {
		return err
	}
	mean := meanEvidence(rows)
	c.add(FaultLine{Name: "physics: pre-whitened whole band, threshold learned", Learning: Federated, Note: "the literature's layout (Borghesani 2013): nothing has seen the size held out"}, answers, func(machine string) int {
		return slices.Index(cwruClasses, evidenceIn(mean[machine]).Accuse(learned[machine]).Part)
	})
	return nil
}

// layouts chooses the layout of the envelope, too, without the size held out: the one
// whose threshold is right most often on the sizes that are left. One threshold cannot
// learn windows by heart, so nothing more need be held out for that.
func (c *cwruEvaluation) layouts(context.Context) error {
	tried := cwruLayouts()
	learned, chosen := map[string]float64{}, map[string]int{}
	var all []answer
	for _, fold := range folds(c.byLayout[0]) {
		best, at := -1.0, 0
		for l := range tried {
			train, _ := holdOut(c.byLayout[l], fold)
			raceDB, err := learnRaceDB([][]faultRow{train})
			if err != nil {
				return err
			}
			if right := windowAccuracy(ruleAnswers(raceDB, train)); right > best+1e-9 {
				best, at = right, l
			}
		}
		train, test := holdOut(c.byLayout[at], fold)
		raceDB, err := learnRaceDB([][]faultRow{train})
		if err != nil {
			return err
		}
		for _, r := range test {
			learned[r.machine], chosen[r.machine] = raceDB, at
		}
		all = append(all, ruleAnswers(raceDB, test)...)
		c.report.Notes = append(c.report.Notes, fmt.Sprintf("without %s the layout chosen of %d is %q (%.3f of the other sizes' windows right), the threshold %.1f dB", fold, len(tried), tried[at], best, raceDB))
	}
	c.add(FaultLine{Name: "physics: layout and threshold learned", Learning: Central, Note: "nothing has seen the size held out"}, all, func(machine string) int {
		return slices.Index(cwruClasses, evidenceIn(meanEvidence(c.byLayout[chosen[machine]])[machine]).Accuse(learned[machine]).Part)
	})
	return nil
}

func windowAccuracy(answers []answer) float64 {
	right := 0.0
	for _, a := range answers {
		if mostLikely(a.probabilities) == a.row.class {
			right++
		}
	}
	return right / float64(len(answers))
}

// cwruModel is a classifier on top of the evidence.
type cwruModel struct {
	name  string
	clues bool // as clues, or else as decibels
	spec  classifierSpec
}

func cwruModels() []cwruModel {
	spec := func(hidden ...int) classifierSpec {
		return classifierSpec{rounds: 300, model: model.SoftmaxSpec{
			Classes: []string{string(bearing.OuterRace), string(bearing.InnerRace), string(bearing.Ball)},
			Hidden:  hidden, Unknown: 0.7, Decay: 0.003,
		}}
	}
	return []cwruModel{
		{"softmax on physics", true, spec()}, {"perceptron on physics", true, spec(8)},
		{"softmax on decibels", false, spec()}, {"perceptron on decibels", false, spec(8)},
	}
}

// answer fits m on train and classifies test.
func (m cwruModel) answer(ctx context.Context, how string, train, test []faultRow) ([]answer, error) {
	if how != LocalOnly {
		f, err := m.fit(ctx, how, train)
		if err != nil {
			return nil, err
		}
		return f.answers(test), nil
	}
	if m.clues {
		at, err := learnRaceDB([][]faultRow{train})
		if err != nil {
			return nil, err
		}
		look := func(v []float64) []float64 { return clues(v, at) }
		train, test = mapped(train, look), mapped(test, look)
	}
	return learnedHow(ctx, how, m.spec, train, test)
}

func (c *cwruEvaluation) learnedAll(ctx context.Context) error { return c.learned(ctx, cwruModels()) }

// learned judges models by every way to learn.
func (c *cwruEvaluation) learned(ctx context.Context, models []cwruModel) error {
	colours := []plot.Colour{plot.Blue, plot.Orange, plot.Green, plot.Red, plot.Purple, plot.Grey}
	for _, m := range models {
		for _, how := range []string{Federated, Central, LocalOnly} {
			var fits [][]float64
			m.spec.watch = func(losses []float64) { fits = append(fits, losses) }
			answers, err := acrossFolds(c.snrs(), func(train, test []faultRow) ([]answer, error) { return m.answer(ctx, how, train, test) })
			if err != nil {
				return fmt.Errorf("learn %s, %s: %w", m.name, how, err)
			}
			if how == Federated {
				c.report.losses = append(c.report.losses, lossCurve(m.name, colours[len(c.report.losses)%len(colours)], fits))
			}
			c.report.compare(m.name, how, answers)
			line := FaultLine{Name: m.name, Learning: how}
			if how == LocalOnly {
				line.Note = "a plant that saw one bearing can name its fault only"
			}
			c.add(line, answers, nil)
			if how == LocalOnly { // many verdicts a bearing: there is no one
				l := &c.report.Lines[len(c.report.Lines)-1]
				l.Machines, l.Right, l.Of = nil, 0, 0
			}
		}
	}
	return nil
}

// nested chooses among the models, and the rule, without the size held out.
func (c *cwruEvaluation) nested(ctx context.Context) error {
	rows, models := c.snrs(), cwruModels()
	if n := len(folds(rows)); n < 3 {
		c.report.Notes = append(c.report.Notes, fmt.Sprintf("%d sizes: no model can be chosen by leaving sizes out among the others; that takes three", n))
		return nil
	}
	learned, chosen := map[string]float64{}, map[string]bool{}
	var all []answer
	rule := func(train, test []faultRow) ([]answer, error) {
		at, err := learnRaceDB([][]faultRow{train})
		for _, r := range test {
			learned[r.machine] = at
		}
		return ruleAnswers(at, test), err
	}
	for _, fold := range folds(rows) {
		train, test := holdOut(rows, fold)
		inner, err := acrossFolds(train, rule)
		if err != nil {
			return err
		}
		best, name, fit := windowAccuracy(inner), "physics: threshold learned", rule
		for _, m := range models {
			candidate := func(train, test []faultRow) ([]answer, error) { return m.answer(ctx, Central, train, test) }
			inner, err := acrossFolds(train, candidate)
			if err != nil {
				return err
			}
			if right := windowAccuracy(inner); right > best+1e-9 {
				best, name, fit = right, m.name, candidate
			}
		}
		answers, err := fit(train, test)
		if err != nil {
			return err
		}
		for _, r := range test {
			chosen[r.machine] = name == "physics: threshold learned"
		}
		all = append(all, answers...)
		c.report.Notes = append(c.report.Notes, fmt.Sprintf("without %s the model chosen is %q (%.3f of windows right on sizes left out among the others)", fold, name, best))
	}
	mean := meanEvidence(rows)
	votes := map[string][]float64{}
	for _, a := range all {
		if votes[a.row.machine] == nil {
			votes[a.row.machine] = make([]float64, len(cwruClasses))
		}
		for i, p := range a.probabilities {
			votes[a.row.machine][i] += p
		}
	}
	c.add(FaultLine{Name: "best of rule and models, chosen by sizes left out", Learning: Central}, all, func(machine string) int {
		if chosen[machine] {
			return slices.Index(cwruClasses, evidenceIn(mean[machine]).Accuse(learned[machine]).Part)
		}
		return mostLikely(votes[machine])
	})
	return nil
}

// generic shows what features are worth that know nothing of bearings, and what
// the same model reports when the same bearings are on both sides.
func (c *cwruEvaluation) generic(ctx context.Context) error {
	spec := cwruModels()[1].spec
	rows := mapped(c.rows, func(v []float64) []float64 { return v[cwruSNRs:] })
	fit := func(train, test []faultRow) ([]answer, error) { return learnedHow(ctx, Central, spec, train, test) }
	answers, err := acrossFolds(rows, fit)
	if err != nil {
		return err
	}
	c.add(FaultLine{Name: "perceptron on generic features", Learning: Central}, answers, nil)
	leaky := slices.Clone(c.rows)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range leaky {
		leaky[i].fold = fmt.Sprint(r.IntN(5))
	}
	if answers, err = acrossFolds(leaky, fit); err != nil {
		return err
	}
	line := judgeFaults(FaultLine{Name: "perceptron, random windows held out", Learning: Central, Leaky: true, Note: "the usual split: every bearing is on both sides"}, c.report.Classes, answers, nil)
	line.Machines, line.Right, line.Of = nil, 0, 0
	c.report.Lines = append(c.report.Lines, line)
	return nil
}
