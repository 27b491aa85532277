package bmx280

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"testing"

	"periph.io/x/conn/v3/conntest"
	"periph.io/x/conn/v3/i2c/i2ctest"

	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/chips/chiptest"
)

// calibration is the worked example of the BMP280 data sheet (section 3.12).
func calibration() []byte {
	var b []byte
	for _, v := range []int{27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000} {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	return append(b, 0, 75) // 0xA1 is dig_H1
}

// humidityTrim is 0xE1 to 0xE7 for H2 362, H3 0, H4 321, H5 50, H6 30.
var humidityTrim = []byte{0x6A, 0x01, 0x00, 321 >> 4, 321&0xF | 50&0xF<<4, 50 >> 4, 30}

// raw is registers 0xF3 to 0xFA or 0xFE: UT 519888 and UP 415148 of the example.
func raw(ctrl byte, p, t uint32, humidity ...byte) []byte {
	b := []byte{0x00, ctrl, 0x20, 0, byte(p >> 12), byte(p >> 4), byte(p << 4), byte(t >> 12), byte(t >> 4), byte(t << 4)}
	return append(b, humidity...)
}

func start280() []i2ctest.IO {
	return []i2ctest.IO{
		{W: []byte{0xD0}, R: []byte{0x58}},
		{W: []byte{0xE0, 0xB6}},
		{W: []byte{0xF3}, R: []byte{0x01}}, // copying the calibration
		{W: []byte{0xF3}, R: []byte{0x00}},
		{W: []byte{0x88}, R: calibration()},
		{W: []byte{0xF5, 0x20}},
		{W: []byte{0xF4, 0x57}},
	}
}

func TestBMP280_DatasheetExample(t *testing.T) {
	d := chiptest.Driver(t, BMP280(), chips.Options{Wiring: chips.Wiring{Measure: "pressure"}}, chips.Options{Wiring: chips.Wiring{Measure: "temperature"}})
	chiptest.Start(t, d, chiptest.I2C(t, 0x76, slices.Concat(start280(), []i2ctest.IO{
		{W: []byte{0xF3}, R: raw(0x57, 0x80000, 0x80000)}, // nothing measured yet
		{W: []byte{0xF3}, R: raw(0x57, 415148, 519888)},
		{W: []byte{0xF3}, R: raw(0x57, 0, 519888)},
		{W: []byte{0xF3}, R: raw(0x00, 415148, 519888)}, // after a loss of power
	})...))
	if b := chiptest.Read(t, d); len(b.Values[0]) != 0 || b.Faults[0] != nil || b.Again == 0 {
		t.Errorf("before the first measurement: %+v; want nothing, to be asked again", b)
	}
	b := chiptest.Read(t, d)
	// The data sheet's integer formulas of section 3.11.3, run in Python: 25.08 °C,
	// 100653.2539 Pa. Those in double precision differ in the last digits.
	if p, c := b.Values[0][0], b.Values[1][0]; math.Abs(p-100653.2539) > 0.01 || math.Abs(c-25.08) > 0.005 {
		t.Errorf("%v Pa, %v °C; want 100653.25, 25.08", p, c)
	}
	if b := chiptest.Read(t, d); b.Faults[0] == nil || b.Faults[1] != nil || !strings.Contains(b.Faults[0].Error(), "beyond what a bmp280 measures") {
		t.Errorf("a pressure far beyond: %v, %v", b.Faults, b.Values)
	}
	if err := d.Read(chiptest.Batch(d)); err == nil || !strings.Contains(err.Error(), "lost power") {
		t.Errorf("a chip that forgot its settings: %v", err)
	}
}

func TestBME280_Humidity(t *testing.T) {
	d := chiptest.Driver(t, BME280(), chips.Options{Wiring: chips.Wiring{Bus: chips.SPI, Measure: "humidity"}})
	spiRead := func(reg byte, r []byte) conntest.IO {
		return conntest.IO{W: append([]byte{reg | 0x80}, make([]byte, len(r))...), R: append([]byte{0}, r...)}
	}
	chiptest.Start(t, d, chiptest.SPI(t,
		spiRead(0xD0, []byte{0x60}),
		conntest.IO{W: []byte{0x60, 0xB6}}, // 0xE0 with bit 7 clear writes
		spiRead(0xF3, []byte{0}), spiRead(0x88, calibration()), spiRead(0xE1, humidityTrim),
		conntest.IO{W: []byte{0x75, 0x20}}, conntest.IO{W: []byte{0x72, 0x01}}, conntest.IO{W: []byte{0x74, 0x57}},
		spiRead(0xF3, raw(0x57, 415148, 519888, 0x6A, 0x3B)),
	))
	// The integer formula of BME280 section 4.2.3, run in Python for t_fine 128422:
	// 36.5049 %.
	if b := chiptest.Read(t, d); math.Abs(b.Values[0][0]-0.365049) > 2e-5 {
		t.Errorf("humidity %v; want 0.36505", b.Values[0])
	}
}

func TestTrim_SignedHumidity(t *testing.T) {
	low, high := [26]byte(calibration()), [7]byte{0x6A, 0x01, 0x00, 321 >> 4, 321&0xF | 0xE0, 0xFC, 0xE2}
	c := parseTrim(&low, &high)
	if c.h1 != 75 || c.h2 != 362 || c.h4 != 321 || c.h5 != -50 || c.h6 != -30 || c.p9 != 6000 || c.p2 != -10685 {
		t.Errorf("trim is %+v", c)
	}
	// As above, for t_fine 100000: 36.5508 %.
	if h := c.humidity(0x6A3B, 100000); math.Abs(h-36.5508) > 0.003 {
		t.Errorf("humidity %v %%; want 36.5508", h)
	}
}

func TestStart_Errors(t *testing.T) {
	d := chiptest.Driver(t, BMP280(), chips.Options{})
	for _, c := range []struct {
		id   byte
		want string
	}{{0x60, "other of bmp280 and bme280"}, {0x55, "id is 0x55, not 0x58"}} {
		if err := d.Start(chiptest.I2C(t, 0x76, i2ctest.IO{W: []byte{0xD0}, R: []byte{c.id}})); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("id %#x: %v", c.id, err)
		}
	}
	ops := start280()[:5]
	ops[4].R = make([]byte, 26)
	if err := d.Start(chiptest.I2C(t, 0x76, ops...)); err == nil || !strings.Contains(err.Error(), "calibration is zero") {
		t.Errorf("empty calibration: %v", err)
	}
	if _, err := BMP280().Configure([]chips.Options{{Wiring: chips.Wiring{Measure: "humidity"}}}); err == nil || !strings.Contains(err.Error(), "temperature, pressure") {
		t.Errorf("humidity of a bmp280: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(append(calibration(), append(humidityTrim, raw(0x57, 415148, 519888, 0x6A, 0x3B)[4:]...)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 26+7+8 {
			return
		}
		low, high := [26]byte(data), [7]byte(data[26:])
		d := &driver{name: "bme280", id: idBME280, which: []int{0, 1, 2}, trim: parseTrim(&low, &high)}
		var b chips.Batch
		b.Reset(3)
		if !d.decode(&b, data[33:41]) {
			return
		}
		for i, limits := range [][2]float64{{-52.5, 97.5}, {22000, 118000}, {0, 1}} {
			for _, v := range b.Values[i] {
				if !(v >= limits[0] && v <= limits[1]) {
					t.Errorf("%s is %v", outputs[i].Name, v)
				}
			}
			if len(b.Values[i]) == 0 && b.Faults[i] == nil {
				t.Errorf("%s has neither value nor fault", outputs[i].Name)
			}
		}
	})
}
