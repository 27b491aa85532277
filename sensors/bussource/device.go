package bussource

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/chips"
)

// device is a Device at run time. Its bus's goroutine owns it, except during a call
// to its driver, which owns link and batch.
type device struct {
	Device
	index  int // in Stats.Devices
	plan   chips.Plan
	source *Source

	link    *Link // open, perhaps from before a failure
	up      bool
	at      time.Time // of its next turn
	backoff time.Duration
	batch   chips.Batch
	readAt  time.Time // when the last Read began

	stream *stream     // nil for a chip without
	heard  time.Time   // when a stream last gave samples
	gap    []bool      // of each channel: samples were lost since its newest block
	newest []time.Time // start of each channel's newest block
}

func newDevice(s *Source, i int, d Device) *device {
	v := &device{Device: d, index: i, plan: d.Driver.Plan(), source: s, gap: make([]bool, len(d.Channels)), newest: make([]time.Time, len(d.Channels))}
	if v.plan.RateHz > 0 {
		v.stream = newStream(v.plan.RateHz, s.opts.BlockDuration, len(d.Channels))
	}
	return v
}

// start opens and starts the device. It runs as a call.
func (d *device) start() error {
	if err := d.close(); err != nil {
		return fmt.Errorf("close before starting anew: %w", err)
	}
	link, err := d.Open()
	if err != nil {
		return err
	}
	d.link = &link
	return d.Driver.Start(link.Conn)
}

func (d *device) close() error {
	if d.link == nil || d.link.Close == nil {
		d.link = nil
		return nil
	}
	link := d.link
	d.link = nil
	return link.Close()
}

// read runs as a call.
func (d *device) read() error {
	d.batch.Reset(len(d.Channels))
	d.readAt = time.Now()
	return d.Driver.Read(&d.batch)
}

// started books that the device is up.
func (d *device) started() {
	d.up, d.heard = true, time.Now()
	again := false
	d.source.ledger.device(d.index, func(s *DeviceStats) {
		s.Up, again = true, s.Errors > 0
		s.Starts++
	})
	if again {
		d.source.complain.say(slog.LevelInfo, "up "+d.Name, "device is back", "device", d.Name, "bus", d.Bus)
	}
	d.at = time.Now().Add(d.plan.Every)
}

// failed books a failure and sets the next attempt.
func (d *device) failed(err error) {
	d.source.ledger.device(d.index, func(s *DeviceStats) {
		s.Up, s.LastError = false, err.Error()
		s.Errors++
		if errors.Is(err, errStuck) {
			s.Timeouts++
		}
	})
	d.backoff = min(max(2*d.backoff, d.source.opts.MinBackoff), d.source.opts.MaxBackoff)
	d.at = time.Now().Add(d.backoff)
	d.source.complain.warn("down "+d.Name, "device is down", "device", d.Name, "bus", d.Bus, "cause", err.Error(), "retry_in", d.backoff.String())
	d.down()
}

// down ends what was being gathered.
func (d *device) down() {
	d.up = false
	if d.stream != nil {
		v, unsettled := d.stream.cut()
		d.stream.meter.restart() // what comes back may be another chip
		d.source.ledger.drop(Unsettled, unsettled)
		d.pass(v)
	}
	for i := range d.gap {
		d.gap[i] = true
	}
}

// done takes in what a successful read brought.
func (d *device) done() error {
	now := time.Now()
	wait := d.plan.Every
	if d.batch.Again > 0 {
		wait = d.batch.Again
	}
	// From turn to turn, so that what a read takes does not slow the pace; but
	// never chase turns that were missed.
	if d.at = d.at.Add(wait); d.at.Before(now) {
		d.at = now
	}
	n := 0
	for i := range d.batch.Values {
		n += len(d.batch.Values[i])
	}
	if n > 0 {
		d.backoff = 0
	}
	if d.stream != nil {
		return d.gather(now, n)
	}
	d.scalars(n)
	return nil
}

