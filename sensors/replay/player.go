package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/internal/pace"
)

// Player plays a recording of blocks (see [Recorder]). It implements
// [sensors.Source]; every Run begins anew.
type Player struct {
	path  string
	speed float64
}

var _ sensors.Source = (*Player)(nil)

// NewPlayer makes a Source of the recording at path. speed is how much faster than the
// recording time passes: 1 is real time, 0 is as fast as the blocks are consumed. The
// file's header is checked both here and by Run.
func NewPlayer(path string, speed float64) (*Player, error) {
	if speed < 0 || math.IsNaN(speed) || math.IsInf(speed, 0) {
		return nil, fmt.Errorf("configure replay: speed %v is not a positive factor", speed)
	}
	r, err := OpenRecording(path)
	if err != nil {
		return nil, err
	}
	return &Player{path: path, speed: speed}, r.Close()
}

// Run implements [sensors.Source]. Blocks come in the order of the recording, each when
// its last sample was taken; one that lies before another comes at once. A line that is
// no block ends Run with an error naming it.
func (p *Player) Run(ctx context.Context, emit func(sensors.Block) error) error {
	r, err := OpenRecording(p.path)
	if err != nil {
		return err
	}
	defer r.Close()
	clock := pace.Start(p.speed)
	var first time.Time
	for ctx.Err() == nil {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if first.IsZero() {
			first = b.Start
		}
		if !clock.Wait(ctx, b.Start.Add(b.Duration()).Sub(first)) {
			return nil
		}
		if err := emit(b); err != nil {
			return err
		}
	}
	return nil
}
