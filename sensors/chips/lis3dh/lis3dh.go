// Package lis3dh drives the STMicroelectronics LIS3DH, a three-axis accelerometer of
// ±2 to ±16 g at up to 1.344 kHz in high resolution, with a FIFO of 32 samples.
//
// Source: data sheet LIS3DH, DocID17530 Rev 2, chapters 7 (register mapping) and 8.
package lis3dh

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"github.com/millwright-iot/millwright/sensors/chips"
)

const (
	regWhoAmI   = 0x0F // reads 0x33
	regCtrl1    = 0x20 // 7:4 rate code, 3 low power, 2:0 axes on
	regCtrl4    = 0x23 // 7 block update, 5:4 range, 3 high resolution
	regCtrl5    = 0x24 // 6 FIFO on
	regOut      = 0x28 // to 0x2D: x, y, z, low byte first; rolls back to 0x28 with a FIFO
	regFIFOCtrl = 0x2E // 7:6 mode: 00 bypass, 10 stream
	regFIFOSrc  = 0x2F // 6 overrun, 5 empty, 4:0 samples (p. 22)

	whoAmI      = 0x33
	axesOn      = 0x07
	blockUpdate = 0x80
	highRes     = 0x08
	fifoOn      = 0x40
	modeBypass  = 0x00
	modeStream  = 0x80
	overrun     = 0x40
	emptyBit    = 0x20
	countMask   = 0x1F

	depth = 32
)

// rateCodes are CTRL_REG1's, for high resolution.
var rates = []float64{1, 10, 25, 50, 100, 200, 400, 1344}
var rateCodes = []byte{1, 2, 3, 4, 5, 6, 7, 9}

// milliG is the sensitivity in mg a digit in high resolution, for ±2, ±4, ±8 and
// ±16 g: the last is not twice the one before (Table 4).
var ranges = []float64{2, 4, 8, 16}
var milliG = []float64{1, 2, 4, 12}

// maxI2CRateHz keeps a 400 kHz bus under half its capacity.
const maxI2CRateHz = 1344

// Model describes the chip. Defaults: 400 Hz, ±16 g. SPI is mode 3, 10 MHz at
// most. Addresses are those of the SA0 pin low and high.
func Model() *chips.Model {
	return &chips.Model{
		Name: "lis3dh", Buses: []chips.Bus{chips.SPI, chips.I2C}, Addresses: []uint16{0x18, 0x19},
		IDs:     []chips.ID{{Register: regWhoAmI, Want: []byte{whoAmI}}},
		SPIMode: spi.Mode3, SPIClock: 5 * physic.MegaHertz, SPIMax: 10 * physic.MegaHertz,
		Uses: []string{"rate_hz", "range_g", "axis"}, Configure: configure,
	}
}

func configure(options []chips.Options) (chips.Driver, error) {
	a, err := chips.ConfigureAccel(options, rates, 400, ranges, 16)
	err = errors.Join(err, chips.CheckBusRate(options[0].Bus, chips.I2C, a.RateHz, maxI2CRateHz))
	if err != nil {
		return nil, err
	}
	return &driver{accel: a}, nil
}

type driver struct {
	accel chips.Accel
	regs  *chips.Registers
	buf   [depth * 6]byte
}

func (d *driver) Plan() chips.Plan { return d.accel.Plan(depth) }

func (d *driver) Start(link conn.Conn) error {
	// SPI: bit 7 reads, bit 6 goes on to the next address. I²C: bit 7 goes on.
	d.regs = chips.NewRegisters(link, chips.Framing{SPIRead: 0x80, SPIMulti: 0x40, SPIWriteClear: 0xC0, I2CMulti: 0x80})
	if _, err := d.regs.Identify("lis3dh", "WHO_AM_I", regWhoAmI, whoAmI); err != nil {
		return err
	}
	var code, rng byte
	for i, r := range rates {
		if r == d.accel.RateHz {
			code = rateCodes[i] << 4
		}
	}
	for i, g := range ranges {
		if g == d.accel.RangeG {
			rng = byte(i) << 4
		}
	}
	// Power-down while it changes; bypass empties the FIFO (p. 22).
	for _, w := range [][2]byte{
		{regCtrl1, 0}, {regFIFOCtrl, modeBypass}, {regCtrl4, blockUpdate | rng | highRes}, {regCtrl5, fifoOn},
		{regFIFOCtrl, modeStream | depth/2}, {regCtrl1, code | axesOn},
	} {
		if err := d.regs.Write(w[0], w[1]); err != nil {
			return fmt.Errorf("set up lis3dh: %w", err)
		}
	}
	var back [1]byte
	if err := d.regs.Read(regCtrl4, back[:]); err != nil {
		return fmt.Errorf("set up lis3dh: %w", err)
	}
	if want := blockUpdate | rng | highRes; back[0] != want {
		return fmt.Errorf("set up lis3dh: CTRL_REG4 is %#02x after writing %#02x; check the wiring and lower speed_hz", back[0], want)
	}
	return nil
}

func (d *driver) Read(b *chips.Batch) error {
	var src [1]byte
	if err := d.regs.Read(regFIFOSrc, src[:]); err != nil {
		return fmt.Errorf("read lis3dh: %w", err)
	}
	n := int(src[0] & countMask)
	if src[0]&overrun != 0 {
		n, b.Overrun = depth, true // five bits cannot say 32
	} else if src[0]&emptyBit != 0 {
		n = 0
	}
	if n == 0 {
		return nil
	}
	raw := d.buf[:6*n]
	if err := d.regs.Read(regOut, raw); err != nil {
		return fmt.Errorf("read lis3dh: %w", err)
	}
	decode(b, d.accel, raw)
	return nil
}

// decode appends the samples in raw, six bytes each, to b. Values are of 12 bits,
// left-justified.
func decode(b *chips.Batch, a chips.Accel, raw []byte) {
	var perG float64
	for i, g := range ranges {
		if g == a.RangeG {
			perG = 1000 / milliG[i]
		}
	}
	full := int(math.Ceil(a.RangeG * perG)) // less than 12 bits can say
	for ; len(raw) >= 6; raw = raw[6:] {
		var c [3]int
		for i := range c {
			c[i] = int(int16(binary.LittleEndian.Uint16(raw[2*i:])) >> 4)
		}
		a.Append(b, c, perG, -full, full)
	}
}
