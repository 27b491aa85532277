package monitor

import (
	"cmp"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/journal"
	"github.com/millwright-iot/millwright/agent/internal/labels"
)

// fading is what a test still counts at the next one: half after some 35.
const fading = 0.98

// prequential goes through the tests in the order in which their truth was heard.
func (j *judge) prequential() {
	slices.SortStableFunc(j.tests, func(x, y test) int { return x.heard.Compare(y.heard) })
	var d DDM
	wrong, all := 0.0, 0.0
	var since time.Time
	for _, t := range j.tests {
		wrong, all = fading*wrong, fading*all+1
		if t.wrong {
			wrong++
		}
		if d.Observe(t.wrong) {
			since = t.heard
			statistic, limit := d.Statistic()
			j.q.Drift = []Drift{{Monitor: NameDDM, Subject: Error, Kind: Concept, Statistic: statistic, Limit: limit, Since: since}}
		} else if !since.IsZero() && d.n > ddmLeast && !d.Warning() {
			// As many predictions as it takes to speak again, and it does not.
			since, j.q.Drift = time.Time{}, nil
		}
	}
	if all > 0 {
		e := wrong / all
		j.q.Error = &e
	}
}

// auprc ranks the days that labels speak of by their largest score. A day within an
// event is one to have an alarm on; any other up to the newest label is none, since
// somebody keeps labels, unless there was an alarm of which nobody said anything.
func (j *judge) auprc(list []labels.Label, episodes []journal.Episode) *float64 {
	newest := int64(0)
	for _, l := range list {
		newest = max(newest, l.Time().Unix(), l.To.Unix())
	}
	type day struct {
		score  float64
		faulty bool
	}
	var days []day
	faulty := 0
	for _, d := range j.watched.Days {
		from, to := d.Day*secondsOfDay, (d.Day+1)*secondsOfDay
		during := func(e event) bool { return e.from < to && e.to > from }
		is := slices.ContainsFunc(j.events, during)
		if from < j.since-secondsOfDay || !is && (from > newest || unjudgedOn(episodes, from, to)) {
			continue
		}
		if is {
			faulty++
		}
		days = append(days, day{d.Score, is})
	}
	if faulty == 0 || faulty == len(days) {
		return nil
	}
	slices.SortStableFunc(days, func(x, y day) int { return cmp.Compare(y.score, x.score) })
	area, found := 0.0, 0
	for i := 0; i < len(days); {
		before := found
		score := days[i].score
		for ; i < len(days) && days[i].score == score; i++ { // one threshold takes all of them
			if days[i].faulty {
				found++
			}
		}
		area += float64(found-before) / float64(faulty) * float64(found) / float64(i)
	}
	return &area
}

func unjudgedOn(episodes []journal.Episode, from, to int64) bool {
	return slices.ContainsFunc(episodes, func(e journal.Episode) bool {
		return e.Verdict == "" && e.Raised.Unix() < to && (e.Cleared.IsZero() || e.Cleared.Unix() > from)
	})
}
