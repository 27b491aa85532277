//go:build unix

package iiosource

import (
	"math"
	"testing"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/chips"
)

// Values worked out by hand from Documentation/driver-api/iio/buffers.rst.
func TestScanType(t *testing.T) {
	for _, c := range []struct {
		typ   string
		raw   []byte
		want  int64
		limit bool
	}{
		{"le:s16/16>>0", []byte{0xFF, 0x7F}, 32767, true},
		{"le:s16/16>>0", []byte{0x00, 0x80}, -32768, true},
		{"be:s16/16>>0", []byte{0xFF, 0xFE}, -2, false},
		{"le:s12/16>>4", []byte{0xF0, 0xFF}, -1, false},
		{"le:s12/16>>4", []byte{0x0F, 0x80}, -2048, true}, // the lower bits mean nothing
		{"be:s20/32>>12", []byte{0x3E, 0x80, 0x0F, 0xFF}, 256000, false},
		{"le:u16/32>>4", []byte{0x0F, 0x00, 0x01, 0xFF}, 0x1000, false},
		{"le:u8/8>>0", []byte{0xFF}, 255, true},
		{"le:s64/64>>0", []byte{1, 0, 0, 0, 0, 0, 0, 0x80}, math.MinInt64 + 1, false},
		{"le:u64/64>>0", []byte{1, 0, 0, 0, 0, 0, 0, 0x80}, 1 << 62, true},
	} {
		typ, err := parseType(c.typ)
		if err != nil {
			t.Fatal(err)
		}
		if v, limit := typ.value(c.raw); v != c.want || limit != c.limit {
			t.Errorf("%s of % x is %d, %v; want %d, %v", c.typ, c.raw, v, limit, c.want, c.limit)
		}
	}
	for _, bad := range []string{"", "le", "le:s16/16", "xe:s16/16>>0", "le:s16/24>>0", "le:s17/16>>0", "le:s12/16>>8", "le:s0/8>>0", "le:s16/16X2>>0", "le:f32/32>>0", "le:s-1/16>>0"} {
		if _, err := parseType(bad); err == nil {
			t.Errorf("scan type %q was taken", bad)
		}
	}
}

func TestPlace(t *testing.T) {
	of := func(bits ...uint) (fields []field) {
		for _, b := range bits {
			fields = append(fields, field{typ: scanType{storage: b}})
		}
		return fields
	}
	fields := of(16, 32, 8, 64)
	if size := place(fields); size != 24 || fields[1].offset != 4 || fields[2].offset != 8 || fields[3].offset != 16 {
		t.Errorf("size %d, %+v", size, fields)
	}
	if size := place(of(16, 16, 16)); size != 6 {
		t.Errorf("three of 16 bits take %d bytes; want 6", size)
	}
	if size := place(of(32, 16)); size != 8 {
		t.Errorf("a frame is %d bytes; want a multiple of its largest element, 8", size)
	}
}

func testBuffer(t testing.TB) *buffer {
	b := newBox(t)
	d := &buffer{tree: tree{root: b.root, name: "adxl355"}, plan: chips.Plan{RateHz: 1000, Quantities: []sensors.Quantity{sensors.Acceleration}}}
	k, err := kindOf("in_accel_x")
	if err != nil {
		t.Fatal(err)
	}
	d.elements = []element{{"in_accel_x", k}}
	if err := d.tree.find(); err != nil {
		t.Fatal(err)
	}
	if err := d.layout(); err != nil {
		t.Fatal(err)
	}
	return d
}

// Frames are 16 bytes here: x, four bytes of padding, time. Timestamps say where
// samples are missing: the batch ends there, and the next one says so.
func TestDecode_Gap(t *testing.T) {
	d := testBuffer(t)
	var raw []byte
	for _, ms := range []int64{1, 2, 3, 10, 11} {
		raw = append(raw, frame(int32(ms), 0, ms*1e6)...)
	}
	raw = append(raw, 1, 2, 3) // the beginning of the next
	var b chips.Batch
	b.Reset(1)
	used, more := d.decode(&b, raw)
	if used != 3*16 || !more || b.Overrun || len(b.Values[0]) != 3 {
		t.Errorf("first part: used %d, more %v, %+v", used, more, b)
	}
	b.Reset(1)
	used2, more := d.decode(&b, raw[used:])
	if used2 != 2*16 || more || !b.Overrun || len(b.Values[0]) != 2 || math.Abs(b.Values[0][0]-10*0.000038245) > 1e-12 {
		t.Errorf("second part: used %d, more %v, %+v", used2, more, b)
	}
	b.Reset(1)
	if _, _ = d.decode(&b, frame(12, 0, 12e6)); b.Overrun || len(b.Values[0]) != 1 {
		t.Errorf("third part: %+v", b)
	}
}

func FuzzParseType(f *testing.F) {
	for _, s := range []string{"le:s12/16>>4", "be:u20/32>>12", "le:s64/64>>0", "le:s16/16X2>>0"} {
		f.Add(s, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	}
	f.Fuzz(func(t *testing.T, text string, raw []byte) {
		typ, err := parseType(text)
		if err != nil || len(raw) < 8 {
			return
		}
		v, _ := typ.value(raw)
		if typ.bits < 62 && (v >= 1<<typ.bits || v < -1<<typ.bits) {
			t.Errorf("%s of % x is %d", text, raw, v)
		}
	})
}

func FuzzDecode(f *testing.F) {
	d := testBuffer(f)
	f.Add(append(frame(1, 0, 1e6), frame(2, 0, 9e6)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d.last, d.gap = 0, false
		rounds := 0
		for len(raw) >= d.size {
			var b chips.Batch
			b.Reset(1)
			used, more := d.decode(&b, raw)
			if used%d.size != 0 || used > len(raw) || len(b.Values[0]) != used/d.size {
				t.Fatalf("used %d of %d bytes for %d samples", used, len(raw), len(b.Values[0]))
			}
			raw = raw[used:]
			if rounds++; rounds > 1<<16 {
				t.Fatal("decoding does not end")
			}
			if !more && len(raw) >= d.size {
				t.Fatalf("%d bytes are left, and no more is said", len(raw))
			}
		}
	})
}
