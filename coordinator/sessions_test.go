package coordinator

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
	"github.com/millwright-iot/millwright/coordinator/internal/rpc"
	"github.com/millwright-iot/millwright/coordinator/store/memstore"
)

func TestJoin_NewSessionReplacesTheOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startFixture(t, testConfig(pumpJob("pump")), memstore.New())
		defer f.stop()
		old := f.join("a")
		fresh := f.join("a")
		if old.closed == nil || old.closed.Reason != rpc.Replaced {
			t.Errorf("old session closed with %v", old.closed)
		}
		f.c.Leave("a", old) // its end comes late and must not take the new one along
		if g := f.c.Snapshot().Gateways; len(g) != 1 || !g[0].Connected {
			t.Errorf("gateways = %+v", g)
		}
		f.c.Leave("a", fresh)
		if g := f.c.Snapshot().Gateways; g[0].Connected || g[0].LastSeen.IsZero() {
			t.Errorf("gateways = %+v", g)
		}
	})
}

func TestJoin_LimitIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Limits.MaxAgents = 1
		f := startFixture(t, cfg, memstore.New())
		defer f.stop()
		f.join("a")
		_, err := f.c.Join(t.Context(), rpc.Identity{Gateway: "b"}, rpc.Hello{}, &agent{})
		wantRefusal(t, err, rpc.Busy)
		f.join("a") // one that is connected may connect again
	})
}

func TestJoin_OnlyJobsOfItsClasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pump, fan := pumpJob("pump"), pumpJob("fan")
		fan.Class = "fan"
		f := startFixture(t, testConfig(pump, fan), memstore.New())
		defer f.stop()
		a := f.join("a")
		if jobs := messagesOf[rpc.Jobs](a); len(jobs) != 1 || len(jobs[0]) != 1 || jobs[0][0].Digest != pump.Digest() {
			t.Errorf("jobs = %+v", jobs)
		}
	})
}

func TestStatus_ShowsOnThePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startFixture(t, testConfig(pumpJob("pump")), memstore.New())
		defer f.stop()
		a := f.join("a")
		f.join("b")
		synctest.Wait()
		changed := f.c.Changed()
		s := a.status(true, "")
		s.ReceivedTotal, s.DroppedTotal = 1000, map[string]uint64{"disk_full": 3}
		s.Installed = map[string]map[uint64]bool{"pump": {1: true}}
		want := fleet.Machine{Name: "pump-1", Class: "pump", State: "running", Zone: "C", Score: 1.4, Alarm: true,
			Reasons: []fleet.Contribution{{Feature: "vibration.rms", Share: 0.8}}, At: time.Now(), Job: "pump", ModelVersion: 1}
		s.Machines = []fleet.Machine{want, {Name: "never introduced", Class: "pump"}}
		f.c.Status("a", s)
		select {
		case <-changed:
		default:
			t.Error("Changed did not fire")
		}
		snap := f.c.Snapshot()
		g := snap.Gateways[0]
		if diff := cmp.Diff([]fleet.Machine{want}, g.Machines); diff != "" {
			t.Error(diff)
		}
		if g.ReceivedTotal != 1000 || g.DroppedTotal["disk_full"] != 3 || snap.Models[0].Gateways != 1 {
			t.Errorf("gateway = %+v, model = %+v", g, snap.Models[0])
		}
		snap.Gateways[0].Machines[0].Name = "scribbled" // must not reach the coordinator
		snap.Gateways[0].DroppedTotal["disk_full"] = 9
		if g := f.c.Snapshot().Gateways[0]; g.Machines[0].Name != "pump-1" || g.DroppedTotal["disk_full"] != 3 {
			t.Error("a snapshot shares memory with the coordinator")
		}
	})
}

func TestAlarm_StoredOncePerRevisionAndKeptAcrossRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		cfg := testConfig(pumpJob("pump"))
		cfg.Keep.Alarms = 3
		f := startFixture(t, cfg, st)
		f.join("a")
		event := func(id string, revision uint32, peak float64, raised time.Time) rpc.AlarmEvent {
			return rpc.AlarmEvent{Revision: revision, Alarm: fleet.Alarm{
				ID: id, Machine: "pump-1", Class: "pump", Zone: "C", Peak: peak, Raised: raised}}
		}
		at := time.Now()
		for _, e := range []rpc.AlarmEvent{
			event("1", 1, 1.1, at), event("1", 1, 1.1, at), event("1", 3, 2.5, at), event("1", 2, 1.8, at),
			event("2", 1, 1.2, at.Add(time.Minute)),
		} {
			if err := f.c.Alarm(t.Context(), "a", e); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.c.Alarm(t.Context(), "b", event("1", 1, 1.7, at.Add(2*time.Minute))); err != nil {
			t.Fatal(err)
		}
		check := func(f *fixture) {
			t.Helper()
			alarms := f.c.Snapshot().Alarms
			var got []string
			for _, a := range alarms {
				got = append(got, fmt.Sprint(a.Gateway, a.ID, a.Peak))
			}
			if diff := cmp.Diff([]string{"b1 1.7", "a2 1.2", "a1 2.5"}, normalise(alarms)); diff != "" {
				t.Errorf("%v: %s", got, diff)
			}
		}
		check(f)
		if n := testutil.ToFloat64(f.c.metrics.alarms.WithLabelValues("pump")); n != 3 {
			t.Errorf("%v episodes counted, want 3", n)
		}
		f.stop()
		f = startFixture(t, cfg, st)
		defer f.stop()
		check(f)

		// The oldest makes room; the same event again is acknowledged, not stored.
		if err := f.c.Alarm(t.Context(), "a", event("3", 1, 3, at.Add(time.Hour))); err != nil {
			t.Fatal(err)
		}
		alarms := f.c.Snapshot().Alarms
		if len(alarms) != 3 || alarms[0].ID != "3" || alarms[2].ID != "2" {
			t.Errorf("alarms = %+v", alarms)
		}
		if records, _ := st.List(t.Context(), "alarm/"); len(records) != 3 {
			t.Errorf("%d records kept, want 3", len(records))
		}
	})
}

