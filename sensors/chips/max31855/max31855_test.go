package max31855

import (
	"encoding/binary"
	"strings"
	"testing"

	"periph.io/x/conn/v3/conntest"

	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/chips/chiptest"
)

// Table 4, p. 10: 14 bits in D31:D18. A bit of the reference keeps the word from
// being all zero.
func TestDecode_Thermocouple(t *testing.T) {
	for _, c := range []struct {
		bits uint32
		want float64
	}{
		{0b0110_0100_0000_00, 1600}, {0b0011_1110_1000_00, 1000}, {0b0000_0110_0100_11, 100.75}, {0b0000_0001_1001_00, 25},
		{0, 0}, {0b1111_1111_1111_11, -0.25}, {0b1111_1111_1111_00, -1}, {0b1111_0000_0110_00, -250},
	} {
		if got, err := decode(c.bits<<18|1<<4, false); err != nil || got != c.want {
			t.Errorf("%014b is %v °C, %v; want %v", c.bits, got, err, c.want)
		}
	}
}

// Table 5, p. 10: 12 bits in D15:D4.
func TestDecode_Reference(t *testing.T) {
	for _, c := range []struct {
		bits uint32
		want float64
	}{
		{0b0111_1111_0000, 127}, {0b0110_0100_1001, 100.5625}, {0b0001_1001_0000, 25}, {0, 0},
		{0b1111_1111_1111, -0.0625}, {0b1111_1111_0000, -1}, {0b1110_1100_0000, -20}, {0b1100_1001_0000, -55},
	} {
		// With an open thermocouple the reference is still good.
		if got, err := decode(c.bits<<4|1<<16|1, true); err != nil || got != c.want {
			t.Errorf("%012b is %v °C, %v; want %v", c.bits, got, err, c.want)
		}
	}
}

func word(w uint32) conntest.IO {
	return conntest.IO{W: make([]byte, 4), R: binary.BigEndian.AppendUint32(nil, w)}
}

func TestDriver(t *testing.T) {
	d := chiptest.Driver(t, Model(), chips.Options{}, chips.Options{Wiring: chips.Wiring{Measure: "reference"}})
	const warm = 0b0000_0110_0100_11<<18 | 0b0001_1001_0000<<4
	chiptest.Start(t, d, chiptest.SPI(t, word(warm), word(warm),
		word(warm|1<<16|1), word(warm|1<<16|2), word(warm|1<<16|4), word(warm|1<<16), word(0), word(0xFFFFFFFF)))
	if b := chiptest.Read(t, d); b.Values[0][0] != 100.75 || b.Values[1][0] != 25 {
		t.Errorf("%v °C; want 100.75 and 25", b.Values)
	}
	// Table 3: D16 and one of D0 open, D1 to ground, D2 to the supply.
	for _, want := range []string{"open", "shorted to ground", "shorted to the supply", "not which"} {
		b := chiptest.Read(t, d)
		if b.Faults[0] == nil || !strings.Contains(b.Faults[0].Error(), want) || len(b.Values[0]) != 0 {
			t.Errorf("fault %v, value %v; want %q", b.Faults[0], b.Values[0], want)
		}
		if b.Faults[1] != nil || b.Values[1][0] != 25 {
			t.Errorf("reference %v, %v; want 25 whatever the thermocouple does", b.Values[1], b.Faults[1])
		}
	}
	if b := chiptest.Read(t, d); b.Faults[0] == nil || b.Faults[1] == nil {
		t.Errorf("a line held low gave %v", b.Values)
	}
	if err := d.Read(chiptest.Batch(d)); err == nil || !strings.Contains(err.Error(), "nothing seems to drive the line") {
		t.Errorf("a line held high: %v", err)
	}
	if err := d.Read(chiptest.Batch(d)); err == nil || !strings.Contains(err.Error(), "read max31855") {
		t.Errorf("an error of the bus: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(uint32(0x01900190))
	f.Fuzz(func(t *testing.T, w uint32) {
		if v, err := decode(w, false); err == nil && (v < -2048 || v >= 2048 || w&0x10007 != 0) {
			t.Errorf("%#08x is %v °C", w, v)
		}
		if v, err := decode(w, true); err == nil && (v < -128 || v >= 128) {
			t.Errorf("%#08x is %v °C", w, v)
		}
	})
}
