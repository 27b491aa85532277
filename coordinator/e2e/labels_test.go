package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// label gives a label to a gateway as a maintenance system would.
func (g *gateway) label(document map[string]any) {
	g.t.Helper()
	body, err := json.Marshal(document)
	if err != nil {
		g.t.Fatal(err)
	}
	resp, err := web.Post(g.url+"/api/v1/labels", "application/json", bytes.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusCreated {
		g.t.Fatalf("label %s: %s: %s", body, resp.Status, answer)
	}
}

// fault is what a gateway says of the machine's newest window; empty if nothing.
func (g *gateway) fault(machine string) string {
	g.t.Helper()
	var m struct {
		Fault struct {
			Class       string  `json:"class"`
			Probability float64 `json:"probability"`
		} `json:"fault"`
	}
	if err := getJSON(g.url+"/api/v1/machines/"+machine, &m); err != nil {
		g.t.Fatal(err)
	}
	if p := m.Fault.Probability; m.Fault.Class != "" && !(p > 0 && p <= 1) {
		g.t.Errorf("fault of %s has probability %v", machine, p)
	}
	return m.Fault.Class
}

// at is the event time of a machine's next row.
func (h *history) at() time.Time { return epoch.Add(time.Duration(h.second) * time.Second) }

// Two plants have had a fault each and say so. A third, which has seen neither, names
// both.
func TestFederation_NamesFaultsSeenElsewhere(t *testing.T) {
	rounds := job.RoundPolicy{Every: 200 * time.Millisecond, MinParticipants: 2, Deadline: 20 * time.Second}
	detect := jobs(rounds)[0]
	diagnose := detect
	diagnose.Name, diagnose.Strategy = "pump-faults", job.StrategySpec{}
	diagnose.Model = model.Spec{Kind: model.KindSoftmax, Softmax: &model.SoftmaxSpec{
		Classes: []string{"ok", "leak", "blocked"}, Healthy: "ok", LearningRate: 0.05, Epochs: 10,
	}}
	f := newFederation(t, []job.Spec{detect, diagnose.WithDefaults()})
	for _, g := range f.gateways {
		g.start()
		f.joined(g)
	}
	leaks, blocked, stranger := f.machines["pump-1"], f.machines["pump-3"], f.machines["pump-5"]
	const healthySeconds = windowSeconds*(baseline+30) + 1
	for _, m := range []*history{leaks, blocked, stranger} {
		m.publish(healthySeconds, 0)
	}
	leakedFrom := leaks.at()
	leaks.publish(15*windowSeconds, -1.5)
	leakedTo := leaks.at()
	leaks.publish(10*windowSeconds, 0)
	blocked.publish(15*windowSeconds, 1.5)
	blocked.publish(10*windowSeconds, 0)

	s := f.waitFor("both alarms to be over", func(s fleet.Snapshot) bool {
		return len(s.Alarms) == 2 && !s.Alarms[0].Cleared.IsZero() && !s.Alarms[1].Cleared.IsZero()
	})
	f.waitFor("the gateways to miss labels", func(s fleet.Snapshot) bool {
		i := slices.IndexFunc(s.Jobs, func(j fleet.Job) bool { return j.Name == "pump-faults" })
		for _, g := range everyone {
			if why := s.Jobs[i].Waiting[g]; !strings.Contains(why, `no labels yet, so all windows are of class "ok"`) {
				return false
			}
		}
		return true
	})
	if r := newest(s, "pump-faults"); r.Round != 0 {
		t.Errorf("without labels there was a round: %+v", r)
	}
	if class := f.gateways[0].fault("pump-1"); class != "" {
		t.Errorf("before anything was learned the fault is %q", class)
	}

	// One plant confirms the fault, the other that its alarm was right, and of what.
	f.gateways[0].label(map[string]any{"id": "WO-1", "machine": "pump-1", "kind": "fault", "class": "leak", "from": leakedFrom, "to": leakedTo, "order": "WO-1"})
	i := slices.IndexFunc(s.Alarms, func(a fleet.Alarm) bool { return a.Machine == "pump-3" })
	f.gateways[1].label(map[string]any{"kind": "verdict", "episode": s.Alarms[i].ID, "right": true, "class": "blocked", "order": "WO-2"})
	f.waitFor("the verdict at the coordinator", func(s fleet.Snapshot) bool {
		i := slices.IndexFunc(s.Alarms, func(a fleet.Alarm) bool { return a.Machine == "pump-3" })
		return s.Alarms[i].Verdict == "right"
	})
	s = f.waitFor("rounds of the two that have labels", func(s fleet.Snapshot) bool { return newest(s, "pump-faults").Round >= 8 })
	for _, r := range s.Rounds {
		if names := receivedFrom(r); r.Job == "pump-faults" && r.State == "committed" && !slices.Equal(names, everyone[:2]) {
			t.Errorf("round %d is of %v", r.Round, names)
		}
	}

	third := f.gateways[2]
	for _, c := range []struct {
		offsetBar float64
		class     string
	}{{0, "ok"}, {-1.5, "leak"}, {0, "ok"}, {1.5, "blocked"}} {
		stranger.publish(10*windowSeconds, c.offsetBar)
		eventually(t, "the third gateway to say "+c.class, func() bool { return third.fault("pump-5") == c.class },
			func() string { return fmt.Sprintf("at %v bar it says %q", c.offsetBar, third.fault("pump-5")) })
	}
	f.waitFor("its alarms with their faults at the coordinator", func(s fleet.Snapshot) bool {
		named := map[string]bool{}
		for _, a := range s.Alarms {
			if a.Gateway == "hall-3" && a.Fault != nil {
				named[a.Fault.Class] = true
			}
		}
		return named["leak"] && named["blocked"]
	})
}
