package lis3dh

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

// start is the traffic of Start for 1344 Hz and ±2 g on I²C, by the register map of
// DocID17530 Rev 2.
var start = []i2ctest.IO{
	{W: []byte{0x0F}, R: []byte{0x33}},
	{W: []byte{0x20, 0x00}},            // CTRL_REG1 power-down
	{W: []byte{0x2E, 0x00}},            // FIFO_CTRL_REG bypass
	{W: []byte{0x23, 0x88}},            // CTRL_REG4 block update, ±2 g, high resolution
	{W: []byte{0x24, 0x40}},            // CTRL_REG5 FIFO on
	{W: []byte{0x2E, 0x90}},            // FIFO_CTRL_REG stream
	{W: []byte{0x20, 0x97}},            // CTRL_REG1 1344 Hz, three axes
	{W: []byte{0x23}, R: []byte{0x88}}, // CTRL_REG4
}

func TestDriver_I2C(t *testing.T) {
	d := chiptest.Driver(t, Model(), chips.Options{Wiring: chips.Wiring{Bus: chips.I2C, RangeG: 2, Axis: "x"}, RateHz: 1344}, chips.Options{Wiring: chips.Wiring{Bus: chips.I2C, RangeG: 2, Axis: "z"}, RateHz: 1344})
	full := slices.Repeat([]byte{0x10, 0x00, 0, 0, 0, 0}, 32)
	chiptest.Start(t, d, chiptest.I2C(t, 0x18, slices.Concat(start, []i2ctest.IO{
		{W: []byte{0x2F}, R: []byte{0x02}},
		// Application note AN3308, section "Output data registers": 350 mg is 15E0h,
		// 1 g 4000h at ±2 g, left-justified. Of its 12 bits, a digit is 1 mg.
		{W: []byte{0xA8}, R: []byte{0xE0, 0x15, 0, 0, 0x00, 0x40, 0x80, 0x3E, 0, 0, 0x80, 0xC1}},
		{W: []byte{0x2F}, R: []byte{0x20}},
		{W: []byte{0x2F}, R: []byte{0x5F}},
		{W: []byte{0xA8}, R: full},
	})...))
	b := chiptest.Read(t, d)
	// 15E0h>>4 is 350, 4000h>>4 1024, 3E80h>>4 1000, C180h>>4 −1000 digits of 1 mg.
	want := [][]float64{{3.4323275, 9.80665}, {10.0420096, -9.80665}}
	for i := range want {
		for j := range want[i] {
			if len(b.Values[i]) != 2 || math.Abs(b.Values[i][j]-want[i][j]) > 1e-9 {
				t.Errorf("channel %d: %v; want %v", i, b.Values[i], want[i])
			}
		}
	}
	if b = chiptest.Read(t, d); len(b.Values[0]) != 0 || b.Overrun {
		t.Errorf("an empty FIFO gave %+v", b)
	}
	if b = chiptest.Read(t, d); len(b.Values[0]) != 32 || !b.Overrun {
		t.Errorf("an overrun gave %d samples, overrun %v; want 32, true", len(b.Values[0]), b.Overrun)
	}
}

func TestDriver_SPI(t *testing.T) {
	d := chiptest.Driver(t, Model(), chips.Options{Wiring: chips.Wiring{Axis: "y"}}) // ±16 g, 400 Hz
	chiptest.Start(t, d, chiptest.SPI(t,
		conntest.IO{W: []byte{0x8F, 0}, R: []byte{0, 0x33}},
		conntest.IO{W: []byte{0x20, 0x00}}, conntest.IO{W: []byte{0x2E, 0x00}}, conntest.IO{W: []byte{0x23, 0xB8}},
		conntest.IO{W: []byte{0x24, 0x40}}, conntest.IO{W: []byte{0x2E, 0x90}}, conntest.IO{W: []byte{0x20, 0x77}},
		conntest.IO{W: []byte{0xA3, 0}, R: []byte{0, 0xB8}},
		conntest.IO{W: []byte{0xAF, 0}, R: []byte{0, 0x01}},
		conntest.IO{W: []byte{0xE8, 0, 0, 0, 0, 0, 0}, R: []byte{0, 0, 0, 0x60, 0x53, 0, 0}},
	))
	// 5360h>>4 is 1334 digits of 12 mg (Table 4): 16.008 g, beyond the range.
	if b := chiptest.Read(t, d); math.Abs(b.Values[0][0]-156.9848532) > 1e-6 || !b.Clipped[0] {
		t.Errorf("%v m/s², clipped %v; want 16.008 g, clipped", b.Values[0], b.Clipped[0])
	}
}

func TestDriver_Errors(t *testing.T) {
	d := chiptest.Driver(t, Model(), chips.Options{Wiring: chips.Wiring{Bus: chips.I2C, RangeG: 2, Axis: "x"}, RateHz: 1344})
	if err := d.Start(chiptest.I2C(t, 0x18, i2ctest.IO{W: []byte{0x0F}, R: []byte{0x3F}})); err == nil || !strings.Contains(err.Error(), "WHO_AM_I is 0x3f, not 0x33") {
		t.Errorf("an LIS331: %v", err)
	}
	bad := slices.Clone(start)
	bad[7].R = []byte{0}
	if err := d.Start(chiptest.I2C(t, 0x18, bad...)); err == nil || !strings.Contains(err.Error(), "CTRL_REG4 is 0x00 after writing 0x88") {
		t.Errorf("a write that was lost: %v", err)
	}
	chiptest.Start(t, d, chiptest.I2C(t, 0x18, append(slices.Clone(start), i2ctest.IO{W: []byte{0x2F}, R: []byte{0x05}})...))
	if err := d.Read(chiptest.Batch(d)); err == nil || !strings.Contains(err.Error(), "register 0x28") {
		t.Errorf("error in the burst: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0xE0, 0x15, 0, 0, 0, 0x40}, uint8(1))
	f.Fuzz(func(t *testing.T, raw []byte, r uint8) {
		a := chips.Accel{RateHz: 400, RangeG: ranges[int(r)%len(ranges)], Axes: []int{0}}
		var b chips.Batch
		b.Reset(1)
		decode(&b, a, raw)
		if len(b.Values[0]) != len(raw)/6 {
			t.Errorf("%d bytes gave %d samples", len(raw), len(b.Values[0]))
		}
		for _, v := range b.Values[0] {
			if !(math.Abs(v) <= 2048*0.012*9.80665+1e-9) {
				t.Errorf("sample %v is beyond 12 bits", v)
			}
		}
	})
}