func normalise(alarms []fleet.Alarm) []string {
	var out []string
	for _, a := range alarms {
		out = append(out, fmt.Sprintf("%s%s %v", a.Gateway, a.ID, a.Peak))
	}
	return out
}

func TestAlarm_NotAcknowledgedWhenTheStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dying := newMortal(memstore.New(), 0, false)
		c, err := newCoordinator(testConfig(), dying, discard)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.Alarm(t.Context(), "a", rpc.AlarmEvent{Revision: 1, Alarm: fleet.Alarm{ID: "1", Raised: time.Now()}}); err == nil {
			t.Error("an alarm that was not stored would be acknowledged")
		}
		if n := len(c.Snapshot().Alarms); n != 0 {
			t.Errorf("%d alarms shown", n)
		}
	})
}

func TestOpenModel_GivesModelsAndNeverUpdates(t *testing.T) {
	inOpenRound(t, func(f *fixture, a *agent, start rpc.RoundStart) {
		r, err := f.c.OpenModel(t.Context(), "a", start.Model.SHA256, 10)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if err != nil || uint64(n) != start.Model.Size-10 || r.Close() != nil {
			t.Errorf("read %d bytes from offset 10 of %d, %v", n, start.Model.Size, err)
		}
		if got := f.rounds("pump")[0].BytesOut; got != uint64(n) {
			t.Errorf("round's bytes out = %d, want %d", got, n)
		}
		_, err = f.c.OpenModel(t.Context(), "a", start.Model.SHA256, start.Model.Size+1)
		wantRefusal(t, err, rpc.Malformed)

		f.c.mu.Lock()
		update := f.c.jobs[0].cur.parts["b"].digest
		f.c.mu.Unlock()
		if _, err := f.c.st.StatBlob(context.Background(), update); err != nil {
			t.Fatalf("b's update should be in the store: %v", err)
		}
		_, err = f.c.OpenModel(t.Context(), "a", update, 0)
		wantRefusal(t, err, rpc.UnknownModel)
	})
}

func TestGateway_LastSeenSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		f := startFixture(t, testConfig(pumpJob("pump")), st)
		a := f.join("a")
		time.Sleep(time.Hour)
		f.c.Leave("a", a)
		left := time.Now()
		f.stop()
		time.Sleep(time.Hour)
		f = startFixture(t, testConfig(pumpJob("pump")), st)
		defer f.stop()
		g := f.c.Snapshot().Gateways
		if len(g) != 1 || g[0].Connected || !g[0].LastSeen.Equal(left) || len(g[0].Machines) != 1 || g[0].Version != "test" {
			t.Errorf("gateways after the restart = %+v", g)
		}
	})
}

func TestHistory_IsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(pumpJob("pump"))
		cfg.Keep = Keep{Models: 2, Rounds: 3, Alarms: 1}
		st := memstore.New()
		f := startFixture(t, cfg, st)
		f.join("a")
		f.join("b")
		time.Sleep(9*time.Minute + time.Second)
		synctest.Wait()
		check := func() {
			t.Helper()
			s := f.c.Snapshot()
			if len(s.Models) != 2 || s.Models[0].Version != 10 || len(s.Rounds) != 3 {
				t.Errorf("%d models from version %d on, %d rounds", len(s.Models), s.Models[0].Version, len(s.Rounds))
			}
			rounds, _ := st.List(t.Context(), "job/pump/round/")
			models, _ := st.List(t.Context(), "job/pump/model/")
			blobs := blobsBeside(t, st)
			if len(rounds) != 3 || len(models) != 2 || len(blobs) != 2 {
				t.Errorf("store keeps %d rounds, %d models, %d blobs", len(rounds), len(models), len(blobs))
			}
		}
		check()
		if _, ok, err := f.c.ModelBlob("pump", 1); ok || err != nil {
			t.Errorf("version 1 is there: %t, %v", ok, err)
		}
		f.stop()
		f = startFixture(t, cfg, st)
		defer f.stop()
		check()
	})
}
