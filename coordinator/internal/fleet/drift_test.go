package fleet

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Expected: scipy.stats.binom.sf(k-1, n, 0.02).
func TestBinomialTail(t *testing.T) {
	for _, c := range []struct {
		n, k int
		want float64
	}{
		{1, 1, 0.02}, {3, 3, 8e-06}, {10, 4, 3.0505768034140165e-05}, {100, 10, 3.441680604304282e-05}, {1000, 60, 1.8715005399092196e-13}, {5, 0, 1},
	} {
		if got := binomialTail(c.n, c.k, ownDrift); math.Abs(got/c.want-1) > 1e-9 {
			t.Errorf("%d or more of %d: %g, want %g", c.k, c.n, got, c.want)
		}
	}
}

func fleetOf(n int, drift func(i int) []Drift) []Gateway {
	var list []Gateway
	for i := range n {
		list = append(list, Gateway{Name: fmt.Sprint("g", i), Connected: true, Machines: []Machine{
			{Name: "pump", Class: "process-pump", State: "running", Drift: drift(i)},
		}})
	}
	return list
}

func TestDriftOf_OneMachineOrTheWholeFleet(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	gateways := fleetOf(20, func(i int) []Drift {
		var list []Drift
		if i < 9 {
			list = append(list, Drift{Subject: "temperature.mean", Kind: "data", Since: at.Add(time.Duration(i) * time.Hour)})
		}
		if i == 3 {
			list = append(list, Drift{Subject: "vibration.rms", Kind: "data", Since: at}, Drift{Subject: "vibration.rms", Kind: "data", Since: at})
		}
		return list
	})
	// Neither counts: one has no baseline, one is not there.
	gateways = append(gateways, Gateway{Connected: true, Machines: []Machine{{Class: "process-pump", State: "baseline"}}},
		Gateway{Machines: []Machine{{Class: "process-pump", State: "running", Drift: []Drift{{Subject: "vibration.rms", Kind: "data"}}}}})
	got := DriftOf(gateways)
	want := []ClassDrift{{Class: "process-pump", Machines: 20, Drifting: 9, Subjects: []SubjectDrift{
		{Subject: "temperature.mean", Kind: "data", Machines: 9, Share: 0.45, Fleet: true, Since: at.Add(4 * time.Hour)},
		{Subject: "vibration.rms", Kind: "data", Machines: 1, Share: 0.05, Fleet: false, Since: at},
	}}}
	for i := range got {
		for k := range got[i].Subjects {
			s := &got[i].Subjects[k]
			if !(s.Probability > 0 && s.Probability <= 1) {
				t.Errorf("probability of %s is %v", s.Subject, s.Probability)
			}
			s.Probability = 0
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if DriftOf(nil) == nil {
		t.Error("no drift is null in JSON, want an empty list")
	}
}

// The machine alone is the fleet: its drift is its own.
func TestDriftOf_SmallFleets(t *testing.T) {
	for n, whole := range map[int]bool{1: false, 2: false, 3: true, 10: true} {
		got := DriftOf(fleetOf(n, func(int) []Drift { return []Drift{{Subject: "score", Kind: "data"}} }))
		if got[0].Subjects[0].Fleet != whole {
			t.Errorf("all %d machines drift: whole class is %t, want %t", n, !whole, whole)
		}
	}
}

func TestByModel_AddsUpMachines(t *testing.T) {
	machine := func(versions ...VersionQuality) Gateway { return Gateway{Machines: []Machine{{Versions: versions}}} }
	sum := ByModel([]Gateway{
		machine(VersionQuality{"pumps", 2, Quality{1, 1, 0, 360}}, VersionQuality{"pumps", 1, Quality{0, 1, 0, 10}}),
		machine(VersionQuality{"pumps", 2, Quality{2, 0, 1, 360}}),
	})
	q := sum[Version{"pumps", 2}]
	if want := (Quality{3, 1, 1, 720}); q != want || len(sum) != 2 {
		t.Fatalf("quality is %+v of %d models, want %+v of 2", q, len(sum), want)
	}
	p, _ := q.Precision()
	r, _ := q.Recall()
	f, _ := q.FalseAlarms()
	if p != 0.75 || r != 0.75 || f != 1 {
		t.Errorf("precision %v, recall %v, %v false alarms a month; want 0.75, 0.75 and 1", p, r, f)
	}
	if _, ok := (Quality{}).Precision(); ok {
		t.Error("precision of nothing is known")
	}
	if _, ok := (Quality{Hours: 3}).FalseAlarms(); ok {
		t.Error("three hours say how many false alarms a month there are")
	}
}
