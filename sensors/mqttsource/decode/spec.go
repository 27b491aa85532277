// Package decode turns message payloads into samples.
//
// A [Spec] says where in a payload a channel's samples stand and how they are
// written; a [Decoder] reads every channel of one topic in a single pass over
// the payload. Samples are in the unit the sensor speaks: converting them to
// the base unit is the caller's step.
package decode

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Format is how samples are written in a payload.
type Format string

// The payload formats.
const (
	// Scalar is one number as text, or as a JSON number, string or boolean:
	// 21.7, "21.7", true.
	Scalar Format = "scalar"
	// JSON is one number at a path of a JSON document.
	JSON Format = "json"
	// JSONArray is a run of numbers: the JSON array at a path, sampled at a rate.
	JSONArray Format = "json_array"
	// Int16 is a run of little-endian signed 16-bit integers, sampled at a rate.
	Int16 Format = "int16"
	// Float32 is a run of little-endian IEEE 754 single-precision numbers,
	// sampled at a rate.
	Float32 Format = "float32"
	// CSV is a column of delimited text, one row a sample, with or without a row
	// of names first.
	CSV Format = "csv"
	// SenML is the records of one name in a SenML JSON pack (RFC 8428).
	SenML Format = "senml"
	// Sparkplug is one metric of an edge node's or device's Sparkplug B payload
	// (Eclipse Sparkplug 3.0.0, chapter 6).
	Sparkplug Format = "sparkplug"
)

var formats = []Format{Scalar, JSON, JSONArray, CSV, Int16, Float32, SenML, Sparkplug}

// TimeFormat is how a payload writes its time.
type TimeFormat string

// The time formats.
const (
	// TimeAuto takes text with a dash or a colon as ISO 8601 and tells the unit
	// of a number by its size: below 1e11 seconds, below 1e14 milliseconds,
	// below 1e17 microseconds, else nanoseconds. So read, seconds reach the
	// year 5138 and milliseconds begin in March 1973.
	TimeAuto         TimeFormat = "auto"
	TimeSeconds      TimeFormat = "s"   // Unix time in seconds, with or without a fraction
	TimeMilliseconds TimeFormat = "ms"  // Unix time in milliseconds
	TimeMicroseconds TimeFormat = "us"  // Unix time in microseconds
	TimeISO          TimeFormat = "iso" // ISO 8601 date and time; without a zone it is taken as UTC
)

var timeFormats = []TimeFormat{TimeAuto, TimeSeconds, TimeMilliseconds, TimeMicroseconds, TimeISO}

// Header is what stands before the samples of a binary burst.
type Header string

// The headers of binary bursts.
const (
	HeaderNone Header = "none"
	// HeaderUnix is 8 bytes: the time of the first sample as a little-endian
	// IEEE 754 double, Unix time in seconds.
	HeaderUnix Header = "unix_f64"
	// HeaderChunk is 16 bytes, little-endian, before each part of a burst that is
	// sent in several messages: the burst's number (uint32, any number that
	// changes from burst to burst), the part (uint16, from 0), the number of parts
	// (uint16), and the time of the burst's first sample, the same in every part
	// (double, Unix seconds; 0 for none). Every part holds whole samples.
	HeaderChunk Header = "chunk"
)

// MaxParts is the largest number of parts of a burst.
const MaxParts = 4096

var headers = []Header{HeaderNone, HeaderUnix, HeaderChunk}

