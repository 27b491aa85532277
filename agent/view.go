package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/journal"
	"github.com/millwright-iot/millwright/agent/internal/monitor"
	"github.com/millwright-iot/millwright/agent/internal/pipeline"
	"github.com/millwright-iot/millwright/agent/internal/publish"
	"github.com/millwright-iot/millwright/agent/internal/uplink"
)

// view is what the local interface shows of the agent. The README documents it.
type view struct{ a *Agent }

type statusDocument struct {
	Gateway     string        `json:"gateway"`
	Version     string        `json:"version"`
	Started     time.Time     `json:"started"`
	Broker      brokerStatus  `json:"broker"`
	Coordinator *uplink.State `json:"coordinator"` // null: works alone
	Samples     sampleCounts  `json:"samples"`
	Messages    messageCounts `json:"messages"`
	Store       storeStatus   `json:"store"`
	Alarms      alarmCounts   `json:"alarms"`
	Machines    []machineLine `json:"machines"`
}

type brokerStatus struct {
	Address   string `json:"address"`
	Reading   bool   `json:"reading"`    // connected and subscribed
	Writing   bool   `json:"publishing"` // connected for results
	Connected int64  `json:"connections_total"`
}

// sampleCounts: received = used + stored + the sum of dropped.
type sampleCounts struct {
	Received int64            `json:"received_total"`
	Used     int64            `json:"used_total"`
	Stored   int64            `json:"stored"` // waiting for their window
	Dropped  map[string]int64 `json:"dropped_total"`
}

// messageCounts: received = used + noted + queued + the sum of dropped.
type messageCounts struct {
	Received int64            `json:"received_total"`
	Used     int64            `json:"used_total"`
	Noted    int64            `json:"noted_total"` // of a device's state, not of a channel
	Queued   int64            `json:"queued"`
	Dropped  map[string]int64 `json:"dropped_total"`
}

type storeStatus struct {
	Stored        int64            `json:"vectors_stored_total"`
	Pending       int64            `json:"vectors_in_memory"`
	Dropped       map[string]int64 `json:"vectors_dropped_total"`
	LifetimeBytes int64            `json:"lifetime_bytes_written"`
	FileBytes     int64            `json:"file_bytes"`
	Quarantined   int64            `json:"files_quarantined_total"`
	Failure       string           `json:"failure,omitempty"`
}

type alarmCounts struct {
	Lasting      int   `json:"lasting"`
	Unpublished  int   `json:"unpublished"`  // waiting for the broker
	Unreported   int   `json:"unreported"`   // waiting for the coordinator
	ForgotTotal  int64 `json:"forgot_total"` // dropped before the coordinator had them
	DroppedTotal int64 `json:"dropped_total"`
}

type machineLine struct {
	Name     string           `json:"name"`
	Class    string           `json:"class"`
	State    infer.State      `json:"state"`
	Baseline baselineProgress `json:"baseline"`
	Score    *float64         `json:"score,omitempty"` // 1 is the alarm threshold
	Zone     string           `json:"zone,omitempty"`
	Alarm    bool             `json:"alarm"`
	Reasons  []journal.Reason `json:"reasons,omitempty"` // largest first
	infer.Advice
	At           time.Time `json:"at,omitzero"` // end of the newest window
	Job          string    `json:"job"`
	ModelVersion uint64    `json:"model_version"` // 0: the machine's own local model
}

type baselineProgress struct {
	Have int `json:"have"`
	Want int `json:"want"`
}

type machineDocument struct {
	machineLine
	Drift    []monitor.Drift   `json:"drift"`             // what is not as it was
	Quality  *qualityDocument  `json:"quality,omitempty"` // how right alarms were; absent until there are labels
	Level    float64           `json:"level"`             // offset kept after an alarm, subtracted from the score
	Episode  *journal.Episode  `json:"episode"`
	Jobs     []jobOnMachine    `json:"jobs"`
	Unserved map[string]string `json:"unserved_jobs"` // why, by job
	Samples  sampleCounts      `json:"samples"`
	Windows  int64             `json:"windows_total"`
	Refused  map[string]int64  `json:"windows_refused_total"`
	// Windows that were not whole, since the job began or the clock jumped, and how
	// often each channel was silent for too long in one.
	Skipped int64            `json:"windows_skipped"`
	Absent  map[string]int64 `json:"windows_skipped_by_channel"`
	// FalseAlarms is there if the live job has a budget for them.
	FalseAlarms *infer.Budget `json:"false_alarms,omitempty"`
}

type jobOnMachine struct {
	Job          string           `json:"job"`
	Role         string           `json:"role"`
	State        infer.State      `json:"state"`
	Baseline     baselineProgress `json:"baseline"`
	Cycles       int              `json:"cycles,omitempty"` // of the life that lasts, of a job to prognose
	Score        float64          `json:"score"`
	Zone         string           `json:"zone,omitempty"`
	ModelVersion uint64           `json:"model_version"`
}

