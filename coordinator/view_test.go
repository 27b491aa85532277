package coordinator

import (
	"testing"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

// The page must not say that the worst alarm peaked at 8 beside a machine at 269.
func TestLasting_PeakIncludesTheNewestScore(t *testing.T) {
	raised := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	machine := func(name string, alarm bool, score float64, at time.Duration) fleet.Machine {
		return fleet.Machine{Name: name, Alarm: alarm, Score: score, At: raised.Add(at)}
	}
	gateways := []fleet.Gateway{
		{Name: "a", Machines: []fleet.Machine{machine("grows", true, 269, time.Hour), machine("falls", true, 3, time.Hour), machine("quiet", false, 9, time.Hour)}},
		{Name: "b", Machines: []fleet.Machine{machine("grows", true, 50, -time.Hour)}}, // not heard since
	}
	alarms := []fleet.Alarm{
		{Gateway: "a", Machine: "grows", Raised: raised, Peak: 8},
		{Gateway: "a", Machine: "grows", Raised: raised.Add(-time.Hour), Cleared: raised, Peak: 8},
		{Gateway: "a", Machine: "falls", Raised: raised, Peak: 8},
		{Gateway: "a", Machine: "quiet", Raised: raised, Peak: 8},
		{Gateway: "b", Machine: "grows", Raised: raised, Peak: 8},
		{Gateway: "c", Machine: "gone", Raised: raised, Peak: 8},
	}
	lasting(alarms, gateways)
	for i, want := range []float64{269, 8, 8, 8, 8, 8} {
		if alarms[i].Peak != want {
			t.Errorf("alarm %d on %s/%s peaked at %v, want %v", i, alarms[i].Gateway, alarms[i].Machine, alarms[i].Peak, want)
		}
	}
}