// Spec says how the payloads of one topic hold one channel. The YAML keys are
// the ones of the agent's configuration.
type Spec struct {
	// Format is required.
	Format Format `yaml:"format"`
	// Path leads to the value (JSON) or the array (JSONArray): keys and array
	// positions joined by dots, as in "ENERGY.Power" or "channels.0.rms". A
	// backslash takes the next character literally: "a\.b" is the key "a.b". An
	// empty path is the whole document.
	//
	// For CSV it is a column: its name in the first row, or its position, from 0;
	// empty is the first. For SenML it is the resolved name of the records (base
	// name and name), or the name alone. For Sparkplug it is the metric's name,
	// as it is.
	Path string `yaml:"path"`
	// Hex says that the value (Scalar and JSON) is text in hexadecimal, and where in
	// these bytes the number stands: its type, high byte first, and the place of its
	// first byte, as in int16@4. Types: int8, uint8, int16, uint16, int32, uint32,
	// float32.
	Hex string `yaml:"hex"`
	// TimePath leads to the time of the first sample (JSON and JSONArray), or to
	// the column of a row's time (CSV). Empty: the payload has no time.
	TimePath string `yaml:"time_path"`
	// TimeFormat tells how that time is written. Default TimeAuto.
	TimeFormat TimeFormat `yaml:"time_format"`
	// TimeZone is that of a time that names none: an offset such as "+01:00",
	// "local" (this machine's), or a name such as "Europe/Berlin" where the system
	// knows it. Default: UTC, and sensors.QualityZoneAssumed is set.
	TimeZone string `yaml:"time_zone"`
	// RateHz is the sampling rate of a run of samples (JSONArray, Int16,
	// Float32), in Hz. Required there unless RatePath is given. With it, the rows
	// of a CSV, the records of a SenML pack and the elements of a Sparkplug array
	// are one run too; without it rows and records are samples with a time each.
	RateHz float64 `yaml:"rate_hz"`
	// RatePath leads to the sampling rate in Hz inside the document
	// (JSONArray), a number or text such as "800Hz" or "25.6 kHz"; where it is
	// absent, RateHz is used.
	RatePath string `yaml:"rate_path"`
	// Scale and Offset are applied to each sample as written:
	// sample = written·Scale + Offset. Scale 0 means 1.
	Scale  float64 `yaml:"scale"`
	Offset float64 `yaml:"offset"`
	// Min and Max are the smallest and largest plausible sample, after Scale and
	// Offset, in the channel's unit: 0 for a pressure that is absolute. What lies
	// outside is refused. Nil: no bound.
	Min *float64 `yaml:"min"`
	Max *float64 `yaml:"max"`
	// UnitPath leads to a text that names the unit inside the document (JSON and
	// JSONArray); the channel is refused when it is not the declared one.
	UnitPath string `yaml:"unit_path"`
	// Partial says that a message without the value is normal, as of a device that
	// reports only what changed: it is counted, but not complained of.
	Partial bool `yaml:"partial"`
	// Delimiter is between the cells of a CSV row: one character, default ",".
	// With another one, a comma inside a number is a decimal comma.
	Delimiter string `yaml:"delimiter"`
	// BurstPath, PartPath and PartsPath lead to the burst's number, the part
	// (from FirstPart, default 0) and the number of parts of a JSONArray that is
	// sent in several messages; all three or none. TimePath is then the time of
	// the burst's first sample, the same in every part.
	BurstPath string `yaml:"burst_path"`
	PartPath  string `yaml:"part_path"`
	PartsPath string `yaml:"parts_path"`
	FirstPart int    `yaml:"first_part"`
	// Header stands before the samples of Int16 and Float32. Default HeaderNone.
	Header Header `yaml:"header"`
}

// FieldError is a problem with one field of a Spec, named by its YAML key.
type FieldError struct{ Field, Problem string }

