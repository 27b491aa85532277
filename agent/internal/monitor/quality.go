package monitor

import (
	"cmp"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/infer"
	"github.com/millwright-iot/millwright/agent/internal/journal"
	"github.com/millwright-iot/millwright/agent/internal/labels"
)

// Month is what false alarms are counted by, in hours.
const Month = 30 * 24.0

// maxVersions bounds the versions whose quality is told apart.
const maxVersions = 16

// Counts is how right alarms were. A labelled failure or fault that alarms announced
// counts once, however many they were; so does an alarm that people called right
// without saying more.
type Counts struct {
	TruePositives  int     `json:"true_positives"`
	FalsePositives int     `json:"false_positives"` // alarms called wrong, or of a machine found in order
	FalseNegatives int     `json:"false_negatives"` // failures and faults without an alarm while it was watched
	Hours          float64 `json:"hours"`           // watched
}

// Precision is the share of judged alarms that were right; ok is false without any.
func (c Counts) Precision() (p float64, ok bool) {
	return share(c.TruePositives, c.TruePositives+c.FalsePositives)
}

// Recall is the share of labelled failures and faults that had an alarm; ok is false
// without any.
func (c Counts) Recall() (r float64, ok bool) {
	return share(c.TruePositives, c.TruePositives+c.FalseNegatives)
}

// F1 is the harmonic mean of precision and recall; ok is false without anything judged.
func (c Counts) F1() (f float64, ok bool) {
	return share(2*c.TruePositives, 2*c.TruePositives+c.FalsePositives+c.FalseNegatives)
}

// FalseAlarms is how many false alarms there were in a month of watching; ok is false
// before a day of it.
func (c Counts) FalseAlarms() (perMonth float64, ok bool) {
	if c.Hours < 24 {
		return 0, false
	}
	return float64(c.FalsePositives) * Month / c.Hours, true
}

func share(part, of int) (float64, bool) {
	if of == 0 {
		return 0, false
	}
	return float64(part) / float64(of), true
}

// Quality is what labels say of a machine's alarms.
type Quality struct {
	Counts
	Unjudged int `json:"unjudged"` // alarms of which nobody said anything
	// Named counts right alarms whose fault is known and was named by a diagnosing job,
	// NamedRight those it named right.
	Named, NamedRight int
	// AUPRC is the area under precision and recall over all thresholds, by the largest
	// score of each labelled day; nil without days of both kinds.
	AUPRC *float64
	// Error is the share of wrong predictions among those put to the test, the newest
	// counting most; nil without any.
	Error *float64
	// Drift is found when predictions are wrong more often than they were.
	Drift []Drift
	// Versions tells the models apart, the newest first.
	Versions []VersionCounts
}

// VersionCounts is how right the alarms of one model were.
type VersionCounts struct {
	Job     string `json:"job"`
	Version uint64 `json:"model_version"` // 0: the machine's own
	Counts
}

// event is a failure or fault that was labelled: something to have an alarm about.
type event struct {
	from, to int64
	class    string
	heard    time.Time // when it was labelled
}

// test is a prediction of which the truth is known.
type test struct {
	heard time.Time
	wrong bool
}

// judge adds up what labels say.
type judge struct {
	q       Quality
	watched *Watched
	since   int64 // nothing older is judged: it is not known completely
	events  []event
	orders  []event // inspections that found nothing
	tests   []test
}

// Judge says how right the alarms of a machine were: its episodes, its labels as
// labels.Book.Of returns them, and when it was watched. A failure is to be announced at
// most lead before. since, if not zero, is from when on episodes are complete.
//
// A prediction is put to the test when its label is heard, before a model learns from it
// (prequential: J. Gama, R. Sebastião, P. Rodrigues, On evaluating stream learning
// algorithms, Machine Learning 90 (2013) 317–346).
func Judge(episodes []journal.Episode, list []labels.Label, w *Watched, lead time.Duration, since time.Time) *Quality {
	j := &judge{watched: w}
	if len(w.Spans) > 0 {
		j.since = w.Spans[0].From
	}
	if !since.IsZero() {
		j.since = max(j.since, since.Unix())
	}
	j.q.Hours = w.hours(j.since)
	verdicts := j.read(list, lead)
	j.match(episodes, verdicts)
	j.q.AUPRC = j.auprc(list, episodes)
	j.prequential()
	j.versions()
	return &j.q
}

// read sorts labels into events, inspections and verdicts.
func (j *judge) read(list []labels.Label, lead time.Duration) map[string]labels.Label {
	verdicts := map[string]labels.Label{}
	for i, l := range list {
		switch l.Kind {
		case labels.Verdict:
			verdicts[l.Episode] = l
		case labels.Failure:
			from := l.At.Add(-lead)
			for _, m := range list[:i] { // by time: a life begins where the one before ended
				if ends(m) && m.At.Before(l.At) && m.At.After(from) {
					from = m.At
				}
			}
			j.add(event{from.Unix(), l.At.Unix(), l.Class, l.Received})
		case labels.Healthy:
			j.orders = append(j.orders, event{l.From.Unix(), l.To.Unix(), "", l.Received})
		case labels.Fault:
			to := l.To
			for _, m := range list[i:] {
				if to.IsZero() && ends(m) && !m.At.Before(l.From) {
					to = m.At
				}
			}
			if to.IsZero() {
				to = time.Unix(1<<40, 0)
			}
			j.add(event{l.From.Unix(), to.Unix(), l.Class, l.Received})
		}
	}
	return verdicts
}

