package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/millwright-iot/millwright/agent/lab"
	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

// summary is what a demonstration ends with, on the screen and in demo.json.
type summary struct {
	Scenario string           `json:"scenario"`
	Machines []machineSummary `json:"machines"`
	Rounds   []roundSummary   `json:"rounds"`
	Recorded *lab.Line        `json:"recorded,omitempty"` // against the labels, when recorded data was replayed
	Problems []string         `json:"problems"`           // empty when all went as it should
}

type machineSummary struct {
	Machine string  `json:"machine"`
	Gateway string  `json:"gateway"`
	State   string  `json:"state"`
	Zone    string  `json:"zone"`
	Score   float64 `json:"score"`
	Alarms  int     `json:"alarms"`
	Fault   string  `json:"fault,omitempty"`
	// Begins is when the fault began, DelayS how many seconds of the machine's
	// time later it alarmed.
	Begins *time.Time `json:"fault_begins,omitempty"`
	DelayS *float64   `json:"detection_delay_s,omitempty"`
	Recall *float64   `json:"recall,omitempty"` // of anomalous rows
	FAR    *float64   `json:"far,omitempty"`    // of normal rows
}

type roundSummary struct {
	Job          string   `json:"job"`
	Round        uint64   `json:"round"`
	State        string   `json:"state"`
	Participants int      `json:"participants"`
	Loss         *float64 `json:"loss,omitempty"`
	Bytes        uint64   `json:"bytes"`
	Seconds      float64  `json:"seconds"`
}

// detection returns how long after its fault began a machine alarmed. An alarm
// that was raised before the fault began does not count.
func detection(m machine, alarms []fleet.Alarm) (delay time.Duration, found bool) {
	for _, a := range alarms {
		if a.Raised.After(m.begins) {
			return a.Raised.Sub(m.begins), true
		}
	}
	return 0, false
}

// summarize judges the last state; failure is why the scenario ended early, if
// it did.
func summarize(s scenario, last fleet.Snapshot, failure error) *summary {
	sum := &summary{Scenario: s.name, Problems: []string{}}
	if failure != nil {
		sum.problem("%v", failure)
	}
	recorded := lab.Line{Source: lab.Ours, Name: s.jobs[0].Model.Kind, Learning: lab.Federated}
	for _, m := range s.machines {
		alarms := episodes(last, m.name)
		line := machineSummary{Machine: m.name, Gateway: m.gateway, Alarms: len(alarms), Fault: m.fault}
		if state := machineOf(last, m.gateway, m.name); state != nil {
			line.State, line.Zone, line.Score = state.State, state.Zone, state.Score
		}
		switch {
		case m.truth != nil:
			said := m.truth.said(alarms)
			recorded.Add(m.truth.SKABFile, said)
			var c lab.Confusion
			c.Add(m.truth.Truth[lab.SKABHead:], said[lab.SKABHead:])
			line.Recall, line.FAR = new(c.Recall()), new(c.FAR())
		default:
			sum.judge(&line, m, alarms)
		}
		sum.Machines = append(sum.Machines, line)
	}
	if s.machines[0].truth != nil {
		sum.Recorded = new(recorded.Done())
	}
	sum.addRounds(s, last)
	return sum
}

// judge adds what became of a generated machine's fault.
func (sum *summary) judge(line *machineSummary, m machine, alarms []fleet.Alarm) {
	early := 0
	for _, a := range alarms {
		if m.fault == "" || !a.Raised.After(m.begins) {
			early++
		}
	}
	if early > 0 {
		sum.problem("%s alarmed %d times while it was healthy", m.name, early)
	}
	if m.fault == "" {
		return
	}
	line.Begins = new(m.begins)
	delay, found := detection(m, alarms)
	if !found {
		sum.problem("%s: %s was not found", m.name, m.fault)
		return
	}
	line.DelayS = new(delay.Seconds())
}

func (sum *summary) addRounds(s scenario, last fleet.Snapshot) {
	committed := map[string]int{}
	for i := len(last.Rounds) - 1; i >= 0; i-- {
		r := last.Rounds[i]
		if r.State == "open" {
			continue
		}
		line := roundSummary{Job: r.Job, Round: r.Round, State: r.State, Participants: received(r), Bytes: r.BytesIn + r.BytesOut, Seconds: r.Seconds}
		if loss, ok := r.Metrics["loss"]; ok {
			line.Loss = new(loss)
		}
		sum.Rounds = append(sum.Rounds, line)
		if r.State == "committed" {
			committed[r.Job]++
		} else {
			sum.problem("round %d of %s was %s: %s", r.Round, r.Job, r.State, r.Reason)
		}
	}
	for _, j := range s.jobs {
		if committed[j.Name] < s.rounds {
			sum.problem("%s committed %d of %d rounds", j.Name, committed[j.Name], s.rounds)
		}
	}
}

func (sum *summary) problem(format string, args ...any) {
	sum.Problems = append(sum.Problems, fmt.Sprintf(format, args...))
}

// verdict is an error that lists what did not go as it should.
func (sum *summary) verdict() error {
	var errs []error
	for _, p := range sum.Problems {
		errs = append(errs, errors.New(p))
	}
	return errors.Join(errs...)
}

func (sum *summary) save(path string) error {
	data, err := json.MarshalIndent(sum, "", "  ")
	if err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// write prints the tables.
func (sum *summary) write(out io.Writer) {
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if sum.Recorded == nil {
		fmt.Fprintln(w, "machine\tgateway\tzone\tscore\talarms\tfault\tbegan\tfound after")
	} else {
		fmt.Fprintln(w, "machine\tgateway\tzone\tscore\talarms\trecall %\tfalse alarms %")
	}
	for _, m := range sum.Machines {
		fmt.Fprintf(w, "%s\t%s\t%s\t%.2f\t%d\t", m.Machine, m.Gateway, m.Zone, m.Score, m.Alarms)
		if m.Recall != nil {
			fmt.Fprintf(w, "%.1f\t%.1f\n", 100**m.Recall, 100**m.FAR)
			continue
		}
		fault, began, delay := "–", "–", "–"
		if m.Begins != nil {
			fault, began = m.Fault, m.Begins.Format(time.TimeOnly)
		}
		if m.DelayS != nil {
			delay = fmt.Sprintf("%.0f s", *m.DelayS)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", fault, began, delay)
	}
	fmt.Fprintln(w, "\njob\tround\tstate\tparticipants\tloss\tbytes\tduration")
	for _, r := range sum.Rounds {
		loss := "–"
		if r.Loss != nil {
			loss = fmt.Sprintf("%.4f", *r.Loss)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\t%s\t%.0f ms\n", r.Job, r.Round, r.State, r.Participants, loss, bytesText(r.Bytes), 1000*r.Seconds)
	}
	w.Flush()
	if l := sum.Recorded; l != nil {
		fmt.Fprintf(out, "\nAgainst the labels (causal, blind to position, first %d rows of each file not scored):\n", lab.SKABHead)
		fmt.Fprintf(out, "F1 %.3f   FAR %.1f %%   MAR %.1f %%   events found %d of %d, median delay %.0f s, %.1f false episodes an hour\n",
			l.F1, 100**l.FAR, 100**l.MAR, l.Detected, l.Events, l.MedianDelayS, l.FalsePerHour)
	}
}
