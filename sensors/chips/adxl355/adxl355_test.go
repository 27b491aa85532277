package adxl355

import (
	"math"
	"slices"
	"strings"
	"testing"

	"periph.io/x/conn/v3/conntest"
	"periph.io/x/conn/v3/i2c/i2ctest"

	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/chips/chiptest"
)

// start is the traffic of Start for 4000 Hz and ±8 g, by the register map of the data
// sheet: on SPI the address is shifted left by one, bit 0 reads.
var start = []conntest.IO{
	{W: []byte{0x01, 0}, R: []byte{0, 0xAD}},
	{W: []byte{0x03, 0}, R: []byte{0, 0x1D}},
	{W: []byte{0x05, 0}, R: []byte{0, 0xED}},
	{W: []byte{0x5E, 0x52}},                     // RESET
	{W: []byte{0x5A, 0x01}},                     // POWER_CTL standby
	{W: []byte{0x50, 0x00}},                     // FILTER 4000 Hz
	{W: []byte{0x58, 0x83}},                     // RANGE ±8 g
	{W: []byte{0x5A, 0x00}},                     // POWER_CTL measure
	{W: []byte{0x51, 0}, R: []byte{0x00, 0x00}}, // FILTER
}

// value is one FIFO value of 20 bits with its marks.
func value(v int32, marks byte) []byte {
	u := uint32(v) << 12
	return []byte{byte(u >> 24), byte(u >> 16), byte(u>>8) | marks}
}

func head(status, entries byte) conntest.IO {
	return conntest.IO{W: []byte{0x09, 0, 0}, R: []byte{0, status, entries}}
}

func fifo(values ...[]byte) conntest.IO {
	raw := slices.Concat(values...)
	return conntest.IO{W: append([]byte{0x23}, make([]byte, len(raw))...), R: append([]byte{0}, raw...)}
}

func TestDriver_SPI(t *testing.T) {
	d := chiptest.Driver(t, Model(), chips.Options{Wiring: chips.Wiring{Axis: "x"}}, chips.Options{Wiring: chips.Wiring{Axis: "z"}})
	ops := append(slices.Clone(start),
		head(0x01, 7), // a seventh value is of a sample not yet whole
		fifo(value(64000, 1), value(0, 0), value(-64000, 0), value(-524288, 1), value(0, 0), value(524286, 0)),
		head(0x00, 2),
		// An overrun: the oldest sample has lost its x.
		head(0x06, 9), fifo(value(5, 0), value(6, 0), value(64000, 1), value(7, 0), value(8, 0), value(1, 1), value(2, 0), value(3, 0), value(9, 1)),
	)
	chiptest.Start(t, d, chiptest.SPI(t, ops...))
	b := chiptest.Read(t, d)
	// 64000 LSB/g at ±8 g: 256000 at ±2 g, divided by 4.
	want := [][]float64{{9.80665, -80.3360768}, {-9.80665, 80.33577034}}
	for i := range want {
		for j := range want[i] {
			if len(b.Values[i]) != 2 || math.Abs(b.Values[i][j]-want[i][j]) > 1e-7 {
				t.Errorf("channel %d: %v; want %v", i, b.Values[i], want[i])
			}
		}
	}
	if !b.Clipped[0] || b.Clipped[1] || b.Overrun {
		t.Errorf("clipped %v, overrun %v; want x clipped, no overrun", b.Clipped, b.Overrun)
	}
	if b = chiptest.Read(t, d); len(b.Values[0]) != 0 {
		t.Errorf("two thirds of a sample gave %v", b.Values)
	}
	if b = chiptest.Read(t, d); !b.Overrun || len(b.Values[0]) != 2 || math.Abs(b.Values[0][0]-9.80665) > 1e-9 {
		t.Errorf("after an overrun: %+v; want the two whole samples", b)
	}
}

func TestDriver_I2C(t *testing.T) {
	d := chiptest.Driver(t, Model(), chips.Options{Wiring: chips.Wiring{Bus: chips.I2C, Axis: "y", RangeG: 2}, RateHz: 62.5})
	chiptest.Start(t, d, chiptest.I2C(t, 0x1D,
		i2ctest.IO{W: []byte{0x00}, R: []byte{0xAD}}, i2ctest.IO{W: []byte{0x01}, R: []byte{0x1D}}, i2ctest.IO{W: []byte{0x02}, R: []byte{0xED}},
		i2ctest.IO{W: []byte{0x2F, 0x52}}, i2ctest.IO{W: []byte{0x2D, 0x01}}, i2ctest.IO{W: []byte{0x28, 0x06}},
		i2ctest.IO{W: []byte{0x2C, 0x81}}, i2ctest.IO{W: []byte{0x2D, 0x00}}, i2ctest.IO{W: []byte{0x28}, R: []byte{0x06}},
		i2ctest.IO{W: []byte{0x04}, R: []byte{0x01, 3}},
		i2ctest.IO{W: []byte{0x11}, R: slices.Concat(value(0, 1), value(-256000, 0), value(0, 0))},
	))
	if b := chiptest.Read(t, d); len(b.Values[0]) != 1 || math.Abs(b.Values[0][0]+9.80665) > 1e-9 {
		t.Errorf("-256000 counts are %v m/s²; want -1 g", b.Values[0])
	}
}

func TestDriver_Errors(t *testing.T) {
	d := chiptest.Driver(t, Model(), chips.Options{Wiring: chips.Wiring{Axis: "x"}})
	if err := d.Start(chiptest.SPI(t, start[0], start[1], conntest.IO{W: []byte{0x05, 0}, R: []byte{0, 0xE9}})); err == nil || !strings.Contains(err.Error(), "PARTID is 0xe9, not 0xed") {
		t.Errorf("an ADXL359: %v", err)
	}
	chiptest.Start(t, d, chiptest.SPI(t, append(slices.Clone(start), head(0, 200))...))
	if err := d.Read(chiptest.Batch(d)); err == nil || !strings.Contains(err.Error(), "200 values") {
		t.Errorf("impossible count: %v", err)
	}
	chiptest.Start(t, d, chiptest.SPI(t, append(slices.Clone(start), head(0, 6))...))
	if err := d.Read(chiptest.Batch(d)); err == nil || !strings.Contains(err.Error(), "register 0x11") {
		t.Errorf("error in the burst: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(slices.Concat(value(1, 1), value(2, 0), value(3, 0), value(4, 0)))
	f.Add(slices.Concat(value(1, 2), value(2, 3)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a := chips.Accel{RateHz: 4000, RangeG: 2, Axes: []int{0, 1, 2}}
		var b chips.Batch
		b.Reset(3)
		skipped := decode(&b, a, raw)
		n := len(b.Values[0])
		if n != len(b.Values[1]) || n != len(b.Values[2]) || 3*n+skipped > len(raw)/3 {
			t.Errorf("%d values gave %d samples, %d skipped", len(raw)/3, n, skipped)
		}
		for _, v := range b.Values[0] {
			if !(math.Abs(v) <= 2.049*9.80665) {
				t.Errorf("sample %v is beyond 20 bits", v)
			}
		}
	})
}
