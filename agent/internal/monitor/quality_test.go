package monitor

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/journal"
	"github.com/millwright-iot/millwright/agent/internal/labels"
)

// t0 is when the story of the tests begins; hour n of it is at(n).
var t0 = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

func at(hour float64) time.Time { return t0.Add(time.Duration(hour * float64(time.Hour))) }

func episode(id string, raised, cleared float64, version uint64) journal.Episode {
	e := journal.Episode{ID: id, Raised: at(raised), Job: "pumps", ModelVersion: version}
	if cleared > 0 {
		e.Cleared = at(cleared)
	}
	return e
}

func verdict(episode string, right bool, class string, heard float64) labels.Label {
	return labels.Label{Kind: labels.Verdict, Episode: episode, Right: &right, Class: class, From: at(heard - 1), Received: at(heard)}
}

// watchedFor is 40 days in hours of 360 windows: version 1 for 20 days, then version 2.
func watchedFor(score func(hour int) float64) *Watched {
	w := &Watched{}
	for h := range 40 * 24 {
		version := uint64(1)
		if h >= 20*24 {
			version = 2
		}
		for k := range 6 {
			w.Observe(at(float64(h)).Add(time.Duration(k+1)*10*time.Minute), 10*time.Minute, "pumps", version, score(h))
		}
	}
	return w
}

func flat(int) float64 { return 0.3 }

// Counted by hand.
func TestJudge_Counts(t *testing.T) {
	lead := 24 * time.Hour
	eps := []journal.Episode{ // newest first, as the journal gives them
		episode("new", 900, 0, 2),         // nobody says anything
		episode("inspected", 700, 701, 2), // the machine was found in order
		episode("right", 600, 610, 2),     // called right
		episode("wrong", 300, 301, 1),     // called wrong
		episode("again", 195, 196, 1),     // second alarm about the failure at 200
		episode("first", 180, 185, 1),
	}
	eps[2].Fault = &infer.Fault{Class: "inner-race"}
	eps[5].Fault = &infer.Fault{Class: "ball"}
	eps[4].Fault = &infer.Fault{Class: infer.Unknown} // which is no name
	book := []labels.Label{                           // by time
		{Kind: labels.Failure, At: at(200), Class: "outer-race", Received: at(210)},
		verdict("wrong", false, "", 310),
		{Kind: labels.Fault, From: at(400), Class: "seal", Received: at(420)}, // no alarm
		{Kind: labels.Maintenance, At: at(410), Received: at(420)},
		verdict("right", true, "inner-race", 620),
		{Kind: labels.Healthy, From: at(699), To: at(702), Received: at(703)},
		{Kind: labels.Healthy, From: at(800), To: at(801), Received: at(803)}, // and no alarm: right
	}
	q := Judge(eps, book, watchedFor(flat), lead, time.Time{})
	want := Counts{TruePositives: 2, FalsePositives: 2, FalseNegatives: 1, Hours: 960}
	if q.Counts != want || q.Unjudged != 1 {
		t.Errorf("%+v and %d unjudged, want %+v and 1", q.Counts, q.Unjudged, want)
	}
	if q.Named != 2 || q.NamedRight != 1 {
		t.Errorf("%d of %d faults named right, want 1 of 2", q.NamedRight, q.Named)
	}
	if diff := cmp.Diff([]VersionCounts{
		{"pumps", 2, Counts{1, 1, 0, 480}}, {"pumps", 1, Counts{1, 1, 1, 480}},
	}, q.Versions); diff != "" {
		t.Error(diff)
	}
	for name, c := range map[string]struct {
		got  func() (float64, bool)
		want float64
	}{
		"precision": {q.Precision, 0.5}, "recall": {q.Recall, 2.0 / 3}, "F1": {q.F1, 4.0 / 7}, "false alarms a month": {q.FalseAlarms, 1.5},
	} {
		if got, ok := c.got(); !ok || math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s is %v, want %v", name, got, c.want)
		}
	}
	// Right at 210, wrong at 310 and 420, right at 620, wrong at 703, right at 803,
	// each counting 0.98 of the next:
	// numpy.average([0,1,1,0,1,0], weights=.98**numpy.arange(5,-1,-1)).
	if q.Error == nil || math.Abs(*q.Error-0.4981814059405648) > 1e-12 {
		t.Errorf("recent error is %v, want 0.498…", show(q.Error))
	}
}

