// Package mcp9808 drives the Microchip MCP9808, a thermometer of ±0.25 °C on I²C.
//
// Source: data sheet DS25095A.
package mcp9808

import (
	"fmt"

	"periph.io/x/conn/v3"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/chips"
)

// Registers have 16 bits, high byte first, except resolution.
const (
	regConfig       = 0x01 // bit 8 shuts down (p. 18)
	regAmbient      = 0x05 // p. 24: bits 15:13 alerts, 12 sign, 11:0 in 1/16 °C
	regManufacturer = 0x06 // 0x0054 (p. 27)
	regDevice       = 0x07 // high byte 0x04, low byte revision (p. 28)
	regResolution   = 0x08 // 3 is 0.0625 °C, in 250 ms (p. 29)

	resolution = 3
)

// Model describes the chip. Addresses are those of the pins A2 to A0.
func Model() *chips.Model {
	return &chips.Model{
		Name: "mcp9808", Buses: []chips.Bus{chips.I2C},
		Addresses: []uint16{0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F},
		IDs:       []chips.ID{{Register: regManufacturer, Want: []byte{0x00, 0x54}}, {Register: regDevice, Want: []byte{0x04}}},
		Uses:      []string{"measure", "every"},
		Configure: func(options []chips.Options) (chips.Driver, error) {
			_, plan, err := chips.ConfigureScalar(options, []chips.Output{{Name: "temperature", Quantity: sensors.Temperature}})
			if err != nil {
				return nil, err
			}
			return &driver{plan: plan}, nil
		},
	}
}

type driver struct {
	plan chips.Plan
	link conn.Conn
}

func (d *driver) Plan() chips.Plan { return d.plan }

func (d *driver) Start(link conn.Conn) error {
	d.link = link
	for _, id := range []struct {
		name  string
		reg   byte
		want  []byte
		check int // bytes that count
	}{{"manufacturer ID", regManufacturer, []byte{0x00, 0x54}, 2}, {"device ID", regDevice, []byte{0x04}, 1}} {
		var got [2]byte
		if err := link.Tx([]byte{id.reg}, got[:]); err != nil {
			return fmt.Errorf("identify mcp9808: %w", err)
		}
		if string(got[:id.check]) != string(id.want) {
			return &chips.WrongChipError{Chip: "mcp9808", Register: id.name, Got: got[:id.check], Want: id.want}
		}
	}
	for _, w := range [][]byte{{regResolution, resolution}, {regConfig, 0, 0}} {
		if err := link.Tx(w, nil); err != nil {
			return fmt.Errorf("set up mcp9808: %w", err)
		}
	}
	return nil
}

func (d *driver) Read(b *chips.Batch) error {
	var raw [2]byte
	if err := d.link.Tx([]byte{regAmbient}, raw[:]); err != nil {
		return fmt.Errorf("read mcp9808: %w", err)
	}
	degC := decode(raw)
	for i := range b.Values {
		if degC < -50 || degC > 135 { // made for −40 to 125 °C
			b.Faults[i] = fmt.Errorf("temperature %v °C is beyond what an mcp9808 measures, -40 to 125; check chip and wiring", degC)
			continue
		}
		b.Values[i] = append(b.Values[i], degC)
	}
	return nil
}

// decode turns register T_A into °C: two's complement of 13 bits, in 1/16 °C. Its
// three highest bits are alerts (Equation 5-1, p. 25).
func decode(raw [2]byte) float64 {
	return float64(int16(uint16(raw[0])<<11|uint16(raw[1])<<3)>>3) / 16
}
