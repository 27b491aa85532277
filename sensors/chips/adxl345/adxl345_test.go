package adxl345

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"periph.io/x/conn/v3/conntest"
	"periph.io/x/conn/v3/i2c/i2ctest"

	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/chips/chiptest"
)

// startSPI is the traffic of Start for 3200 Hz and ±16 g, by Table 19 of the data
// sheet, Rev. E: bit 7 of the first byte reads, bit 6 is for several bytes.
var startSPI = []conntest.IO{
	{W: []byte{0x80, 0}, R: []byte{0, 0xE5}},    // DEVID
	{W: []byte{0x2D, 0x00}},                     // POWER_CTL standby
	{W: []byte{0x38, 0x00}},                     // FIFO_CTL bypass
	{W: []byte{0x2E, 0x00}},                     // INT_ENABLE none
	{W: []byte{0x2C, 0x0F}},                     // BW_RATE 3200 Hz, Table 7
	{W: []byte{0x31, 0x0B}},                     // DATA_FORMAT full resolution, ±16 g
	{W: []byte{0x38, 0x90}},                     // FIFO_CTL stream, 16 samples
	{W: []byte{0x2D, 0x08}},                     // POWER_CTL measure
	{W: []byte{0xB1, 0}, R: []byte{0x00, 0x0B}}, // DATA_FORMAT
}

func burst(x, y, z int16) conntest.IO {
	r := []byte{0}
	for _, v := range []int16{x, y, z} {
		r = append(r, byte(v), byte(uint16(v)>>8))
	}
	return conntest.IO{W: []byte{0xF2, 0, 0, 0, 0, 0, 0}, R: r}
}

func status(source, fifo byte) []conntest.IO {
	return []conntest.IO{{W: []byte{0xB0, 0}, R: []byte{0, source}}, {W: []byte{0xB9, 0}, R: []byte{0, fifo}}}
}

func TestDriver_SPI(t *testing.T) {
	d := chiptest.Driver(t, Model(), chips.Options{Wiring: chips.Wiring{Axis: "z"}}, chips.Options{Wiring: chips.Wiring{Axis: "x"}})
	if p := d.Plan(); p.RateHz != 3200 || p.Every.Milliseconds() != 5 {
		t.Errorf("plan is %+v; want 3200 Hz, read when the FIFO is half full", p)
	}
	ops := slices.Concat(startSPI,
		status(0x82, 0x03), []conntest.IO{burst(256, 0, -256), burst(1, 2, 4094), burst(-4096, 0, 3)},
		status(0x00, 0x00),
		status(0x83, 0x21), slices.Repeat([]conntest.IO{burst(7, 8, 9)}, 33))
	chiptest.Start(t, d, chiptest.SPI(t, ops...))

	b := chiptest.Read(t, d)
	// 256 LSB/g (Table 1): 1 g is 9.80665 m/s², one count 0.038307… m/s².
	want := [][]float64{{-9.80665, 156.829785547, 0.114921679688}, {9.80665, 0.038307226562, -156.9064}}
	for i := range want {
		for j := range want[i] {
			if math.Abs(b.Values[i][j]-want[i][j]) > 1e-8 {
				t.Errorf("channel %d: %v; want %v", i, b.Values[i], want[i])
			}
		}
	}
	if !b.Clipped[0] || !b.Clipped[1] || b.Overrun {
		t.Errorf("clipped %v, overrun %v; want both at the limit and no overrun", b.Clipped, b.Overrun)
	}
	if b = chiptest.Read(t, d); len(b.Values[0]) != 0 {
		t.Errorf("an empty FIFO gave %v", b.Values)
	}
	if b = chiptest.Read(t, d); !b.Overrun || len(b.Values[0]) != 33 || b.Clipped[0] {
		t.Errorf("overrun %v, %d samples; want an overrun of 33", b.Overrun, len(b.Values[0]))
	}
}

func TestDriver_I2C(t *testing.T) {
	d := chiptest.Driver(t, Model(), chips.Options{Wiring: chips.Wiring{Bus: chips.I2C, Axis: "y", RangeG: 4}, RateHz: 400})
	chiptest.Start(t, d, chiptest.I2C(t, 0x53,
		i2ctest.IO{W: []byte{0x00}, R: []byte{0xE5}},
		i2ctest.IO{W: []byte{0x2D, 0x00}}, i2ctest.IO{W: []byte{0x38, 0x00}}, i2ctest.IO{W: []byte{0x2E, 0x00}},
		i2ctest.IO{W: []byte{0x2C, 0x0C}}, i2ctest.IO{W: []byte{0x31, 0x09}},
		i2ctest.IO{W: []byte{0x38, 0x90}}, i2ctest.IO{W: []byte{0x2D, 0x08}},
		i2ctest.IO{W: []byte{0x31}, R: []byte{0x09}},
		i2ctest.IO{W: []byte{0x30}, R: []byte{0x80}}, i2ctest.IO{W: []byte{0x39}, R: []byte{0x01}},
		i2ctest.IO{W: []byte{0x32}, R: []byte{0, 0, 0x80, 0xFF, 0, 0}},
	))
	if b := chiptest.Read(t, d); len(b.Values[0]) != 1 || math.Abs(b.Values[0][0]+4.903325) > 1e-9 {
		t.Errorf("-128 counts are %v m/s²; want -4.903325, half a g", b.Values[0])
	}
}

