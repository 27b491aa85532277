package robust

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/millwright-iot/millwright/fedavg"
	"github.com/millwright-iot/millwright/fedavg/job"
)

// small is a federation in which Bulyan keeps its promise after two liars are set
// aside: 4·2 + 3 = 11.
var small = Config{Gateways: 13, Attackers: 2, Rounds: 5, Seed: 3}

// A federation keeps its accuracy under every attack with a robust strategy and
// verification, and nobody honest is accused; without either, the crude attacks
// ruin it, or the test would prove nothing.
func TestRun_FederationKeepsItsAccuracy(t *testing.T) {
	result, err := Run(t.Context(), small)
	if err != nil {
		t.Fatal(err)
	}
	honest := map[string]float64{}
	for c, name := range result.Strategies {
		honest[name] = result.Rows[0].Cells[c].Without.Accuracy
		if honest[name] < 0.6 {
			t.Errorf("%s learns the task to %.2f only", name, honest[name])
		}
	}
	for _, row := range result.Rows {
		for c, name := range result.Strategies {
			with := row.Cells[c].With
			slack := 0.06
			if name == job.NameFedAvg { // what liars did before they were caught stays in a plain mean
				slack = 0.1
			}
			if with.Accuracy < honest[name]-slack || with.MacroF1 < honest[name]-slack-0.02 || with.Lost > 0 {
				t.Errorf("%s under %q with verification: %+v, honest %.2f", name, row.Attack, with, honest[name])
			}
			if with.Wronged > 0 {
				t.Errorf("%s under %q: %d honest gateways in quarantine", name, row.Attack, with.Wronged)
			}
			without := row.Cells[c].Without
			if without.Caught+without.Wronged > 0 {
				t.Errorf("%s under %q: somebody is in quarantine without verification", name, row.Attack)
			}
			switch {
			case row.Attack == "NaN" && without.Lost != small.Rounds:
				t.Errorf("%s under NaN without verification lost %d rounds", name, without.Lost)
			case row.Attack != "NaN" && name != job.NameFedAvg && without.Accuracy < honest[name]-0.08:
				t.Errorf("%s under %q without verification: %.2f, honest %.2f", name, row.Attack, without.Accuracy, honest[name])
			}
		}
	}
	// A flipped sign is seen while the others agree on a direction, which they do
	// less and less the nearer they are to the end: a liar may get away with it
	// where a robust strategy takes the harm out of it anyway.
	for attack, least := range map[string]int{"NaN": 2, "x1000": 2, "sign-flipped": 1, "sign-flipped x8": 1} {
		for c, cell := range find(t, result, attack).Cells {
			if name := result.Strategies[c]; cell.With.Caught < least || name == job.NameFedAvg && cell.With.Caught < small.Attackers {
				t.Errorf("%s under %q: %d liars caught", name, attack, cell.With.Caught)
			}
		}
	}
	for _, attack := range []string{"x1000", "sign-flipped x8"} {
		if plain := find(t, result, attack).Cells[0].Without; plain.Accuracy > honest[job.NameFedAvg]-0.2 {
			t.Errorf("%q does no harm to the plain mean: %.2f", attack, plain.Accuracy)
		}
	}
}

func find(t *testing.T, r Result, attack string) Row {
	t.Helper()
	for _, row := range r.Rows {
		if row.Attack == attack {
			return row
		}
	}
	t.Fatalf("no attack %q", attack)
	return Row{}
}

func TestRun_SameConfigSameResult(t *testing.T) {
	cfg := small
	cfg.Rounds = 1
	one, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	two, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(one, two) {
		t.Error("two runs differ")
	}
}

func TestRun_Refuses(t *testing.T) {
	for _, cfg := range []Config{{}, {Gateways: 8, Attackers: 4, Rounds: 1}, {Gateways: 3, Attackers: 1, Rounds: 1}, {Gateways: 8, Attackers: 1}} {
		if _, err := Run(t.Context(), cfg); err == nil {
			t.Errorf("%+v was run", cfg)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, small); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancelling: %v", err)
	}
}

func TestResult_WriteTable(t *testing.T) {
	r := Result{Config: Config{Gateways: 13, Attackers: 2, Rounds: 6}, Strategies: []string{"fedavg", "krum"}, Rows: []Row{{
		Attack: "NaN", Help: "a NaN", Cells: []Cell{
			{Without: Outcome{Accuracy: .25, Lost: 6}, With: Outcome{Accuracy: .804, Caught: 2}},
			{Without: Outcome{Accuracy: .5, Lost: 2}, With: Outcome{Accuracy: .77, Caught: 1, Wronged: 1}},
		}}}}
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(got, "attack fedavg krum caught wronged NaN – → 80 50 → 77 1 1") {
		t.Errorf("table:\n%s", b.String())
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func TestCosines(t *testing.T) {
	us := make(fedavg.Slice, 0, 3)
	for _, x := range [][]float32{{3, 0, 0}, {0, 0, 0.5}, {-4, 3, 0}} {
		us = append(us, &fedavg.Update{Vectors: []fedavg.Vector{{Name: "count", F32: []float32{1000}}, {Name: "w", F32: x}}})
	}
	// By hand: the unit vectors are (1,0,0), (0,0,1) and (−.8,.6,0); the others' sums (−.8,.6,1),
	// (.2,.6,0) and (1,0,1).
	for g, want := range []float64{-0.8 / math.Sqrt2, 0, -0.8 / math.Sqrt2} {
		if got := cosinesOf(us)[g]; math.Abs(got-want) > 1e-12 {
			t.Errorf("gateway %d: %v, want %v", g, got, want)
		}
	}
}

// What the documentation says of label-flipped gateways: directions tell them from
// most honest ones, but not from one that alone has seen a fault.
func TestLookalike(t *testing.T) {
	l, err := lookalike(t.Context(), DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if !(l.Flipped.Median < 0 && l.Honest.Least > l.Flipped.Median) {
		t.Errorf("flipped %+v, honest %+v", l.Flipped, l.Honest)
	}
	if !(l.Alone.Median < 0 && l.Alone.Least < l.Flipped.Most) {
		t.Errorf("alone %+v, flipped %+v", l.Alone, l.Flipped)
	}
}