// gather takes in the samples of a stream.
func (d *device) gather(now time.Time, n int) error {
	for _, v := range d.batch.Values {
		if len(v)*len(d.batch.Values) != n {
			return errors.New("driver gave channels of a stream unequal numbers of samples")
		}
	}
	if d.batch.Overrun {
		d.overrun()
	}
	if n == 0 {
		if patience := max(time.Second, 10*d.plan.Every, time.Duration(10/d.plan.RateHz*float64(time.Second))); now.Sub(d.heard) > patience {
			return fmt.Errorf("no samples for %v: the chip lost power or was reset", patience)
		}
		return nil
	}
	d.heard = now
	d.source.ledger.receive(n)
	v := d.stream.add(d.source.moment(d.readAt), &d.batch)
	if v.judged {
		d.source.ledger.device(d.index, func(s *DeviceStats) { s.MeasuredHz = v.hz })
	}
	if v.refused > 0 {
		d.source.ledger.drop(RateImplausible, v.refused)
		d.source.complain.warn("rate "+d.Name, "measured sampling rate is implausible", "device", d.Name,
			"measured_hz", v.hz, "nominal_hz", d.plan.RateHz,
			"mend", "check rate_hz, the bus's clock and the load of this box; nothing is emitted until it is within 10 %")
	}
	d.pass(v)
	return nil
}

func (d *device) overrun() {
	d.source.ledger.device(d.index, func(s *DeviceStats) { s.Overruns++ })
	d.source.complain.warn("overrun "+d.Name, "samples were lost in the chip's FIFO", "device", d.Name, "bus", d.Bus,
		"mend", "lower rate_hz, raise the bus's clock, or take other devices off this bus")
	v, unsettled := d.stream.cut()
	d.source.ledger.drop(Unsettled, unsettled)
	d.pass(v)
}

// scalars passes on the values of a chip that gives one now and then.
func (d *device) scalars(n int) {
	d.source.ledger.receive(n)
	for i, values := range d.batch.Values {
		if err := d.batch.Faults[i]; err != nil {
			d.fault(i, err)
		}
		for _, x := range values {
			b := sensors.Block{Start: d.readAt.Round(0), Samples: []float64{x}}
			if d.batch.Clipped[i] {
				b.Quality |= sensors.QualityClipped
			}
			d.put(i, b)
		}
	}
}

// fault counts a value that there should have been.
func (d *device) fault(i int, err error) {
	d.source.ledger.receive(1)
	d.source.ledger.drop(Fault, 1)
	d.source.ledger.device(d.index, func(s *DeviceStats) { s.Faults++ })
	c := d.Channels[i]
	d.gap[i] = true
	d.source.complain.warn("fault "+c.Machine+"/"+c.Channel, "sensor reports a fault", "device", d.Name,
		"machine", c.Machine, "channel", c.Channel, "cause", err.Error())
}

// pass queues the blocks of all channels.
func (d *device) pass(v verdict) {
	for i, b := range v.blocks {
		d.put(i, b)
	}
}

// put queues a block of channel i.
func (d *device) put(i int, b sensors.Block) {
	c := d.Channels[i]
	b.Machine, b.Channel = c.Machine, c.Channel
	for _, x := range b.Samples {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			d.gap[i] = true
			d.source.ledger.drop(NotFinite, len(b.Samples))
			d.source.complain.warn("finite "+d.Name, "value is not a finite number", "device", d.Name, "machine", c.Machine, "channel", c.Channel)
			return
		}
	}
	if !b.Start.After(d.newest[i]) { // the clock was set back
		b.Quality |= sensors.QualityGap | sensors.QualityRebased
	}
	if d.gap[i] {
		b.Quality |= sensors.QualityGap
	}
	start := b.Start
	if d.gap[i] = !d.source.ledger.put(b); d.gap[i] {
		d.source.complain.warn("queue", "blocks are read faster than they are processed", "device", d.Name,
			"machine", c.Machine, "channel", c.Channel, "mend", "lower rate_hz, or raise max_queued_samples")
		return
	}
	d.newest[i] = start
}
