package decode

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/millwright-iot/millwright/sensors"
)

// array reads the numbers of a JSON array that the scanner found well-formed.
func (d *Decoder) array(r *Reading, c *channel, raw []byte, kind byte) {
	if kind != '[' {
		r.Err = &Error{NotNumber, fmt.Sprintf("value at path %q is not an array; use format json for a single number", c.Path)}
		return
	}
	r.RateHz = c.RateHz
	if c.rate >= 0 {
		if v := d.scan.spans[c.rate]; v.kind != 0 {
			x, err := rate(d.scan.data[v.start:v.end])
			if err != nil || !(x > 0) || math.IsInf(x, 0) {
				r.Err = &Error{NotNumber, fmt.Sprintf("sampling rate at path %q is not a positive number", c.RatePath)}
				return
			}
			r.RateHz = x
		}
	}
	n := 1
	for _, b := range raw {
		if b == ',' {
			n++
		}
	}
	out := d.samples(n)
	for raw = trim(raw[1 : len(raw)-1]); len(raw) > 0; {
		end := 0
		for end < len(raw) && raw[end] != ',' {
			end++
		}
		x, err := number(trim(raw[:end]))
		if err == nil {
			x = x*c.Scale + c.Offset
			if !(x >= c.min && x <= c.max) {
				err = c.refuse(x)
			}
		}
		if err != nil {
			r.Err, r.Lost = err, n
			return
		}
		out = append(out, x)
		if end == len(raw) {
			break
		}
		raw = raw[end+1:]
	}
	if c.parts >= 0 {
		if r.Err = d.partOf(r, c); r.Err != nil {
			r.Lost = len(out)
			return
		}
	}
	switch {
	case len(out) == 0:
		r.Err = &Error{Absent, fmt.Sprintf("array at path %q is empty", c.Path)}
	case r.RateHz == 0:
		r.Err, r.Lost = &Error{Absent, fmt.Sprintf("payload has no sampling rate at path %q; set rate_hz", c.RatePath)}, len(out)
	}
	r.Samples = out
}

// burst reads a binary run of samples.
func (d *Decoder) burst(r *Reading, c *channel, payload []byte) {
	if c.Header == HeaderUnix {
		if len(payload) < 8 {
			r.Err = &Error{Malformed, fmt.Sprintf("payload of %d bytes is shorter than its 8-byte time header; check header", len(payload))}
			return
		}
		t, _, err := unixTime(math.Float64frombits(binary.LittleEndian.Uint64(payload)), 1)
		r.Time, r.TimeErr = t, err
		payload = payload[8:]
	}
	if c.Header == HeaderChunk {
		if r.Err = r.chunk(payload); r.Err != nil {
			return
		}
		payload = payload[chunkHeader:]
	}
	width := 4
	if c.Format == Int16 {
		width = 2
	}
	n := len(payload) / width
	if n == 0 || len(payload)%width != 0 {
		r.Err = &Error{Malformed, fmt.Sprintf("payload of %d bytes is not a whole number of %s samples; check format and header", len(payload), c.Format)}
		return
	}
	r.RateHz = c.RateHz
	r.Samples = d.samples(n)[:n]
	if c.Format == Int16 {
		for i := range r.Samples {
			v := int16(binary.LittleEndian.Uint16(payload[2*i:]))
			if v == math.MaxInt16 || v == math.MinInt16 {
				r.Quality |= sensors.QualityClipped
			}
			r.Samples[i] = float64(v)*c.Scale + c.Offset
		}
	} else {
		for i := range r.Samples {
			r.Samples[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(payload[4*i:])))*c.Scale + c.Offset
		}
	}
	for _, x := range r.Samples {
		if !(x >= c.min && x <= c.max) {
			r.Err, r.Lost = c.refuse(x), n
			return
		}
	}
}

// chunkHeader is the length of HeaderChunk.
const chunkHeader = 16

// chunk reads a HeaderChunk.
func (r *Reading) chunk(payload []byte) error {
	if len(payload) < chunkHeader {
		return &Error{Malformed, fmt.Sprintf("payload of %d bytes is shorter than its %d-byte chunk header; check header", len(payload), chunkHeader)}
	}
	if seconds := math.Float64frombits(binary.LittleEndian.Uint64(payload[8:])); seconds != 0 {
		r.Time, _, r.TimeErr = unixTime(seconds, 1)
	}
	return r.setPart(uint64(binary.LittleEndian.Uint32(payload)),
		int(binary.LittleEndian.Uint16(payload[4:])), int(binary.LittleEndian.Uint16(payload[6:])))
}

func (r *Reading) setPart(burst uint64, part, parts int) error {
	if parts < 1 || parts > MaxParts || part < 0 || part >= parts {
		return &Error{Malformed, fmt.Sprintf("payload says it is part %d of %d; parts are counted from 0 (or first_part), at most %d", part, parts, MaxParts)}
	}
	r.Burst, r.Part, r.Parts = burst, part, parts
	return nil
}

// partOf reads which part of a burst a JSON document is.
func (d *Decoder) partOf(r *Reading, c *channel) error {
	var n [3]float64
	for i, slot := range [3]int{c.burst, c.part, c.parts} {
		v := d.scan.spans[slot]
		if v.kind == 0 {
			return &Error{Malformed, "payload does not say which part of a burst it is; check burst_path, part_path and parts_path"}
		}
		x, err := number(d.scan.data[v.start:v.end])
		if err != nil || x != math.Trunc(x) || !(x >= 0 && x < 1<<53) {
			return &Error{Malformed, "burst, part and parts must be whole numbers that are not negative; check burst_path, part_path and parts_path"}
		}
		n[i] = x
	}
	return r.setPart(uint64(n[0]), int(min(n[1], 1<<20))-c.FirstPart, int(min(n[2], 1<<20)))
}
