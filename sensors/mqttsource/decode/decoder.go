package decode

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

// Reason is why a payload, or one channel of it, was not decoded.
type Reason string

// The reasons of an [Error].
const (
	Malformed Reason = "malformed"  // not in the declared format at all
	Absent    Reason = "absent"     // the path leads nowhere in this document
	NotNumber Reason = "not_number" // what is there is no number
	NotFinite Reason = "not_finite" // NaN, infinite or beyond a double

	Implausible Reason = "implausible" // outside of min and max
	NoBirth     Reason = "no_birth"    // a Sparkplug alias whose meaning no birth has told
)

// Error is a payload, or a part of it, that cannot be used. Text names the
// cause and the mend, not the topic, which the caller knows.
type Error struct {
	Reason Reason
	Text   string
}

func (e *Error) Error() string { return e.Text }

// Reading is what one payload says about one channel.
type Reading struct {
	// Spec is the channel: the position of its Spec in New.
	Spec int
	// Samples are scaled and offset, in the unit the sensor speaks; finite,
	// owned by the receiver. Nil when Err is set.
	Samples []float64
	// RateHz is the sampling rate, zero for a single number.
	RateHz float64
	// Time is that of Samples[0], in UTC; of a part, that of the burst's first
	// sample. Zero when the payload tells none.
	Time time.Time
	// Ago is how long before the payload was made Samples[0] was taken, where
	// Time is zero and the payload tells it (SenML's relative times).
	Ago time.Duration
	// Unit is what the payload says its unit is; empty when it says nothing.
	Unit string
	// Parts is the number of parts of the burst this is one of, Part its place
	// from 0 and Burst the burst's number. Parts is 0 for what is whole.
	Burst       uint64
	Part, Parts int
	// Quality carries sensors.QualityClipped (an int16 at its limit) and
	// sensors.QualityZoneAssumed.
	Quality sensors.Quality
	// Lost is the number of samples refused with Err, as far as it is known.
	Lost int
	// Err is an *Error, nil if Samples are good.
	Err error
	// TimeErr says why a declared time could not be read; Samples are good.
	TimeErr error
}

// Decoder reads the channels of one topic. It keeps scratch memory, so it must
// not be used by two goroutines at once.
type Decoder struct {
	channels []channel
	times    []timed // of this payload; channels that share a time share an entry
	root     *node   // nil when no channel needs a document
	scan     scanner
	slab     []float64
	senml    *senml     // nil when no channel needs one
	edge     *sparkplug // likewise
	digits   []byte     // scratch of decimal commas
}

// channel is a Spec made ready.
type channel struct {
	Spec
	value, rate, unit  int // slots, -1 for none
	burst, part, parts int
	time               int     // index into Decoder.times, -1 for none
	min, max           float64 // bounds of a good sample; finite
	unitText           string  // the last one seen
	location           *time.Location
	absent             error
	hex                *hexValue // nil for a number as it is
}

// timed is a time declared by one or more channels, read at most once a payload.
type timed struct {
	slot     int
	format   TimeFormat
	zone     string
	location *time.Location // nil: a time without a zone is UTC, and doubtful
	timeless error

	read    bool
	time    time.Time
	quality sensors.Quality
	err     error
}

// New makes a Decoder for the channels of one topic. The error joins every
// problem of every spec.
func New(specs ...Spec) (*Decoder, error) {
	d := &Decoder{channels: make([]channel, len(specs))}
	var errs []error
	for i, s := range specs {
		if err := s.Validate(); err != nil {
			errs = append(errs, err)
			continue
		}
		if s.Scale == 0 {
			s.Scale = 1
		}
		c := channel{
			Spec: s, value: -1, time: -1, rate: -1, unit: -1, burst: -1, part: -1, parts: -1,
			min: -math.MaxFloat64, max: math.MaxFloat64,
			absent: &Error{Absent, fmt.Sprintf("payload has nothing at path %q; check the path against a payload", s.Path)},
		}
		c.location, _ = zone(s.TimeZone) // validated
		if s.Hex != "" {
			h, _ := parseHex(s.Hex) // validated
			c.hex = &h
		}
		if s.Min != nil {
			c.min = *s.Min
		}
		if s.Max != nil {
			c.max = *s.Max
		}
		switch s.Format {
		case JSON, JSONArray:
			c.value = d.slot(s.Path)
			if s.TimePath != "" {
				c.time = d.timed(s)
			}
		case SenML:
			d.senml = newSenML()
		case Sparkplug:
			d.edge = &sparkplug{aliases: map[uint64]meaning{}, types: map[string]uint32{}, units: map[string]string{}}
		}
		for _, p := range []struct {
			slot *int
			path string
		}{{&c.rate, s.RatePath}, {&c.unit, s.UnitPath}, {&c.burst, s.BurstPath}, {&c.part, s.PartPath}, {&c.parts, s.PartsPath}} {
			if p.path != "" {
				*p.slot = d.slot(p.path)
			}
		}
		d.channels[i] = c
	}
	return d, errors.Join(errs...)
}

// slot returns where the value at path is noted, the same for equal paths.
func (d *Decoder) slot(path string) int {
	if d.root == nil {
		d.root = newNode("")
	}
	n := d.root
	keys, _ := splitPath(path) // validated before
	for _, k := range keys {
		n = n.child(k)
	}
	if n.slot < 0 {
		n.slot = len(d.scan.spans)
		d.scan.spans = append(d.scan.spans, span{})
	}
	return n.slot
}

