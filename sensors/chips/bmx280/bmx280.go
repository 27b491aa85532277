// Package bmx280 drives the Bosch BMP280 (pressure and temperature) and BME280
// (relative humidity as well).
//
// Sources: data sheets BST-BMP280-DS001-23 and BST-BME280-DS002-15; memory maps in
// their sections 4.2 and 5.3; checked against Linux, drivers/iio/pressure/bmp280.h.
package bmx280

import (
	"errors"
	"fmt"
	"time"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/chips"
)

const (
	regTrimLow  = 0x88 // to 0xA1
	regID       = 0xD0
	regReset    = 0xE0
	regTrimHigh = 0xE1 // to 0xE7, BME280
	regCtrlHum  = 0xF2 // BME280; takes effect with the next write of ctrl_meas
	regStatus   = 0xF3 // bit 0: copying the trim values
	regCtrlMeas = 0xF4 // 7:5 temperature, 4:2 pressure oversampling, 1:0 mode
	regConfig   = 0xF5 // 7:5 standby, 4:2 filter, 0 three-wire SPI

	idBMP280, idBME280 = 0x58, 0x60
	resetCode          = 0xB6
	startUp            = 2 * time.Millisecond // after a reset

	// Temperature ×2, pressure ×16, humidity ×1, normal mode with 62.5 ms of
	// standby: a fresh value every 0.1 s.
	ctrlHum  = 0x01
	ctrlMeas = 2<<5 | 5<<2 | 3
	config   = 1 << 5

	skipped         = 0x80000 // what a value that was not measured reads, 20 bits
	skippedHumidity = 0x8000
)

var outputs = []chips.Output{
	{Name: "temperature", Quantity: sensors.Temperature},
	{Name: "pressure", Quantity: sensors.Pressure},
	{Name: "humidity", Quantity: sensors.Dimensionless}, // 0 to 1
}

// BMP280 describes the chip without humidity. SPI is mode 0 or 3, 10 MHz at most.
// Addresses are those of the SDO pin low and high.
func BMP280() *chips.Model { return model("bmp280", idBMP280, outputs[:2]) }

// BME280 describes the chip with humidity, a fraction of 1.
func BME280() *chips.Model { return model("bme280", idBME280, outputs) }

func model(name string, id byte, outputs []chips.Output) *chips.Model {
	return &chips.Model{
		Name: name, Buses: []chips.Bus{chips.I2C, chips.SPI}, Addresses: []uint16{0x76, 0x77},
		IDs:     []chips.ID{{Register: regID, Want: []byte{id}}},
		SPIMode: spi.Mode0, SPIClock: physic.MegaHertz, SPIMax: 10 * physic.MegaHertz,
		Uses: []string{"measure", "every"},
		Configure: func(options []chips.Options) (chips.Driver, error) {
			which, plan, err := chips.ConfigureScalar(options, outputs)
			if err != nil {
				return nil, err
			}
			return &driver{name: name, id: id, which: which, plan: plan}, nil
		},
	}
}

type driver struct {
	name  string
	id    byte
	which []int
	plan  chips.Plan

	regs    *chips.Registers
	trim    trim
	waiting int // reads in a row that found nothing measured yet
}

func (d *driver) Plan() chips.Plan { return d.plan }

func (d *driver) Start(link conn.Conn) error {
	// SPI: bit 7 is 1 to read, 0 to write.
	d.regs = chips.NewRegisters(link, chips.Framing{SPIRead: 0x80, SPIWriteClear: 0x80})
	if _, err := d.regs.Identify(d.name, "id", regID, d.id); err != nil {
		var wrong *chips.WrongChipError
		if errors.As(err, &wrong) && (wrong.Got[0] == idBMP280 || wrong.Got[0] == idBME280) {
			return fmt.Errorf("%w; it is the other of bmp280 and bme280", err)
		}
		return err
	}
	err := d.regs.Write(regReset, resetCode)
	if err == nil {
		time.Sleep(startUp)
		err = d.readTrim()
	}
	for _, w := range [][2]byte{{regConfig, config}, {regCtrlHum, ctrlHum}, {regCtrlMeas, ctrlMeas}} {
		if err == nil && (w[0] != regCtrlHum || d.id == idBME280) {
			err = d.regs.Write(w[0], w[1])
		}
	}
	if err != nil {
		return fmt.Errorf("set up %s: %w", d.name, err)
	}
	d.waiting = 0
	return nil
}

