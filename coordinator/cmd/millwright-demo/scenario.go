package main

import (
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// scenario is what the federation is made of, generated or recorded.
type scenario struct {
	name     string
	machines []machine
	jobs     []job.Spec // the first one is live
	sensors  string     // sensorsim's configuration, without the broker
	holds    bool       // sensorsim waits for "continue" after the healthy heads
	rounds   int        // committed rounds a job ends with; 0: no end
	limit    time.Duration
}

// machine is one machine and what is known to be true of it.
type machine struct {
	name, class, gateway string
	channels             []channel

	fault  string    // what goes wrong, empty if nothing does; generated machines
	begins time.Time // when the fault begins
	truth  *recording
	last   time.Time // of the last sample; zero: no end
}

// channel is a line of the agent's configuration.
type channel struct {
	Name, Topic, Unit, Format string
	Path, TimePath            string  // of JSON
	RateHz                    float64 // of a burst
	Header                    string
}

// gateways returns the names of the scenario's gateways, in order.
func (s *scenario) gateways() []string {
	var names []string
	for _, m := range s.machines {
		if len(names) == 0 || names[len(names)-1] != m.gateway {
			names = append(names, m.gateway)
		}
	}
	return names
}

// episodes returns the alarms of a machine, oldest first.
func episodes(s fleet.Snapshot, machine string) []fleet.Alarm {
	var list []fleet.Alarm
	for i := len(s.Alarms) - 1; i >= 0; i-- {
		if s.Alarms[i].Machine == machine {
			list = append(list, s.Alarms[i])
		}
	}
	return list
}

// roundsDone says that every job has committed all its rounds.
func roundsDone(s fleet.Snapshot) bool {
	for _, j := range s.Jobs {
		if !j.Done {
			return false
		}
	}
	return len(s.Jobs) > 0
}

// machineOf returns the state of a machine, nil before its agent reported any.
func machineOf(s fleet.Snapshot, gateway, name string) *fleet.Machine {
	for i := range s.Gateways {
		if s.Gateways[i].Name != gateway {
			continue
		}
		for j := range s.Gateways[i].Machines {
			if m := &s.Gateways[i].Machines[j]; m.Name == name {
				return m
			}
		}
	}
	return nil
}