// Status implements api.View.
func (v view) Status() any {
	a := v.a
	src, st := a.messages(), a.store.Stats()
	pub := a.published()
	d := statusDocument{
		Gateway: a.cfg.Gateway, Version: a.cfg.Version, Started: a.started.UTC(),
		Broker:  brokerStatus{Address: a.cfg.MQTT.Broker, Reading: src.Connected, Writing: pub.Connected, Connected: src.Connections},
		Samples: sampleCounts(a.counts()),
		Messages: messageCounts{
			Received: src.Received, Used: src.Emitted, Noted: src.Noted, Queued: src.Queued, Dropped: byReason(src.Dropped),
		},
		Store: storeStatus(st),
		Alarms: alarmCounts{
			Unpublished: pub.AlarmsQueued, Unreported: len(a.unreported()), ForgotTotal: a.forgot(), DroppedTotal: pub.AlarmsDropped,
		},
	}
	if a.uplink != nil {
		s := a.uplink.State()
		d.Coordinator = &s
	}
	for _, m := range a.machines {
		s := m.Status()
		if s.Alarm.Active {
			d.Alarms.Lasting++
		}
		d.Machines = append(d.Machines, line(&s))
	}
	return d
}

// Machines implements api.View.
func (v view) Machines() any {
	list := make([]machineDocument, len(v.a.machines))
	for i, m := range v.a.machines {
		list[i] = v.machine(m)
	}
	return map[string]any{"machines": list}
}

// Machine implements api.View.
func (v view) Machine(name string) (any, bool) {
	m, ok := v.a.byName[name]
	if !ok {
		return nil, false
	}
	return v.machine(m), true
}

func (v view) machine(m *pipeline.Machine) machineDocument {
	s := m.Status()
	d := machineDocument{
		machineLine: line(&s), Level: s.Alarm.Level, Unserved: s.Unserved, Samples: sampleCounts(s.Counts),
		Windows: s.Windows, Refused: s.Refused, Skipped: s.Skipped, Absent: s.Absent, FalseAlarms: s.FalseAlarms,
	}
	if e, ok := v.a.journal.Lasting(s.Name); ok {
		d.Episode = &e
	}
	drift, quality := v.a.watches.of(s.Name)
	d.Drift, d.Quality = append([]monitor.Drift{}, drift...), newQualityDocument(quality)
	for _, j := range s.Jobs {
		d.Jobs = append(d.Jobs, jobOnMachine{
			Job: j.Job, Role: j.Role, State: j.State, Baseline: baselineProgress{j.Have, j.Want}, Cycles: j.Cycles,
			Score: j.Score, Zone: string(j.Zone), ModelVersion: j.Version,
		})
	}
	return d
}

func line(s *pipeline.Status) machineLine {
	l := machineLine{
		Name: s.Name, Class: s.Class, State: s.State, Baseline: baselineProgress{s.Have, s.Want},
		Alarm: s.Alarm.Active, At: s.Output.At, Job: s.Job, ModelVersion: s.Output.Version,
	}
	l.Life = s.Output.Advice.Life // known before there is a baseline, and while the machine is off
	if s.Output.State == infer.Running {
		score := s.Output.Score
		l.Score, l.Zone, l.Reasons = &score, string(s.Output.Zone), reasons(s.Output.Reasons)
		l.Advice = s.Output.Advice
	}
	return l
}

// Alarms implements api.View.
func (v view) Alarms() any {
	return map[string]any{"alarms": v.a.journal.Episodes(journal.MaxEpisodes)}
}

type jobDocument struct {
	Name    string `json:"name"`
	Class   string `json:"class"`
	Role    string `json:"role"`
	Purpose string `json:"purpose"` // detect, diagnose or prognose
	Model   string `json:"model"`
	Digest  string `json:"digest"`
	Version uint64 `json:"model_version"`
	Ready   bool   `json:"ready"` // could take part in a round now
	Samples uint64 `json:"samples"`
	Reason  string `json:"reason,omitempty"` // why not ready
	Spec    any    `json:"spec"`
}

// Jobs implements api.View.
func (v view) Jobs() any {
	v.a.jobsMu.Lock()
	list := v.a.sortedJobs()
	v.a.jobsMu.Unlock()
	docs := make([]jobDocument, len(list))
	for i, j := range list {
		r := v.a.readiness(j)
		docs[i] = jobDocument{
			Name: j.spec.Name, Class: j.spec.Class, Role: j.spec.Role, Purpose: string(j.spec.Purpose()), Model: j.spec.Model.Kind, Digest: j.digest,
			Version: node(v).Installed(j.spec.Name), Ready: r.Ready, Samples: r.Samples, Reason: r.Reason, Spec: j.spec,
		}
	}
	return map[string]any{"jobs": docs}
}