func TestJudge_WhatIsNotKnown(t *testing.T) {
	lead := 24 * time.Hour
	for name, c := range map[string]struct {
		eps  []journal.Episode
		book []labels.Label
		w    *Watched
		from time.Time
		want Counts
	}{
		"nothing":                       {nil, nil, &Watched{}, time.Time{}, Counts{}},
		"failure before it was watched": {nil, []labels.Label{{Kind: labels.Failure, At: at(-100)}}, watchedFor(flat), time.Time{}, Counts{Hours: 960}},
		"failure while nobody watched":  {nil, []labels.Label{{Kind: labels.Failure, At: at(2000)}}, watchedFor(flat), time.Time{}, Counts{Hours: 960}},
		"one failure, two labels": {nil, []labels.Label{
			{Kind: labels.Fault, From: at(90), To: at(100), Class: "seal"}, {Kind: labels.Failure, At: at(100)},
		}, watchedFor(flat), time.Time{}, Counts{FalseNegatives: 1, Hours: 960}},
		"older alarms forgotten": {[]journal.Episode{episode("a", 500, 501, 2)}, []labels.Label{
			{Kind: labels.Failure, At: at(100)}, verdict("a", false, "", 600),
		}, watchedFor(flat), at(480), Counts{FalsePositives: 1, Hours: 480}},
		"fault that lasts, found late": {[]journal.Episode{episode("a", 500, 0, 2)}, []labels.Label{{Kind: labels.Fault, From: at(300), Class: "seal"}},
			watchedFor(flat), time.Time{}, Counts{TruePositives: 1, Hours: 960}},
		"fault until the failure": {[]journal.Episode{episode("a", 500, 0, 2)}, []labels.Label{{Kind: labels.Fault, From: at(300), Class: "seal"}, {Kind: labels.Failure, At: at(310)}},
			watchedFor(flat), time.Time{}, Counts{FalseNegatives: 1, Hours: 960}},
		"two failures, one alarm that lasts": {[]journal.Episode{episode("a", 95, 120, 1)}, []labels.Label{{Kind: labels.Failure, At: at(100)}, {Kind: labels.Failure, At: at(110)}},
			watchedFor(flat), time.Time{}, Counts{TruePositives: 2, Hours: 960}},
		"two failures, an alarm before the first": {[]journal.Episode{episode("a", 95, 96, 1)}, []labels.Label{{Kind: labels.Failure, At: at(100)}, {Kind: labels.Failure, At: at(110)}},
			watchedFor(flat), time.Time{}, Counts{TruePositives: 1, FalseNegatives: 1, Hours: 960}},
		"lead of a failure ends at the work before": {[]journal.Episode{episode("a", 80, 81, 1)}, []labels.Label{{Kind: labels.Maintenance, At: at(90)}, {Kind: labels.Failure, At: at(100)}},
			watchedFor(flat), time.Time{}, Counts{FalseNegatives: 1, Hours: 960}},
	} {
		if q := Judge(c.eps, c.book, c.w, lead, c.from); q.Counts != c.want {
			t.Errorf("%s: %+v, want %+v", name, q.Counts, c.want)
		}
	}
}

// Ten days with a fault score higher, but for two, than thirty without.
func TestJudge_AUPRC(t *testing.T) {
	score := func(hour int) float64 {
		day := hour / 24
		switch {
		case day >= 10 && day < 18:
			return 0.8 + 0.01*float64(day)
		case day == 18 || day == 19:
			return 0.3
		case day == 25:
			return 0.95
		}
		return 0.2 + 0.001*float64(day%7)
	}
	book := []labels.Label{{Kind: labels.Fault, From: at(10 * 24), To: at(20*24 - 1), Class: "seal"}, {Kind: labels.Healthy, From: at(39 * 24), To: at(40 * 24)}}
	q := Judge(nil, book, watchedFor(score), time.Hour, time.Time{})
	// sklearn.metrics.average_precision_score of these 40 days.
	if want := 0.9072546897546897; q.AUPRC == nil || math.Abs(*q.AUPRC-want) > 1e-12 {
		t.Errorf("AUPRC is %v, want %v", show(q.AUPRC), want)
	}
	if q := Judge(nil, book[1:], watchedFor(score), time.Hour, time.Time{}); q.AUPRC != nil {
		t.Errorf("AUPRC without a fault is %v", *q.AUPRC)
	}
}

func show(x *float64) any {
	if x == nil {
		return nil
	}
	return *x
}

// Alarms that were right nine times in ten become wrong every other time.
func TestJudge_ConceptDrift(t *testing.T) {
	var eps []journal.Episode
	var book []labels.Label
	u := uniform(21)
	drifted := -1
	for i := range 400 {
		rate := 0.1
		if i >= 200 {
			rate = 0.5
		}
		id := strings.Repeat("x", i+1)
		hour := 2 * float64(i+1)
		eps = slices.Insert(eps, 0, episode(id, hour, hour+1, 1))
		book = append(book, verdict(id, u.next() >= rate, "", hour+1))
		if i%10 != 9 && i != 399 {
			continue
		}
		q := Judge(eps, book, watchedFor(flat), time.Hour, time.Time{})
		if len(q.Drift) > 0 && drifted < 0 {
			drifted = i
			if d := q.Drift[0]; d.Monitor != NameDDM || d.Subject != Error || d.Kind != Concept || !(d.Statistic > d.Limit) {
				t.Errorf("drift is %+v", d)
			}
		}
	}
	if drifted < 200 || drifted > 260 {
		t.Errorf("drift after %d verdicts, want soon after 200", drifted)
	}
}

func TestWatched_IsBoundedAndLosesNoHour(t *testing.T) {
	var w Watched
	windows := 3 * maxSpans * 10
	for i := range windows {
		w.Observe(at(float64(i)), time.Hour, "pumps", uint64(i/10), 0.2)
	}
	if len(w.Spans) != maxSpans || w.Hours() != float64(windows) {
		t.Errorf("%d spans with %v h, want %d with %d", len(w.Spans), w.Hours(), maxSpans, windows)
	}
	if len(w.Days) > maxDays || w.Days[len(w.Days)-1].Day != at(float64(windows-1)).Unix()/secondsOfDay {
		t.Errorf("%d days, the newest %d", len(w.Days), w.Days[len(w.Days)-1].Day)
	}
	if newest := w.Spans[maxSpans-1]; newest.Version != uint64(windows/10-1) || newest.since(0) != 10 {
		t.Errorf("newest span is %+v", newest)
	}
	before := w.Clone()
	w.Observe(at(0), -time.Hour, "pumps", 1, 0.2)
	w.Observe(at(0), time.Hour, "pumps", 1, math.NaN())
	if diff := cmp.Diff(before, w); diff != "" {
		t.Error("what cannot be was counted", diff)
	}
	w.Spans[0].Millis, w.Spans[1].To, w.Days[0].Score = -1, 0, math.Inf(1)
	if w.Check(); len(w.Spans) != maxSpans-2 || len(w.Days) != len(before.Days)-1 {
		t.Errorf("%d spans and %d days are left of a damaged file", len(w.Spans), len(w.Days))
	}
}
