package lab

import (
	"fmt"
	"slices"

	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/strictyaml"
)

// CandidateJob is a job as in the coordinator's configuration, with other models that
// could take the place of its own. Only the laboratory reads Candidates: what the
// coordinator gets is the job with the model that was chosen.
type CandidateJob struct {
	job.Spec   `yaml:",inline"`
	Candidates []CandidateModel `yaml:"candidates"`
}

// ownModel names the job's own model in a comparison.
const ownModel = "as in the job"

// CandidateModel is one model to try. Strategy left out stands for the model's default.
type CandidateModel struct {
	Name     string           `yaml:"name"`
	Model    model.Spec       `yaml:"model"`
	Strategy job.StrategySpec `yaml:"strategy"`
}

// LoadCandidateJob reads a job and its candidates. When something is wrong with its
// content the error is a *strictyaml.Problems that lists all of it with line numbers.
func LoadCandidateJob(path string) (CandidateJob, error) {
	var c CandidateJob
	doc, err := strictyaml.Load(path, &c)
	if doc == nil {
		return CandidateJob{}, err
	}
	own := c.Validate()
	for _, p := range own {
		doc.Problem(p.Path, "%s", p.Message)
	}
	names := map[string]bool{}
	for i, candidate := range c.Candidates {
		at := func(path string) string { return fmt.Sprintf("candidates[%d].%s", i, path) }
		switch {
		case candidate.Name == "" || candidate.Name == ownModel:
			doc.Problem(at("name"), "is %q; give each candidate a name, other than %q", candidate.Name, ownModel)
		case names[candidate.Name]:
			doc.Problem(at("name"), "%q is the name of another candidate", candidate.Name)
		}
		names[candidate.Name] = true
		spec := c.with(candidate)
		for _, p := range spec.Validate() {
			if !slices.Contains(own, p) {
				doc.Problem(at(p.Path), "%s", p.Message)
			}
		}
		if want := c.Purpose(); want != "" && spec.Purpose() != "" && spec.Purpose() != want {
			doc.Problem(at("model.kind"), "is %q, a model to %s with, but the job is to %s; they cannot be compared", spec.Model.Kind, spec.Purpose(), want)
		}
	}
	if err := doc.Err(); err != nil {
		return CandidateJob{}, err
	}
	return c, nil
}

// with is the job with the model of a candidate.
func (c CandidateJob) with(candidate CandidateModel) job.Spec {
	spec := c.Spec
	spec.Model, spec.Strategy = candidate.Model, candidate.Strategy
	return spec.WithDefaults()
}

// specs lists the job with each of its models, its own first, and their names.
func (c CandidateJob) specs() (specs []job.Spec, names []string) {
	specs, names = append(specs, c.WithDefaults()), append(names, ownModel)
	for _, candidate := range c.Candidates {
		specs, names = append(specs, c.with(candidate)), append(names, candidate.Name)
	}
	return specs, names
}