type modelDocument struct {
	Job      string            `json:"job"`
	Version  uint64            `json:"version"`  // 0: none received yet
	Machines map[string]uint64 `json:"machines"` // version in use, 0 being the machine's own model
}

// Models implements api.View.
func (v view) Models() any {
	v.a.jobsMu.Lock()
	list := v.a.sortedJobs()
	v.a.jobsMu.Unlock()
	docs := make([]modelDocument, len(list))
	for i, j := range list {
		docs[i] = modelDocument{Job: j.spec.Name, Version: node(v).Installed(j.spec.Name), Machines: map[string]uint64{}}
	}
	for _, m := range v.a.machines {
		for _, on := range m.Status().Jobs {
			for i := range docs {
				if docs[i].Job == on.Job {
					docs[i].Machines[m.Name()] = on.Version
				}
			}
		}
	}
	return map[string]any{"models": docs}
}

// Config implements api.View: the configuration under the names of the file,
// without secrets.
func (v view) Config() any {
	cfg := v.a.cfg
	if c := cfg.Coordinator; c != nil {
		redacted := *c
		if redacted.Token != "" {
			redacted.Token = "(set)"
		}
		cfg.Coordinator = &redacted
	}
	text, err := yaml.Marshal(cfg)
	var doc map[string]any
	if err == nil {
		err = yaml.Unmarshal(text, &doc)
	}
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	return doc
}

type healthDocument struct {
	Status string   `json:"status"` // ok, idle, degraded or stuck
	Notes  []string `json:"notes"`  // what a person should know
}

// Health implements api.View. The agent is healthy while it makes progress or has
// nothing to do; what it works without is in the notes.
func (v view) Health() (any, bool) {
	a := v.a
	now := time.Now()
	if stuck := a.pulse.stuck(now); len(stuck) > 0 {
		return healthDocument{"stuck", stuck}, false
	}
	d := healthDocument{Status: "ok", Notes: []string{}}
	src := a.messages()
	switch {
	case a.sources.mqtt == nil:
	case !src.Connected:
		d.Status = "idle"
		d.Notes = append(d.Notes, "broker is not connected: no sensor data; trying again")
	case src.Received == 0:
		d.Status = "idle"
		d.Notes = append(d.Notes, "no message received yet; check the topics of the channels")
	}
	degraded := func(note string) {
		d.Status = "degraded"
		d.Notes = append(d.Notes, note)
	}
	if f := a.store.Stats().Failure; f != "" {
		degraded("samples are kept in memory only: " + f)
	}
	if a.uplink != nil {
		if s := a.uplink.State(); !s.Connected {
			d.Notes = append(d.Notes, "coordinator is not connected: "+s.LastError)
		}
	}
	d.Notes = append(d.Notes, a.sources.troubles()...)
	if names := a.newcomers.strangers(); len(names) > 0 {
		d.Notes = append(d.Notes, fmt.Sprintf("machines %s are heard of, but there are as many as may be discovered: raise discover, or remove one from %s", strings.Join(names, ", "), a.cfg.discoveredPath()))
	}
	for _, m := range a.machines {
		s := m.Status()
		if b := s.FalseAlarms; b != nil && (b.Held == 0 || b.Held > b.Asked) {
			d.Notes = append(d.Notes, fmt.Sprintf("machine %s cannot promise at most %g false alarms a month yet: it takes %d windows in order, and %d were seen; until then its threshold is at least the usual one", s.Name, b.Asked, b.Needs, b.Windows))
		}
		if s.State != infer.Stale && s.State != infer.Waiting {
			continue
		}
		note := fmt.Sprintf("machine %s is %s: no complete window", s.Name, s.State)
		if len(s.Gone) > 0 {
			note = fmt.Sprintf("machine %s is %s: gone by their own word: %s", s.Name, s.State, strings.Join(s.Gone, ", "))
		}
		for _, ch := range slices.Sorted(maps.Keys(s.Absent)) {
			note += fmt.Sprintf("; channel %s was silent too long in %d windows: check its sensor, or use a longer window", ch, s.Absent[ch])
		}
		d.Notes = append(d.Notes, note)
	}
	return d, true
}

// published returns the publisher's counts, zero without one.
func (a *Agent) published() publish.Stats {
	if a.publisher == nil {
		return publish.Stats{}
	}
	return a.publisher.Stats()
}

// unreported returns the episodes the coordinator does not have; none without one.
func (a *Agent) unreported() []journal.Episode {
	if a.uplink == nil {
		return nil
	}
	return a.journal.Unacked()
}

func (a *Agent) forgot() int64 {
	if a.uplink == nil {
		return 0
	}
	return a.journal.Forgot()
}

func byReason[K ~string](counts map[K]int64) map[string]int64 {
	out := make(map[string]int64, len(counts))
	for reason, n := range maps.All(counts) {
		out[string(reason)] = n
	}
	return out
}
