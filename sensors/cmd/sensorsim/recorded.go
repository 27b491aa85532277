package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millwright-iot/millwright/sensors/internal/pace"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
	"github.com/millwright-iot/millwright/sensors/replay"
)

// recorded is a CSV file; each row is one message.
type recorded struct {
	name, topic string
	cfg         ReplayMachine
	format      replay.Format
	plant       *plant
}

func newRecorded(name, topic string, c ReplayMachine, p *plant) (*recorded, error) {
	d := &recorded{name: name, topic: topic + "row", cfg: c, plant: p}
	var errs []error
	if c.Separator != "" {
		r, n := utf8.DecodeRuneInString(c.Separator)
		if n != len(c.Separator) {
			errs = append(errs, fmt.Errorf("separator %q is not one character", c.Separator))
		}
		d.format.Separator = r
	}
	if (c.TimeColumn == "") == (c.RateHz == 0) || c.RateHz < 0 || math.IsNaN(c.RateHz) || math.IsInf(c.RateHz, 0) {
		errs = append(errs, errors.New("needs either a time column or the rate of the rows"))
	}
	if c.FromRow < 0 || c.HoldAfterRow < 0 || c.ToRow < 0 || c.ToRow > 0 && c.ToRow <= c.FromRow {
		errs = append(errs, fmt.Errorf("rows %d to %d, held after %d, are no range", c.FromRow, c.ToRow, c.HoldAfterRow))
	}
	r, err := replay.Open(c.File, d.format)
	if err == nil {
		_, err = d.locate(r)
		_ = r.Close()
	}
	return d, errors.Join(append(errs, err)...)
}

// layout says what becomes of each column of the file.
type layout struct {
	time int      // position of the time column, -1 without
	keys [][]byte // "name": for a column that is published, else nil
}

func (d *recorded) locate(r *replay.Reader) (layout, error) {
	l := layout{time: -1}
	var err error
	if d.cfg.TimeColumn != "" {
		if l.time, err = r.Column(d.cfg.TimeColumn); err != nil {
			return l, err
		}
	}
	for _, name := range d.cfg.Omit {
		if _, err := r.Column(name); err != nil {
			return l, err
		}
	}
	for i, name := range r.Header() {
		var key []byte
		if i != l.time && !slices.Contains(d.cfg.Omit, name) {
			if name == "t" {
				return l, fmt.Errorf("%s: column \"t\" would hide the time of the row; omit it or make it the time column", d.cfg.File)
			}
			key, _ = json.Marshal(name) // a string always can be
			key = append(key, ':')
		}
		l.keys = append(l.keys, key)
	}
	return l, nil
}

// publish sends the rows; it waits for its moment before each, and for a
// person before the row after which to hold.
func (d *recorded) publish(ctx context.Context, send sendFunc) error {
	r, err := replay.Open(d.cfg.File, d.format)
	if err != nil {
		return err
	}
	defer r.Close()
	l, err := d.locate(r)
	if err != nil {
		return err
	}
	start := d.cfg.Start
	if start.IsZero() {
		start = time.Now()
	}
	clock := pace.Start(d.cfg.Speed.factor())
	var first time.Time
	for {
		row, err := r.Next()
		if errors.Is(err, io.EOF) || err == nil && d.cfg.ToRow > 0 && row.Number >= d.cfg.ToRow {
			return nil
		}
		if err != nil {
			return err
		}
		if row.Number < d.cfg.FromRow {
			continue
		}
		if d.cfg.HoldAfterRow > 0 && row.Number == d.cfg.HoldAfterRow {
			paused := time.Now()
			d.plant.printf("%s: holding after %d rows; write \"continue\" and a line end to go on\n", d.name, row.Number)
			if err := d.plant.hold.wait(ctx); err != nil {
				return err
			}
			clock.Skip(time.Since(paused))
		}
		at, err := d.timeOf(row, l, start)
		if err != nil {
			return err
		}
		if first.IsZero() {
			first = at
		}
		if !clock.Wait(ctx, at.Sub(first)) {
			return nil
		}
		if err := send(d.topic, l.encode(row, at), at); err != nil {
			return err
		}
	}
}

func (d *recorded) timeOf(row replay.Row, l layout, start time.Time) (time.Time, error) {
	if l.time < 0 {
		return start.Add(time.Duration(float64(row.Number) / d.cfg.RateHz * float64(time.Second))), nil
	}
	text := strings.TrimSpace(row.Fields[l.time])
	var t time.Time
	var err error
	if d.cfg.TimeLayout != "" {
		t, err = time.Parse(d.cfg.TimeLayout, text)
	} else {
		t, _, err = decode.ParseTime(text, decode.TimeAuto)
	}
	if err != nil {
		return t, fmt.Errorf("%s:%d: column %q: %w", d.cfg.File, row.Line, d.cfg.TimeColumn, err)
	}
	return t, nil
}

// encode writes a row as one JSON object. An empty cell is left out, NaN too; a
// cell that is no number is sent as text.
func (l layout) encode(row replay.Row, at time.Time) []byte {
	out := appendSeconds([]byte(`{"t":`), at)
	for i, key := range l.keys {
		cell := strings.TrimSpace(row.Fields[i])
		if key == nil || cell == "" {
			continue
		}
		x, err := strconv.ParseFloat(cell, 64)
		if err == nil && (math.IsNaN(x) || math.IsInf(x, 0)) {
			continue
		}
		out = append(append(out, ','), key...)
		if err == nil {
			out = strconv.AppendFloat(out, x, 'g', -1, 64)
		} else {
			text, _ := json.Marshal(cell)
			out = append(out, text...)
		}
	}
	return append(out, '}')
}
