package web

import (
	"slices"
	"strconv"
	"strings"

	"github.com/millwright-iot/millwright/coordinator/internal/fleet"
)

// outlook is what is known of a machine beside its score. A part is nil while nothing is
// known, and is not shown then.
type outlook struct {
	Fault    *faultView
	Evidence *evidenceView
	Life     *lifeView
	Trend    string
	Drift    []driftView
	Quality  *qualityView
	Any      bool // there is something to show
}

// faultView is which fault a machine is taken to have.
type faultView struct {
	Name, Percent, Model string
	Unknown              bool
}

// evidenceView is what the lines of a bearing say.
type evidenceView struct {
	Channel, Verdict string
	Lines            []reason // of each part, in dB
}

// lifeView is the remaining life of a machine.
type lifeView struct {
	Text            string // "340 h"
	Interval        string // "90 % likely between 210 h and 520 h"; empty without one
	Low, Width, Mid string // of the interval, in percent of its upper end
	End             string // what that end is
	At              stamp
	Model           string
}

// driftView is something that is not as it was.
type driftView struct {
	Subject, Kind, Monitor string
	Strength               string // statistic over limit
	Since                  stamp
	Whole                  bool // the whole class drifts in it
}

// qualityView is how right alarms were.
type qualityView struct {
	Precision, Recall, FalseAlarms string // none where nothing is known
	Right, Wrong, Missed           string
	Watched                        string
}

// parts of a bearing, for people.
var parts = map[string]string{"outer-race": "outer race", "inner-race": "inner race", "ball": "balls"}

func (b *builder) outlook(m *fleet.Machine) outlook {
	o := outlook{Fault: newFaultView(m.Fault), Evidence: newEvidenceView(m.Evidence), Life: b.lifeView(m.Life),
		Trend: trendText(m.Trend, m.Score), Quality: newQualityView(m.Quality)}
	for _, d := range m.Drift {
		v := driftView{Subject: d.Subject, Kind: d.Kind, Monitor: d.Monitor, Strength: none, Since: b.stamp(d.Since), Whole: b.wholeClass(m.Class, d)}
		if d.Limit > 0 {
			v.Strength = formatScore(d.Statistic/d.Limit) + " ×"
		}
		o.Drift = append(o.Drift, v)
	}
	o.Any = o.Fault != nil || o.Evidence != nil || o.Life != nil || o.Trend != "" || len(o.Drift) > 0 || o.Quality != nil
	return o
}

// wholeClass says whether a class drifts as this machine does.
func (b *builder) wholeClass(class string, d fleet.Drift) bool {
	for _, c := range b.snap.Drift {
		if c.Class == class {
			return slices.ContainsFunc(c.Subjects, func(s fleet.SubjectDrift) bool { return s.Fleet && s.Subject == d.Subject && s.Kind == d.Kind })
		}
	}
	return false
}

func newFaultView(f *fleet.Fault) *faultView {
	if f == nil {
		return nil
	}
	name := f.Class
	if part, ok := parts[name]; ok {
		name = part
	}
	return &faultView{Name: name, Percent: formatPercent(f.Probability),
		Model: modelName(f.Job, f.ModelVersion), Unknown: f.Class == "unknown"}
}

// highestLine is how many dB fill a bar.
const highestLine = 30

func newEvidenceView(e *fleet.Evidence) *evidenceView {
	if e == nil {
		return nil
	}
	v := &evidenceView{Channel: e.Channel, Verdict: "None of the bearing's lines stands out."}
	if part, ok := parts[e.Part]; ok {
		v.Verdict = "The lines accuse the " + part + ", if anything is wrong."
	}
	for _, line := range []struct {
		name string
		db   float64
	}{{"outer race", e.OuterRaceDB}, {"inner race", e.InnerRaceDB}, {"balls", e.BallDB}} {
		v.Lines = append(v.Lines, reason{Feature: line.name, Percent: strconv.FormatFloat(line.db, 'f', 1, 64) + " dB", Width: coord(100 * min(max(line.db/highestLine, 0), 1))})
	}
	return v
}

