package bussource

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errStuck is why a call has no result.
var errStuck = errors.New("bus does not answer")

// bus runs the devices of one bus in turn.
type bus struct {
	name    string
	devices []*device
	source  *Source
	// stuck is the result of a call that was given up. Until it comes, the call
	// owns the bus and its device.
	stuck chan error
	timer *time.Timer
}

// run polls the devices until ctx ends.
func (b *bus) run(ctx context.Context) {
	b.timer = time.NewTimer(0)
	defer b.timer.Stop()
	defer b.end()
	for _, d := range b.devices {
		d.at, d.backoff = time.Now(), 0
	}
	for b.freed(ctx) {
		d := b.devices[0]
		for _, other := range b.devices[1:] {
			if other.at.Before(d.at) {
				d = other
			}
		}
		if !b.sleep(ctx, time.Until(d.at)) {
			return
		}
		b.turn(d)
	}
}

// turn starts or reads d.
func (b *bus) turn(d *device) {
	var err error
	if !d.up {
		if err = b.call(d.start); err == nil {
			d.started()
			return
		}
	} else if err = b.call(d.read); err == nil {
		if err = d.done(); err == nil {
			return
		}
	}
	if !errors.Is(err, errStuck) {
		d.failed(err)
		return
	}
	err = fmt.Errorf("%w within %v; the wire may be held low: check wiring, or power the device off and on", errStuck, b.source.opts.CallTimeout)
	d.failed(err)
	for _, other := range b.devices {
		if other != d && other.up {
			other.failed(fmt.Errorf("%s holds the bus and does not answer", d.Name))
			other.backoff = 0 // it is not to blame
		}
	}
}

// call runs f on a goroutine of its own and gives up on it after the time-out.
func (b *bus) call(f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	b.timer.Reset(b.source.opts.CallTimeout)
	select {
	case err := <-done:
		return err
	case <-b.timer.C:
		b.stuck = done
		return errStuck
	}
}

// freed waits until no call is stuck, and reports whether ctx still runs.
func (b *bus) freed(ctx context.Context) bool {
	for b.stuck != nil {
		b.timer.Reset(complaintPause)
		select {
		case <-ctx.Done():
			return false
		case <-b.stuck: //nolint:errcheck // whoever made the call has had its answer
			b.stuck = nil
		case <-b.timer.C:
			b.source.complain.warn("stuck "+b.name, "bus is still stuck", "bus", b.name,
				"mend", "check wiring, power the devices off and on, or restart this box")
		}
	}
	return ctx.Err() == nil
}

func (b *bus) sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	b.timer.Reset(d)
	select {
	case <-ctx.Done():
		return false
	case <-b.timer.C:
		return true
	}
}

// end leaves the devices for the next Run. It does not wait for a stuck call: the
// call ends by itself when the kernel lets it, and the next Run waits for that.
func (b *bus) end() {
	for _, d := range b.devices {
		if d.up {
			d.source.ledger.device(d.index, func(s *DeviceStats) { s.Up = false })
		}
		d.down()
		if b.stuck == nil {
			if err := b.call(d.close); err != nil {
				b.source.complain.warn("close "+d.Name, "device did not close", "device", d.Name, "cause", err.Error())
			}
		}
	}
}
