package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/millwright-iot/millwright/coordinator/internal/enrol"
	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

// InQuarantine is one gateway in quarantine for one job.
type InQuarantine struct {
	Gateway string `json:"gateway"`
	fleet.Quarantine
}

// QuarantineList returns who is in quarantine, by job and gateway.
func (c *Coordinator) QuarantineList() []InQuarantine {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := []InQuarantine{}
	for _, j := range c.jobs {
		list = append(list, j.inQuarantine()...)
	}
	return list
}

// inQuarantine is QuarantineList of one job. c.mu is held.
func (j *jobState) inQuarantine() []InQuarantine {
	if j.quarantine == nil {
		return nil // not loaded
	}
	var list []InQuarantine
	for _, e := range j.quarantine.Entries() {
		list = append(list, InQuarantine{e.Gateway, fleet.Quarantine{
			Job: j.spec.Name, Round: e.Round, Since: e.Since, Check: string(e.Check), Reason: e.Reason,
			Clean: e.Clean, ReleaseAfter: max(0, j.spec.Quarantine.ReleaseAfter),
		}})
	}
	return list
}

// inQuarantine returns by gateway what it is in quarantine for. c.mu is held.
func (c *Coordinator) inQuarantine() map[string][]fleet.Quarantine {
	by := map[string][]fleet.Quarantine{}
	for _, j := range c.jobs {
		for _, q := range j.inQuarantine() {
			by[q.Gateway] = append(by[q.Gateway], q.Quarantine)
		}
	}
	return by
}

// QuarantineRelease takes a gateway out of quarantine for the job named, or for
// all jobs if job is "", and returns for which it was in.
func (c *Coordinator) QuarantineRelease(ctx context.Context, gateway, job string) ([]string, error) {
	released := []string{}
	for _, j := range c.jobs {
		if job != "" && j.spec.Name != job {
			continue
		}
		was, err := j.quarantine.Release(ctx, gateway)
		if err != nil {
			return released, err
		}
		if was {
			released = append(released, j.spec.Name)
			c.log.Info("released gateway from quarantine by hand", "gateway", gateway, "job", j.spec.Name)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notify()
	return released, c.knowsJob(job)
}

// aboutGateway is the body of requests about one gateway.
type aboutGateway struct {
	Gateway string `json:"gateway"`
	Job     string `json:"job"` // "" is all jobs
}

// The command line's requests; see enrol.MorePath.
const (
	pathQuarantine = enrol.MorePath + "quarantine"
	pathRelease    = enrol.MorePath + "release"
	pathForget     = enrol.MorePath + "forget"
)

// adminHandler serves the command line's requests about jobs, on the socket that
// only this user can open.
func (c *Coordinator) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathQuarantine, func(w http.ResponseWriter, _ *http.Request) {
		c.answer(w, c.QuarantineList(), nil)
	})
	mux.HandleFunc("POST "+pathRelease, func(w http.ResponseWriter, r *http.Request) {
		c.about(w, r, func(a aboutGateway) (any, error) { return c.QuarantineRelease(r.Context(), a.Gateway, a.Job) })
	})
	mux.HandleFunc("POST "+pathForget, func(w http.ResponseWriter, r *http.Request) {
		c.about(w, r, func(a aboutGateway) (any, error) { return c.Forget(r.Context(), a.Gateway, a.Job) })
	})
	return mux
}

// about reads what a request is about, and answers it.
func (c *Coordinator) about(w http.ResponseWriter, r *http.Request, do func(aboutGateway) (any, error)) {
	var a aboutGateway
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10))
	dec.DisallowUnknownFields()
	err := dec.Decode(&a)
	if err == nil {
		err = errors.Join(enrol.CheckGatewayName(a.Gateway), c.knowsJob(a.Job))
	}
	var value any
	if err == nil {
		value, err = do(a)
	}
	c.answer(w, value, err)
}

func (c *Coordinator) answer(w http.ResponseWriter, value any, err error) {
	status := http.StatusOK
	if err != nil {
		status, value = http.StatusBadRequest, map[string]string{"error": err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(value); err != nil {
		c.log.Debug("answer command line", "error", err) // it went away
	}
}

// Admin asks the coordinator that runs on a data directory, over its socket.
type Admin struct{ client *enrol.Admin }

// NewAdmin returns the client of the coordinator on dataDir, running or not.
func NewAdmin(dataDir string) Admin { return Admin{enrol.NewAdmin(dataDir)} }

// Quarantine is Coordinator.QuarantineList.
func (a Admin) Quarantine(ctx context.Context) (list []InQuarantine, err error) {
	err = a.client.Do(ctx, http.MethodGet, pathQuarantine, nil, &list)
	return list, err
}

// Release is Coordinator.QuarantineRelease.
func (a Admin) Release(ctx context.Context, gateway, job string) (jobs []string, err error) {
	err = a.client.Do(ctx, http.MethodPost, pathRelease, aboutGateway{gateway, job}, &jobs)
	return jobs, err
}

// Forget is Coordinator.Forget.
func (a Admin) Forget(ctx context.Context, gateway, job string) (results []Forgotten, err error) {
	err = a.client.Do(ctx, http.MethodPost, pathForget, aboutGateway{gateway, job}, &results)
	return results, err
}
