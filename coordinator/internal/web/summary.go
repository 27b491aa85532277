package web

import (
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

// zones in order of danger.
var zones = [...]string{"A", "B", "C", "D"}

// summary is the fleet at a glance: the tiles of the page, and /api/v1/fleet.
type summary struct {
	At       time.Time `json:"at"`
	Version  string    `json:"version"`
	Started  time.Time `json:"started"`
	Gateways struct {
		Enrolled  int `json:"enrolled"`
		Connected int `json:"connected"`
	} `json:"gateways"`
	Machines struct {
		Total    int            `json:"total"`
		ByZone   map[string]int `json:"by_zone"` // always all of A..D
		Unscored int            `json:"unscored"`
		ByState  map[string]int `json:"by_state"`
	} `json:"machines"`
	AlarmsActive int         `json:"alarms_active"`
	RoundsOpen   []openRound `json:"rounds_open"`
}

type openRound struct {
	Job          string    `json:"job"`
	Round        uint64    `json:"round"`
	Attempt      uint32    `json:"attempt"`
	Received     int       `json:"received"`
	Participants int       `json:"participants"`
	Started      time.Time `json:"started"`
	Deadline     time.Time `json:"deadline,omitzero"`
}

func summarise(s *fleet.Snapshot) summary {
	sum := summary{At: s.At, Version: s.Version, Started: s.Started, RoundsOpen: []openRound{}}
	sum.Machines.ByZone = map[string]int{}
	for _, z := range zones {
		sum.Machines.ByZone[z] = 0
	}
	sum.Machines.ByState = map[string]int{}
	sum.Gateways.Enrolled = len(s.Gateways)
	for _, g := range s.Gateways {
		if g.Connected {
			sum.Gateways.Connected++
		}
		for _, m := range g.Machines {
			sum.Machines.Total++
			sum.Machines.ByState[m.State]++
			if zoneIndex(m.Zone) < 0 {
				sum.Machines.Unscored++
			} else {
				sum.Machines.ByZone[m.Zone]++
			}
		}
	}
	for _, a := range s.Alarms {
		if a.Cleared.IsZero() {
			sum.AlarmsActive++
		}
	}
	for _, r := range s.Rounds {
		if r.State == "open" {
			sum.RoundsOpen = append(sum.RoundsOpen, openRound{Job: r.Job, Round: r.Round, Attempt: r.Attempt,
				Received: countState(r.Participants, "received"), Participants: len(r.Participants),
				Started: r.Started, Deadline: r.Deadline})
		}
	}
	return sum
}

// zoneIndex orders zones by danger; -1 is not a zone.
func zoneIndex(zone string) int {
	for i, z := range zones {
		if z == zone {
			return i
		}
	}
	return -1
}

func countState(participants []fleet.Participant, state string) int {
	n := 0
	for _, p := range participants {
		if p.State == state {
			n++
		}
	}
	return n
}
