package web

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// none stands where there is no number to show.
const none = "–"

// stamp is a time as a page shows it.
type stamp struct {
	ISO   string // RFC 3339 in UTC, for <time datetime>; empty: there is no such time
	Title string // absolute, in the server's time zone
	Text  string // relative; in a live fragment absolute, see clock
}

// clock turns times into stamps. Relative text changes every second without any
// news, so a live fragment carries the absolute time and the browser, which keeps
// the relative text current anyway, makes it relative.
type clock struct {
	now  time.Time
	zone *time.Location
	live bool
}

func (c clock) stamp(t time.Time) stamp {
	if t.IsZero() {
		return stamp{Text: none}
	}
	title := t.In(c.zone).Format("2006-01-02 15:04:05 MST")
	text := title
	if !c.live {
		text = formatRelative(t.Sub(c.now))
	}
	return stamp{ISO: t.UTC().Format(time.RFC3339), Title: title, Text: text}
}

// formatRelative says how far from now something is: "12 s ago", "in 3 min".
// static/app.js has the same steps.
func formatRelative(d time.Duration) string {
	s := int64(d / time.Second)
	text := formatSpan(max(s, -s))
	switch {
	case s > 0:
		return "in " + text
	case s == 0:
		return "now"
	}
	return text + " ago"
}

func formatSpan(s int64) string {
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min", s/60)
	case s < 48*3600:
		return fmt.Sprintf("%d h", s/3600)
	}
	return fmt.Sprintf("%d d", s/86400)
}

// formatZone states a time zone once for the whole page: "CET (UTC+01:00)".
func formatZone(t time.Time) string {
	name, offset := t.Zone()
	if offset == 0 {
		return "UTC"
	}
	utc := "UTC" + t.Format("-07:00")
	if strings.HasPrefix(name, "+") || strings.HasPrefix(name, "-") {
		return utc // zones without an abbreviation are named by their offset
	}
	return name + " (" + utc + ")"
}

// formatSeconds writes a duration with the precision a person can use.
func formatSeconds(s float64) string {
	switch {
	case !finite(s) || s <= 0:
		return none
	case s < 1:
		return fmt.Sprintf("%.0f ms", math.Max(1, s*1000))
	case s < 9.95:
		return fmt.Sprintf("%.1f s", s)
	case s < 119.5:
		return fmt.Sprintf("%.0f s", s)
	case s < 7200:
		return inTwo(int64(s+0.5), 60, "min", "s")
	}
	return inTwo(int64(min(s, 1e15)/60+0.5), 60, "h", "min")
}

// inTwo writes n small units in large and small ones, "2 min 05 s" or "2 min".
func inTwo(n, per int64, large, small string) string {
	if n%per == 0 {
		return fmt.Sprintf("%d %s", n/per, large)
	}
	return fmt.Sprintf("%d %s %02d %s", n/per, large, n%per, small)
}

// formatBytes writes a size in binary units with three digits.
func formatBytes(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	x, unit := float64(n), 0
	for x >= 1023.5 && unit < 6 {
		x /= 1024
		unit++
	}
	digits := 0
	switch {
	case x < 9.995:
		digits = 2
	case x < 99.95:
		digits = 1
	}
	return strconv.FormatFloat(x, 'f', digits, 64) + " " + string("KMGTPE"[unit-1]) + "iB"
}

// formatCount groups digits by threes with a narrow no-break space (ISO 80000-1, 7.3.1).
func formatCount(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// formatScore writes a score relative to its threshold.
func formatScore(x float64) string {
	switch {
	case !finite(x) || x < 0:
		return none
	case x < 9.995:
		return fmt.Sprintf("%.2f", x)
	case x < 99.95:
		return fmt.Sprintf("%.1f", x)
	case x < 1e6:
		return formatCount(uint64(math.Round(x)))
	}
	return fmt.Sprintf("%.1e", x)
}

// formatNumber writes a metric with four significant digits.
func formatNumber(x float64) string {
	if !finite(x) {
		return none
	}
	if x == 0 {
		return "0" // never "-0"
	}
	if a := math.Abs(x); a >= 1000 && a < 1e6 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.4g", x)
}

// formatLoss writes a loss for a column: with a fixed number of decimals where
// that keeps three digits, so that a falling loss is seen to fall.
func formatLoss(x float64) string {
	switch a := math.Abs(x); {
	case a >= 0.001 && a < 10:
		return fmt.Sprintf("%.4f", x)
	case a >= 10 && a < 1000:
		return fmt.Sprintf("%.2f", x)
	}
	return formatNumber(x)
}

// formatWeight writes a number of feature vectors, which is whole unless weighted.
func formatWeight(x float64) string {
	if !finite(x) || x <= 0 {
		return none
	}
	if x < 1e15 {
		return formatCount(uint64(math.Round(x)))
	}
	return fmt.Sprintf("%.3e", x)
}

// formatPercent writes a share between 0 and 1.
func formatPercent(share float64) string {
	return fmt.Sprintf("%.0f %%", 100*min(max(share, 0), 1))
}

func shortDigest(digest string) string {
	digest = strings.TrimPrefix(digest, "sha256:")
	if len(digest) > 10 {
		return digest[:10]
	}
	return digest
}

// plural writes a count with its noun: plural(1, "machine") is "1 machine".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return formatCount(uint64(max(n, 0))) + " " + noun + "s"
}
