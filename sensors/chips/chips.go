// Package chips is the contract between drivers of sensor chips, one package a
// chip below this one, and the sources that run them (i2csource, spisource,
// onewiresource). A driver knows registers and units; when to read, time-outs,
// back-off, clocks and counting are the source's.
package chips

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"github.com/millwright-iot/millwright/sensors"
)

// Bus is a kind of bus, spelled as in configurations.
type Bus string

// The kinds of buses.
const (
	I2C     Bus = "i2c"
	SPI     Bus = "spi"
	OneWire Bus = "1wire"
	IIO     Bus = "iio" // a chip that a driver of the Linux kernel reads
)

// Options says where a chip is and what a channel reads from it: the keys of a
// channel in YAML, such as
//
//	{bus: spi, device: SPI0.0, chip: adxl345, rate_hz: 3200, range_g: 16, axis: z}
//
// Channels that name the same chip share it, and must agree on everything but
// Axis, Measure, Input and scaling. A key that the chip does not use must be left
// out: Check refuses it rather than ignore it.
type Options struct {
	Wiring `yaml:",inline"`
	// RateHz is the sampling rate of a chip that streams, one of those it has.
	// Default the driver's.
	RateHz float64 `yaml:"rate_hz" json:"rate_hz,omitempty"`
}

// Wiring is all of Options but the rate, for a configuration whose channels have
// that key already.
type Wiring struct {
	Bus Bus `yaml:"bus" json:"bus"` // i2c, spi, 1wire or iio
	// Device names the bus, and but for I²C the chip on it: I2C1 (or /dev/i2c-1),
	// SPI0.0 (or /dev/spidev0.0), 28-0316a2794bff, iio:device0 (or the name it has).
	Device string `yaml:"device" json:"device"`
	// Address on I²C, such as 0x53. Default the chip's first (see Model.Addresses).
	Address uint16 `yaml:"address" json:"address,omitempty"`
	Chip    string `yaml:"chip" json:"chip"` // driver, such as adxl345
	// SpeedHz is the SPI clock. Default the driver's, which suits its rates.
	SpeedHz int64 `yaml:"speed_hz" json:"speed_hz,omitempty"`

	// RangeG is the full scale of an accelerometer in g. Default the driver's.
	RangeG float64 `yaml:"range_g" json:"range_g,omitempty"`
	Axis   string  `yaml:"axis" json:"axis,omitempty"` // x, y or z; required for an accelerometer

	// Measure picks a quantity of a chip that has several, such as temperature,
	// pressure or humidity. Default the chip's only or first one.
	Measure string `yaml:"measure" json:"measure,omitempty"`
	// Every is how often a chip that does not stream is read. Default 1s.
	Every time.Duration `yaml:"every" json:"every_ns,omitempty"`

	// Input of a converter with several: ain0 … ain3 against ground, or a
	// difference such as ain0-ain1. Default ain0.
	Input string `yaml:"input" json:"input,omitempty"`
	// RangeV is the full scale of a converter in V. Default the driver's.
	RangeV float64 `yaml:"range_v" json:"range_v,omitempty"`
	// ShuntOhm is the resistor that turns a current into the voltage measured;
	// the channel is then a current.
	ShuntOhm float64 `yaml:"shunt_ohm" json:"shunt_ohm,omitempty"`
	// At4mA and At20mA scale a 4–20 mA loop, in the channel's unit: both or
	// neither, with ShuntOhm.
	At4mA  *float64 `yaml:"at_4ma" json:"at_4ma,omitempty"`
	At20mA *float64 `yaml:"at_20ma" json:"at_20ma,omitempty"`

	// Element of an IIO device, such as in_accel_z or in_temp; see iiosource.
	Element string `yaml:"element" json:"element,omitempty"`
	// Trigger of an IIO device with a buffer that needs one. Default: left as it is.
	Trigger string `yaml:"trigger" json:"trigger,omitempty"`

	// Unit is of At4mA and At20mA. Otherwise it may be left out, as chips have
	// units of their own; if given it must be one of what is measured. It is set
	// in code, from the channel's unit.
	Unit sensors.Unit `yaml:"-" json:"-"`
}

