package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/agent/lab"
	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

const (
	recordedGateways = 3
	recordedSpeed    = 40 // rows a second and machine
)

// recording is a file of the benchmark with what was true at each row.
type recording struct{ lab.SKABFile }

// recordedScenario makes each labelled file in dir a machine, spread over the
// gateways. The agents never see the labels.
func recordedScenario(dir string, rounds int) (scenario, error) {
	files, err := lab.FindSKAB(dir)
	if err != nil {
		return scenario{}, err
	}
	if len(files) < recordedGateways {
		return scenario{}, fmt.Errorf("replay %s: %d files; at least %d are needed, one a gateway", dir, len(files), recordedGateways)
	}
	s := scenario{name: dir, rounds: rounds, holds: true, limit: 10 * time.Minute}
	var sensors strings.Builder
	sensors.WriteString("machines:\n")
	for i, f := range files {
		m := machine{
			name: strings.ReplaceAll(f.Name, "/", "-"), class: "skab-pump",
			gateway: fmt.Sprintf("hall-%d", i*recordedGateways/len(files)+1),
			truth:   &recording{f}, last: f.Times[len(f.Times)-1],
		}
		for _, c := range lab.SKABColumns {
			m.channels = append(m.channels, channel{
				Name: c.Channel, Topic: "plant/" + m.name + "/row", Unit: c.Unit, Format: "json", Path: c.Column, TimePath: "t",
			})
		}
		path, err := filepath.Abs(f.Path)
		if err != nil {
			return scenario{}, err
		}
		fmt.Fprintf(&sensors, "  - name: %s\n    replay:\n      file: %q\n      time_column: %s\n      omit: [%s, changepoint]\n      speed: %d\n      hold_after_row: %d\n",
			m.name, path, lab.SKABTimeColumn, lab.SKABLabel, recordedSpeed, lab.SKABHead)
		s.machines = append(s.machines, m)
	}
	s.sensors = sensors.String()
	live := lab.SKABJob(model.KindGaussian)
	live.Rounds = job.RoundPolicy{Every: time.Second, MinParticipants: recordedGateways, Deadline: time.Minute, Count: rounds}
	shadow := lab.SKABJob(model.KindAutoencoder)
	shadow.Role, shadow.Rounds = job.Shadow, live.Rounds
	s.jobs = []job.Spec{live, shadow}
	return s, nil
}

// said returns, for each row, whether the machine was in alarm by the window
// that ended with it.
func (r *recording) said(alarms []fleet.Alarm) []bool {
	said := make([]bool, len(r.Times))
	for i, t := range r.Times {
		end := t.Add(time.Second)
		said[i] = slices.ContainsFunc(alarms, func(a fleet.Alarm) bool {
			return !a.Raised.After(end) && (a.Cleared.IsZero() || a.Cleared.After(end))
		})
	}
	return said
}
