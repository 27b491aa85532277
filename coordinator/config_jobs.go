package coordinator

import (
	"fmt"

	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
	"github.com/millwright-iot/millwright/fedavg/strictyaml"
)

// place is what one live job of a class can hold.
type place struct {
	class   string
	purpose job.Purpose
}

// checkJobs returns what is wrong with each job and with all of them together.
func checkJobs(jobs []job.Spec) []problem {
	var found []problem
	names, live := map[string]int{}, map[place]int{}
	for i, spec := range jobs {
		at := func(path string) string { return fmt.Sprintf("jobs[%d].%s", i, path) }
		for _, p := range spec.Validate() {
			message := p.Message
			switch p.Path {
			case "model.kind":
				message += nearest(spec.Model.Kind, model.Kinds()...)
			case "role":
				message += nearest(spec.Role, job.Live, job.Shadow)
			}
			found = append(found, problem{at(p.Path), message})
		}
		if first, taken := names[spec.Name]; taken && spec.Name != "" {
			found = append(found, problem{at("name"), fmt.Sprintf("%q is the name of jobs[%d] already; choose another", spec.Name, first)})
		} else {
			names[spec.Name] = i
		}
		if spec.WithDefaults().Role != job.Live || spec.Class == "" {
			continue
		}
		mine := place{spec.Class, spec.Purpose()}
		if first, taken := live[mine]; taken {
			found = append(found, problem{at("role"), fmt.Sprintf(
				"class %q has a live job to %s already, jobs[%d]; a class has one for each purpose, so write `role: shadow`", spec.Class, mine.purpose, first)})
		} else {
			live[mine] = i
		}
	}
	return found
}

// nearest is a hint at the known name that was probably meant.
func nearest(name string, known ...string) string {
	if near := strictyaml.Nearest(name, known); name != "" && near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}
