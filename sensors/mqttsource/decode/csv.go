package decode

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

// rows reads a column of delimited text (RFC 4180, with any delimiter and any
// line end; a quoted cell keeps its doubled quotes, which no number has). With a
// rate the rows are one run, else each is a Reading.
func (d *Decoder) rows(dst []Reading, spec int, payload []byte) []Reading {
	c := &d.channels[spec]
	fail := func(dst []Reading, err error, lost int) []Reading {
		return append(dst, Reading{Spec: spec, Err: err, Lost: lost})
	}
	t := table{delimiter: ',', rest: bytes.TrimPrefix(payload, []byte("\xef\xbb\xbf"))}
	if c.Delimiter != "" {
		t.delimiter = c.Delimiter[0]
	}
	value, byPlace := columnPlace(c.Path)
	at, timeByPlace := columnPlace(c.TimePath)
	if !byPlace || c.TimePath != "" && !timeByPlace {
		head, ok := t.row()
		if !ok {
			return fail(dst, &Error{Malformed, "payload is empty; send rows of text or choose another format"}, 0)
		}
		if !byPlace {
			value = t.named(head, c.Path)
		}
		if !timeByPlace {
			at = t.named(head, c.TimePath)
		}
		if value < 0 {
			return fail(dst, c.absent, 0)
		}
	}
	run := Reading{Spec: spec, RateHz: c.RateHz}
	first, rows, base := true, 0, len(dst)
	for row, ok := t.row(); ok; row, ok = t.row() {
		cell, there := t.cell(row, value)
		if !there || len(cell) == 0 {
			if c.Partial {
				continue
			}
			return fail(dst[:base], &Error{Absent, fmt.Sprintf("row %d has nothing in column %q; check path and delimiter against a payload", rows+1, c.Path)}, rows+1)
		}
		x, err := number(d.point(cell, t.delimiter))
		if err != nil && first && byPlace {
			first = false // a row of names
			continue
		}
		first = false
		if rows++; err == nil && c.RateHz == 0 && rows > maxReadings {
			err = &Error{Malformed, fmt.Sprintf("payload has over %d rows without a rate; set rate_hz or send fewer", maxReadings)}
		}
		if x = x*c.Scale + c.Offset; err == nil && !(x >= c.min && x <= c.max) {
			err = c.refuse(x)
		}
		if err != nil {
			return fail(dst[:base], err, rows)
		}
		var r Reading
		if c.TimePath != "" && (c.RateHz == 0 || rows == 1) {
			t.time(&r, row, at, c)
		}
		if c.RateHz > 0 {
			if rows == 1 {
				run.Time, run.TimeErr, run.Quality = r.Time, r.TimeErr, r.Quality
				run.Samples = d.samples(1 + bytes.Count(t.rest, []byte{'\n'}) + bytes.Count(t.rest, []byte{'\r'}))
			}
			run.Samples = append(run.Samples, x)
			continue
		}
		r.Spec, r.Samples = spec, append(d.samples(1), x)
		dst = append(dst, r)
	}
	switch {
	case rows == 0:
		return fail(dst, c.absent, 0)
	case c.RateHz > 0:
		return append(dst, run)
	case rows > 1 && c.TimePath == "":
		return fail(dst[:base], &Error{Malformed, fmt.Sprintf("payload has %d rows and no time; set rate_hz or time_path", rows)}, rows)
	}
	return dst
}

// columnPlace reads a path as the position of a column, from 0.
func columnPlace(path string) (place int, ok bool) {
	if path == "" {
		return 0, true
	}
	place = arrayIndex(path)
	return place, place >= 0
}

// table walks over rows of delimited text.
type table struct {
	rest      []byte
	delimiter byte
}

// row returns the next row that is not blank, without its end.
func (t *table) row() ([]byte, bool) {
	for len(t.rest) > 0 {
		end, quoted := 0, false
		for end < len(t.rest) && (quoted || t.rest[end] != '\n' && t.rest[end] != '\r') {
			if t.rest[end] == '"' {
				quoted = !quoted
			}
			end++
		}
		row := t.rest[:end]
		t.rest = t.rest[min(end+1, len(t.rest)):]
		if len(trim(row)) > 0 {
			return row, true
		}
	}
	return nil, false
}

// cell returns the cell at a place of a row, without blanks and quotes.
func (t *table) cell(row []byte, place int) ([]byte, bool) {
	for i := 0; ; i++ {
		end, quoted := 0, false
		for end < len(row) && (quoted || row[end] != t.delimiter) {
			if row[end] == '"' {
				quoted = !quoted
			}
			end++
		}
		if i == place {
			cell := trim(row[:end])
			if n := len(cell); n >= 2 && cell[0] == '"' && cell[n-1] == '"' {
				cell = trim(cell[1 : n-1])
			}
			return cell, true
		}
		if end == len(row) {
			return nil, false
		}
		row = row[end+1:]
	}
}

// named returns the place of the column called name, -1 if there is none.
func (t *table) named(head []byte, name string) int {
	for i := 0; ; i++ {
		cell, ok := t.cell(head, i)
		if !ok {
			return -1
		}
		if string(cell) == name {
			return i
		}
	}
}

// point replaces the decimal comma of a cell where the comma is not the delimiter.
func (d *Decoder) point(cell []byte, delimiter byte) []byte {
	comma := bytes.IndexByte(cell, ',')
	if delimiter == ',' || comma < 0 {
		return cell
	}
	d.digits = append(d.digits[:0], cell...)
	d.digits[comma] = '.'
	return d.digits
}

// time reads the time of a row.
func (t *table) time(r *Reading, row []byte, at int, c *channel) {
	var text []byte
	if at >= 0 {
		text, _ = t.cell(row, at)
	}
	if len(text) == 0 {
		r.TimeErr = fmt.Errorf("row has no time in column %s; check time_path against a payload", strconv.Quote(c.TimePath))
		return
	}
	var assumed bool
	if r.Time, assumed, r.TimeErr = ParseTime(asString(text), c.TimeFormat); assumed && c.location != nil {
		r.Time = inZone(r.Time, c.location)
	} else if assumed {
		r.Quality |= sensors.QualityZoneAssumed
	}
	if r.TimeErr != nil {
		r.Time = time.Time{}
	}
}
