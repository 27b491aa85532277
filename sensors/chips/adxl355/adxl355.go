// Package adxl355 drives the Analog Devices ADXL355, a low-noise three-axis
// accelerometer of ±2 to ±8 g with 20 bits at up to 4 kHz and a FIFO of 96 values.
//
// Source: data sheet ADXL354/ADXL355, "Register Map" and "Register Definitions"; checked
// against Linux, drivers/iio/accel/adxl355_core.c.
package adxl355

import (
	"errors"
	"fmt"
	"time"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"github.com/millwright-iot/millwright/sensors/chips"
)

const (
	regDevIDAD     = 0x00 // 0xAD, Analog Devices
	regDevIDMST    = 0x01 // 0x1D, MEMS
	regPartID      = 0x02 // 0xED (355 in octal)
	regStatus      = 0x04 // bit 2 FIFO_OVR
	regFIFOEntries = 0x05 // values, three a sample; 96 at most
	regFIFOData    = 0x11 // stays at this address; three bytes a value, high byte first
	regFilter      = 0x28 // 3:0 rate code: 0 is 4000 Hz, each one more halves it
	regRange       = 0x2C // 1:0 range: 1 is ±2 g, 2 ±4 g, 3 ±8 g; bit 7 is set after reset
	regPowerCtl    = 0x2D // bit 0 standby
	regReset       = 0x2F // 0x52 resets

	idAD, idMST, idPart = 0xAD, 0x1D, 0xED
	resetCode           = 0x52
	resetWait           = 5 * time.Millisecond
	standby             = 0x01
	fifoOverrun         = 0x04

	depth      = 32 // samples of three values
	maxEntries = 3 * depth

	// In the third byte of a value: bits 7:4 are the lowest of its 20, bit 1 says
	// that the FIFO was empty, bit 0 that it is an x, the first of a sample.
	empty, isX = 0x02, 0x01
)

// per2G is the typical sensitivity at ±2 g: 256000 LSB/g.
const per2G = 256000

var rates = []float64{4000, 2000, 1000, 500, 250, 125, 62.5, 31.25, 15.625, 7.8125, 3.90625}

// maxI2CRateHz keeps a 400 kHz bus under half its capacity.
const maxI2CRateHz = 1000

// Model describes the chip. Defaults: 4000 Hz on SPI, 500 Hz on I²C, ±8 g. SPI is
// mode 0, 10 MHz at most. Addresses are those of the ASEL pin low and high.
func Model() *chips.Model {
	return &chips.Model{
		Name: "adxl355", Buses: []chips.Bus{chips.SPI, chips.I2C}, Addresses: []uint16{0x1D, 0x53},
		IDs:     []chips.ID{{Register: regDevIDAD, Want: []byte{idAD, idMST, idPart}}},
		SPIMode: spi.Mode0, SPIClock: 5 * physic.MegaHertz, SPIMax: 10 * physic.MegaHertz,
		Uses: []string{"rate_hz", "range_g", "axis"}, Configure: configure,
	}
}

func configure(options []chips.Options) (chips.Driver, error) {
	def := 4000.0
	if options[0].Bus == chips.I2C {
		def = 500
	}
	a, err := chips.ConfigureAccel(options, rates, def, []float64{2, 4, 8}, 8)
	err = errors.Join(err, chips.CheckBusRate(options[0].Bus, chips.I2C, a.RateHz, maxI2CRateHz))
	if err != nil {
		return nil, err
	}
	return &driver{accel: a}, nil
}

type driver struct {
	accel chips.Accel
	regs  *chips.Registers
	buf   [maxEntries * 3]byte
}

func (d *driver) Plan() chips.Plan { return d.accel.Plan(depth) }

func (d *driver) Start(link conn.Conn) error {
	// On SPI the address is in bits 7:1, bit 0 reads.
	d.regs = chips.NewRegisters(link, chips.Framing{SPIShift: 1, SPIRead: 0x01})
	for _, id := range []struct {
		name      string
		reg, want byte
	}{{"DEVID_AD", regDevIDAD, idAD}, {"DEVID_MST", regDevIDMST, idMST}, {"PARTID", regPartID, idPart}} {
		if _, err := d.regs.Identify("adxl355", id.name, id.reg, id.want); err != nil {
			return err
		}
	}
	if err := d.regs.Write(regReset, resetCode); err != nil {
		return fmt.Errorf("reset adxl355: %w", err)
	}
	time.Sleep(resetWait)
	var code, rng byte = 0, 1
	for i, r := range rates {
		if r == d.accel.RateHz {
			code = byte(i)
		}
	}
	for g := d.accel.RangeG; g > 2; g /= 2 {
		rng++
	}
	// Filter and range only change in standby; leaving it starts with an empty FIFO.
	for _, w := range [][2]byte{{regPowerCtl, standby}, {regFilter, code}, {regRange, 0x80 | rng}, {regPowerCtl, 0}} {
		if err := d.regs.Write(w[0], w[1]); err != nil {
			return fmt.Errorf("set up adxl355: %w", err)
		}
	}
	var back [1]byte
	if err := d.regs.Read(regFilter, back[:]); err != nil {
		return fmt.Errorf("set up adxl355: %w", err)
	}
	if back[0] != code {
		return fmt.Errorf("set up adxl355: FILTER is %#02x after writing %#02x; check the wiring and lower speed_hz", back[0], code)
	}
	return nil
}

func (d *driver) Read(b *chips.Batch) error {
	var head [2]byte // STATUS, whose reading clears it, and FIFO_ENTRIES
	if err := d.regs.Read(regStatus, head[:]); err != nil {
		return fmt.Errorf("read adxl355: %w", err)
	}
	n := int(head[1])
	if n > maxEntries {
		return fmt.Errorf("read adxl355: FIFO_ENTRIES says %d values of %d; check wiring and power", n, maxEntries)
	}
	b.Overrun = head[0]&fifoOverrun != 0
	n -= n % 3 // a sample may be half written
	if n == 0 {
		return nil
	}
	raw := d.buf[:3*n]
	if err := d.regs.Read(regFIFOData, raw); err != nil {
		return fmt.Errorf("read adxl355: %w", err)
	}
	if skipped := decode(b, d.accel, raw); skipped > 0 {
		b.Overrun = true
	}
	return nil
}

// decode appends the samples in raw, nine bytes each, to b and returns how many
// values belonged to no whole sample: an overrun can cut the oldest one.
func decode(b *chips.Batch, a chips.Accel, raw []byte) (skipped int) {
	perG := float64(per2G) / (a.RangeG / 2)
	const limit = 1 << 19
	for len(raw) >= 3 {
		if raw[2]&empty != 0 {
			return skipped
		}
		if raw[2]&isX == 0 || len(raw) < 9 || raw[5]&(isX|empty) != 0 || raw[8]&(isX|empty) != 0 {
			skipped++
			raw = raw[3:]
			continue
		}
		var c [3]int
		for i := range c {
			v := raw[3*i:]
			c[i] = int(int32(uint32(v[0])<<24|uint32(v[1])<<16|uint32(v[2])<<8) >> 12)
		}
		a.Append(b, c, perG, -limit, limit-1)
		raw = raw[9:]
	}
	return skipped
}
