package infer

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// The past of a score is kept as medians of blocks, at several scales: a block of one
// level is trendFactor of the level below. Whatever span shows a trend best, minutes
// or years, is thus the newest trendBlocks blocks of some level, in memory that does
// not grow.
const (
	trendWindows = 4 // in a block of the finest level
	trendFactor  = 4
	trendBlocks  = 32
	trendLevels  = 9 // the coarsest spans 8 M windows
	trendPairs   = trendBlocks * (trendBlocks - 1) / 2

	// leastTrendBlocks is the least a trend is seen in.
	leastTrendBlocks = 10
	// trendSignificance is by how many standard deviations Mann and Kendall's S must
	// stand out. It is high because every level is tested again and again.
	trendSignificance = 4
	// trendHorizon is how many times the span of its blocks a trend is followed.
	trendHorizon = 3
	// trendLow is the least score told apart from lower ones: a trend is one of the
	// logarithm, since damage feeds on itself.
	trendLow = 1e-3
)

// trend follows where the relative score of one machine is going. Its memory is
// allocated once.
type trend struct {
	levels [trendLevels]trendLevel
	line   trendLine // that is told, zero for none
	told   Trend     // and hours: what Advice points to
	hours  float64
	work   [trendPairs]float64
}

// trendPoint is a window, or the middle of a block.
type trendPoint struct {
	At    float64 `json:"t"` // seconds since 1970
	Score float64 `json:"s"` // natural logarithm of the relative score
}

// trendLevel is one scale.
type trendLevel struct {
	Blocks []trendPoint `json:"blocks,omitempty"` // oldest first
	Part   []trendPoint `json:"part,omitempty"`   // of the block under way

	line trendLine // through Blocks
}

// trendLine is a straight line through the blocks of a level.
type trendLine struct {
	slope, at, score float64 // per second; a point on it
	span             float64 // seconds from the first block to the last
	z                float64 // how far Mann and Kendall's S stands out; 0 if there are too few blocks
}

// blockLen is how many points make a block of a level.
func blockLen(level int) int {
	if level == 0 {
		return trendWindows
	}
	return trendFactor
}

func newTrend() *trend {
	t := &trend{}
	for k := range t.levels {
		t.levels[k].Blocks = make([]trendPoint, 0, trendBlocks)
		t.levels[k].Part = make([]trendPoint, 0, blockLen(k))
	}
	return t
}

// reset forgets everything.
func (t *trend) reset() {
	for k := range t.levels {
		l := &t.levels[k]
		*l = trendLevel{Blocks: l.Blocks[:0], Part: l.Part[:0]}
	}
	t.line = trendLine{}
}

// add takes the relative score of the window that ended at at. A clock that stands
// still or goes back makes it start anew.
func (t *trend) add(at time.Time, score float64) {
	p := trendPoint{float64(at.UnixNano()) / 1e9, math.Log(max(score, trendLow))}
	if last, ok := t.last(); ok && p.At <= last {
		t.reset()
	}
	for k := range t.levels {
		l := &t.levels[k]
		l.Part = append(l.Part, p)
		if len(l.Part) < blockLen(k) {
			if k > 0 {
				t.choose()
			}
			return
		}
		p = middle(l.Part)
		l.Part = l.Part[:0]
		if len(l.Blocks) == trendBlocks {
			l.Blocks = l.Blocks[:copy(l.Blocks, l.Blocks[1:])]
		}
		l.Blocks = append(l.Blocks, p)
		l.line = fitLine(l.Blocks, &t.work)
	}
	t.choose()
}

// last is the time of the newest point.
func (t *trend) last() (float64, bool) {
	for k := range t.levels {
		l := &t.levels[k]
		if n := len(l.Part); n > 0 {
			return l.Part[n-1].At, true
		}
		if n := len(l.Blocks); n > 0 {
			return l.Blocks[n-1].At, true
		}
	}
	return 0, false
}

// middle is the mean time and the median score of a block.
func middle(part []trendPoint) trendPoint {
	var scores [trendWindows]float64
	at := 0.0
	for i, p := range part {
		at += (p.At - part[0].At) / float64(len(part))
		scores[i] = p.Score
	}
	return trendPoint{part[0].At + at, median(scores[:len(part)])}
}

