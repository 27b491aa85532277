// Package bussource is a [sensors.Source] that polls devices on buses: chips on I²C,
// SPI and 1-Wire, and devices of Linux IIO. i2csource, spisource, onewiresource and
// iiosource build it from a configuration.
//
// Each bus has one goroutine, so that a bus that hangs holds up nobody else. A call
// to the kernel that hangs cannot be cancelled: it is given up after a time-out, its
// bus counts as stuck until it returns, and nothing else is tried there until then.
// A device that fails is started anew with growing pauses, for ever, and says why in
// the log at most once a minute.
//
// Samples of a chip with a FIFO are timed by the measured sampling rate, not by the
// nominal one, which is off by several percent in cheap parts. A rate more than
// 10 % off means a wrong configuration or a chip that is overloaded: then nothing
// is emitted, as every frequency in a spectrum would be wrong.
package bussource

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"periph.io/x/conn/v3"

	"github.com/millwright-iot/millwright/sensors/chips"
)

// Channel names one channel that a device delivers.
type Channel struct{ Machine, Channel string }

// Device is one chip, or whatever else a driver reads.
type Device struct {
	Bus  string // devices of one bus take turns; those of others are not affected
	Name string // for logs, such as "SPI0.0 adxl345"
	// Open connects to the device. It is called before every Driver.Start, on
	// the bus's goroutine, and may hang like every call.
	Open     func() (Link, error)
	Driver   chips.Driver
	Channels []Channel // the i-th gets Batch.Values[i]
}

// Link is an open connection to a device.
type Link struct {
	Conn  conn.Conn    // what Driver.Start gets; may be nil if the driver needs none
	Close func() error // may be nil
}

// Options tunes a Source. The zero value is ready to use.
type Options struct {
	// CallTimeout is how long a call to a driver may take before its bus counts
	// as stuck. Default 2s: a thermometer on 1-Wire takes most of one.
	CallTimeout time.Duration `yaml:"call_timeout" json:"call_timeout_ns"`
	// MinBackoff and MaxBackoff bound the pause before a failed device is started
	// anew, which doubles from one to the other. Default 100ms and 30s.
	MinBackoff time.Duration `yaml:"min_backoff" json:"min_backoff_ns"`
	MaxBackoff time.Duration `yaml:"max_backoff" json:"max_backoff_ns"`
	// BlockDuration is how much of a stream makes a block. Default 500ms.
	BlockDuration time.Duration `yaml:"block_duration" json:"block_duration_ns"`
	// MaxQueuedSamples bounds what waits for a slow receiver. Default 262144, 2 MiB.
	MaxQueuedSamples int `yaml:"max_queued_samples" json:"max_queued_samples"`
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (o Options) withDefaults() Options {
	orDefault(&o.CallTimeout, 2*time.Second)
	orDefault(&o.MinBackoff, 100*time.Millisecond)
	orDefault(&o.MaxBackoff, max(30*time.Second, o.MinBackoff))
	orDefault(&o.BlockDuration, 500*time.Millisecond)
	orDefault(&o.MaxQueuedSamples, 1<<18)
	return o
}

// Validate reports every option out of range.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	for _, f := range []struct {
		name string
		bad  bool
	}{
		{"call_timeout", o.CallTimeout < 0},
		{"min_backoff", o.MinBackoff < 0},
		{"max_backoff", o.MaxBackoff < o.MinBackoff},
		{"block_duration", o.BlockDuration < 0 || o.BlockDuration > time.Minute},
		{"max_queued_samples", o.MaxQueuedSamples < 0},
	} {
		if f.bad {
			errs = append(errs, fmt.Errorf("%s: out of range", f.name))
		}
	}
	return errors.Join(errs...)
}

// check joins everything wrong with the devices.
func check(devices []Device) error {
	var errs []error
	if len(devices) == 0 {
		errs = append(errs, errors.New("no devices; name at least one channel"))
	}
	var seen []Channel
	for _, d := range devices {
		if len(d.Channels) == 0 || len(d.Channels) != len(d.Driver.Plan().Quantities) {
			errs = append(errs, fmt.Errorf("device %s: has %d channels for %d quantities", d.Name, len(d.Channels), len(d.Driver.Plan().Quantities)))
		}
		for _, c := range d.Channels {
			if c.Machine == "" || c.Channel == "" {
				errs = append(errs, fmt.Errorf("device %s: machine or channel has no name", d.Name))
			} else if slices.Contains(seen, c) {
				errs = append(errs, fmt.Errorf("channel %s/%s: declared twice", c.Machine, c.Channel))
			}
			seen = append(seen, c)
		}
	}
	return errors.Join(errs...)
}
