package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/lab/choice"
	"github.com/millwright-iot/millwright/fedavg/cluster"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// inGroups names a candidate that each group of machines learns for itself.
func inGroups(name string) string { return name + ", by group" }

// signature is what tells machines of one group from those of another, without labels:
// in which direction the machine's own healthy windows pull a detector; for other
// jobs, in which direction it has moved away from its baseline in the first half of its
// windows after it. Either is a matter of the past once the machine is judged.
func (f *fitter) signature(ctx context.Context, i int, d *infer.Detector) ([]float64, error) {
	spec := f.specs[0]
	if spec.Purpose() == job.Detect {
		family, err := spec.Family()
		if err != nil {
			return nil, err
		}
		trained, err := family.Train(ctx, family.Init(spec.Seed), f.sets[i], model.TrainOptions{Seed: spec.Seed})
		if err != nil {
			return nil, err
		}
		return cluster.Direction(trained.Vectors), nil
	}
	mean := make([]float64, spec.Features.Len())
	for _, r := range f.machines[i].rows[spec.Alarm.Baseline:f.from[i]] {
		if row, ok := d.Standardize(nil, r.vector); ok {
			for k, x := range row {
				mean[k] += x
			}
		}
	}
	cluster.Unit(mean)
	return mean, nil
}

// group divides machines by their signatures.
func (f *fitter) group(machines []int) (cluster.Groups, error) {
	var points [][]float64
	for _, m := range machines {
		points = append(points, f.signatures[m])
	}
	return cluster.Find(points, f.groups)
}

// fitGroups learns one model for each group of machines. A machine that was left out is
// judged by that of the group its signature is nearest to. A group that has nothing to
// learn from takes the model of all.
func (f *fitter) fitGroups(ctx context.Context, spec job.Spec, machines []int) (choice.Fitted, error) {
	groups, err := f.group(machines)
	if err != nil {
		return choice.Fitted{}, err
	}
	all, err := f.learn(ctx, spec, machines)
	if err != nil {
		return choice.Fitted{}, err
	}
	cost, models := all.cost, make([]learned, len(groups.Centres))
	for g := range models {
		models[g] = all
		if len(models) == 1 {
			break
		}
		var own []int
		for i, m := range machines {
			if groups.Of[i] == g {
				own = append(own, m)
			}
		}
		l, err := f.learn(ctx, spec, own)
		if err != nil {
			if errors.Is(err, errNothingToLearn) {
				continue
			}
			return choice.Fitted{}, fmt.Errorf("group %d: %w", g, err)
		}
		models[g] = l
		cost.TrainingCPUSeconds += l.cost.TrainingCPUSeconds
	}
	return choice.Fitted{Cost: cost, Loss: func(ctx context.Context, machine int) (float64, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return f.loss(spec, models[groups.Nearest(f.signatures[machine])], machine)
	}}, nil
}

// GroupOfMachines is a part of a class that learns a model of its own. The coordinator
// needs nothing new for that: the part becomes a class, with a job, and the machines
// name it in their agents' configuration.
type GroupOfMachines struct {
	Class    string   `json:"class" yaml:"class"`
	Job      string   `json:"job" yaml:"job"`
	Machines []string `json:"machines" yaml:"machines"`
}

// groupsOf names the groups of all machines.
func (f *fitter) groupsOf() ([]GroupOfMachines, error) {
	var machines []int
	for i := range f.machines {
		machines = append(machines, i)
	}
	groups, err := f.group(machines)
	if err != nil {
		return nil, err
	}
	parts := make([]GroupOfMachines, len(groups.Centres))
	for g := range parts {
		suffix := "-" + string(rune('a'+g))
		parts[g].Class, parts[g].Job = f.specs[0].Class+suffix, f.specs[0].Name+suffix
	}
	for i, g := range groups.Of {
		parts[g].Machines = append(parts[g].Machines, f.machines[i].name)
	}
	return parts, nil
}

// groupText says what to do with groups.
func groupText(groups []GroupOfMachines) string {
	var b strings.Builder
	b.WriteString("\nmachines by group; give each group a job of its own in the coordinator's configuration, and its machines that class in their agents':\n\n")
	for _, g := range groups {
		fmt.Fprintf(&b, "  %s (job %s): %s\n", g.Class, g.Job, strings.Join(g.Machines, ", "))
	}
	return b.String()
}
