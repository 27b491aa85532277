package lab

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/replay"
)

// recordWorn writes recordings of generated machines that run to failure, and their
// labels. Channel a rises by 30 over the life of a machine; with two ways to fail, that
// of every other machine leaps up and falls back by as much, and channel b stays 5
// higher.
func recordWorn(t *testing.T, dir string, machines, ways int) {
	t.Helper()
	r := rand.New(rand.NewPCG(11, 12))
	file, err := os.Create(filepath.Join(dir, "worn.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	head := replay.RecordingHeader{Started: chooseStart}
	for i := range machines {
		for _, c := range []string{"a", "b"} {
			head.Channels = append(head.Channels, replay.RecordedChannel{Machine: fmt.Sprintf("m-%d", i), Channel: c, Unit: "degC", BaseUnit: "degC"})
		}
	}
	recorder, err := replay.NewRecorder(file, head)
	if err != nil {
		t.Fatal(err)
	}
	var labels strings.Builder
	for i := range machines {
		name, way, life := fmt.Sprintf("m-%d", i), i%ways, 240+r.IntN(40)
		for k := range life {
			a, b := 30*float64(k)/float64(life), 0.
			if way == 1 && k > 40 {
				a, b = 30-a, 5
			}
			for c, x := range map[string]float64{"a": a, "b": b} {
				block := sensors.Block{Machine: name, Channel: c, Start: chooseStart.Add(time.Duration(k) * time.Minute), RateHz: 1. / 15}
				for range 4 {
					block.Samples = append(block.Samples, 40+x+r.NormFloat64())
				}
				if err := recorder.Write(block); err != nil {
					t.Fatal(err)
				}
			}
		}
		fmt.Fprintf(&labels, `{"machine":%q,"kind":"failure","at":%q}`+"\n", name, chooseStart.Add(time.Duration(life)*time.Minute).Format(time.RFC3339))
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "labels.jsonl"), []byte(labels.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func chooseGroups(t *testing.T, ways int) *Choice {
	t.Helper()
	if underRace {
		t.Skip("too slow under the race detector; make system-test runs it without")
	}
	dir := t.TempDir()
	recordWorn(t, dir, 10, ways)
	j, err := LoadCandidateJob(writeJob(t, `name: worn
class: press
features:
  window: 4m
  channels:
    - {channel: a, features: [mean]}
    - {channel: b, features: [mean]}
alarm: {baseline: 8}
model: {kind: rul, rul: {cycle: 4m, cap: 60, components: 1, units: 30, inputs: 1, members: 1}}
`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Choose(t.Context(), j, ChooseOptions{Data: dir, Labels: filepath.Join(dir, "labels.jsonl"), Groups: 3})
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	if err := c.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
	return c
}

// Units that look at one feature each cannot say "the hotter the later, if it fails in
// that way": each way needs a model of its own.
func TestChoose_GroupsWinWithTwoWaysToFail(t *testing.T) {
	c := chooseGroups(t, 2)
	if len(c.Groups) != 2 || c.Groups[0].Class != "press-a" || len(c.Groups[0].Machines) != 5 {
		t.Fatalf("chose %s, groups %+v", c.Chosen, c.Groups)
	}
	for g, group := range c.Groups {
		for i, name := range group.Machines {
			if want := fmt.Sprintf("m-%d", 2*i+g); name != want {
				t.Errorf("group %d has %s, want %s", g, name, want)
			}
		}
	}
}

func TestChoose_OneModelWinsWithOneWayToFail(t *testing.T) {
	if c := chooseGroups(t, 1); c.Groups != nil || strings.Contains(c.Chosen, "by group") {
		t.Errorf("chose %s, groups %+v: %s", c.Chosen, c.Groups, c.Reason)
	}
}
