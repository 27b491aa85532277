package coordinator

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
)

// drift reports that the agent's pump drifts since some time.
func (a *agent) drift(subject string, since time.Time) {
	s := a.status(true, "")
	m := fleet.Machine{Name: "pump-1", Class: "pump", State: "running", Zone: "A", Score: 0.3}
	if !since.IsZero() {
		m.Drift = []fleet.Drift{{Monitor: "psi", Subject: subject, Kind: "data", Statistic: 0.4, Limit: 0.1, Since: since}}
	}
	m.Versions = []fleet.VersionQuality{{Job: "pump", ModelVersion: 1, Quality: fleet.Quality{FalsePositives: 2, Hours: 30}}}
	s.Machines = []fleet.Machine{m}
	a.f.c.Status(a.name, s)
}

func scrape(t *testing.T, c *Coordinator) string {
	t.Helper()
	families, err := c.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

// A job whose rounds are a month apart holds one early round when its class begins to
// drift, and no second one for the same drift; a single machine, or drift that the last
// round has seen, brings nothing forward.
func TestRound_OnDrift(t *testing.T) {
	for _, asked := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			spec := pumpJob("pump")
			spec.Rounds.Every, spec.Rounds.OnDrift = 30*24*time.Hour, asked
			began := time.Now()
			f := startFixtureLater(t, testConfig(spec), memstore.New(), time.Second)
			defer f.stop()
			var agents []*agent
			for _, name := range names(10) {
				agents = append(agents, f.join(name))
			}
			time.Sleep(time.Hour)
			if n := len(f.rounds("pump")); n != 1 {
				t.Fatalf("%d rounds in the first hour, want 1", n)
			}
			for i, a := range agents {
				// All drift since before the round; one has begun to since.
				a.drift("vibration.rms", began.Add(-time.Hour))
				if i == 0 {
					a.drift("vibration.kurtosis", time.Now())
				}
			}
			time.Sleep(time.Hour)
			if n := len(f.rounds("pump")); n != 1 {
				t.Errorf("%d rounds after drift that a model has seen, and of one machine; want 1", n)
			}
			for _, a := range agents[:6] {
				a.drift("vibration.kurtosis", time.Now())
			}
			time.Sleep(24 * time.Hour)
			rounds := f.rounds("pump")
			if want := map[bool]int{true: 2, false: 1}[asked]; len(rounds) != want {
				t.Fatalf("%d rounds a day after the class began to drift, want %d", len(rounds), want)
			}
			if asked && rounds[1].State != "committed" {
				t.Errorf("the early round is %+v", rounds[1])
			}
			d := f.c.Snapshot().Drift
			text := scrape(t, f.c)
			for _, want := range []string{
				`millwright_coordinator_drifting_machines{class="pump"} 10`,
				`millwright_coordinator_fleet_drift{class="pump",kind="data",subject="vibration.kurtosis"} 0.6`,
				`millwright_coordinator_alarms_judged{job="pump",result="wrong",version="1"} 20`,
				`millwright_coordinator_watched_hours{job="pump",version="1"} 300`,
			} {
				if live := !asked; live && !strings.Contains(text, want) { // version 1 is not live any more after the early round
					t.Errorf("metrics lack %s", want)
				}
			}
			if len(d) != 1 || d[0].Class != "pump" || d[0].Drifting != 10 || !d[0].Subjects[0].Fleet || d[0].Subjects[0].Machines != 6 {
				t.Errorf("drift of the fleet is %+v", d)
			}
		})
	}
}
