// Package ds18b20 drives the Maxim DS18B20, a thermometer on 1-Wire.
//
// Source: data sheet DS18B20, 19-7487 Rev 6.
package ds18b20

import (
	"errors"
	"fmt"
	"time"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/onewire"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/chips"
)

// FamilyCode is the lowest byte of the address of every DS18B20.
const FamilyCode = 0x28

const (
	cmdConvert        = 0x44
	cmdReadScratchpad = 0xBE

	// convert12 is the longest conversion, at 12 bits; each bit less halves it
	// (Table 2).
	convert12 = 750 * time.Millisecond

	powerOn = 0x0550 // 85 °C: what the register holds before the first conversion
	// reservedAtPowerOn is byte 6 of the scratchpad before the first conversion.
	// Afterwards it is 16 less the low four bits of the temperature, so never this
	// at 85 °C. The data sheet calls it reserved; every capture of the kernel's
	// w1_slave that shows 85 °C after power-on has it.
	reservedAtPowerOn = 0x0C
)

// Model describes the chip. Device names it by family code and serial number, as
// the kernel does: 28-0316a2794bff.
func Model() *chips.Model {
	return &chips.Model{
		Name: "ds18b20", Buses: []chips.Bus{chips.OneWire}, Uses: []string{"measure", "every"},
		Configure: func(options []chips.Options) (chips.Driver, error) {
			_, plan, err := chips.ConfigureScalar(options, []chips.Output{{Name: "temperature", Quantity: sensors.Temperature}})
			if plan.Every < time.Second {
				err = errors.Join(err, fmt.Errorf("every: %v is too short for ds18b20, which takes 750ms; 1s is the least", plan.Every))
			}
			if err != nil {
				return nil, err
			}
			return &driver{plan: plan}, nil
		},
	}
}

type driver struct {
	plan       chips.Plan
	link       conn.Conn
	conversion time.Duration
	converting bool
}

func (d *driver) Plan() chips.Plan { return d.plan }

func (d *driver) Start(link conn.Conn) error {
	d.link, d.converting = link, false
	pad, err := d.scratchpad()
	if err != nil {
		return fmt.Errorf("identify ds18b20: %w", err)
	}
	// Bits 6:5 of the configuration are the resolution, 9 to 12 bits (Table 2).
	d.conversion = convert12 >> (3 - pad[4]>>5&3)
	return nil
}

// Read starts a conversion, asks to be called when it is done, and then gets the
// value: the bus is free in between.
func (d *driver) Read(b *chips.Batch) error {
	if !d.converting {
		if err := d.link.Tx([]byte{cmdConvert}, nil); err != nil {
			return fmt.Errorf("start a conversion of ds18b20: %w", err)
		}
		d.converting, b.Again = true, d.conversion
		return nil
	}
	d.converting = false
	pad, err := d.scratchpad()
	if err != nil {
		return fmt.Errorf("read ds18b20: %w", err)
	}
	b.Again = d.plan.Every - d.conversion
	degC, err := decode(pad)
	for i := range b.Values {
		if b.Faults[i] = err; err == nil {
			b.Values[i] = append(b.Values[i], degC)
		}
	}
	return nil
}

func (d *driver) scratchpad() ([9]byte, error) {
	var pad [9]byte
	if err := d.link.Tx([]byte{cmdReadScratchpad}, pad[:]); err != nil {
		return pad, err
	}
	if pad == [9]byte{} { // its checksum is right, but bits of the configuration are always 1
		return pad, errors.New("scratchpad is all zero: the data line is held low; check wiring")
	}
	if got := onewire.CalcCRC(pad[:8]); got != pad[8] {
		hint := "check wiring, pull-up and length of the cable"
		if pad == [9]byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF} {
			hint = "nothing answers: check wiring and address"
		}
		return pad, fmt.Errorf("checksum of scratchpad % x is %#02x; %s", pad, got, hint)
	}
	return pad, nil
}

// decode returns the temperature in °C (Table 1), or why it is none.
func decode(pad [9]byte) (float64, error) {
	raw := int16(uint16(pad[1])<<8 | uint16(pad[0]))
	raw &= ^int16(0) << (3 - pad[4]>>5&3) // bits below the resolution are undefined
	if raw == powerOn && pad[6] == reservedAtPowerOn {
		return 0, errors.New("ds18b20 shows its power-on value: it lost power during the conversion; check supply and wiring")
	}
	degC := float64(raw) / 16
	if degC < -60 || degC > 130 { // made for −55 to 125 °C
		return 0, fmt.Errorf("temperature %v °C is beyond what a ds18b20 measures, -55 to 125; check chip and wiring", degC)
	}
	return degC, nil
}