// timed returns the index of the time that s declares.
func (d *Decoder) timed(s Spec) int {
	slot := d.slot(s.TimePath)
	for i, t := range d.times {
		if t.slot == slot && t.format == s.TimeFormat && t.zone == s.TimeZone {
			return i
		}
	}
	location, _ := zone(s.TimeZone) // validated before
	d.times = append(d.times, timed{slot: slot, format: s.TimeFormat, zone: s.TimeZone, location: location,
		timeless: fmt.Errorf("payload has no time at path %q; check time_path against a payload", s.TimePath)})
	return len(d.times) - 1
}

// maxReadings bounds how many samples with a time of their own one payload may
// have for a channel, because each costs far more than a sample of a run.
const maxReadings = 10000

// Decode appends the Readings of a payload to dst: at least one for each spec,
// which Reading.Spec tells; several where samples have a time each. payload is
// only read, and not kept.
func (d *Decoder) Decode(dst []Reading, payload []byte) []Reading {
	var broken error
	if d.root != nil {
		clear(d.scan.spans)
		d.scan.data, d.scan.pos = payload, 0
		broken = d.scan.document(d.root)
		for i := range d.times {
			d.times[i].read = false
		}
	}
	for i := range d.channels {
		c := &d.channels[i]
		if c.Format == CSV {
			dst = d.rows(dst, i, payload)
			continue
		} else if c.Format == SenML || c.Format == Sparkplug {
			continue
		}
		r := Reading{Spec: i}
		switch c.Format {
		case Scalar:
			d.scalar(&r, c, payload)
		case Int16, Float32:
			d.burst(&r, c, payload)
		default:
			if broken != nil {
				r.Err = broken
			} else {
				d.field(&r, c)
			}
		}
		if r.Err != nil {
			r.Samples = nil
		}
		dst = append(dst, r)
	}
	if d.senml != nil {
		dst = d.records(dst, payload)
	}
	if d.edge != nil {
		dst = d.metrics(dst, payload)
	}
	d.scan.data = nil
	return dst
}

// samples hands out memory for n samples. Single ones are cut from a common
// piece, so that a stream of scalars costs one allocation in 256.
func (d *Decoder) samples(n int) []float64 {
	const piece = 256
	if n > piece/4 {
		return make([]float64, 0, n)
	}
	if cap(d.slab)-len(d.slab) < n {
		d.slab = make([]float64, 0, piece)
	}
	from := len(d.slab)
	d.slab = d.slab[:from+n]
	return d.slab[from : from : from+n]
}

// one sets a single sample.
func (d *Decoder) one(r *Reading, c *channel, x float64) {
	x = x*c.Scale + c.Offset
	if !(x >= c.min && x <= c.max) {
		r.Err, r.Lost = c.refuse(x), 1
		return
	}
	r.Samples = append(d.samples(1), x)
}

// refuse says why x lies outside of the channel's bounds.
func (c *channel) refuse(x float64) error {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return notFinite(x)
	}
	what, bound := "min", c.min
	if x > c.max {
		what, bound = "max", c.max
	}
	return &Error{Implausible, fmt.Sprintf("payload holds %v, beyond %s, which is %v; look at the sensor, or correct %s, unit or scale", x, what, bound, what)}
}

func notFinite(x float64) error {
	return &Error{NotFinite, fmt.Sprintf("payload holds %v where a number is expected; look at the sensor or its gateway", x)}
}

func (d *Decoder) scalar(r *Reading, c *channel, payload []byte) {
	d.text(r, c, trim(payload))
}

// text reads a single number.
func (d *Decoder) text(r *Reading, c *channel, text []byte) {
	read := number
	if c.hex != nil {
		read = c.hex.number
	}
	x, err := read(text)
	if err != nil {
		r.Err, r.Lost = err, 1
		return
	}
	d.one(r, c, x)
}

func (d *Decoder) field(r *Reading, c *channel) {
	v := d.scan.spans[c.value]
	if v.kind == 0 || v.kind == 'n' {
		r.Err = c.absent
		return
	}
	raw := d.scan.data[v.start:v.end]
	if c.Format == JSON {
		if d.text(r, c, raw); r.Err != nil {
			return
		}
	} else {
		d.array(r, c, raw, v.kind)
	}
	if r.Err == nil && c.unit >= 0 {
		r.Unit = c.unitSaid(d.scan.plain(c.unit))
	}
	if r.Err == nil && c.time >= 0 {
		t := &d.times[c.time]
		if !t.read {
			d.readTime(t)
		}
		r.Time, r.TimeErr = t.time, t.err
		r.Quality |= t.quality
	}
}

// unitSaid returns text as a string, allocating only when it changes.
func (c *channel) unitSaid(text []byte) string {
	if string(text) != c.unitText {
		c.unitText = string(text)
	}
	return c.unitText
}

func (d *Decoder) readTime(t *timed) {
	t.read, t.time, t.quality, t.err = true, time.Time{}, 0, nil
	v := d.scan.spans[t.slot]
	if v.kind == 0 || v.kind == 'n' {
		t.err = t.timeless
		return
	}
	raw := d.scan.data[v.start:v.end]
	if v.kind == '"' {
		raw = raw[1 : len(raw)-1]
	}
	var assumed bool
	if t.time, assumed, t.err = ParseTime(asString(raw), t.format); assumed && t.location != nil {
		t.time = inZone(t.time, t.location)
	} else if assumed {
		t.quality = sensors.QualityZoneAssumed
	}
}