func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// Problems lists everything that is wrong with s, in the order of its fields.
func (s Spec) Problems() []*FieldError {
	var out []*FieldError
	bad := func(field, format string, args ...any) {
		out = append(out, &FieldError{field, fmt.Sprintf(format, args...)})
	}
	document := s.Format == JSON || s.Format == JSONArray
	binary := s.Format == Int16 || s.Format == Float32
	named := s.Format == CSV || s.Format == SenML || s.Format == Sparkplug
	switch {
	case s.Format == "":
		bad("format", "missing; one of %s", join(formats))
	case !slices.Contains(formats, s.Format):
		bad("format", "unknown format %q; one of %s", s.Format, join(formats))
		return out
	}
	for _, p := range []struct {
		field, path string
		ok          bool
	}{
		{"path", s.Path, document || named}, {"time_path", s.TimePath, document || s.Format == CSV},
		{"rate_path", s.RatePath, document}, {"unit_path", s.UnitPath, document},
		{"burst_path", s.BurstPath, s.Format == JSONArray}, {"part_path", s.PartPath, s.Format == JSONArray},
		{"parts_path", s.PartsPath, s.Format == JSONArray},
	} {
		if p.path != "" && !p.ok && s.Format != "" {
			bad(p.field, "format %s has no such path; remove it, or choose the format it belongs to", s.Format)
		} else if _, err := splitPath(p.path); err != nil && document {
			bad(p.field, "%v", err)
		}
	}
	switch {
	case s.Format == JSON && s.Path == "":
		bad("path", `missing; name the value, as in "ENERGY.Power", or use format scalar for a payload that is only a number`)
	case s.Format == SenML && s.Path == "":
		bad("path", `missing; name the records, as in "urn:dev:ow:10e2073a01080063:temp" or "temp"`)
	case s.Format == Sparkplug && s.Path == "":
		bad("path", `missing; name the metric, as in "Inputs/Temperature"`)
	}
	if s.Hex != "" {
		if _, err := parseHex(s.Hex); err != nil {
			bad("hex", "%v", err)
		} else if s.Format != Scalar && s.Format != JSON {
			bad("hex", "format %s has no such value; remove it, or use scalar or json", s.Format)
		}
	}
	if parts := s.BurstPath != ""; parts != (s.PartPath != "") || parts != (s.PartsPath != "") {
		bad("part_path", "burst_path, part_path and parts_path belong together; set all three or none")
	}
	if s.FirstPart < 0 || s.FirstPart > 1 {
		bad("first_part", "is %d; parts are counted from 0 or 1", s.FirstPart)
	}
	if s.Delimiter != "" && (s.Format != CSV || len(s.Delimiter) != 1 || strings.ContainsAny(s.Delimiter, "\"\r\n.-+0123456789")) {
		bad("delimiter", "%q does not separate cells; use one character such as \",\", \";\" or a tab, with format csv", s.Delimiter)
	}
	if s.TimeFormat != "" && !slices.Contains(timeFormats, s.TimeFormat) {
		bad("time_format", "unknown time format %q; one of %s", s.TimeFormat, join(timeFormats))
	}
	if _, err := zone(s.TimeZone); err != nil {
		bad("time_zone", "%v", err)
	}
	switch {
	case math.IsNaN(s.RateHz) || math.IsInf(s.RateHz, 0) || s.RateHz < 0:
		bad("rate_hz", "%v is not a sampling rate", s.RateHz)
	case s.RateHz == 0 && (binary || s.Format == JSONArray && s.RatePath == ""):
		bad("rate_hz", "missing; format %s needs the sampling rate in Hz", s.Format)
	}
	if math.IsNaN(s.Scale) || math.IsInf(s.Scale, 0) {
		bad("scale", "%v is not a finite number", s.Scale)
	}
	if math.IsNaN(s.Offset) || math.IsInf(s.Offset, 0) {
		bad("offset", "%v is not a finite number", s.Offset)
	}
	for _, p := range []struct {
		field string
		bound *float64
	}{{"min", s.Min}, {"max", s.Max}} {
		if p.bound != nil && (math.IsNaN(*p.bound) || math.IsInf(*p.bound, 0)) {
			bad(p.field, "%v is not a finite number", *p.bound)
		}
	}
	if s.Min != nil && s.Max != nil && !(*s.Min < *s.Max) {
		bad("max", "is %v, not above min, which is %v", *s.Max, *s.Min)
	}
	switch {
	case s.Header != "" && !slices.Contains(headers, s.Header):
		bad("header", "unknown header %q; one of %s", s.Header, join(headers))
	case s.Header != "" && s.Header != HeaderNone && !binary:
		bad("header", "only formats int16 and float32 have a header; use time_path here")
	}
	return out
}

// Validate returns every problem of s joined into one error, nil if there is none.
func (s Spec) Validate() error {
	var errs []error
	for _, p := range s.Problems() {
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

func join[T ~string](all []T) string {
	s := make([]string, len(all))
	for i, x := range all {
		s[i] = string(x)
	}
	return strings.Join(s, ", ")
}

// splitPath cuts a dotted path into its keys; an empty path has none.
func splitPath(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	var keys []string
	var key strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\' && i+1 < len(path):
			i++
			key.WriteByte(path[i])
		case c == '\\':
			return nil, fmt.Errorf("path %q ends in a backslash", path)
		case c == '.':
			keys = append(keys, key.String())
			key.Reset()
		default:
			key.WriteByte(c)
		}
	}
	keys = append(keys, key.String())
	if slices.Contains(keys, "") {
		return nil, fmt.Errorf("path %q has an empty part; write keys joined by single dots", path)
	}
	return keys, nil
}

// arrayIndex reads a path part as a position in an array, -1 if it is none.
func arrayIndex(key string) int {
	i, err := strconv.Atoi(key)
	if err != nil || i < 0 || strconv.Itoa(i) != key {
		return -1
	}
	return i
}
