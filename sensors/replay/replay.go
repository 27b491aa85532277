package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/internal/pace"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// Column binds a column of the file to a channel.
type Column struct {
	Name    string // as in the header
	Channel string // default: Name
	Unit    sensors.Unit
}

// Options tunes a Source.
type Options struct {
	Format Format

	// TimeColumn names the column that holds each row's time. Each row then
	// gives one single-sample block a column. Default: the rows are evenly
	// spaced, see RateHz.
	TimeColumn string
	// TimeLayout is a layout of package time; a time without a zone is UTC.
	// Default: ISO 8601 or Unix time, told apart by its look.
	TimeLayout string

	// RateHz is the rate of the rows of a file without TimeColumn, required
	// there. The rows then become blocks of BlockRows samples.
	RateHz float64
	// Start is the time of row 0 of a file without TimeColumn. Default: the
	// local time when Run begins.
	Start time.Time
	// BlockRows is the length of such blocks. Default: one second of rows.
	BlockRows int

	// FromRow and ToRow select the rows played, counted from 0: FromRow is the
	// first, ToRow the one after the last. ToRow 0 means to the end.
	FromRow, ToRow int

	// Speed is how much faster than the recording time passes: 1 is real time.
	// Default 0: as fast as the blocks are consumed.
	Speed float64
}

// Source plays one file as one machine. It implements [sensors.Source]; every
// Run begins anew.
type Source struct {
	path    string
	machine string
	columns []Column
	opts    Options
}

var _ sensors.Source = (*Source)(nil)

// New makes a Source that plays the columns of the file at path. The file is
// opened, and its header checked, both here and by Run.
func New(path, machine string, columns []Column, opts Options) (*Source, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if machine == "" {
		bad("no machine name")
	}
	if len(columns) == 0 {
		bad("no columns")
	}
	switch {
	case opts.TimeColumn == "" && !(opts.RateHz > 0 && !math.IsInf(opts.RateHz, 0)):
		bad("neither a time column nor a sampling rate; set TimeColumn or RateHz")
	case opts.TimeColumn != "" && opts.RateHz != 0:
		bad("both a time column and a sampling rate; set one of them")
	}
	if opts.Speed < 0 || math.IsNaN(opts.Speed) || math.IsInf(opts.Speed, 0) {
		bad("speed %v is not a positive factor", opts.Speed)
	}
	if opts.FromRow < 0 || opts.ToRow < 0 || opts.ToRow > 0 && opts.ToRow <= opts.FromRow {
		bad("rows %d to %d are no range", opts.FromRow, opts.ToRow)
	}
	if opts.BlockRows < 0 {
		bad("block of %d rows", opts.BlockRows)
	}
	s := &Source{path: path, machine: machine, opts: opts}
	for _, c := range columns {
		if c.Channel == "" {
			c.Channel = c.Name
		}
		if c.Unit.Symbol == "" || c.Unit.Scale == 0 {
			_, err := sensors.ParseUnit("")
			bad("column %q: %w", c.Name, err)
		}
		s.columns = append(s.columns, c)
	}
	if s.opts.BlockRows == 0 {
		s.opts.BlockRows = int(min(max(1, math.Round(opts.RateHz)), 1<<20))
	}
	if r, err := Open(path, opts.Format); err != nil {
		errs = append(errs, err)
	} else {
		if _, err := s.locate(r); err != nil {
			errs = append(errs, err)
		}
		_ = r.Close()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("configure replay: %w", err)
	}
	return s, nil
}

// places are the positions of the columns in a file.
type places struct {
	time   int // -1 without TimeColumn
	values []int
}

func (s *Source) locate(r *Reader) (places, error) {
	p := places{time: -1}
	var errs []error
	find := func(name string) int {
		i, err := r.Column(name)
		if err != nil {
			errs = append(errs, err)
		}
		return i
	}
	if s.opts.TimeColumn != "" {
		p.time = find(s.opts.TimeColumn)
	}
	for _, c := range s.columns {
		p.values = append(p.values, find(c.Name))
	}
	return p, errors.Join(errs...)
}

// Run implements [sensors.Source]. It ends with nil at the end of the file. A
// cell that is empty or NaN gives no sample, and the channel's next block
// carries sensors.QualityGap; so does a row older than the one before. Any
// other cell that is no number ends Run with an error naming file and line.
func (s *Source) Run(ctx context.Context, emit func(sensors.Block) error) error {
	r, err := Open(s.path, s.opts.Format)
	if err != nil {
		return err
	}
	defer r.Close()
	at, err := s.locate(r)
	if err != nil {
		return err
	}
	p := player{
		Source: s, at: at, emit: emit, clock: pace.Start(s.opts.Speed),
		runs: make([]run, len(s.columns)), start: s.opts.Start,
	}
	if p.start.IsZero() {
		p.start = time.Now()
	}
	for {
		if ctx.Err() != nil {
			return nil
		}
		row, err := r.Next()
		if errors.Is(err, io.EOF) || err == nil && s.opts.ToRow > 0 && row.Number >= s.opts.ToRow {
			return p.flush(ctx)
		}
		if err != nil {
			return err
		}
		if row.Number < s.opts.FromRow {
			continue
		}
		if err := p.play(ctx, row); err != nil {
			return ended(err)
		}
	}
}

