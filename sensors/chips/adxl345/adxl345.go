// Package adxl345 drives the Analog Devices ADXL345, a three-axis accelerometer of
// ±2 to ±16 g at up to 3.2 kHz with a FIFO of 32 samples.
//
// Source: data sheet ADXL345 Rev. E; the register map is its Table 19.
package adxl345

import (
	"encoding/binary"
	"errors"
	"fmt"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"github.com/millwright-iot/millwright/sensors/chips"
)

// Registers, Table 19, and their bits from the register definitions after it.
const (
	regDevID      = 0x00 // reads 0xE5
	regBWRate     = 0x2C // D3:D0 rate code: 0xF is 3200 Hz, each one less halves it (Table 7)
	regPowerCtl   = 0x2D // D3 measure
	regIntEnable  = 0x2E
	regIntSource  = 0x30 // D0 overrun; set whether enabled or not
	regDataFormat = 0x31 // D3 full resolution, D1:D0 range
	regData       = 0x32 // to 0x37: x, y, z, low byte first
	regFIFOCtl    = 0x38 // D7:D6 mode, 10 is stream
	regFIFOStatus = 0x39 // D5:D0 entries

	devID       = 0xE5
	measure     = 0x08
	fullRes     = 0x08
	modeBypass  = 0x00
	modeStream  = 0x80
	overrun     = 0x01
	entriesMask = 0x3F

	depth = 32
	// maxEntries: 32 in the FIFO and one more in the output filter.
	maxEntries = 33
	// perG is the typical sensitivity in full resolution, whatever the range:
	// 256 LSB/g (Table 1).
	perG = 256
)

var rates = []float64{3200, 1600, 800, 400, 200, 100, 50, 25, 12.5, 6.25}

// maxI2CRateHz: at 400 kHz I²C carries 800 Hz at most ("I²C" section). A bus at
// 100 kHz, the usual default, carries 200 Hz.
const maxI2CRateHz = 800

// Model describes the chip. Defaults: 3200 Hz on SPI, 200 Hz on I²C, ±16 g.
// SPI is mode 3 at 5 MHz at most (p. 15); rates of 1600 Hz and up want 2 MHz
// at least. Addresses are those of the ALT ADDRESS pin low and high.
func Model() *chips.Model {
	return &chips.Model{
		Name: "adxl345", Buses: []chips.Bus{chips.SPI, chips.I2C}, Addresses: []uint16{0x53, 0x1D},
		IDs:     []chips.ID{{Register: regDevID, Want: []byte{devID}}},
		SPIMode: spi.Mode3, SPIClock: 5 * physic.MegaHertz, SPIMax: 5 * physic.MegaHertz,
		Uses: []string{"rate_hz", "range_g", "axis"}, Configure: configure,
	}
}

func configure(options []chips.Options) (chips.Driver, error) {
	def := 3200.0
	if options[0].Bus == chips.I2C {
		def = 200
	}
	a, err := chips.ConfigureAccel(options, rates, def, []float64{2, 4, 8, 16}, 16)
	err = errors.Join(err, chips.CheckBusRate(options[0].Bus, chips.I2C, a.RateHz, maxI2CRateHz))
	if o := options[0]; o.SpeedHz != 0 && o.SpeedHz < 2e6 && a.RateHz >= 1600 {
		err = errors.Join(err, fmt.Errorf("speed_hz: %d is too slow for rate_hz %v; use 2000000 or more", o.SpeedHz, a.RateHz))
	}
	if err != nil {
		return nil, err
	}
	return &driver{accel: a}, nil
}

type driver struct {
	accel chips.Accel
	regs  *chips.Registers
	buf   [maxEntries * 6]byte
}

func (d *driver) Plan() chips.Plan { return d.accel.Plan(depth) }

func (d *driver) Start(link conn.Conn) error {
	// SPI: bit 7 reads, bit 6 goes on to the next address (Figure 37 to 39).
	// I²C goes on by itself.
	d.regs = chips.NewRegisters(link, chips.Framing{SPIRead: 0x80, SPIMulti: 0x40, SPIWriteClear: 0xC0})
	if _, err := d.regs.Identify("adxl345", "DEVID", regDevID, devID); err != nil {
		return err
	}
	var code byte
	for i, r := range rates {
		if r == d.accel.RateHz {
			code = byte(0x0F - i)
		}
	}
	var rng byte // 0 is ±2 g, 3 is ±16 g
	for g := d.accel.RangeG; g > 2; g /= 2 {
		rng++
	}
	// Standby while it changes; bypass empties the FIFO.
	for _, w := range [][2]byte{
		{regPowerCtl, 0}, {regFIFOCtl, modeBypass}, {regIntEnable, 0}, {regBWRate, code},
		{regDataFormat, fullRes | rng}, {regFIFOCtl, modeStream | depth/2}, {regPowerCtl, measure},
	} {
		if err := d.regs.Write(w[0], w[1]); err != nil {
			return fmt.Errorf("set up adxl345: %w", err)
		}
	}
	var back [1]byte
	if err := d.regs.Read(regDataFormat, back[:]); err != nil {
		return fmt.Errorf("set up adxl345: %w", err)
	}
	if back[0] != fullRes|rng {
		return fmt.Errorf("set up adxl345: DATA_FORMAT is %#02x after writing %#02x; check the wiring and lower speed_hz", back[0], fullRes|rng)
	}
	return nil
}

func (d *driver) Read(b *chips.Batch) error {
	var source, status [1]byte
	if err := d.regs.Read(regIntSource, source[:]); err != nil {
		return fmt.Errorf("read adxl345: %w", err)
	}
	if err := d.regs.Read(regFIFOStatus, status[:]); err != nil {
		return fmt.Errorf("read adxl345: %w", err)
	}
	n := int(status[0] & entriesMask)
	if n > maxEntries {
		return fmt.Errorf("read adxl345: FIFO_STATUS says %d entries of %d; check wiring and power", n, maxEntries)
	}
	// With a FIFO the bit is set when it is full, so that samples were lost or
	// are about to be.
	b.Overrun = source[0]&overrun != 0
	if n == 0 {
		return nil
	}
	// A FIFO entry moves to the data registers once a transfer of all six bytes
	// ended, 5 µs before the next at least ("FIFO" section).
	raw := d.buf[:6*n]
	if err := d.regs.ReadEach(regData, raw, 6); err != nil {
		return fmt.Errorf("read adxl345: %w", err)
	}
	decode(b, d.accel, raw)
	return nil
}

// decode appends the samples in raw, six bytes each, to b.
func decode(b *chips.Batch, a chips.Accel, raw []byte) {
	full := int(a.RangeG) * perG
	for ; len(raw) >= 6; raw = raw[6:] {
		var c [3]int
		for i := range c {
			c[i] = int(int16(binary.LittleEndian.Uint16(raw[2*i:])))
		}
		// At 1600 Hz and up the lowest bit is always 0 (p. 32), so the largest
		// value is one less.
		a.Append(b, c, perG, -full, full-2)
	}
}
