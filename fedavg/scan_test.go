package fedavg

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"
	"testing/iotest"
)

func scanned() *Update {
	u := &Update{Job: "pump", Round: 3, Attempt: 2, Agent: "hall-1", Base: "b", Weight: 7, Steps: 4, Metrics: map[string]float64{"loss": 0.5},
		Vectors: []Vector{{Name: "w", F32: make([]float32, 70_000)}, {Name: "s", F64: make([]float64, 20_000)}}}
	for i := range u.Vectors[0].F32 {
		u.Vectors[0].F32[i] = float32(i)
	}
	return u
}

func TestScanUpdate_SeesWhatDecodeSees(t *testing.T) {
	u := scanned()
	layout := LayoutOf(u.Vectors)
	data, err := EncodeUpdate(u)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ScanUpdate(iotest.OneByteReader(bytes.NewReader(data)), layout)
	if err != nil {
		t.Fatal(err)
	}
	want, err := DecodeUpdate(data, layout)
	if err != nil {
		t.Fatal(err)
	}
	want.Vectors = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("scanned %+v, decoded %+v", got, want)
	}
	if _, err := ScanUpdate(bytes.NewReader(data[:len(data)-1]), layout); err == nil {
		t.Error("takes an update that is cut short")
	}
	if _, err := ScanUpdate(bytes.NewReader(append(data, 0)), layout); err == nil {
		t.Error("takes an update that goes on after its end")
	}
	var shape *ShapeError
	if _, err := ScanUpdate(bytes.NewReader(data), Layout{layout[0]}); !errors.As(err, &shape) && err == nil {
		t.Errorf("another layout: %v", err)
	}
	layout[1].Len--
	if _, err := ScanUpdate(bytes.NewReader(data), layout); !errors.As(err, &shape) {
		t.Errorf("another length: %v", err)
	}
}

// An element that is not finite is found wherever it stands: EncodeUpdate refuses
// it, so its bytes are put into the file by hand.
func TestScanUpdate_FindsWhatIsNotFinite(t *testing.T) {
	u := scanned()
	layout := LayoutOf(u.Vectors)
	data, err := EncodeUpdate(u)
	if err != nil {
		t.Fatal(err)
	}
	end := len(data)
	for _, c := range []struct {
		at    int // byte where a number begins, from the end
		bytes []byte
		index int
		name  string
	}{
		{8, []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x7f}, 19_999, "s"},
		{8 * 20_000, []byte{0, 0, 0, 0, 0, 0, 0xf0, 0xff}, 0, "s"},
		{8*20_000 + 4, []byte{0, 0, 0x80, 0x7f}, 69_999, "w"},
		{8*20_000 + 4*70_000, []byte{1, 0, 0xc0, 0xff}, 0, "w"},
	} {
		bad := bytes.Clone(data)
		copy(bad[end-c.at:], c.bytes)
		_, err := ScanUpdate(bytes.NewReader(bad), layout)
		var value *ValueError
		if !errors.As(err, &value) || value.Vector != c.name || value.Index != c.index || !(math.IsNaN(value.Value) || math.IsInf(value.Value, 0)) {
			t.Errorf("%s[%d]: %v", c.name, c.index, err)
		}
	}
}

func FuzzScanUpdate(f *testing.F) {
	u := &Update{Job: "pump", Round: 1, Attempt: 1, Agent: "a", Base: "b", Weight: 1, Vectors: []Vector{{Name: "w", F32: []float32{1, 2, 3}}}}
	layout := LayoutOf(u.Vectors)
	data, err := EncodeUpdate(u)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, decoded := DecodeUpdate(data, layout)
		if _, err := ScanUpdate(bytes.NewReader(data), layout); (err == nil) != (decoded == nil) {
			t.Errorf("scan: %v; decode: %v", err, decoded)
		}
	})
}
