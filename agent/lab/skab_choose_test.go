package lab

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millwright-iot/millwright/fedavg/model"
)

// recording is a made-up file of a group: healthy in its head, then rows of which the
// runes say what was true: x anomalous, . not.
func recording(group, rows string) SKABFile {
	f := SKABFile{Name: group + "/0", Group: group, Truth: make([]bool, SKABHead)}
	for _, c := range rows {
		f.Truth = append(f.Truth, c == 'x')
	}
	for i := range f.Truth {
		f.Times = append(f.Times, time.Unix(int64(i), 0))
	}
	return f
}

func says(rows string) told {
	t := told{alarm: make([]bool, SKABHead)}
	for _, c := range rows {
		t.alarm = append(t.alarm, c == 'x')
	}
	return t
}

// On b, setting 0 reaches F1 2/3 with no false alarm, 1 is better but false in 2 of 8
// rows, 2 reaches 1. On a it is 0 that is right.
func TestChooseSetting_ByTheOtherGroup(t *testing.T) {
	files := []SKABFile{recording("a", "xx........"), recording("b", "xx........")}
	said := [][]told{
		{says("xx........"), says("x.........")},
		{says(".........."), says("xxxx......")},
		{says("........xx"), says("xx........")},
	}
	best, on := chooseSetting(files, said, "a")
	if best != 2 || on != (Confusion{TP: 2, TN: 8}) {
		t.Errorf("for a: setting %d with %+v", best, on)
	}
	if best, _ := chooseSetting(files, said, "b"); best != 0 {
		t.Errorf("for b: setting %d", best)
	}
	if best, on := chooseSetting(files, said[:2], "a"); best != 0 || on.F1() != 2./3 {
		t.Errorf("among the first two for a: setting %d with F1 %v: a false alarm rate of 0.25 is too much", best, on.F1())
	}
	// If no setting keeps the limit, the lowest rate counts: 2 of 8 before 8 of 8.
	always := []told{says("xxxxxxxxxx"), says("xxxxxxxxxx")}
	if best, _ := chooseSetting(files, [][]told{always, said[1]}, "a"); best != 1 {
		t.Errorf("among those that alarm too often: setting %d", best)
	}
}

// What was true in the group that is reported must not matter to the choice.
func TestChooseSetting_BlindToItsGroup(t *testing.T) {
	files := []SKABFile{recording("a", "xx........"), recording("b", ".xx.......")}
	said := [][]told{{says("x........."), says("x.........")}, {says(".xx......."), says(".xx.......")}, {says("xxx......."), says("..x.......")}}
	want, _ := chooseSetting(files, said, "a")
	for _, rows := range []string{"..........", "xxxxxxxxxx", ".......xxx"} {
		files[0] = recording("a", rows)
		if got, _ := chooseSetting(files, said, "a"); got != want {
			t.Errorf("labels %s of the reported group change the choice from %d to %d", rows, want, got)
		}
	}
}

// The shipped settings come first, so that they win a tie.
func TestSKABSettings_ShippedFirst(t *testing.T) {
	spec, s := SKABJob(model.KindGaussian), skabSettings()[0]
	if s.Threshold != spec.Alarm.Threshold || s.Clear != spec.Alarm.Clear || s.Smooth != spec.Alarm.Smooth || s.WindowRows != int(spec.Features.Window/time.Second) {
		t.Errorf("the first candidate is %s, shipped is %+v", s, spec.Alarm)
	}
	for i, s := range skabSettings() {
		if slices.Index(skabSettings(), s) != i {
			t.Errorf("%s is there twice", s)
		}
	}
}

func TestAddChosen_OneGroup(t *testing.T) {
	files := skabFiles(t)[:2]
	r := newSKABReport(files)
	if err := addChosen(t.Context(), r, files); err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(r.Notes, "\n")
	if !strings.Contains(notes, "no setting can be chosen") || slices.ContainsFunc(r.Lines, func(l Line) bool { return l.Source == Ours }) {
		t.Errorf("notes %q, %d lines", notes, len(r.Lines))
	}
	if len(r.traces) != 1 {
		t.Errorf("%d courses, want that of the group's first machine", len(r.traces))
	}
	var page strings.Builder
	if err := r.Page().Write(&page); err != nil || !strings.Contains(page.String(), files[0].Name+": score after the head") {
		t.Errorf("page: %v", err)
	}
}
