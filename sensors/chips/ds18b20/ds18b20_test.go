package ds18b20

import (
	"strings"
	"testing"
	"time"

	"periph.io/x/conn/v3/onewire"
	"periph.io/x/conn/v3/onewire/onewiretest"

	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/chips/chiptest"
)

// pad is a scratchpad of 12 bits; its checksum, crc, was computed in Python.
func pad(raw uint16, reserved, crc byte) [9]byte {
	return [9]byte{byte(raw), byte(raw >> 8), 0x4B, 0x46, 0x7F, 0xFF, reserved, 0x10, crc}
}

// Table 1 of the data sheet, temperature and data.
func TestDecode_Table1(t *testing.T) {
	for _, c := range []struct {
		raw  uint16
		crc  byte
		want float64
	}{
		{0x07D0, 0x55, 125}, {0x0191, 0xD1, 25.0625}, {0x00A2, 0xD5, 10.125}, {0x0008, 0x43, 0.5}, {0x0000, 0x69, 0},
		{0xFFF8, 0x62, -0.5}, {0xFF5E, 0xCB, -10.125}, {0xFE6F, 0x49, -25.0625}, {0xFC90, 0xEE, -55},
	} {
		p := pad(c.raw, 0x10, c.crc)
		if got := onewire.CalcCRC(p[:8]); got != c.crc {
			t.Errorf("%#04x: checksum %#02x; want %#02x", c.raw, got, c.crc)
		}
		if got, err := decode(p); err != nil || got != c.want {
			t.Errorf("%#04x is %v °C, %v; want %v", c.raw, got, err, c.want)
		}
	}
	// 85 °C is real unless byte 6 says that nothing was converted since power-on.
	if got, err := decode(pad(0x0550, 0x10, 0)); err != nil || got != 85 {
		t.Errorf("a real 85 °C: %v, %v", got, err)
	}
	if _, err := decode(pad(0x0550, 0x0C, 0x1C)); err == nil || !strings.Contains(err.Error(), "power-on value") {
		t.Errorf("the power-on value: %v", err)
	}
}

// Maxim application note 27, "Understanding and using cyclic redundancy checks": the
// ROM 02 1C B8 01 00 00 00 has checksum A2.
func TestCRC8_ApplicationNote27(t *testing.T) {
	if got := onewire.CalcCRC([]byte{0x02, 0x1C, 0xB8, 0x01, 0, 0, 0}); got != 0xA2 {
		t.Errorf("checksum %#02x; want 0xa2", got)
	}
}

func TestDriver(t *testing.T) {
	const address = onewire.Address(0xA200000001B81C28)
	rom := []byte{0x55, 0x28, 0x1C, 0xB8, 0x01, 0, 0, 0, 0xA2}
	tx := func(cmd byte, r []byte) onewiretest.IO {
		return onewiretest.IO{W: append(append([]byte{}, rom...), cmd), R: r}
	}
	warm, spoilt := pad(0x0191, 0x10, 0xD1), pad(0x0191, 0x10, 0xD2)
	nobody := [9]byte{0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}
	ten := pad(0x0191, 0x10, 0)
	ten[4] = 0x3F // 10 bits
	ten[8] = onewire.CalcCRC(ten[:8])
	bus := &onewiretest.Playback{DontPanic: true, Ops: []onewiretest.IO{
		tx(0xBE, warm[:]),
		tx(0x44, nil), tx(0xBE, warm[:]),
		tx(0x44, nil), tx(0xBE, spoilt[:]),
		tx(0xBE, nobody[:]),
		tx(0xBE, make([]byte, 9)),
		tx(0xBE, ten[:]), tx(0x44, nil), tx(0xBE, ten[:]),
	}}
	d := chiptest.Driver(t, Model(), chips.Options{Wiring: chips.Wiring{Every: 10 * time.Second}})
	link := &onewire.Dev{Bus: bus, Addr: address}
	chiptest.Start(t, d, link)
	if b := chiptest.Read(t, d); b.Again != 750*time.Millisecond || len(b.Values[0]) != 0 {
		t.Errorf("a conversion of 12 bits: again in %v, %v", b.Again, b.Values)
	}
	if b := chiptest.Read(t, d); b.Again != 9250*time.Millisecond || len(b.Values[0]) != 1 || b.Values[0][0] != 25.0625 {
		t.Errorf("after the conversion: again in %v, %v", b.Again, b.Values)
	}
	chiptest.Read(t, d)
	fails := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	fails(d.Read(chiptest.Batch(d)), "checksum of scratchpad 91 01 4b 46 7f ff 10 10 d2 is 0xd1")
	fails(d.Start(link), "nothing answers")
	fails(d.Start(link), "all zero")
	chiptest.Start(t, d, link)
	if b := chiptest.Read(t, d); b.Again != 187500*time.Microsecond {
		t.Errorf("a conversion of 10 bits takes %v; want 187.5ms (Table 2)", b.Again)
	}
	if b := chiptest.Read(t, d); b.Values[0][0] != 25 {
		t.Errorf("%v °C; want 25, without the two lowest bits", b.Values[0])
	}
	fails(d.Read(chiptest.Batch(d)), "unexpected") // the bus fails: playback has no more
	if err := bus.Close(); err != nil {
		t.Error(err)
	}
}

func TestModel_Refuses(t *testing.T) {
	if _, err := Model().Configure([]chips.Options{{Wiring: chips.Wiring{Every: 500 * time.Millisecond}}}); err == nil || !strings.Contains(err.Error(), "every: 500ms is too short") {
		t.Errorf("%v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0x91, 0x01, 0x4B, 0x46, 0x7F, 0xFF, 0x10, 0x10, 0xD1})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 9 {
			return
		}
		if v, err := decode([9]byte(data)); err == nil && !(v >= -60 && v <= 130) {
			t.Errorf("% x is %v °C", data[:9], v)
		}
	})
}
