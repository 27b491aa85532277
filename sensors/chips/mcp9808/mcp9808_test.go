package mcp9808

import (
	"math"
	"strings"
	"testing"

	"periph.io/x/conn/v3/i2c/i2ctest"

	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/chips/chiptest"
)

func TestDriver(t *testing.T) {
	d := chiptest.Driver(t, Model(), chips.Options{})
	chiptest.Start(t, d, chiptest.I2C(t, 0x18,
		i2ctest.IO{W: []byte{0x06}, R: []byte{0x00, 0x54}}, // manufacturer, p. 27
		i2ctest.IO{W: []byte{0x07}, R: []byte{0x04, 0x00}}, // device, p. 28
		i2ctest.IO{W: []byte{0x08, 0x03}},                  // resolution 0.0625 °C
		i2ctest.IO{W: []byte{0x01, 0x00, 0x00}},            // config: converting
		i2ctest.IO{W: []byte{0x05}, R: []byte{0xC1, 0x94}}, // with two alerts set
		i2ctest.IO{W: []byte{0x05}, R: []byte{0x0F, 0xFF}},
	))
	// Equation 5-1: 01h·16 + 94h/16.
	if b := chiptest.Read(t, d); b.Values[0][0] != 25.25 {
		t.Errorf("C194h is %v °C; want 25.25", b.Values[0])
	}
	if b := chiptest.Read(t, d); b.Faults[0] == nil || len(b.Values[0]) != 0 {
		t.Errorf("255.9 °C gave %v", b.Values[0])
	}
	// The bus fails: playback has no more.
	if err := d.Read(chiptest.Batch(d)); err == nil {
		t.Error("an error of the bus was lost")
	}
}

// Register 5-4 and Equation 5-1 of DS25095A, p. 24 f.: sign in bit 12, 1/16 °C.
func TestDecode(t *testing.T) {
	for _, c := range []struct {
		raw  uint16
		want float64
	}{{0x0000, 0}, {0x0001, 0.0625}, {0x07D0, 125}, {0x1FFF, -0.0625}, {0x1D80, -40}, {0xFE6F, -25.0625}, {0x1000, -256}, {0x0FFF, 255.9375}} {
		if got := decode([2]byte{byte(c.raw >> 8), byte(c.raw)}); got != c.want {
			t.Errorf("%#04x is %v °C; want %v", c.raw, got, c.want)
		}
	}
}

func TestStart_WrongChip(t *testing.T) {
	d := chiptest.Driver(t, Model(), chips.Options{})
	if err := d.Start(chiptest.I2C(t, 0x18, i2ctest.IO{W: []byte{0x06}, R: []byte{0xFF, 0xFF}})); err == nil || !strings.Contains(err.Error(), "manufacturer ID is 0xffff, not 0x0054") {
		t.Errorf("an empty bus: %v", err)
	}
	if err := d.Start(chiptest.I2C(t, 0x18, i2ctest.IO{W: []byte{0x06}, R: []byte{0x00, 0x54}}, i2ctest.IO{W: []byte{0x07}, R: []byte{0x02, 0x01}})); err == nil || !strings.Contains(err.Error(), "device ID is 0x02, not 0x04") {
		t.Errorf("an MCP9804: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(byte(0xC1), byte(0x94))
	f.Fuzz(func(t *testing.T, hi, lo byte) {
		v := decode([2]byte{hi, lo})
		// The data sheet's way (Equation 5-1): clear the alerts, then by sign.
		want := float64(hi&0x0F)*16 + float64(lo)/16
		if hi&0x10 != 0 {
			want -= 256
		}
		if math.Abs(v-want) > 0 {
			t.Errorf("%02x%02x is %v °C; want %v", hi, lo, v, want)
		}
	})
}
