package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"github.com/millwright-iot/millwright/agent/lab/choice"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// Choice is the comparison of a job's candidates on recordings.
type Choice struct {
	Job string `json:"job"`
	*choice.Result
	// Model is the configuration of what was chosen, for the coordinator's file.
	Model ChosenModel `json:"model"`
	// Groups of machines that should learn apart; nil if one model for all was chosen.
	Groups []GroupOfMachines `json:"groups,omitempty"`
}

// ChosenModel is the part of a job that a choice is about.
type ChosenModel struct {
	Model    any              `json:"model" yaml:"model"`
	Strategy job.StrategySpec `json:"strategy" yaml:"strategy,omitempty"`
}

// ChooseOptions says what to compare on.
type ChooseOptions struct {
	Data   string // folder of recordings, as millwright-agent record writes them
	Labels string // file of labels, one a line, as POST /api/v1/labels takes them
	// Groups is into how many groups at most machines that differ are divided, to see
	// whether a model for each wins; up to 8, 0 or 1 for none. Machines are then judged
	// in the second half of their windows only.
	Groups int
}

// Choose compares the models of a job on recorded machines and chooses one. Each
// machine is judged by models that have not seen it; machines of one gateway train
// together and send one update a round.
func Choose(ctx context.Context, c CandidateJob, o ChooseOptions) (*Choice, error) {
	if o.Groups < 0 || o.Groups > maxGroups {
		return nil, fmt.Errorf("choose model: %d groups; 0 to %d can be tried", o.Groups, maxGroups)
	}
	specs, names := c.specs()
	if len(specs) == 1 && o.Groups < 2 {
		return nil, errors.New("choose model: the job lists no candidates; list at least one model to compare with its own, or try groups")
	}
	if o.Groups > 1 {
		for _, name := range names[:len(specs)] {
			names = append(names, inGroups(name))
		}
	}
	machines, notes, err := findMachines(o.Data, specs[0].Features)
	if err != nil {
		return nil, err
	}
	all, err := readLabels(o.Labels)
	if err != nil {
		return nil, err
	}
	if n := label(machines, all, specs[0].Labels); n > 0 {
		notes = append(notes, fmt.Sprintf("%d of %d labels are of machines that are not recorded", n, len(all)))
	}
	if machines, notes, err = prepare(ctx, machines, notes, specs[0], o.Groups > 1); err != nil {
		return nil, err
	}
	fitter, err := fitterFor(ctx, specs, machines, o.Groups)
	if err != nil {
		return nil, err
	}
	task := choice.Task{Measure: fitter.measure, Candidates: names, Fit: fitter.fit}
	for _, m := range machines {
		task.Machines = append(task.Machines, m.name)
	}
	result, err := choice.Compare(ctx, task)
	if err != nil {
		return nil, err
	}
	result.Notes = append(result.Notes, notes...)
	at := slices.Index(names, result.Chosen)
	chosen := specs[at%len(specs)]
	found := &Choice{Job: c.Name, Result: result, Model: ChosenModel{Model: chosen.Model, Strategy: chosen.Strategy}}
	if at >= len(specs) {
		found.Groups, err = fitter.groupsOf()
	}
	return found, err
}

// maxGroups is the most groups that are tried.
const maxGroups = 8

// prepare computes feature vectors and leaves out machines that have too few.
func prepare(ctx context.Context, machines []*recordedMachine, notes []string, spec job.Spec, groups bool) ([]*recordedMachine, []string, error) {
	errs := make([]error, len(machines))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, m := range machines {
		g.Go(func() error {
			errs[i] = m.extract(gctx, spec.Features)
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	least := spec.Alarm.Baseline
	if spec.Purpose() == job.Prognose && !groups {
		least = 0 // it takes no baseline
	}
	var ready []*recordedMachine
	for i, m := range machines {
		switch {
		case errs[i] != nil:
			notes = append(notes, fmt.Sprintf("machine %s is left out: %v", m.name, errs[i]))
		case len(m.rows) <= least:
			notes = append(notes, fmt.Sprintf("machine %s is left out: %d windows, of which the baseline takes %d and some more are needed to judge by", m.name, len(m.rows), spec.Alarm.Baseline))
		default:
			ready = append(ready, m)
		}
	}
	if len(ready) < 2 {
		err := errors.New("choose model: at least two machines with enough windows are needed, to learn from one and judge by the other")
		for _, n := range notes {
			err = fmt.Errorf("%w\n  %s", err, n)
		}
		return nil, nil, err
	}
	return ready, notes, nil
}

// WriteTable prints the comparison, the choice and the configuration it amounts to.
func (c *Choice) WriteTable(out io.Writer) error {
	fmt.Fprintf(out, "job %s\n\n", c.Job)
	if err := c.Result.WriteTable(out); err != nil {
		return err
	}
	text, err := yaml.Marshal(c.Model)
	if err != nil {
		return fmt.Errorf("print choice: %w", err)
	}
	if c.Groups != nil {
		if _, err := io.WriteString(out, groupText(c.Groups)); err != nil {
			return fmt.Errorf("print choice: %w", err)
		}
	}
	_, err = fmt.Fprintf(out, "\nin the job of the coordinator's configuration:\n\n%s", text)
	return err
}