// Channel is one channel of a machine and the chip it is read from.
type Channel struct {
	Machine string `yaml:"-" json:"machine"`
	Channel string `yaml:"-" json:"channel"`
	Options `yaml:",inline"`
}

// ID is a register by which a chip can be told, and what it holds.
type ID struct {
	Register byte
	Want     []byte
}

// Model is what is known of a kind of chip without touching one.
type Model struct {
	Name      string
	Buses     []Bus
	Addresses []uint16 // it can have on I²C, the default first
	IDs       []ID     // all of them must hold; empty if the chip has none to tell it by
	SPIMode   spi.Mode
	SPIClock  physic.Frequency // default
	SPIMax    physic.Frequency // fastest clock its datasheet allows
	// Uses are the options it knows beside Bus, Device, Address, Chip, SpeedHz
	// and Unit, by their YAML keys.
	Uses []string
	// Configure checks the options of the channels that share a chip, and makes
	// its driver. The i-th channel is what Batch.Values[i] will be. The error
	// joins everything wrong. options is not empty, and has passed Check.
	Configure func(options []Options) (Driver, error)
}

// Driver drives one chip. Its methods are called from one goroutine at a time,
// and may take as long as the bus does.
type Driver interface {
	Plan() Plan
	// Start identifies the chip behind link, sets it up and empties its FIFO.
	// It is called before the first Read, and again after any failure, with
	// whatever is plugged in by then. A chip that is not what the
	// configuration says gives a *WrongChipError.
	Start(link conn.Conn) error
	// Read appends to b what the chip has. After an error Start comes next.
	Read(b *Batch) error
}

// Plan is how a source should run a Driver.
type Plan struct {
	// RateHz is the nominal sampling rate of a chip that streams; 0 for one that
	// gives a value now and then.
	RateHz float64
	Every  time.Duration // between two reads
	// Quantities of the channels, in their order.
	Quantities []sensors.Quantity
}

// Batch is what one Read brought.
type Batch struct {
	// Values of each channel in base units, oldest first; the newest was taken
	// just before Read. A chip that streams gives every channel equally many.
	Values [][]float64
	// Faults of a channel are why it has no value although the bus is well: an
	// open thermocouple, a broken 4–20 mA loop.
	Faults []error
	// Clipped says that a value of the channel sits at the converter's limit.
	Clipped []bool
	// Overrun says that the chip lost samples before the first ones of this batch.
	Overrun bool
	// Again is when to read next, if sooner or later than Plan.Every.
	Again time.Duration
}

// Reset empties b for a Read of n channels, keeping its memory.
func (b *Batch) Reset(n int) {
	b.Values = slices.Grow(b.Values[:0], n)[:n]
	b.Faults = slices.Grow(b.Faults[:0], n)[:n]
	b.Clipped = slices.Grow(b.Clipped[:0], n)[:n]
	for i := range n {
		b.Values[i] = b.Values[i][:0]
		b.Faults[i], b.Clipped[i] = nil, false
	}
	b.Overrun, b.Again = false, 0
}

// WrongChipError says that something else answers where a chip should be.
type WrongChipError struct {
	Chip      string // as configured
	Register  string // by the datasheet's name
	Got, Want []byte
}

func (e *WrongChipError) Error() string {
	hint := "check chip, device and address"
	if allEqual(e.Got, 0x00) || allEqual(e.Got, 0xFF) {
		hint = "nothing seems to drive the line: check wiring, power and chip select"
	}
	return fmt.Sprintf("identify %s: %s is %#x, not %#x; %s", e.Chip, e.Register, e.Got, e.Want, hint)
}

func allEqual(b []byte, x byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c != x })
}

// DefaultEvery is how often a chip that does not stream is read.
const DefaultEvery = time.Second

