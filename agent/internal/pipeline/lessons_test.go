package pipeline

import (
	"testing"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/labels"
	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/fedavg/job"
)

func TestMachine_TrainingSetOfLabels(t *testing.T) {
	r, _, spec, list := history(t)
	truth := labels.NewTruth(list, spec.Labels)
	set, ok, err := r.m.Training(spec.Digest(), 1000, truth)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	counts := map[float64]int{}
	for i, row := range set.Rows {
		counts[set.Targets[i]]++
		// Mean and std of a window's pressure, standardised: the class is in the first.
		want := 0.0
		if row[0] > 8 {
			want = 1
		} else if row[0] < -8 {
			want = 2
		}
		if set.Targets[i] != want {
			t.Errorf("row %d, %v, is of class %v, want %v", i, row, set.Targets[i], want)
		}
	}
	// High: twelve windows of 5 s in a minute, one of them may be across its edge. Low:
	// those in the 30 s of lead before the failure.
	if counts[1] < 11 || counts[1] > 12 || counts[2] < 5 || counts[2] > 6 || counts[0] < 30 {
		t.Errorf("rows by class: %v", counts)
	}
	had, ok, err := r.m.Lessons(spec.Digest(), truth)
	if err != nil || !ok || len(had) != 3 {
		t.Fatal(had, ok, err)
	}
	for class, n := range had {
		if counts[float64(class)] != n {
			t.Errorf("lessons %v, rows %v", had, counts)
		}
	}
	// Where not all fit, the rare stay.
	small, _, err := r.m.Training(spec.Digest(), 20, truth)
	if err != nil || len(small.Rows) != 20 {
		t.Fatalf("%d rows, want 20 (%v)", len(small.Rows), err)
	}
	few := map[float64]int{}
	for _, class := range small.Targets {
		few[class]++
	}
	if few[2] != had[2] || few[0] > 8 {
		t.Errorf("of 20 rows by class: %v", few)
	}
}

func TestMachine_WrongAlarmIsLearnedFrom(t *testing.T) {
	r := newRig(t)
	spec := pumps("p1", job.Live, 5*time.Second, "mean", "std")
	r.m.SetJobs([]job.Spec{spec}, nil, nil)
	r.seconds(150, 0)
	from := r.now
	r.seconds(60, 12)
	to := r.now
	r.seconds(60, 0)
	loud := func(list ...labels.Label) (n int) {
		set, _, err := r.m.Training(spec.Digest(), 1000, labels.NewTruth(list, spec.Labels))
		if err != nil || set.Targets != nil {
			t.Fatal(err, set.Targets)
		}
		for _, row := range set.Rows {
			if row[0] > 8 {
				n++
			}
		}
		return n
	}
	wrong, right := false, true
	if n := loud(); n != 0 {
		t.Errorf("%d windows of an alarm that nobody judged are learned from", n)
	}
	if n := loud(labels.Label{Kind: labels.Verdict, Right: &right, From: from, To: to}); n != 0 {
		t.Errorf("%d windows of an alarm that was right are learned from", n)
	}
	if n := loud(labels.Label{Kind: labels.Verdict, Right: &wrong, From: from, To: to}); n < 9 {
		t.Errorf("%d windows of a wrong alarm are learned from, want about a dozen", n)
	}
}

func TestMachine_WhatFailedLaterWasNotHealthy(t *testing.T) {
	r := newRig(t)
	spec := pumps("p1", job.Live, 5*time.Second, "mean", "std")
	spec.Labels = job.LabelSpec{Lead: time.Minute, Settle: 5 * time.Second}
	r.m.SetJobs([]job.Spec{spec}, nil, nil)
	r.seconds(400, 0)
	count := func(list ...labels.Label) int {
		set, _, err := r.m.Training(spec.Digest(), 1000, labels.NewTruth(list, spec.Labels))
		if err != nil {
			t.Fatal(err)
		}
		return len(set.Rows)
	}
	all, without := count(), count(labels.Label{Kind: labels.Failure, At: r.now})
	if lost := all - without; lost < 11 || lost > 14 {
		t.Errorf("of %d windows %d were not healthy, want those of a minute, a dozen", all, lost)
	}
}

func TestMachine_ObservesWhatLabelsMayBeAbout(t *testing.T) {
	r, _, spec, _ := history(t)
	key := samples.Key{Machine: "pump-1", Features: r.m.featuresDigest(spec.Features)}
	rows, err := r.store.Rows(key, samples.Observed)
	if err != nil {
		t.Fatal(err)
	}
	loud := 0
	for _, row := range rows {
		if !row.Quiet {
			loud++
			if row.Score < 1 && loud == 1 {
				t.Errorf("the first loud window has score %v", row.Score)
			}
		}
	}
	// 390 s are 78 windows, of which 20 are the baseline.
	if len(rows) < 55 || len(rows) > 58 || loud < 22 || loud > 30 {
		t.Errorf("%d windows observed, %d of them not quiet", len(rows), loud)
	}
}

func TestShare(t *testing.T) {
	for _, c := range []struct {
		counts []int
		most   int
		want   []int
	}{
		{[]int{100, 5, 0}, 1000, []int{100, 5, 0}},
		{[]int{100, 5, 0}, 20, []int{15, 5, 0}},
		{[]int{100, 100, 100}, 20, []int{7, 6, 7}},
		{[]int{3}, 2, []int{2}},
	} {
		got := share(c.counts, c.most)
		sum := 0
		for i, n := range got {
			sum += n
			if d := n - c.want[i]; d < -1 || d > 1 {
				t.Errorf("%v places for %v: %v, want %v", c.most, c.counts, got, c.want)
			}
		}
		if sum > c.most {
			t.Errorf("%d places taken of %d", sum, c.most)
		}
	}
}
