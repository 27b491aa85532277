package labels

import (
	"testing"
	"time"

	"github.com/millwright-iot/millwright/fedavg/job"
)

// noon is the origin of times in these tests, which are hours from it.
var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func hour(h float64) time.Time { return noon.Add(time.Duration(h * float64(time.Hour))) }

func TestTruth_Of(t *testing.T) {
	spec := job.LabelSpec{Lead: 10 * time.Hour, Settle: time.Hour}
	failure := func(h float64, class string) Label { return Label{Kind: Failure, At: hour(h), Class: class} }
	work := func(h float64) Label { return Label{Kind: Maintenance, At: hour(h)} }
	fault := func(from, to float64, class string) Label {
		return Label{Kind: Fault, From: hour(from), To: hour(to), Class: class}
	}
	lasting := func(from float64, class string) Label { return Label{Kind: Fault, From: hour(from), Class: class} }
	healthy := func(from, to float64) Label { return Label{Kind: Healthy, From: hour(from), To: hour(to)} }
	verdict := func(from, to float64, right bool, class string) Label {
		return Label{Kind: Verdict, From: hour(from), To: hour(to), Right: &right, Class: class}
	}
	lasts := verdict(0, 0, false, "")
	lasts.To = time.Time{}
	for name, c := range map[string]struct {
		labels []Label
		from   float64 // of a window of a tenth of an hour
		said   Said
		class  string
	}{
		"no label":                             {nil, 0, Nothing, ""},
		"before the lead":                      {[]Label{failure(0, "belt")}, -10.5, Nothing, ""},
		"across its beginning":                 {[]Label{failure(0, "belt")}, -10.05, Unclear, ""},
		"in the lead":                          {[]Label{failure(0, "belt")}, -9, Faulty, "belt"},
		"to the end of the lead":               {[]Label{failure(0, "belt")}, -0.1, Faulty, "belt"},
		"after the failure":                    {[]Label{failure(0, "belt")}, 0.5, Unclear, ""},
		"long after":                           {[]Label{failure(0, "belt")}, 1.5, Nothing, ""},
		"nobody knows of what":                 {[]Label{failure(0, "")}, -3, Unclear, ""},
		"known by another label":               {[]Label{failure(0, ""), fault(-5, -1, "belt")}, -3, Faulty, "belt"},
		"before this life":                     {[]Label{work(-5), failure(0, "belt")}, -7, Nothing, ""},
		"in this life":                         {[]Label{work(-5), failure(0, "belt")}, -3, Faulty, "belt"},
		"near work in the lead":                {[]Label{work(-5), failure(0, "belt")}, -4.5, Unclear, ""},
		"before work":                          {[]Label{work(0)}, -0.5, Unclear, ""},
		"a life that ended in failure":         {[]Label{failure(-5, "shaft"), failure(0, "belt")}, -7, Faulty, "shaft"},
		"fault that lasts":                     {[]Label{lasting(0, "belt")}, 1000, Faulty, "belt"},
		"until it was mended":                  {[]Label{lasting(0, "belt"), work(5)}, 6.5, Nothing, ""},
		"while it lasted":                      {[]Label{lasting(0, "belt"), work(5)}, 3.5, Faulty, "belt"},
		"work before it began":                 {[]Label{work(-5), lasting(0, "belt")}, 3.5, Faulty, "belt"},
		"two faults at once":                   {[]Label{fault(0, 2, "belt"), fault(1, 3, "shaft")}, 1.5, Unclear, ""},
		"two that agree":                       {[]Label{fault(0, 2, "belt"), fault(1, 3, "belt")}, 1.5, Faulty, "belt"},
		"inspected before it failed":           {[]Label{healthy(-5, -4), failure(0, "belt")}, -4.5, InOrder, ""},
		"inspected while it had a fault":       {[]Label{healthy(1, 2), fault(0, 3, "belt")}, 1.5, Unclear, ""},
		"across the end of an inspection":      {[]Label{healthy(1, 2)}, 1.95, Unclear, ""},
		"wrong alarm":                          {[]Label{verdict(0, 2, false, "")}, 1, InOrder, ""},
		"wrong alarm that lasts":               {[]Label{lasts}, 100, InOrder, ""},
		"right alarm":                          {[]Label{verdict(0, 2, true, "")}, 1, Unclear, ""},
		"right alarm of a known fault":         {[]Label{verdict(0, 2, true, "belt")}, 1, Faulty, "belt"},
		"right alarm before a known failure":   {[]Label{verdict(-3, -2, true, ""), failure(0, "belt")}, -2.5, Faulty, "belt"},
		"wrong alarm before a failure":         {[]Label{verdict(-3, -2, false, ""), failure(0, "belt")}, -2.5, InOrder, ""},
		"two failures whose leads overlap":     {[]Label{failure(0, "belt"), failure(0, "shaft")}, -3, Unclear, ""},
		"a window that touches nothing before": {[]Label{fault(1, 2, "belt")}, 0.9, Nothing, ""},
		"a window that touches nothing after":  {[]Label{fault(1, 2, "belt")}, 2, Nothing, ""},
	} {
		truth := NewTruth(c.labels, spec)
		from := hour(c.from)
		if said, class := truth.Of(from, from.Add(6*time.Minute), true); said != c.said || class != c.class {
			t.Errorf("%s: says %v of class %q, want %v of %q", name, said, class, c.said, c.class)
		}
		if truth.Empty() != (len(c.labels) == 0) {
			t.Errorf("%s: empty is %v", name, truth.Empty())
		}
	}
}

func TestTruth_AlarmOutlastsItsFault(t *testing.T) {
	right := true
	truth := NewTruth([]Label{{Kind: Verdict, From: hour(0), To: hour(2), Right: &right, Class: "belt"}}, job.LabelSpec{})
	if said, _ := truth.Of(hour(1.9), hour(2), false); said != Unclear {
		t.Errorf("of a window below the threshold it says %v, want Unclear", said)
	}
	truth = NewTruth([]Label{{Kind: Fault, From: hour(0), To: hour(2), Class: "belt"}}, job.LabelSpec{})
	if said, _ := truth.Of(hour(1.9), hour(2), false); said != Faulty {
		t.Errorf("of a confirmed fault that scores low it says %v, want Faulty", said)
	}
}
