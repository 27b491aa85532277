// Package window groups the blocks of one machine into windows of event time.
//
// A [Windower] looks only at the times blocks carry, never at the wall clock, so
// recorded data gives the same windows at any replay speed. Windows start at
// multiples of Hop since the Unix epoch: which samples share a window does not
// depend on when the process started. The first window after a start or a reset is
// the first one that begins no earlier than the data.
package window

import (
	"time"

	"github.com/millwright-iot/millwright/sensors"
)

// Window is what every channel of a machine measured in [Start, End).
type Window struct {
	Machine    string
	Start, End time.Time
	Segments   []Segment       // one a channel, in the order of Spec.Channels
	Quality    sensors.Quality // every doubt of every block that has a sample in the window
}

// Segment is what one channel measured in a window. Times are in seconds from
// the window's start; values in the base unit of the channel's quantity.
type Segment struct {
	Channel string
	Samples []float64 // in order of time; at least one
	// Pieces says when the samples were taken: the first Pieces[0].N samples
	// belong to the first piece, and so on. They are the parts of blocks that lie
	// in the window.
	Pieces []Piece
}

// Piece is evenly spaced samples inside a Segment.
type Piece struct {
	OffsetS float64 // time of its first sample, in seconds from the window's start
	RateHz  float64 // sampling rate; zero for a single sample of unknown rate
	N       int     // number of samples
	// Joined says that the piece continues the one before it at the same rate and
	// with no sample missing, so both together are one stretch for a spectrum.
	Joined bool
}

// Regular returns the segment of evenly spaced samples that begin at the window's
// start, for those who have an array rather than blocks. It keeps samples.
func Regular(channel string, rateHz float64, samples []float64) Segment {
	return Segment{Channel: channel, Samples: samples, Pieces: []Piece{{RateHz: rateHz, N: len(samples)}}}
}

// Stretch returns the longest run of samples without a break that starts with
// piece first: Samples[lo:hi], its rate, and the piece after it. lo is the index of
// piece first's first sample. Use it as
//
//	for piece, lo := 0, 0; piece < len(s.Pieces); {
//		next, hi, rateHz := s.Stretch(piece, lo)
//		… s.Samples[lo:hi] …
//		piece, lo = next, hi
//	}
func (s *Segment) Stretch(piece, lo int) (next, hi int, rateHz float64) {
	rateHz = s.Pieces[piece].RateHz
	hi = lo + s.Pieces[piece].N
	for next = piece + 1; next < len(s.Pieces) && s.Pieces[next].Joined; next++ {
		hi += s.Pieces[next].N
	}
	return next, hi, rateHz
}

// OffsetsS appends to dst the time of every sample in seconds from the window's
// start and returns it.
func (s *Segment) OffsetsS(dst []float64) []float64 {
	for _, p := range s.Pieces {
		if p.N == 1 || p.RateHz <= 0 {
			dst = append(dst, p.OffsetS)
			continue
		}
		for i := range p.N {
			dst = append(dst, p.OffsetS+float64(i)/p.RateHz)
		}
	}
	return dst
}
