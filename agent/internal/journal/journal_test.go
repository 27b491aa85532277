package journal

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millwright-iot/millwright/agent/internal/alarm"
)

var quiet = slog.New(slog.DiscardHandler)

func episode(id, machine string) Episode {
	return Episode{
		ID: id, Gateway: "gw1", Machine: machine, Class: "pump", Active: true, Zone: alarm.ZoneC, PeakScore: 1.5,
		Raised: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Reasons: []Reason{{"vibration.rms", 0.7}}, Job: "local",
	}
}

func TestJournal_RevisionsAndAcknowledgement(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alarms.json")
	j := Open(path, quiet)
	st := alarm.State{Active: true, Raised: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Peak: 1.5, Zone: alarm.ZoneC}
	e := j.Put(episode("e1", "pump-1"), "d1", st)
	if e.Revision != 1 {
		t.Errorf("first revision is %d", e.Revision)
	}
	j.Put(episode("e2", "pump-2"), "d1", st)
	j.Ack("e1", 1)
	e.Zone = alarm.ZoneD
	if e = j.Put(e, "d1", st); e.Revision != 2 {
		t.Errorf("second revision is %d", e.Revision)
	}
	// The acknowledgement of an older revision does not count for the newer one.
	j.Ack("e1", 1)
	if got := j.Unacked(); len(got) != 2 || got[0].ID != "e1" || got[0].Revision != 2 {
		t.Errorf("unacknowledged are %+v", got)
	}
	j.Ack("e1", 2)
	j.Ack("unknown", 7)
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}

	again := Open(path, quiet)
	if diff := cmp.Diff(j.c, again.c); diff != "" {
		t.Errorf("after a restart: %s", diff)
	}
	if got := again.Unacked(); len(got) != 1 || got[0].ID != "e2" {
		t.Errorf("unacknowledged after a restart are %+v", got)
	}
	if d, s := again.State("pump-1"); d != "d1" || s != st {
		t.Errorf("state after a restart is %s %+v", d, s)
	}
	if e, ok := again.Lasting("pump-1"); !ok || e.ID != "e1" {
		t.Errorf("lasting episode is %+v", e)
	}
	e.Active = false
	again.Put(e, "d1", alarm.State{})
	if e, ok := again.Lasting("pump-1"); ok {
		t.Errorf("episode %+v lasts after its end", e)
	}
}

func TestJournal_IsBounded(t *testing.T) {
	j := Open(filepath.Join(t.TempDir(), "alarms.json"), quiet)
	j.Put(episode("acked", "pump-1"), "d", alarm.State{})
	j.Ack("acked", 1)
	for i := range MaxEpisodes + 9 {
		j.Put(episode(fmt.Sprint(i), "pump-1"), "d", alarm.State{})
	}
	list := j.Episodes(10 * MaxEpisodes)
	if len(list) != MaxEpisodes || list[0].ID != fmt.Sprint(MaxEpisodes+8) {
		t.Errorf("%d episodes, newest %s", len(list), list[0].ID)
	}
	if n := j.Forgot(); n != 9 {
		t.Errorf("%d forgotten before they were acknowledged, want 9", n)
	}
	if got := j.Episodes(3); len(got) != 3 {
		t.Errorf("asked for 3, got %d", len(got))
	}
}

func TestJournal_WithoutADirectoryItWorksFromMemory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	j := Open(filepath.Join(file, "alarms.json"), quiet) // a file is no directory
	j.Put(episode("e1", "pump-1"), "d", alarm.State{})
	if err := j.Flush(); err == nil {
		t.Error("flush below a file succeeded")
	}
	if len(j.Unacked()) != 1 {
		t.Error("the alarm was lost")
	}
}

func TestJournal_RunWritesBehindAndAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alarms.json")
	j := Open(path, quiet)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- j.Run(ctx) }()
	j.Put(episode("e1", "pump-1"), "d", alarm.State{})
	for deadline := time.Now().Add(10 * time.Second); len(Open(path, quiet).Unacked()) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the alarm was never written")
		}
	}
	j.Put(episode("e2", "pump-1"), "d", alarm.State{})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := len(Open(path, quiet).Unacked()); n != 2 {
		t.Errorf("%d alarms on disk at the end", n)
	}
}