// ends says whether a life of the machine ends with what a label says.
func ends(l labels.Label) bool { return l.Kind == labels.Maintenance || l.Kind == labels.Failure }

// add adds an event, or extends one that it overlaps: a fault that ends in a failure is
// one.
func (j *judge) add(e event) {
	if e.to < j.since {
		return
	}
	for i := range j.events {
		if o := &j.events[i]; e.from < o.to && o.from < e.to {
			o.from, o.to = min(o.from, e.from), max(o.to, e.to)
			if o.class == "" {
				o.class = e.class
			}
			return
		}
	}
	j.events = append(j.events, e)
}

// match holds alarms against events.
func (j *judge) match(episodes []journal.Episode, verdicts map[string]labels.Label) {
	announced := make([]bool, len(j.events))
	for _, e := range slices.Backward(episodes) { // oldest first
		from, to := e.Raised.Unix(), e.Cleared.Unix()
		if from < j.since {
			continue
		}
		if e.Cleared.IsZero() {
			to = 1 << 40
		}
		overlaps := func(o event) bool { return from <= o.to && o.from <= to }
		verdict, judged := verdicts[e.ID]
		at := slices.IndexFunc(j.events, overlaps)
		inOrder := slices.IndexFunc(j.orders, overlaps)
		switch {
		case judged && verdict.Right != nil && !*verdict.Right:
			j.count(&e, &j.q.FalsePositives, test{verdict.Received, true})
		case at >= 0:
			j.name(&e, cmp.Or(verdict.Class, j.events[at].class))
			for i, o := range j.events { // one that lasts may announce several
				if overlaps(o) && !announced[i] {
					announced[i] = true
					j.count(&e, &j.q.TruePositives, test{o.heard, false})
				}
			}
		case judged:
			j.name(&e, verdict.Class)
			j.count(&e, &j.q.TruePositives, test{verdict.Received, false})
		case inOrder >= 0:
			j.count(&e, &j.q.FalsePositives, test{j.orders[inOrder].heard, true})
		default:
			j.q.Unjudged++
		}
	}
	for i, e := range j.events {
		if span, ok := j.watched.at(e.from, e.to+1); ok && !announced[i] {
			j.q.FalseNegatives++
			j.version(span.Job, span.Version).FalseNegatives++
			j.tests = append(j.tests, test{e.heard, true})
		}
	}
	for _, o := range j.orders {
		alarmed := slices.ContainsFunc(episodes, func(e journal.Episode) bool {
			return e.Raised.Unix() <= o.to && (e.Cleared.IsZero() || e.Cleared.Unix() >= o.from)
		})
		if _, ok := j.watched.at(o.from, o.to+1); ok && !alarmed {
			j.tests = append(j.tests, test{o.heard, false})
		}
	}
}

// count books an alarm that was judged.
func (j *judge) count(e *journal.Episode, total *int, t test) {
	*total++
	v := j.version(e.Job, e.ModelVersion)
	if t.wrong {
		v.FalsePositives++
	} else {
		v.TruePositives++
	}
	j.tests = append(j.tests, t)
}

// name holds the fault that was named against the one it was.
func (j *judge) name(e *journal.Episode, class string) {
	if e.Fault == nil || e.Fault.Class == infer.Unknown || class == "" {
		return
	}
	j.q.Named++
	if e.Fault.Class == class {
		j.q.NamedRight++
	}
}

// version returns the counts of a model.
func (j *judge) version(job string, version uint64) *VersionCounts {
	at := slices.IndexFunc(j.q.Versions, func(v VersionCounts) bool { return v.Job == job && v.Version == version })
	if at < 0 {
		at = len(j.q.Versions)
		j.q.Versions = append(j.q.Versions, VersionCounts{Job: job, Version: version})
	}
	return &j.q.Versions[at]
}

// versions adds hours, and keeps the newest models and, of older ones, those of which
// there is something to tell.
func (j *judge) versions() {
	for _, s := range j.watched.Spans {
		if s.Job != "" {
			j.version(s.Job, s.Version).Hours += s.since(j.since)
		}
	}
	order := map[VersionCounts]int{}
	for i, s := range j.watched.Spans {
		order[VersionCounts{Job: s.Job, Version: s.Version}] = i + 1
	}
	newest := func(v VersionCounts) int { return order[VersionCounts{Job: v.Job, Version: v.Version}] }
	slices.SortStableFunc(j.q.Versions, func(x, y VersionCounts) int { return cmp.Compare(newest(y), newest(x)) })
	j.q.Versions = j.q.Versions[:min(len(j.q.Versions), maxVersions)]
}
