package agent

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/millwright-iot/millwright/agent/internal/api"
	"github.com/millwright-iot/millwright/agent/internal/inbox"
	"github.com/millwright-iot/millwright/agent/internal/journal"
	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/agent/internal/link"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/strictyaml"
)

// newInbox makes what takes labels from the broker.
func (a *Agent) newInbox(broker link.Options) *inbox.Inbox {
	broker.ClientID = a.cfg.MQTT.ClientID + "-labels"
	keep := func(body []byte) error { _, err := a.keepLabel(body); return err }
	return inbox.New(broker, "millwright/"+a.cfg.Gateway+"/label", keep, a.labels.Flush, a.log)
}

// keepLabel reads a label and keeps it, for now in memory.
func (a *Agent) keepLabel(body []byte) (labels.Label, error) {
	l, err := labels.Decode(body)
	if err != nil {
		return l, err
	}
	if l.Kind == labels.Verdict {
		err = a.aboutEpisode(&l)
	} else {
		err = a.aboutMachine(l.Machine)
	}
	if err != nil {
		return l, fmt.Errorf("check label: %w", err)
	}
	if l, err = a.labels.Put(l); err != nil {
		return l, err
	}
	if l.Kind == labels.Verdict {
		a.judge(l.Episode)
	}
	a.log.Info("label kept", "id", l.ID, "machine", l.Machine, "kind", string(l.Kind), "class", l.Class)
	a.changed.notify()
	return l, nil
}

// aboutEpisode gives a verdict its machine and its times.
func (a *Agent) aboutEpisode(l *labels.Label) error {
	if l.Episode == "" {
		return nil // which Put says
	}
	e, ok := a.journal.Episode(l.Episode)
	switch {
	case !ok:
		return fmt.Errorf("episode %.40q is none of this gateway's newest %d alarms; see /api/v1/alarms for their ids", l.Episode, journal.MaxEpisodes)
	case l.Machine != "" && l.Machine != e.Machine:
		return fmt.Errorf("episode %s is of machine %q, not of %.40q; leave machine out", l.Episode, e.Machine, l.Machine)
	case !l.From.IsZero() || !l.To.IsZero():
		return errors.New("from and to of a verdict are its episode's; leave them out")
	}
	l.Machine, l.From, l.To = e.Machine, e.Raised, e.Cleared
	return nil
}

func (a *Agent) aboutMachine(name string) error {
	if _, ok := a.byName[name]; ok || name == "" {
		return nil // an empty name is Put's to refuse
	}
	known := slices.Sorted(maps.Keys(a.byName))
	if near := strictyaml.Nearest(name, known); near != "" {
		return fmt.Errorf("machine %.40q is not on this gateway; did you mean %q?", name, near)
	}
	return fmt.Errorf("machine %.40q is not on this gateway, which has %s", name, strings.Join(known[:min(20, len(known))], ", "))
}

// judge shows in an episode what people said of it.
func (a *Agent) judge(episode string) {
	verdict, order := "", ""
	if l, ok := a.labels.VerdictOn(episode); ok {
		verdict, order = journal.Wrong, l.Order
		if *l.Right {
			verdict = journal.Right
		}
	}
	e, newest, changed := a.journal.Judge(episode, verdict, order)
	if changed && newest && a.publisher != nil {
		// On its topic an older one would pass for how the machine is.
		a.publisher.Alarm(e)
	}
}

// judgeAll shows verdicts in their episodes that the last run did not get to.
func (a *Agent) judgeAll() {
	for _, l := range a.labels.All() {
		if l.Kind == labels.Verdict {
			a.judge(l.Episode)
		}
	}
}

// labelDocument is a label as the local interface answers it.
type labelDocument struct {
	labels.Label
	Hint string `json:"hint,omitempty"` // what the person may have meant
}

// hint says if no job knows the fault that a label names, which may come with a later one,
// or if it is none.
func (a *Agent) hint(l labels.Label) string {
	m := a.byName[l.Machine]
	if l.Class == "" || m == nil {
		return ""
	}
	var known []string
	healthy := false
	a.jobsMu.Lock()
	for _, s := range a.sortedJobs() {
		if s.spec.Class == m.Class() && s.spec.Purpose() == job.Diagnose && s.broken == "" {
			known = append(known, s.spec.Model.Softmax.Classes...)
			healthy = healthy || s.spec.Model.Softmax.Healthy == l.Class
		}
	}
	a.jobsMu.Unlock()
	switch {
	case len(known) == 0:
		return fmt.Sprintf("no job of class %s tells faults apart yet; the label is kept for one that will", m.Class())
	case healthy:
		return fmt.Sprintf("%q is what jobs call a machine in order, and still the label counts as a fault; did you mean kind healthy? Then withdraw this one", l.Class)
	case slices.Contains(known, l.Class):
		return ""
	}
	hint := fmt.Sprintf("no job of class %s knows fault %q; they know %s", m.Class(), l.Class, strings.Join(slices.Compact(slices.Sorted(slices.Values(known))), ", "))
	if near := strictyaml.Nearest(l.Class, known); near != "" {
		hint += fmt.Sprintf("; did you mean %q? Then withdraw this one", near)
	}
	return hint
}

// Labels implements api.Book.
func (v view) Labels(machine string) (int, any) {
	list := []labels.Label{}
	for _, l := range v.a.labels.All() {
		if machine == "" || l.Machine == machine {
			list = append(list, l)
		}
	}
	return http.StatusOK, map[string]any{"labels": list}
}

// Label implements api.Book.
func (v view) Label(body []byte) (int, any) {
	l, err := v.a.keepLabel(body)
	switch {
	case errors.Is(err, labels.ErrWithdrawn):
		return http.StatusConflict, api.Problem{Error: err.Error()}
	case err != nil:
		return http.StatusUnprocessableEntity, api.Problem{Error: err.Error()}
	}
	return v.durable(http.StatusCreated, l)
}

// Withdraw implements api.Book.
func (v view) Withdraw(id string) (int, any) {
	l, err := v.a.labels.Withdraw(id)
	if err != nil {
		return http.StatusNotFound, api.Problem{Error: err.Error() + "; see /api/v1/labels"}
	}
	if l.Kind == labels.Verdict {
		v.a.judge(l.Episode)
	}
	v.a.changed.notify()
	return v.durable(http.StatusOK, l)
}

// durable answers when a label is on disk.
func (v view) durable(status int, l labels.Label) (int, any) {
	if err := v.a.labels.Flush(); err != nil {
		return http.StatusServiceUnavailable, api.Problem{
			Error: "the label counts, but will be forgotten at a restart unless the disk recovers: " + err.Error(),
		}
	}
	return status, labelDocument{l, v.a.hint(l)}
}
