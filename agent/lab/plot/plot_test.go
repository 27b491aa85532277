package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// wellFormed fails unless s is XML.
func wellFormed(t *testing.T, s string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, s)
		}
	}
}

func TestChart_PlacesValues(t *testing.T) {
	c := Chart{Title: "a < b & c", X: Range{0, 10}, Y: Range{0, 100}, Series: []Series{
		{Name: "dots", Style: Points, X: []float64{0, 5, 10}, Y: []float64{0, 50, 100}, Titles: []string{"<one>"}},
	}}
	s := string(c.SVG())
	wellFormed(t, s)
	// The frame goes from (58, 358) to (628, 54); its middle is (343, 206).
	for _, want := range []string{`cx="58" cy="358"`, `cx="343" cy="206"`, `cx="628" cy="54"`, "a &lt; b &amp; c", "&lt;one&gt;"} {
		if !strings.Contains(s, want) {
			t.Errorf("no %s in\n%s", want, s)
		}
	}
}

func TestChart_EveryStyle(t *testing.T) {
	x, lo, hi := []float64{1, 2, 3, 4}, []float64{1, 2, math.NaN(), 2}, []float64{2, 3, 4, 5}
	c := Chart{Series: []Series{
		{Style: Line, X: x, Y: lo}, {Style: Points, X: x, Y: lo}, {Style: Whisks, X: x, Low: lo, High: hi}, {Style: Band, X: x, Low: lo, High: hi, Colour: Grey},
	}, Marks: []Mark{{2.5, "BPFO"}, {math.Inf(1), "nowhere"}}}
	s := string(c.SVG())
	wellFormed(t, s)
	if strings.Contains(s, "NaN") || strings.Contains(s, "Inf") {
		t.Error("draws what is not finite")
	}
	for what, n := range map[string]int{"<circle": 3, `stroke-width="2"`: 3, `class="mark"`: 1, ">BPFO<": 1, ">nowhere<": 0} {
		if got := strings.Count(s, what); got != n {
			t.Errorf("%s: %d times, want %d", what, got, n)
		}
	}
	if d := regexp.MustCompile(`stroke-width="1.8" d="([^"]+)"`).FindStringSubmatch(s); len(d) != 2 || strings.Count(d[1], "M") != 2 {
		t.Errorf("a line breaks where a value is missing: %q", d)
	}
}

// A square frame is 570 by 570; a legend that is too long for one line makes the chart
// higher by a line and leaves the frame as it is.
func TestChart_SquareAndLegend(t *testing.T) {
	c := Chart{Square: true, X: Range{0, 1}, Y: Range{0, 1}}
	for range 3 {
		c.Series = append(c.Series, Series{Name: strings.Repeat("long name ", 5), Style: Rings, X: []float64{0, 1}, Y: []float64{0, 1}})
	}
	s := string(c.SVG())
	wellFormed(t, s)
	// Two of 354 do not fit into 582, so there are three lines: top 90, foot 660.
	for _, want := range []string{`viewBox="0 0 640 706"`, `cx="58" cy="660"`, `cx="628" cy="90"`, `y="78"`} {
		if !strings.Contains(s, want) {
			t.Errorf("no %s in\n%s", want, s)
		}
	}
	if n := strings.Count(s, `class="ring"`); n != 9 { // two points and a key each
		t.Errorf("%d rings, want 9", n)
	}
}

// A long curve takes no more of the page than can be seen, and keeps its ends and its
// spikes.
func TestChart_LongCurve(t *testing.T) {
	var s Series
	for i := range 100000 {
		s.X, s.Y = append(s.X, float64(i)), append(s.Y, 0)
	}
	s.Y[50000] = 1
	c := Chart{X: Range{0, 99999}, Y: Range{0, 1}, Series: []Series{s}}
	d := regexp.MustCompile(`stroke-width="1.8" d="([^"]+)"`).FindStringSubmatch(string(c.SVG()))
	if len(d) != 2 || len(d[1]) > 40000 {
		t.Fatalf("%d bytes", len(d[1]))
	}
	if !strings.HasPrefix(d[1], "M58 358") || !strings.HasSuffix(d[1], "L628 358") || !strings.Contains(d[1], "L343 54") {
		t.Errorf("%.40s … %s", d[1], d[1][len(d[1])-20:])
	}
}

func TestTable_Align(t *testing.T) {
	table := Table{Head: []string{"name", "n", "share", "mixed", "time", "empty"}, Rows: []Row{
		{Cells: []string{"a", "1", "20/20", "1", "32 s", "–"}}, {Cells: []string{"2", "−1.5", "–", "x", "–", "–"}},
	}}
	if got, want := strings.Join(table.Align(), ","), ",n,n,,n,n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChart_Degenerate(t *testing.T) {
	for name, c := range map[string]Chart{
		"nothing": {}, "one point": {Series: []Series{{X: []float64{5}, Y: []float64{5}}}},
		"constant": {Series: []Series{{X: []float64{1, 2}, Y: []float64{-3, -3}}}}, "only NaN": {Series: []Series{{X: []float64{1}, Y: []float64{math.NaN()}}}},
		"huge": {Series: []Series{{X: []float64{-1e300, 1e300}, Y: []float64{1, 2}}}}, "zeros": {Series: []Series{{X: []float64{0, 0}, Y: []float64{0, 0}}}},
	} {
		s := string(c.SVG())
		wellFormed(t, s)
		if strings.Contains(s, "NaN") || strings.Contains(s, "Inf") || len(s) > 20000 {
			t.Errorf("%s:\n%.500s", name, s)
		}
	}
}

func TestAxis_RoundTicks(t *testing.T) {
	for _, c := range []struct {
		from, to float64
		want     []float64
	}{{0, 125, []float64{0, 50, 100}}, {-1, 1, []float64{-1, -0.5, 0, 0.5, 1}}, {0, 0.003, []float64{0, 0.0005, 0.001, 0.0015, 0.002, 0.0025, 0.003}}} {
		got := newAxis(Range{}, []float64{c.from, c.to}, 0, 100).ticks
		if !slices.EqualFunc(got, c.want, func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }) {
			t.Errorf("%v to %v: ticks %v, want %v", c.from, c.to, got, c.want)
		}
		for _, x := range got {
			if x == 0 && math.Signbit(x) {
				t.Errorf("%v to %v: a tick at −0", c.from, c.to)
			}
		}
	}
}

// The page refers to nothing outside itself.
func TestPage_SelfContained(t *testing.T) {
	var out bytes.Buffer
	p := Page{Title: "T<script>", Lead: "lead", Sections: []Section{{Title: "S", Notes: []string{"n & m"}, Table: &Table{
		Head: []string{"a"}, Rows: []Row{{Cells: []string{"<b>"}, Strong: true}},
	}, Charts: []Chart{{Title: "plot"}}}}}
	if err := p.Write(&out); err != nil {
		t.Fatal(err)
	}
	s := out.String()
	for _, want := range []string{"T&lt;script&gt;", "n &amp; m", "&lt;b&gt;", `<tr class="strong">`, `aria-label="plot"`} {
		if !strings.Contains(s, want) {
			t.Errorf("no %s in\n%s", want, s)
		}
	}
	if regexp.MustCompile(`(src|href)=|url\(|<script|@import`).MatchString(s) {
		t.Error("refers to something outside")
	}
}
