package decode

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// isoLayouts are tried in order; Go reads a fraction of a second after any of
// them. The first two have a zone.
var isoLayouts = []struct {
	layout string
	zone   bool
}{
	{"2006-01-02T15:04:05Z07:00", true},
	{"2006-01-02 15:04:05Z07:00", true},
	{"2006-01-02T15:04:05Z0700", true},
	{"2006-01-02T15:04:05", false},
	{"2006-01-02 15:04:05", false},
	{"2006-01-02T15:04", false},
}

// ParseTime reads text as format says ("" is TimeAuto) and returns the time in
// UTC. zoneAssumed reports an ISO time without a zone, taken as UTC. Numbers
// are rounded to the microsecond, the finest a double near 2 billion seconds holds.
func ParseTime(text string, format TimeFormat) (t time.Time, zoneAssumed bool, err error) {
	auto := format == "" || format == TimeAuto
	v, perr := 0.0, error(nil)
	if auto && len(text) > 4 && text[4] == '-' {
		format = TimeISO
	}
	if format != TimeISO {
		v, perr = strconv.ParseFloat(text, 64)
	}
	if auto && format != TimeISO {
		format = guessTimeFormat(v, perr)
	}
	if format == TimeISO {
		for _, l := range isoLayouts {
			if l.zone != hasZone(text) || len(text) < 11 || l.layout[10] != text[10] {
				continue // parsing in vain costs an allocation
			}
			if t, err := time.Parse(l.layout, text); err == nil {
				return t.UTC(), !l.zone, nil
			}
		}
		return time.Time{}, false, fmt.Errorf("read time %q: not ISO 8601, as in 2026-03-01T10:14:33Z; set time_format to what the payload holds", clip(text))
	}
	if perr != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return time.Time{}, false, fmt.Errorf("read time %q: not a number; set time_format to what the payload holds", clip(text))
	}
	perSecond := 1.0
	switch format {
	case TimeMilliseconds:
		perSecond = 1e3
	case TimeMicroseconds:
		perSecond = 1e6
	case timeNanoseconds:
		perSecond = 1e9
	}
	return unixTime(v, perSecond)
}

// hasZone reports whether an ISO time names a zone after its date.
func hasZone(text string) bool {
	return len(text) > 11 && strings.ContainsAny(text[11:], "Z+-")
}

// zone reads Spec.TimeZone; nil for the default.
func zone(name string) (*time.Location, error) {
	switch name {
	case "":
		return nil, nil
	case "local":
		return time.Local, nil
	}
	if t, err := time.Parse("-07:00", name); err == nil {
		return t.Location(), nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is no time zone known here; write +01:00, local, or a name such as Europe/Berlin", name)
	}
	return loc, nil
}

// inZone takes the clock reading of t, which was read as UTC, to be of loc.
func inZone(t time.Time, loc *time.Location) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), loc).UTC()
}

// timeNanoseconds is only ever guessed, never configured.
const timeNanoseconds TimeFormat = "ns"

func guessTimeFormat(v float64, err error) TimeFormat {
	switch a := math.Abs(v); {
	case err != nil:
		return TimeISO
	case a < 1e11:
		return TimeSeconds
	case a < 1e14:
		return TimeMilliseconds
	case a < 1e17:
		return TimeMicroseconds
	}
	return timeNanoseconds
}

// unixTime converts v, counted from 1970 in perSecond-ths of a second.
func unixTime(v, perSecond float64) (time.Time, bool, error) {
	whole := math.Floor(v / perSecond)
	if !(math.Abs(whole) < 1e12) { // beyond what time arithmetic carries safely; also NaN
		return time.Time{}, false, fmt.Errorf("read time %v: out of range; set time_format to what the payload holds", v)
	}
	micros := math.Round((v - whole*perSecond) / perSecond * 1e6)
	return time.Unix(int64(whole), int64(micros)*1000).UTC(), false, nil
}

// clip shortens text for an error message.
func clip(text string) string {
	if len(text) > 40 {
		return text[:40] + "…"
	}
	return text
}