// choose decides which line is told: the most significant one, unless it only leads
// to where the score has been before.
func (t *trend) choose() {
	t.line = trendLine{}
	for k := range t.levels {
		if l := t.levels[k].line; math.Abs(l.z) >= trendSignificance && math.Abs(l.z) > math.Abs(t.line.z) {
			t.line = l
		}
	}
	if t.line.slope == 0 || t.line.slope > 0 && t.wasHigher(t.line.at-t.line.span, t.line.score) {
		t.line = trendLine{}
	}
}

// wasHigher says whether a block that ended before a time was higher than score.
func (t *trend) wasHigher(before, score float64) bool {
	for k := range t.levels {
		for _, b := range t.levels[k].Blocks {
			if b.At >= before {
				break
			}
			if b.Score > score {
				return true
			}
		}
	}
	return false
}

// advice is the trend at a time, and when the relative score reaches limit if alarm is
// not there yet. It is nil without a trend and valid until the next call.
func (t *trend) advice(at time.Time, limit float64, alarm bool) *Trend {
	if t.line.slope == 0 {
		return nil
	}
	ahead := float64(at.UnixNano())/1e9 - t.line.at
	now := t.line.score + float64(t.line.slope*ahead)
	t.told = Trend{PerDay: finiteTrend(t.line.slope * math.Exp(now) * 86400)}
	if alarm || t.line.slope <= 0 {
		return &t.told
	}
	if s := max(0, math.Log(limit)-now) / t.line.slope; s <= trendHorizon*t.line.span {
		t.hours = s / 3600
		t.told.HoursToAlarm = &t.hours
	}
	return &t.told
}

// finiteTrend bounds a rate that overflows, as after a clock that jumped.
func finiteTrend(x float64) float64 { return min(max(x, -math.MaxFloat64), math.MaxFloat64) }

// rescale multiplies all scores by factor, when another model scores from now on.
func (t *trend) rescale(factor float64) {
	shift := math.Log(factor)
	for k := range t.levels {
		l := &t.levels[k]
		for _, points := range [][]trendPoint{l.Blocks, l.Part} {
			for i := range points {
				points[i].Score += shift
			}
		}
		l.line.score += shift
	}
	t.line.score += shift
}

// state returns a copy of the points, without levels that have none.
func (t *trend) state() []trendLevel {
	var out []trendLevel
	for k := range t.levels {
		l := &t.levels[k]
		if len(l.Blocks) == 0 && len(l.Part) == 0 {
			continue
		}
		for len(out) < k {
			out = append(out, trendLevel{})
		}
		out = append(out, trendLevel{
			Blocks: append([]trendPoint(nil), l.Blocks...),
			Part:   append([]trendPoint(nil), l.Part...),
		})
	}
	return out
}

// restore takes what state returned. What cannot be that is an error and changes
// nothing.
func (t *trend) restore(levels []trendLevel) error {
	if len(levels) > trendLevels {
		return fmt.Errorf("restore trend: %d levels; the most is %d", len(levels), trendLevels)
	}
	for k, l := range levels {
		if len(l.Blocks) > trendBlocks || len(l.Part) >= blockLen(k) {
			return fmt.Errorf("restore trend: level %d has %d blocks and %d points", k, len(l.Blocks), len(l.Part))
		}
		last := math.Inf(-1)
		for _, points := range [][]trendPoint{l.Blocks, l.Part} {
			for _, p := range points {
				if !(p.At > last) || math.IsInf(p.At, 0) || math.IsNaN(p.Score) || math.IsInf(p.Score, 0) {
					return errors.New("restore trend: points do not ascend in time or are not finite")
				}
				last = p.At
			}
		}
	}
	t.reset()
	for k, l := range levels {
		mine := &t.levels[k]
		mine.Blocks, mine.Part = append(mine.Blocks, l.Blocks...), append(mine.Part, l.Part...)
		mine.line = fitLine(mine.Blocks, &t.work)
	}
	t.choose()
	return nil
}