// Check reports everything wrong with o that does not need its driver: bus,
// device, address, clock, keys the chip does not know, numbers out of range.
func (m *Model) Check(o Options) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !slices.Contains(m.Buses, o.Bus) {
		bad("bus: %s is not made for %q; use %s", m.Name, o.Bus, join(m.Buses))
	}
	if o.Device == "" {
		bad("device is missing; name it, such as I2C1, SPI0.0 or 28-0316a2794bff")
	}
	if o.Address != 0 && (o.Bus != I2C || !slices.Contains(m.Addresses, o.Address)) {
		bad("address: %s cannot have %#x on %s; it can have %#x on i2c", m.Name, o.Address, o.Bus, m.Addresses)
	}
	if o.SpeedHz != 0 && (o.Bus != SPI || o.SpeedHz < 1000 || o.SpeedHz > int64(m.SPIMax/physic.Hertz)) {
		bad("speed_hz: %d; it is for SPI only, 1000 to %d for %s", o.SpeedHz, int64(m.SPIMax/physic.Hertz), m.Name)
	}
	for _, k := range o.given() {
		if !slices.Contains(m.Uses, k.key) {
			bad("%s: %s does not use it; leave it out", k.key, m.Name)
		} else if math.IsNaN(k.number) || math.IsInf(k.number, 0) || k.number < 0 && !k.signed {
			bad("%s: %v is not a possible value", k.key, k.number)
		}
	}
	if o.Every != 0 && o.Every < time.Millisecond {
		bad("every: %v is too short; 1ms is the least", o.Every)
	}
	return errors.Join(errs...)
}

type given struct {
	key    string
	number float64
	signed bool
}

// given lists the optional keys that o sets.
func (o Options) given() (keys []given) {
	add := func(set bool, key string, number float64, signed bool) {
		if set {
			keys = append(keys, given{key, number, signed})
		}
	}
	add(o.RateHz != 0, "rate_hz", o.RateHz, false)
	add(o.RangeG != 0, "range_g", o.RangeG, false)
	add(o.Axis != "", "axis", 0, false)
	add(o.Measure != "", "measure", 0, false)
	add(o.Every != 0, "every", o.Every.Seconds(), false)
	add(o.Input != "", "input", 0, false)
	add(o.RangeV != 0, "range_v", o.RangeV, false)
	add(o.ShuntOhm != 0, "shunt_ohm", o.ShuntOhm, false)
	add(o.Element != "", "element", 0, false)
	add(o.Trigger != "", "trigger", 0, false)
	if o.At4mA != nil {
		add(true, "at_4ma", *o.At4mA, true)
	}
	if o.At20mA != nil {
		add(true, "at_20ma", *o.At20mA, true)
	}
	return keys
}

// CheckUnit reports a unit that is not one of q.
func CheckUnit(u sensors.Unit, q sensors.Quantity) error {
	if u.Symbol != "" && u.Quantity != q {
		return fmt.Errorf("unit: %s is a unit of %s, but the channel measures %s; use %q or leave it out", u.Symbol, u.Quantity, q, q.BaseUnit())
	}
	return nil
}

// Agree reports the first option on which channels sharing a chip differ,
// among those that concern the whole chip.
func Agree(options []Options) error {
	a := options[0]
	for _, b := range options[1:] {
		for _, c := range []struct {
			key    string
			differ bool
		}{
			{"chip", a.Chip != b.Chip}, {"rate_hz", a.RateHz != b.RateHz}, {"range_g", a.RangeG != b.RangeG},
			{"every", a.Every != b.Every}, {"speed_hz", a.SpeedHz != b.SpeedHz},
		} {
			if c.differ {
				return fmt.Errorf("%s: channels that share a chip must agree on it", c.key)
			}
		}
	}
	return nil
}

// Choose returns want if it is one of the choices, the default if it is zero,
// else an error that lists the choices.
func Choose(key string, want, def float64, choices []float64) (float64, error) {
	if want == 0 {
		return def, nil
	}
	if !slices.Contains(choices, want) {
		return 0, fmt.Errorf("%s: %v is not possible; choose from %v", key, want, choices)
	}
	return want, nil
}

// Index returns where want is among the names, 0 if it is empty.
func Index(key, want string, names ...string) (int, error) {
	if want == "" {
		return 0, nil
	}
	i := slices.Index(names, want)
	if i < 0 {
		return 0, fmt.Errorf("%s: unknown %q; choose from %s", key, want, strings.Join(names, ", "))
	}
	return i, nil
}

func join(buses []Bus) string {
	s := make([]string, len(buses))
	for i, b := range buses {
		s[i] = string(b)
	}
	return strings.Join(s, " or ")
}
