package monitor

import (
	"math"
	"slices"
	"time"
)

const (
	// maxSpans bounds what is known of which model watched when; older ones become one.
	maxSpans = 128
	// maxDays bounds the days whose largest score is known.
	maxDays = 400
)

// Watched is when a machine was watched by which model. It marshals to JSON as its
// fields, whose names are short because there are many. The zero value is a machine that
// never was.
type Watched struct {
	Spans []Span `json:"spans"` // oldest first
	Days  []Day  `json:"days"`  // oldest first
}

// Span is a time in which one model scored a machine.
type Span struct {
	Job     string `json:"j,omitempty"` // empty: several, long ago
	Version uint64 `json:"v,omitempty"`
	From    int64  `json:"f"` // Unix seconds
	To      int64  `json:"t"`
	Millis  int64  `json:"ms"` // of windows that were scored, in milliseconds
}

// Day is the largest score of a day in UTC.
type Day struct {
	Day   int64   `json:"d"` // since 1970
	Score float64 `json:"s"`
}

const secondsOfDay = 24 * 60 * 60

// Observe counts a window of that length which ended at at, with its relative score by a
// version of job's model. What does not come in order of time counts to the newest.
func (w *Watched) Observe(at time.Time, window time.Duration, job string, version uint64, score float64) {
	if window <= 0 || !finite(score) {
		return
	}
	now := at.Unix()
	if n := len(w.Spans); n == 0 || w.Spans[n-1].Job != job || w.Spans[n-1].Version != version {
		w.Spans = append(w.Spans, Span{Job: job, Version: version, From: at.Add(-window).Unix(), To: now})
		if len(w.Spans) > maxSpans {
			old, next := w.Spans[0], &w.Spans[1]
			if old.Job != next.Job || old.Version != next.Version {
				next.Job, next.Version = "", 0
			}
			next.From, next.Millis = min(old.From, next.From), next.Millis+old.Millis
			w.Spans = slices.Delete(w.Spans, 0, 1)
		}
	}
	s := &w.Spans[len(w.Spans)-1]
	s.Millis += window.Milliseconds()
	s.To = max(s.To, now)
	day := at.Add(-window).Unix() / secondsOfDay // what ends at midnight is of the day before
	if n := len(w.Days); n == 0 || day > w.Days[n-1].Day {
		w.Days = append(w.Days, Day{Day: day})
		w.Days = slices.Delete(w.Days, 0, max(0, len(w.Days)-maxDays))
	}
	d := &w.Days[len(w.Days)-1]
	d.Score = max(d.Score, score)
}

// Clone returns a copy that shares no memory with w.
func (w *Watched) Clone() Watched { return Watched{slices.Clone(w.Spans), slices.Clone(w.Days)} }

// Check drops what cannot be, as read from a file.
func (w *Watched) Check() {
	w.Spans = slices.DeleteFunc(w.Spans, func(s Span) bool { return s.To < s.From || s.Millis < 0 })
	w.Days = slices.DeleteFunc(w.Days, func(d Day) bool { return !(d.Score >= 0) || !finite(d.Score) })
	w.Spans = w.Spans[max(0, len(w.Spans)-maxSpans):]
	w.Days = w.Days[max(0, len(w.Days)-maxDays):]
}

// Hours is how long the machine was watched.
func (w *Watched) Hours() float64 { return w.hours(math.MinInt64) }

// hours is how long the machine was watched since since.
func (w *Watched) hours(since int64) float64 {
	total := 0.0
	for _, s := range w.Spans {
		total += s.since(since)
	}
	return total
}

// since is which part of the span's hours was after since.
func (s Span) since(since int64) float64 {
	hours := float64(s.Millis) / float64(time.Hour/time.Millisecond)
	switch {
	case s.From >= since:
		return hours
	case s.To <= since:
		return 0
	}
	return hours * float64(s.To-since) / float64(s.To-s.From)
}

// at returns the model that watched within a time, the first of them; ok is false if
// none did.
func (w *Watched) at(from, to int64) (s Span, ok bool) {
	for _, s := range w.Spans {
		if s.Millis > 0 && s.From < to && s.To > from {
			return s, true
		}
	}
	return Span{}, false
}