// errEnded stands for the end of ctx, which is no error of Run; an error from
// emit is one, even if it is ctx's.
var errEnded = errors.New("ended")

func ended(err error) error {
	if errors.Is(err, errEnded) {
		return nil
	}
	return err
}

// run is the block a column is collecting.
type run struct {
	first   int // row of samples[0]
	samples []float64
	gap     bool
}

// player is the state of one Run.
type player struct {
	*Source
	at    places
	emit  func(sensors.Block) error
	clock *pace.Clock
	start time.Time // of row 0, without TimeColumn
	first time.Time // of the first row played
	last  time.Time
	runs  []run
}

func (p *player) play(ctx context.Context, row Row) error {
	t, err := p.timeOf(row)
	if err != nil {
		return err
	}
	back := t.Before(p.last)
	p.last = t
	if p.at.time >= 0 {
		if err := p.await(ctx, t); err != nil {
			return err
		}
	}
	for i, c := range p.columns {
		x, ok, err := parseCell(row.Fields[p.at.values[i]])
		if err != nil {
			return fmt.Errorf("%s:%d: column %q: %w", p.path, row.Line, c.Name, err)
		}
		u := &p.runs[i]
		if !ok {
			if err := p.emitRun(ctx, i); err != nil {
				return err
			}
			u.gap = true
			continue
		}
		if len(u.samples) == 0 {
			u.first = row.Number
		}
		if x = c.Unit.Base(x); math.IsInf(x, 0) {
			return fmt.Errorf("%s:%d: column %q: value is beyond a double in %s", p.path, row.Line, c.Name, c.Unit.Quantity.BaseUnit())
		}
		u.gap = u.gap || back
		u.samples = append(u.samples, x)
		if p.at.time >= 0 || len(u.samples) >= p.opts.BlockRows {
			if err := p.emitRun(ctx, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// timeOf is the time of a row.
func (p *player) timeOf(row Row) (time.Time, error) {
	if p.at.time < 0 {
		return p.rowTime(row.Number), nil
	}
	text := strings.TrimSpace(row.Fields[p.at.time])
	var t time.Time
	var err error
	if p.opts.TimeLayout != "" {
		t, err = time.Parse(p.opts.TimeLayout, text)
	} else {
		t, _, err = decode.ParseTime(text, decode.TimeAuto)
	}
	if err != nil {
		return t, fmt.Errorf("%s:%d: column %q: %w", p.path, row.Line, p.opts.TimeColumn, err)
	}
	return t, nil
}

func (p *player) rowTime(row int) time.Time {
	return p.start.Add(time.Duration(float64(row) / p.opts.RateHz * float64(time.Second)))
}

// await sleeps until recorded time t is due. It returns errEnded when ctx ends.
func (p *player) await(ctx context.Context, t time.Time) error {
	if p.first.IsZero() {
		p.first = t
	}
	if !p.clock.Wait(ctx, t.Sub(p.first)) {
		return errEnded
	}
	return nil
}

// emitRun hands on what column i has collected, if anything.
func (p *player) emitRun(ctx context.Context, i int) error {
	u := &p.runs[i]
	if len(u.samples) == 0 {
		return nil
	}
	b := sensors.Block{Machine: p.machine, Channel: p.columns[i].Channel, Start: p.last, Samples: u.samples}
	if p.at.time < 0 {
		b.Start, b.RateHz = p.rowTime(u.first), p.opts.RateHz
		if p.first.IsZero() {
			p.first = b.Start
		}
		// A block exists when its last sample does.
		if err := p.await(ctx, b.Start.Add(b.Duration())); err != nil {
			return err
		}
	}
	if u.gap {
		b.Quality |= sensors.QualityGap
	}
	u.samples, u.gap = nil, false
	return p.emit(b)
}

// flush emits the unfinished blocks at the end of the rows.
func (p *player) flush(ctx context.Context) error {
	for i := range p.runs {
		if err := p.emitRun(ctx, i); err != nil {
			return ended(err)
		}
	}
	return nil
}

// parseCell reads a number; ok is false for a cell that says there is none.
func parseCell(text string) (x float64, ok bool, err error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, false, nil
	}
	x, err = strconv.ParseFloat(text, 64)
	switch {
	case err != nil:
		return 0, false, fmt.Errorf("%q is not a finite number; check the separator and the decimal point", text)
	case math.IsNaN(x):
		return 0, false, nil
	case math.IsInf(x, 0):
		return 0, false, fmt.Errorf("%q is not a finite number", text)
	}
	return x, true, nil
}
