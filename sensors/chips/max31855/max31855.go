// Package max31855 drives the Maxim MAX31855, a converter for one thermocouple on
// SPI. The type of the thermocouple is the chip's (suffix K, J, N, T, S, R or E).
//
// Source: data sheet MAX31855, 19-5793.
package max31855

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/chips"
)

// Bits of the only word there is, Tables 2 and 3 (p. 10).
const (
	bitOpen     = 1 << 0
	bitGround   = 1 << 1
	bitSupply   = 1 << 2
	bitFault    = 1 << 16
	bitReserved = 1<<3 | 1<<17 // always 0
)

// conversion is how long a measurement takes at most; reading starts none.
const conversion = 100 * time.Millisecond

var outputs = []chips.Output{
	{Name: "temperature", Quantity: sensors.Temperature}, // of the thermocouple
	{Name: "reference", Quantity: sensors.Temperature},   // of the chip, the cold junction
}

// Model describes the chip. SPI is mode 0, 5 MHz at most.
func Model() *chips.Model {
	return &chips.Model{
		Name: "max31855", Buses: []chips.Bus{chips.SPI},
		SPIMode: spi.Mode0, SPIClock: physic.MegaHertz, SPIMax: 5 * physic.MegaHertz,
		Uses: []string{"measure", "every"},
		Configure: func(options []chips.Options) (chips.Driver, error) {
			which, plan, err := chips.ConfigureScalar(options, outputs)
			if plan.Every < conversion {
				err = errors.Join(err, fmt.Errorf("every: %v is too short for max31855, which takes 100ms", plan.Every))
			}
			if err != nil {
				return nil, err
			}
			return &driver{which: which, plan: plan}, nil
		},
	}
}

type driver struct {
	which []int
	plan  chips.Plan
	link  conn.Conn
}

func (d *driver) Plan() chips.Plan { return d.plan }

// Start checks what can be: the chip has no identity, but two bits are always 0.
func (d *driver) Start(link conn.Conn) error {
	d.link = link
	_, err := d.word()
	return err
}

func (d *driver) word() (uint32, error) {
	var w, r [4]byte
	if err := d.link.Tx(w[:], r[:]); err != nil {
		return 0, fmt.Errorf("read max31855: %w", err)
	}
	word := binary.BigEndian.Uint32(r[:])
	if word&bitReserved != 0 {
		var want [4]byte
		binary.BigEndian.PutUint32(want[:], word&^bitReserved)
		return 0, &chips.WrongChipError{Chip: "max31855", Register: "its word, with bits 3 and 17 always zero,", Got: r[:], Want: want[:]}
	}
	return word, nil
}

func (d *driver) Read(b *chips.Batch) error {
	word, err := d.word()
	if err != nil {
		return err
	}
	for i, w := range d.which {
		degC, err := decode(word, w == 1)
		if b.Faults[i] = err; err == nil {
			b.Values[i] = append(b.Values[i], degC)
		}
	}
	return nil
}

// decode returns a temperature in °C (Tables 4 and 5), or why there is none. A
// fault concerns the thermocouple only.
func decode(word uint32, reference bool) (float64, error) {
	if word == 0 {
		return 0, errors.New("max31855 reads all zero: both junctions at 0.00 °C is unlikely, a line held low is not; check wiring")
	}
	if reference {
		return float64(int16(word)>>4) / 16, nil
	}
	switch {
	case word&bitOpen != 0:
		return 0, errors.New("thermocouple is open: check its wires and terminals")
	case word&bitGround != 0:
		return 0, errors.New("thermocouple is shorted to ground: check its insulation")
	case word&bitSupply != 0:
		return 0, errors.New("thermocouple is shorted to the supply: check its insulation")
	case word&bitFault != 0:
		return 0, errors.New("max31855 reports a fault but not which; check wiring")
	}
	return float64(int32(word)>>18) / 4, nil
}
