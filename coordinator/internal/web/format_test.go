package web

import (
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestFormat_ForPeople(t *testing.T) {
	// Expected texts are written by hand; 1 KiB = 1024 B, narrow spaces shown as '_'.
	cases := []struct{ got, want string }{
		{formatBytes(0), "0 B"}, {formatBytes(1023), "1023 B"}, {formatBytes(1024), "1.00 KiB"}, {formatBytes(40960), "40.0 KiB"},
		{formatBytes(1<<20 - 1), "1.00 MiB"}, {formatBytes(123 << 20), "123 MiB"}, {formatBytes(10_240), "10.0 KiB"}, {formatBytes(math.MaxUint64), "16.0 EiB"},
		{formatCount(0), "0"}, {formatCount(999), "999"}, {formatCount(1000), "1_000"}, {formatCount(1234567), "1_234_567"}, {formatCount(math.MaxUint64), "18_446_744_073_709_551_615"},
		{formatScore(0), "0.00"}, {formatScore(0.995), "0.99"}, {formatScore(9.994), "9.99"}, {formatScore(9.996), "10.0"}, {formatScore(12345), "12_345"}, {formatScore(3.2e9), "3.2e+09"}, {formatScore(math.NaN()), "–"},
		{formatNumber(0.12345678), "0.1235"}, {formatNumber(123456.7), "123457"}, {formatNumber(1e-9), "1e-09"}, {formatNumber(math.Copysign(0, -1)), "0"}, {formatNumber(math.Inf(-1)), "–"},
		{formatLoss(0.151), "0.1510"}, {formatLoss(12.3456), "12.35"}, {formatLoss(1.5e-5), "1.5e-05"},
		{formatSeconds(0), "–"}, {formatSeconds(0.0001), "1 ms"}, {formatSeconds(0.25), "250 ms"}, {formatSeconds(3.14), "3.1 s"}, {formatSeconds(42.4), "42 s"}, {formatSeconds(120), "2 min"},
		{formatSeconds(605), "10 min 05 s"}, {formatSeconds(7200), "2 h"}, {formatSeconds(9000), "2 h 30 min"}, {formatSeconds(math.Inf(1)), "–"},
		{formatWeight(3500), "3_500"}, {formatWeight(-1), "–"}, {formatPercent(0.625), "62 %"}, {formatPercent(7), "100 %"},
		{formatRelative(-12 * time.Second), "12 s ago"}, {formatRelative(-59*time.Minute - 59*time.Second), "59 min ago"}, {formatRelative(90 * time.Second), "in 1 min"},
		{formatRelative(-47 * time.Hour), "47 h ago"}, {formatRelative(-49 * time.Hour), "2 d ago"}, {formatRelative(500 * time.Millisecond), "now"}, {formatRelative(math.MinInt64), "106751 d ago"},
		{shortDigest("sha256:0123456789abcdef"), "0123456789"}, {shortDigest("ab"), "ab"}, {plural(1, "machine"), "1 machine"}, {plural(0, "machine"), "0 machines"},
		{formatZone(noon), "CET (UTC+01:00)"}, {formatZone(noon.UTC()), "UTC"}, {formatZone(noon.In(time.FixedZone("-03", -3*3600))), "UTC-03:00"},
	}
	for _, c := range cases {
		if got := strings.ReplaceAll(c.got, "\u202f", "_"); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestClock_Stamp(t *testing.T) {
	c := clock{now: noon, zone: noon.Location()}
	want := stamp{ISO: "2026-03-12T10:58:00Z", Title: "2026-03-12 11:58:00 CET", Text: "2 min ago"}
	if diff := cmp.Diff(want, c.stamp(noon.Add(-2*time.Minute))); diff != "" {
		t.Error(diff)
	}
	if got := c.stamp(time.Time{}); got != (stamp{Text: "–"}) {
		t.Errorf("no time at all is %+v", got)
	}
}

func TestChart_OnePoint(t *testing.T) {
	c := newChart("Loss", []point{{7, 0.25}}, false)
	if len(c.Dots) != 1 || c.Dots[0].X != "50" || c.Line != "" || c.Label != "Loss: 0.25 in round 7" || len(c.XTicks) != 1 {
		t.Errorf("one point draws %+v", c)
	}
}

func TestChart_None(t *testing.T) {
	if c := newChart("Loss", []point{{1, math.NaN()}, {2, math.Inf(1)}}, false); c != nil {
		t.Errorf("no finite point draws %+v", c)
	}
}

func TestChart_Linear(t *testing.T) {
	// Axis 0 to 1 in steps of 0.2: y = 100·(1 − loss); x = 100·(round − 1)/4.
	c := newChart("Loss", []point{{1, 0.9}, {2, 0.5}, {5, 0.1}}, false)
	if c.Line != "M0 10L25 50L100 90" || c.Area != "M0 10L25 50L100 90L100 100L0 100Z" || c.LogNote != "" {
		t.Errorf("line %q, area %q, %q", c.Line, c.Area, c.LogNote)
	}
	if c.Label != "Loss over rounds: from 0.9 in round 1 to 0.1 in round 5" {
		t.Errorf("label %q", c.Label)
	}
	var ticks []string
	for _, k := range c.YTicks {
		ticks = append(ticks, k.Text+"@"+k.At)
	}
	if got := strings.Join(ticks, " "); got != "0@100 0.2@80 0.4@60 0.6@40 0.8@20 1@0" {
		t.Errorf("ticks %s", got)
	}
}

func TestChart_Logarithmic(t *testing.T) {
	// Three decades, 0.01 to 10: a tenth of the largest is a third of the way down.
	c := newChart("Loss", []point{{1, 10}, {2, 1}, {3, 0.01}}, false)
	if c.LogNote == "" || c.Line != "M0 0L50 33.33L100 100" {
		t.Errorf("note %q, line %q", c.LogNote, c.Line)
	}
	if c := newChart("Duration", []point{{1, 10}, {2, 0.01}}, true); c.LogNote != "" {
		t.Error("the axis of an amount starts at zero, so it cannot be logarithmic")
	}
}

// Whatever the values, a chart stays on its canvas, with few and readable ticks.
func TestChart_AnyValues(t *testing.T) {
	number := regexp.MustCompile(`^\d+(\.\d+)?$`)
	rapid.Check(t, func(t *rapid.T) {
		var points []point
		x := uint64(0)
		for range rapid.IntRange(1, 80).Draw(t, "n") {
			x += rapid.Uint64Range(0, 1<<40).Draw(t, "step")
			points = append(points, point{x, rapid.Float64().Draw(t, "y")})
		}
		c := newChart("Loss", points, rapid.Bool().Draw(t, "amount"))
		if c == nil {
			if math.Abs(points[0].Y) <= 1e150 {
				t.Fatal("a drawable point draws nothing")
			}
			return
		}
		if len(c.YTicks) > 7 || len(c.XTicks) > 9 {
			t.Fatalf("%d and %d ticks", len(c.YTicks), len(c.XTicks))
		}
		var all []string
		for _, d := range c.Dots {
			all = append(all, d.X, d.Y)
		}
		for _, k := range append(append([]tick{}, c.XTicks...), c.YTicks...) {
			all = append(all, k.At)
		}
		all = append(all, strings.Fields(strings.NewReplacer("M", " ", "L", " ", "Z", " ").Replace(c.Area))...)
		for _, s := range all {
			if !number.MatchString(s) || len(s) > 6 || s > "100" && len(s) > 3 && !strings.Contains(s, ".") {
				t.Fatalf("coordinate %q is off the canvas", s)
			}
		}
	})
}

func TestScorePosition_QuartersAreZones(t *testing.T) {
	for score, want := range map[float64]float64{0: 0, 0.25: 12.5, 0.5: 25, 1: 50, 2: 75, 4: 100, 1e9: 100, -1: 0} {
		if got := scorePosition(score); got != want {
			t.Errorf("score %v is at %v, want %v", score, got, want)
		}
	}
	if scorePosition(math.NaN()) != 0 {
		t.Error("NaN has a position")
	}
}

func TestStack_SharesAddUp(t *testing.T) {
	want := []share{{Class: "a", X: "0", Width: "25"}, {Class: "d", X: "25", Width: "75"}}
	if diff := cmp.Diff(want, stack([]string{"a", "b", "d"}, []int{1, 0, 3})); diff != "" {
		t.Error(diff)
	}
	if stack([]string{"a"}, []int{0}) != nil {
		t.Error("nothing has shares")
	}
}
