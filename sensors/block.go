// Package sensors brings measurements from the physical world to feature vectors.
//
// A [Source] emits [Block] values; package window groups them by time; package
// features turns each window into one feature vector. Values inside a Block are
// always in the base unit of their [Quantity]: conversion happens once, where a
// measurement enters (see [Unit]).
package sensors

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Block is a run of consecutive samples of one channel of one machine.
type Block struct {
	Machine string    // machine the channel belongs to
	Channel string    // channel name, unique within the machine
	Start   time.Time // time of Samples[0]
	// RateHz is the sampling rate. Zero means the spacing is unknown, which
	// is only allowed for a single sample.
	RateHz  float64
	Samples []float64 // in the base unit of the channel's Quantity; owned by the receiver
	Quality Quality
}

// Quality says what is known to be doubtful about a Block. Zero is good.
type Quality uint16

// The doubts a Block can carry; they combine by bitwise or.
const (
	QualityArrivalTime Quality = 1 << iota // the payload had no time: Start is when it arrived
	QualityRebased                         // the source's clock was unusable: Start was moved to the local clock
	QualityGap                             // samples were lost just before this block
	QualityClipped                         // at least one sample sits at the converter's limit
	QualityRetained                        // delivered from a broker's memory, of unknown age
	QualityZoneAssumed                     // the payload's time names no zone: it was taken as UTC
)

// Duration is the time the block spans: the number of samples over the rate,
// zero for a single sample of unknown rate.
func (b Block) Duration() time.Duration {
	if b.RateHz <= 0 {
		return 0
	}
	return time.Duration(float64(len(b.Samples)) / b.RateHz * float64(time.Second))
}

// Validate reports the first reason why b must not enter the pipeline: no
// machine or channel, no samples, a sample that is NaN or infinite, a rate that
// is negative or not finite, several samples without a rate, no start time.
func (b Block) Validate() error {
	switch {
	case b.Machine == "" || b.Channel == "":
		return errors.New("block names no machine or channel")
	case len(b.Samples) == 0:
		return fmt.Errorf("block of %s/%s has no samples", b.Machine, b.Channel)
	case b.Start.IsZero():
		return fmt.Errorf("block of %s/%s has no start time", b.Machine, b.Channel)
	case b.RateHz < 0 || math.IsNaN(b.RateHz) || math.IsInf(b.RateHz, 0):
		return fmt.Errorf("block of %s/%s has rate %v Hz", b.Machine, b.Channel, b.RateHz)
	case b.RateHz == 0 && len(b.Samples) > 1:
		return fmt.Errorf("block of %s/%s has %d samples but no rate", b.Machine, b.Channel, len(b.Samples))
	}
	for i, x := range b.Samples {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("block of %s/%s: sample %d is %v", b.Machine, b.Channel, i, x)
		}
	}
	return nil
}

// Channel declares one physical quantity measured on a machine.
type Channel struct {
	Name string // unique within the machine, e.g. "vibration"
	Unit Unit   // the unit the source delivers; blocks carry the base unit
}

// Source reads the physical world.
type Source interface {
	// Run emits blocks until ctx ends or the source is exhausted, and waits
	// for every goroutine it started. It returns nil in both cases and an error
	// only when it can never deliver again. A lost connection is not such an
	// error: Run keeps trying. emit is called from one goroutine at a time and
	// may block; a Source that must not wait (a network callback) buffers within
	// a bound and counts what it drops. An error from emit ends Run with that error.
	Run(ctx context.Context, emit func(Block) error) error
}
