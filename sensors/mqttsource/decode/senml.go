package decode

import (
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// The fields of a SenML record that are read (RFC 8428, sections 4.1 and 4.2).
const (
	senmlBaseName = iota
	senmlBaseTime
	senmlBaseUnit
	senmlBaseValue
	senmlName
	senmlTime
	senmlUnit
	senmlValue
	senmlBool
	senmlText
	senmlVersion
	senmlFields
)

var senmlKeys = [senmlFields]string{"bn", "bt", "bu", "bv", "n", "t", "u", "v", "vb", "vs", "bver"}

// senmlRelative separates relative times, in seconds from now, from absolute
// ones (RFC 8428, section 4.5.3).
const senmlRelative = 1 << 28

// senmlPackVersion is the version of RFC 8428; a pack of a higher one may mean
// something else by the same fields (section 4.4).
const senmlPackVersion = 10

// senml is scratch memory for SenML packs.
type senml struct {
	scan   scanner
	record *node
	from   int   // length of dst before the pack
	found  []int // of each spec: 1 + the index of its newest Reading in dst
	base   senmlBase
}

type senmlBase struct {
	name, unit  []byte
	time, value float64
}

func newSenML() *senml {
	s := &senml{record: newNode(""), scan: scanner{spans: make([]span, senmlFields)}}
	for slot, key := range senmlKeys {
		s.record.child(key).slot = slot
	}
	return s
}

// records reads a SenML pack in one pass for all specs of that format.
func (d *Decoder) records(dst []Reading, payload []byte) []Reading {
	s := d.senml
	s.base = senmlBase{}
	s.found = append(s.found[:0], make([]int, len(d.channels))...)
	s.scan.data, s.scan.pos = payload, 0
	before := len(dst)
	s.from = before
	dst, err := d.pack(dst)
	s.scan.data, s.base = nil, senmlBase{}
	for i := range d.channels {
		c := &d.channels[i]
		switch {
		case c.Format != SenML:
		case err != nil:
			lost := 0
			for _, r := range dst[before:] {
				if r.Spec == i {
					lost += len(r.Samples)
				}
			}
			s.found[i] = -lost
		case s.found[i] == 0:
			dst = append(dst, Reading{Spec: i, Err: c.absent})
		}
	}
	if err == nil {
		return dst
	}
	dst = dst[:before] // half a pack is not believed: its base values may be wrong too
	for i := range d.channels {
		if d.channels[i].Format == SenML {
			dst = append(dst, Reading{Spec: i, Err: err, Lost: -s.found[i]})
		}
	}
	return dst
}

func (d *Decoder) pack(dst []Reading) ([]Reading, error) {
	s := &d.senml.scan
	s.space()
	if s.peek() != '[' {
		return dst, &Error{Malformed, "payload is not a SenML pack, which is a JSON array of records; choose another format"}
	}
	s.pos++
	for s.space(); s.peek() != ']'; {
		clear(s.spans)
		s.space()
		if s.peek() != '{' {
			return dst, s.fail("expected a SenML record")
		}
		if err := s.value(d.senml.record, 1); err != nil {
			return dst, err
		}
		var err error
		if dst, err = d.senmlRecord(dst); err != nil {
			return dst, err
		}
		s.space()
		switch s.peek() {
		case ',':
			if s.pos++; s.pos < len(s.data) {
				s.space()
			}
			if s.peek() == ']' {
				return dst, s.fail("expected a record after the comma")
			}
		case ']':
		default:
			return dst, s.fail("expected a comma or the end of the pack")
		}
	}
	s.pos++
	if s.space(); s.pos < len(s.data) {
		return dst, s.fail("text after the pack")
	}
	return dst, nil
}

// senmlNumber reads a numeric field, 0 if it is absent.
func (s *scanner) senmlNumber(slot int) (float64, error) {
	v := s.spans[slot]
	switch {
	case v.kind == 0:
		return 0, nil
	case v.kind != '-' && (v.kind < '0' || v.kind > '9'):
		return 0, &Error{Malformed, fmt.Sprintf("field %q of a SenML record is not a number", senmlKeys[slot])}
	}
	x, err := number(s.data[v.start:v.end])
	if err == nil && (math.IsInf(x, 0) || math.IsNaN(x)) {
		err = notFinite(x)
	}
	return x, err
}

// senmlString reads a text field, nil if it is absent.
func (s *scanner) senmlString(slot int) ([]byte, error) {
	v := s.spans[slot]
	if v.kind == 0 {
		return nil, nil
	}
	raw := s.data[v.start:v.end]
	if v.kind != '"' {
		return nil, &Error{Malformed, fmt.Sprintf("field %q of a SenML record is not text", senmlKeys[slot])}
	}
	for _, b := range raw {
		if b == '\\' { // rare: let the library undo the escapes
			var plain string
			if err := json.Unmarshal(raw, &plain); err != nil {
				return nil, s.fail("bad escape")
			}
			return []byte(plain), nil
		}
	}
	return raw[1 : len(raw)-1], nil
}

// senmlRecord takes over base values and appends the record's Readings.
func (d *Decoder) senmlRecord(dst []Reading) ([]Reading, error) {
	s, b := &d.senml.scan, &d.senml.base
	var numbers [senmlFields]float64
	var texts [senmlFields][]byte
	for _, f := range [...]int{senmlBaseTime, senmlBaseValue, senmlTime, senmlVersion} {
		var err error
		if numbers[f], err = s.senmlNumber(f); err != nil {
			return dst, err
		}
	}
	for _, f := range [...]int{senmlBaseName, senmlBaseUnit, senmlName, senmlUnit} {
		var err error
		if texts[f], err = s.senmlString(f); err != nil {
			return dst, err
		}
	}
	if v := numbers[senmlVersion]; v > senmlPackVersion {
		return dst, &Error{Malformed, fmt.Sprintf("SenML pack has version %v; versions up to %d are understood", v, senmlPackVersion)}
	}
	for _, f := range [...]struct {
		slot int
		to   *[]byte
	}{{senmlBaseName, &b.name}, {senmlBaseUnit, &b.unit}} {
		if s.spans[f.slot].kind != 0 {
			*f.to = texts[f.slot]
		}
	}
	if s.spans[senmlBaseTime].kind != 0 {
		b.time = numbers[senmlBaseTime]
	}
	if s.spans[senmlBaseValue].kind != 0 {
		b.value = numbers[senmlBaseValue]
	}
	unit := texts[senmlUnit]
	if unit == nil {
		unit = b.unit
	}
	for i := range d.channels {
		c := &d.channels[i]
		if c.Format != SenML || !senmlNamed(c.Path, b.name, texts[senmlName]) {
			continue
		}
		x, ok, err := s.senmlValue(b.value)
		if !ok && err == nil {
			continue // a record of base values, or of text
		}
		if len(dst)-d.senml.from >= maxReadings*len(d.channels) {
			return dst, &Error{Malformed, fmt.Sprintf("pack has over %d records without a rate; set rate_hz or send fewer", maxReadings)}
		}
		dst = d.senmlReading(dst, i, x, err, b.time+numbers[senmlTime], unit)
	}
	return dst, nil
}

// senmlNamed says that base and name together, or name alone, are path.
func senmlNamed(path string, base, name []byte) bool {
	n := len(path) - len(name)
	return path == string(name) || n == len(base) && path[:n] == string(base) && path[n:] == string(name)
}

// senmlValue returns the value of a record, false if it has none.
func (s *scanner) senmlValue(base float64) (float64, bool, error) {
	switch {
	case s.spans[senmlValue].kind != 0:
		v := s.spans[senmlValue]
		x, err := number(s.data[v.start:v.end])
		return x + base, true, err
	case s.spans[senmlBool].kind != 0:
		v := s.spans[senmlBool]
		x, err := number(s.data[v.start:v.end])
		return x, true, err
	case s.spans[senmlText].kind != 0:
		return 0, false, &Error{NotNumber, "SenML record holds text where a number is expected"}
	}
	return 0, false, nil
}

// senmlReading adds one value of a spec: to its run, or as a Reading.
func (d *Decoder) senmlReading(dst []Reading, spec int, x float64, err error, seconds float64, unit []byte) []Reading {
	c, found := &d.channels[spec], &d.senml.found[spec]
	if x = x*c.Scale + c.Offset; err == nil && !(x >= c.min && x <= c.max) {
		err = c.refuse(x)
	}
	if *found > 0 && c.RateHz > 0 {
		run := &dst[*found-1]
		switch {
		case run.Err != nil:
			run.Lost++
		case err != nil:
			run.Err, run.Lost, run.Samples = err, len(run.Samples)+1, nil
		default:
			run.Samples = append(run.Samples, x)
		}
		return dst
	}
	r := Reading{Spec: spec, RateHz: c.RateHz, Unit: c.unitSaid(unit)}
	switch {
	case seconds >= senmlRelative:
		r.Time, _, r.TimeErr = unixTime(seconds, 1)
	case math.Abs(seconds) < senmlRelative:
		r.Ago = time.Duration(-seconds * float64(time.Second))
	default:
		r.TimeErr = fmt.Errorf("read time %v: not a SenML time", seconds)
	}
	if err != nil {
		r.Err, r.Lost = err, 1
	} else {
		r.Samples = append(d.samples(1), x)
	}
	dst = append(dst, r)
	*found = len(dst)
	return dst
}
