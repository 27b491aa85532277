package fedavg

import (
	"errors"
	"fmt"
	"math"
)

// blockBytes bounds what a strategy that needs all updates at once holds of
// updates that are not in memory: it goes through them once for every block of
// parameters.
const blockBytes = 64 << 20

// columns gives the robust strategies the same parameters of all updates side by
// side.
type columns struct {
	totals
	layout  Layout
	n       int
	agents  []string
	weights []float64
	all     Slice     // set if the updates are in memory
	updates Updates   // otherwise
	budget  int       // bytes of a block
	tops    []float64 // see magnitudes
}

// newColumns checks everything but the elements of the updates.
func newColumns(global []Vector, updates Updates, does string) (*columns, error) {
	layout, err := layoutFor(global, Float32, does)
	if err != nil {
		return nil, err
	}
	c := &columns{totals: totals{metrics: map[string]metricSum{}}, layout: layout, updates: updates, budget: blockBytes}
	c.all, _ = updates.(Slice)
	err = updates.Each(func(u *Update) error {
		c.agents, c.weights = append(c.agents, u.Agent), append(c.weights, u.Weight)
		return c.apply([]*Update{u}, layout, plus)
	})
	if err != nil {
		return nil, err
	}
	if c.n = len(c.agents); c.n == 0 {
		return nil, ErrNoUpdates
	}
	return c, nil
}

// each calls do for every segment with the rows of all updates in it, with
// several goroutines. rows are valid during the call.
func (c *columns) each(segments []segment, do func(seg *segment, rows [][]float32, s *scratch) error) error {
	return c.blocks(segments, func(segments []segment, rows func(*scratch, *segment) [][]float32) error {
		return eachSegment(segments, c.n, new(scratch), func(seg *segment, s *scratch) error {
			return do(seg, rows(s, seg), s)
		}, func(*segment) {})
	})
}

// blocks calls do for as many segments at a time as may be held. rows returns
// those of a segment for as long as do runs.
func (c *columns) blocks(segments []segment, do func(segments []segment, rows func(*scratch, *segment) [][]float32) error) error {
	if c.all != nil {
		return do(segments, func(s *scratch, seg *segment) [][]float32 {
			s.rows = s.rows[:0]
			for _, u := range c.all {
				s.rows = append(s.rows, u.Vectors[seg.vector].F32[seg.from:seg.to])
			}
			return s.rows
		})
	}
	var block []float32
	for len(segments) > 0 {
		k, width := c.fits(segments)
		if len(block) < width*c.n {
			block = make([]float32, width*c.n)
		}
		if err := c.load(block, width, segments[:k]); err != nil {
			return err
		}
		err := do(segments[:k], func(s *scratch, seg *segment) [][]float32 {
			s.rows = s.rows[:0]
			for i := range c.n {
				s.rows = append(s.rows, block[i*width+seg.start:][:seg.to-seg.from])
			}
			return s.rows
		})
		if err != nil {
			return err
		}
		segments = segments[k:]
	}
	return nil
}

// fits returns how many of the segments go into a block, at least one, and how
// many elements those have.
func (c *columns) fits(segments []segment) (k, width int) {
	for k < len(segments) {
		next := width + segments[k].to - segments[k].from
		if k > 0 && int64(next)*int64(c.n)*4 > int64(c.budget) {
			break
		}
		segments[k].start = width
		k, width = k+1, next
	}
	return k, width
}

// load copies the segments of every update, one row of width elements each.
func (c *columns) load(block []float32, width int, segments []segment) error {
	i := 0
	err := c.updates.Each(func(u *Update) error {
		if i == c.n || u.Agent != c.agents[i] {
			return errChanged
		}
		if err := u.verifyScalars(c.layout); err != nil {
			return &UpdateError{Agent: u.Agent, Err: err}
		}
		row := block[i*width : (i+1)*width]
		for _, seg := range segments {
			row = row[copy(row, u.Vectors[seg.vector].F32[seg.from:seg.to]):]
		}
		i++
		return nil
	})
	if err == nil && i != c.n {
		err = errChanged
	}
	return err
}

var errChanged = errors.New("aggregate: the updates are not the same when read again")

// notFinite names the first element of row i that is not finite.
func (c *columns) notFinite(seg *segment, row []float32, i int) error {
	for k, x := range row {
		if x-x != 0 {
			return &UpdateError{Agent: c.agents[i], Err: &ValueError{Vector: seg.name, Index: seg.from + k, Value: float64(x)}}
		}
	}
	return nil
}

// infinite are the bits of the least magnitude that is not finite.
const infinite = 0x7f800000

func floatOf(key int32) float32 { return math.Float32frombits(fromKey(key)) }

// TooFewError says that a robust strategy cannot keep its promise with so few
// updates. For errors.Is it is an ErrNoUpdates: the round has come to nothing.
type TooFewError struct {
	Strategy  string
	Got, Want int
}

func (e *TooFewError) Error() string {
	return fmt.Sprintf("aggregate: %s needs at least %d updates, got %d; raise min_participants or lower byzantine", e.Strategy, e.Want, e.Got)
}

// Is implements errors.Is.
func (e *TooFewError) Is(target error) bool { return target == ErrNoUpdates }