func (d *driver) readTrim() error {
	var status [1]byte
	for tries := 0; ; tries++ {
		if err := d.regs.Read(regStatus, status[:]); err != nil {
			return err
		}
		if status[0]&0x01 == 0 {
			break
		}
		if tries == 10 {
			return errors.New("status says for 20 ms that it copies its calibration; check power")
		}
		time.Sleep(startUp)
	}
	var low [26]byte
	var high *[7]byte
	if err := d.regs.Read(regTrimLow, low[:]); err != nil {
		return err
	}
	if d.id == idBME280 {
		high = new([7]byte)
		if err := d.regs.Read(regTrimHigh, high[:]); err != nil {
			return err
		}
	}
	d.trim = parseTrim(&low, high)
	if d.trim.t1 == 0 || d.trim.p1 == 0 {
		return errors.New("calibration is zero; check wiring and power")
	}
	return nil
}

func (d *driver) Read(b *chips.Batch) error {
	// One burst, so that pressure and temperature belong together (section 3.9),
	// from status on, to see a chip that has forgotten its settings.
	var raw [12]byte
	n := 10
	if d.id == idBME280 {
		n = 12
	}
	if err := d.regs.Read(regStatus, raw[:n]); err != nil {
		return fmt.Errorf("read %s: %w", d.name, err)
	}
	if raw[1] != ctrlMeas {
		return fmt.Errorf("read %s: ctrl_meas is %#02x, not %#02x: it lost power, or is not there", d.name, raw[1], ctrlMeas)
	}
	if !d.decode(b, raw[4:n]) {
		if d.waiting++; d.waiting > 20 {
			return fmt.Errorf("read %s: nothing was measured since it was set up", d.name)
		}
		b.Again = 20 * time.Millisecond
		return nil
	}
	d.waiting = 0
	return nil
}

// decode turns the registers from 0xF7 on into values, and returns false if
// nothing was measured yet.
func (d *driver) decode(b *chips.Batch, raw []byte) bool {
	bits20 := func(r []byte) int32 { return int32(r[0])<<12 | int32(r[1])<<4 | int32(r[2])>>4 }
	rawP, rawT := bits20(raw), bits20(raw[3:])
	if rawP == skipped || rawT == skipped {
		return false
	}
	degC, fine := d.trim.temperature(rawT)
	for i, w := range d.which {
		v, low, high, unit := degC, -40.0, 85.0, "°C"
		switch outputs[w].Name {
		case "pressure":
			pa, ok := d.trim.pressure(rawP, fine)
			v, low, high, unit = pa, 30000, 110000, "Pa"
			if !ok {
				v = -1
			}
		case "humidity":
			rawH := int32(raw[6])<<8 | int32(raw[7])
			if rawH == skippedHumidity {
				return false
			}
			v, low, high, unit = d.trim.humidity(rawH, fine)/100, 0, 1, "of saturation"
		}
		// Outside of what it is made for (Table 1) a value is a sign of damage;
		// a tenth more is allowed for.
		if margin := (high - low) / 10; !(v >= low-margin && v <= high+margin) {
			b.Faults[i] = fmt.Errorf("%s %.6g %s is beyond what a %s measures, %g to %g; check chip and wiring", outputs[w].Name, v, unit, d.name, low, high)
			continue
		}
		b.Values[i] = append(b.Values[i], v)
	}
	return true
}