func (b *builder) lifeView(l *fleet.Life) *lifeView {
	if l == nil {
		return nil
	}
	v := &lifeView{Text: formatHours(l.Hours), At: b.stamp(l.At), Model: modelName(l.Job, l.ModelVersion)}
	if l.AtLeast {
		v.Text = "more than " + v.Text
	}
	if l.Confidence > 0 && l.High > 0 {
		v.Interval = formatPercent(l.Confidence) + " likely between " + formatHours(l.Low) + " and " + formatHours(l.High)
		low := 100 * min(max(l.Low/l.High, 0), 1)
		v.Low, v.Width, v.Mid = coord(low), coord(100-low), coord(100*min(max(l.Hours/l.High, 0), 1))
		v.End = formatHours(l.High)
	}
	return v
}

func trendText(t *fleet.Trend, score float64) string {
	if t == nil {
		return ""
	}
	text := "The score rises by " + formatScore(t.PerDay) + " a day"
	switch {
	case t.PerDay < 0:
		return "The score falls by " + formatScore(-t.PerDay) + " a day."
	case t.PerDay == 0:
		return ""
	case score >= 1:
		return text + "."
	case t.HoursToAlarm == nil:
		return text + "; the alarm threshold is not in sight."
	}
	return text + " and reaches the alarm threshold in about " + formatSpan(int64(min(*t.HoursToAlarm, 1e9)*3600)) + ", if it goes on so."
}

func newQualityView(q *fleet.Quality) *qualityView {
	if q == nil {
		return nil
	}
	v := &qualityView{Precision: none, Recall: none, FalseAlarms: none, Watched: formatHours(q.Hours),
		Right: formatCount(q.TruePositives), Wrong: formatCount(q.FalsePositives), Missed: formatCount(q.FalseNegatives)}
	if p, ok := q.Precision(); ok {
		v.Precision = formatPercent(p)
	}
	if r, ok := q.Recall(); ok {
		v.Recall = formatPercent(r)
	}
	if n, ok := q.FalseAlarms(); ok {
		v.FalseAlarms = formatScore(n)
	}
	return v
}

// classDriftView is what drifts among the machines of a class.
type classDriftView struct {
	Class, Drifting string
	Whole           []subjectView // of the class
	Single          []subjectView // of machines of it
	More            int           // of those, not shown
}

// subjectView is one thing that drifts in a class.
type subjectView struct {
	Subject, Machines string
	Since             stamp
}

const maxSubjects = 6 // that drift, named for a class

// classDrift is nil when nothing of the class drifts.
func (b *builder) classDrift(class string) *classDriftView {
	for _, c := range b.snap.Drift {
		if c.Class != class {
			continue
		}
		v := &classDriftView{Class: class, Drifting: strconv.Itoa(c.Drifting) + " of " + plural(c.Machines, "machine")}
		for _, s := range c.Subjects {
			view := subjectView{Subject: s.Subject, Since: b.stamp(s.Since), Machines: strconv.Itoa(s.Machines) + " of " + plural(c.Machines, "machine")}
			switch {
			case s.Fleet:
				v.Whole = append(v.Whole, view)
			case len(v.Single) < maxSubjects:
				v.Single = append(v.Single, view)
			default:
				v.More++
			}
		}
		return v
	}
	return nil
}

// wholeClasses are the classes that drift as a whole.
func (b *builder) wholeClasses() []classDriftView {
	var list []classDriftView
	for _, c := range b.snap.Drift {
		if v := b.classDrift(c.Class); len(v.Whole) > 0 {
			v.Whole = v.Whole[:min(len(v.Whole), maxSubjects)]
			list = append(list, *v)
		}
	}
	return list
}

// formatHours writes hours of operation with two or three digits.
func formatHours(h float64) string {
	switch {
	case !finite(h) || h < 0:
		return none
	case h < 10:
		return strings.TrimSuffix(strconv.FormatFloat(h, 'f', 1, 64), ".0") + " h"
	case h < 1e15:
		return formatCount(uint64(h+0.5)) + " h"
	}
	return formatNumber(h) + " h"
}
