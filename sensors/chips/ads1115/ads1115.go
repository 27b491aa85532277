// Package ads1115 drives the Texas Instruments ADS1115, a converter of 16 bits with
// four inputs on I²C: voltages, currents over a shunt, and 4–20 mA loops with
// detection of failures.
//
// Source: data sheet SBAS444E; its registers have 16 bits, high byte first. Checked
// against Linux, drivers/iio/adc/ti-ads1015.c.
package ads1115

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"periph.io/x/conn/v3"

	"github.com/millwright-iot/millwright/sensors/chips"
)

const (
	regConversion = 0
	regConfig     = 1

	// Bits of the config register.
	start      = 1 << 15 // written: start; read: no conversion under way
	muxShift   = 12
	gainShift  = 9
	singleShot = 1 << 8
	rate128    = 4 << 5 // 128 conversions a second, the default
	noAlert    = 3

	// conversion is one at 128 a second, whose clock may be 10 % slow.
	conversion = 9 * time.Millisecond
	retry      = time.Millisecond
	maxRetries = 20
)

// Model describes the chip. Addresses are those of the ADDR pin at GND, VDD, SDA
// and SCL.
func Model() *chips.Model {
	return &chips.Model{
		Name: "ads1115", Buses: []chips.Bus{chips.I2C}, Addresses: []uint16{0x48, 0x49, 0x4A, 0x4B},
		Uses: []string{"every", "input", "range_v", "shunt_ohm", "at_4ma", "at_20ma"}, Configure: configure,
	}
}

func configure(options []chips.Options) (chips.Driver, error) {
	d := &driver{plan: chips.Plan{Every: options[0].Every}}
	if d.plan.Every == 0 {
		d.plan.Every = chips.DefaultEvery
	}
	errs := []error{chips.Agree(options)}
	for _, o := range options {
		in, err := newInput(o)
		errs = append(errs, err)
		d.inputs = append(d.inputs, in)
		d.plan.Quantities = append(d.plan.Quantities, in.quantity)
	}
	if need := time.Duration(len(options)) * 2 * conversion; d.plan.Every < need {
		errs = append(errs, fmt.Errorf("every: %v is too short for %d inputs; %v is the least", d.plan.Every, len(options), need))
	}
	return d, errors.Join(errs...)
}

type driver struct {
	plan   chips.Plan
	inputs []input

	link    conn.Conn
	next    int // input whose turn it is
	started bool
	retries int
}

func (d *driver) Plan() chips.Plan { return d.plan }

// Start has no identity to read: it writes a configuration and reads it back.
func (d *driver) Start(link conn.Conn) error {
	d.link, d.next, d.started = link, 0, false
	want := d.config(0)
	if err := d.write(want); err != nil {
		return fmt.Errorf("set up ads1115: %w", err)
	}
	got, err := d.read(regConfig)
	if err != nil {
		return fmt.Errorf("identify ads1115: %w", err)
	}
	if got&^start != want {
		e := &chips.WrongChipError{Chip: "ads1115", Register: "config"}
		e.Got, e.Want = binary.BigEndian.AppendUint16(nil, got&^start), binary.BigEndian.AppendUint16(nil, want)
		return e
	}
	return nil
}

// config is the register for input i, without starting.
func (d *driver) config(i int) uint16 {
	in := &d.inputs[i]
	return uint16(in.mux)<<muxShift | uint16(in.gain)<<gainShift | singleShot | rate128 | noAlert
}

func (d *driver) write(v uint16) error {
	return d.link.Tx([]byte{regConfig, byte(v >> 8), byte(v)}, nil)
}

func (d *driver) read(reg byte) (uint16, error) {
	var r [2]byte
	err := d.link.Tx([]byte{reg}, r[:])
	return binary.BigEndian.Uint16(r[:]), err
}

// Read starts a conversion or gets one, input after input, and asks to be called
// when the next is done: the bus is free in between.
func (d *driver) Read(b *chips.Batch) error {
	if d.started {
		config, err := d.read(regConfig)
		switch {
		case err != nil:
			return fmt.Errorf("read ads1115: %w", err)
		case config&^start != d.config(d.next):
			return fmt.Errorf("read ads1115: config is %#04x, not %#04x: it lost power, or another program uses it", config&^start, d.config(d.next))
		case config&start == 0:
			if d.retries++; d.retries > maxRetries {
				return errors.New("read ads1115: a conversion does not end")
			}
			b.Again = retry
			return nil
		}
		code, err := d.read(regConversion)
		if err != nil {
			return fmt.Errorf("read ads1115: %w", err)
		}
		v, clipped, fault := d.inputs[d.next].value(int16(code))
		if b.Faults[d.next] = fault; fault == nil {
			b.Values[d.next] = append(b.Values[d.next], v)
			b.Clipped[d.next] = clipped
		}
		d.started = false
		if d.next++; d.next == len(d.inputs) {
			d.next = 0
			b.Again = d.plan.Every - time.Duration(len(d.inputs))*conversion
			return nil
		}
	}
	if err := d.write(d.config(d.next) | start); err != nil {
		return fmt.Errorf("start a conversion of ads1115: %w", err)
	}
	d.started, d.retries, b.Again = true, 0, conversion
	return nil
}
