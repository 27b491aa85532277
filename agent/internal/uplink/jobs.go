package uplink

import (
	"encoding/json"
	"regexp"

	"github.com/millwright-iot/millwright/fedavg/fedpb"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// A job's name becomes part of a file name in the outbox.
var jobName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

// setJobs hands the coordinator's list of jobs to the node. A job that cannot be
// read is left out of it and named in the log.
func (u *Uplink) setJobs(list *fedpb.Jobs) {
	digests, byName := map[string]string{}, map[string]job.Spec{}
	specs := make([]job.Spec, 0, len(list.GetJobs()))
	for _, j := range list.GetJobs() {
		var spec job.Spec
		if err := json.Unmarshal(j.GetSpecJson(), &spec); err != nil {
			u.log.Error("job from the coordinator cannot be read", "digest", j.GetDigest(), "error", err, "mend", incompatible.mend)
			continue
		}
		if !jobName.MatchString(spec.Name) {
			u.log.Error("job from the coordinator has an unusable name", "job", spec.Name, "mend", "use 1 to 63 letters, digits, '-' and '_'")
			continue
		}
		// The digest is made of what this agent understood. If it is not the
		// coordinator's, the agent would learn something else than it was asked to.
		digest := spec.Digest()
		if digest != j.GetDigest() {
			u.log.Error("job from the coordinator means something else to this agent", "job", spec.Name, "digest", j.GetDigest(), "own_digest", digest, "mend", incompatible.mend)
		}
		digests[spec.Name] = digest
		specs = append(specs, spec.WithDefaults()) // which the JSON leaves out
		byName[spec.Name] = specs[len(specs)-1]
	}
	u.jobsMu.Lock()
	u.jobs, u.specs = digests, byName
	u.jobsMu.Unlock()
	if box := u.box.Load(); box != nil {
		if err := u.memory.sweep(box, digests, u.trainer.busy); err != nil {
			u.log.Error("what the agent remembers of former jobs cannot be deleted", "error", err, "mend", localFailure.mend)
		}
	}
	if err := u.node.SetJobs(specs); err != nil {
		u.log.Error("jobs from the coordinator cannot be kept", "error", err, "mend", localFailure.mend)
	}
}

// digestOf returns the digest of a job's spec, empty if there is no such job.
func (u *Uplink) digestOf(job string) string {
	u.jobsMu.Lock()
	defer u.jobsMu.Unlock()
	return u.jobs[job]
}

// specOf returns a job's spec with its defaults; ok is false if there is none.
func (u *Uplink) specOf(name string) (spec job.Spec, ok bool) {
	u.jobsMu.Lock()
	defer u.jobsMu.Unlock()
	spec, ok = u.specs[name]
	return spec, ok
}