func TestDriver_WrongChip(t *testing.T) {
	for _, c := range []struct {
		id   byte
		want string
	}{{0x33, "DEVID is 0x33, not 0xe5"}, {0x00, "check wiring, power and chip select"}, {0xFF, "check wiring"}} {
		d := chiptest.Driver(t, Model(), chips.Options{Wiring: chips.Wiring{Axis: "z"}})
		err := d.Start(chiptest.SPI(t, conntest.IO{W: []byte{0x80, 0}, R: []byte{0, c.id}}))
		var wrong *chips.WrongChipError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("id %#x: %v; want %q", c.id, err, c.want)
		}
	}
}

// The bus fails in the middle of a burst: playback has no more, as a bus error.
func TestDriver_ErrorMidBurst(t *testing.T) {
	ops := slices.Concat(startSPI, status(0x82, 0x03), []conntest.IO{burst(1, 2, 3)})
	d := chiptest.Driver(t, Model(), chips.Options{Wiring: chips.Wiring{Axis: "z"}})
	chiptest.Start(t, d, chiptest.SPI(t, ops...))
	b := chiptest.Batch(d)
	if err := d.Read(b); err == nil || !strings.Contains(err.Error(), "register 0x32") {
		t.Errorf("Read: %v; want an error that names the register", err)
	}
	if len(b.Values[0]) != 0 {
		t.Errorf("a failed burst gave %v", b.Values)
	}
}

func TestDriver_ImpossibleCount(t *testing.T) {
	d := chiptest.Driver(t, Model(), chips.Options{Wiring: chips.Wiring{Axis: "z"}})
	chiptest.Start(t, d, chiptest.SPI(t, slices.Concat(startSPI, status(0xFF, 0xFF))...))
	if err := d.Read(chiptest.Batch(d)); err == nil || !strings.Contains(err.Error(), "63 entries") {
		t.Errorf("Read: %v; want an error about the count", err)
	}
}

func TestModel_Refuses(t *testing.T) {
	ok := chips.Options{Wiring: chips.Wiring{Bus: chips.SPI, Device: "SPI0.0", Chip: "adxl345", Axis: "z"}}
	for _, c := range []struct {
		change func(*chips.Options)
		want   string
	}{
		{func(o *chips.Options) { o.RateHz = 1000 }, "rate_hz: 1000 is not possible; choose from [3200 1600"},
		{func(o *chips.Options) { o.RangeG = 3 }, "range_g: 3 is not possible"},
		{func(o *chips.Options) { o.Axis = "" }, "axis is missing"},
		{func(o *chips.Options) { o.Axis = "w" }, `axis: unknown "w"; choose from x, y, z`},
		{func(o *chips.Options) { o.Bus, o.RateHz = chips.I2C, 1600 }, "too fast for i2c"},
		{func(o *chips.Options) { o.SpeedHz, o.RateHz = 1e6, 3200 }, "speed_hz: 1000000 is too slow"},
		{func(o *chips.Options) { o.SpeedHz = 6e6 }, "speed_hz: 6000000; it is for SPI only, 1000 to 5000000"},
		{func(o *chips.Options) { o.Bus = chips.OneWire }, "use spi or i2c"},
		{func(o *chips.Options) { o.Measure = "temperature" }, "measure: adxl345 does not use it"},
		{func(o *chips.Options) { o.Bus, o.Address = chips.I2C, 0x54 }, "cannot have 0x54"},
		{func(o *chips.Options) { o.Device = "" }, "device is missing"},
		{func(o *chips.Options) { o.RateHz = math.NaN() }, "rate_hz: NaN"},
	} {
		o := ok
		c.change(&o)
		err := Model().Check(o)
		if err == nil {
			_, err = Model().Configure([]chips.Options{o})
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v; want %q", o, err, c.want)
		}
	}
	a, b := ok, ok
	b.Axis, b.RateHz = "x", 100
	if _, err := Model().Configure([]chips.Options{a, b}); err == nil || !strings.Contains(err.Error(), "must agree") {
		t.Errorf("two rates on one chip: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 0, 3}, uint8(16))
	f.Add([]byte{0xFF, 0xFF, 0, 0x80, 0xFF, 0x7F, 1}, uint8(2))
	f.Fuzz(func(t *testing.T, raw []byte, g uint8) {
		a := chips.Accel{RateHz: 100, RangeG: float64(g), Axes: []int{2}}
		var b chips.Batch
		b.Reset(1)
		decode(&b, a, raw)
		if len(b.Values[0]) != len(raw)/6 {
			t.Errorf("%d bytes gave %d samples", len(raw), len(b.Values[0]))
		}
		for i, v := range b.Values[0] {
			// 16 bits at 256 LSB/g are ±128 g at most.
			if want := float64(int16(uint16(raw[6*i+4])|uint16(raw[6*i+5])<<8)) / 256 * 9.80665; math.Abs(v-want) > 1e-9 || math.Abs(v) > 1256 {
				t.Errorf("sample %d is %v; want %v", i, v, want)
			}
		}
	})
}
