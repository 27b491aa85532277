package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// file joins a header and data by hand, as the format's description says.
func file(header string, data ...byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

// reference was written once by the Python package safetensors 0.8.0 (PyPI):
//
//	save({"w": np.array([[1, 2], [3, -0.5]], np.float32), "b": np.array([0.1])}, metadata={"job": "pump"})
var reference = file(`{"__metadata__":{"job":"pump"},"b":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]}}    `,
	0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f,
	0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00, 0x40, 0x40, 0x00, 0x00, 0x00, 0xbf)

var referenceFile = File{
	Metadata: map[string]string{"job": "pump"},
	Tensors: []Tensor{
		{Name: "b", Shape: []int{1}, F64: []float64{0.1}},
		{Name: "w", Shape: []int{2, 2}, F32: []float32{1, 2, 3, -0.5}},
	},
}

func TestDecode_WrittenByPython(t *testing.T) {
	got, err := Decode(reference, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(referenceFile, got); diff != "" {
		t.Error(diff)
	}
	// One byte at a time: pieces may end anywhere.
	got, err = DecodeFrom(iotest.OneByteReader(bytes.NewReader(reference)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(referenceFile, got); diff != "" {
		t.Error(diff)
	}
}

// The Python package aligns the data to 8 bytes as we do, so the same content in
// the same order is the same file.
func TestEncode_SameBytesAsPython(t *testing.T) {
	got, err := Marshal(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, reference) {
		t.Errorf("got  %q\nwant %q", got, reference)
	}
}

func TestEncode_OrderSurvives(t *testing.T) {
	f := File{Metadata: map[string]string{}, Tensors: []Tensor{
		{Name: "z", Shape: []int{3}, F32: []float32{1, 2, 3}},
		{Name: "none", Shape: []int{0, 7}, F32: []float32{}},
		{Name: "also \"none\"", Shape: []int{0}, F64: []float64{}},
		{Name: "a", Shape: []int{}, F64: []float64{math.Inf(-1)}},
		{Name: "big", Shape: []int{20_000}, F64: make([]float64, 20_000)},
		{Name: "big32", Shape: []int{2, 10_001}, F32: make([]float32, 20_002)},
	}}
	for i := range f.Tensors[4].F64 {
		f.Tensors[4].F64[i] = math.Sqrt(float64(i))
		f.Tensors[5].F32[i] = float32(i)
	}
	data, err := Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if n := binary.LittleEndian.Uint64(data); n%8 != 0 {
		t.Errorf("header of %d bytes leaves the data unaligned", n)
	}
	for name, decode := range decoders {
		got, err := decode(data, Limits{})
		if err != nil {
			t.Fatal(name, err)
		}
		if diff := cmp.Diff(f, got); diff != "" {
			t.Error(name, diff)
		}
	}
}

var decoders = map[string]func([]byte, Limits) (File, error){
	"Decode": Decode,
	"DecodeFrom": func(data []byte, l Limits) (File, error) {
		return DecodeFrom(iotest.HalfReader(bytes.NewReader(data)), l)
	},
}

func TestDecode_Empty(t *testing.T) {
	for name, decode := range decoders {
		got, err := decode(file("{}"), Limits{})
		if err != nil || len(got.Tensors) != 0 || got.Metadata != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestDecode_Malformed(t *testing.T) {
	f32 := func(fields string) []byte { return file(`{"a":{`+fields+`}}`, 0, 0, 0, 0) }
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "short"},
		{"length only", file(""), "'{'"},
		{"header cut", file(`{}`)[:9], "cut short"},
		{"not an object", file(`[]`), "'{'"},
		{"space first", file(` {}`), "'{'"},
		{"not JSON", file(`{"a"`), "not JSON"},
		{"not UTF-8", file("{\"\xff\":1}"), "UTF-8"},
		{"something after", file(`{} {}`), "after"},
		{"newline after", file("{}x"), "after"},
		{"tensor is a number", file(`{"a":1}`), "object"},
		{"name twice", file(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{}}`), "twice"},
		{"no name", file(`{"":{}}`), "empty name"},
		{"metadata twice", file(`{"__metadata__":{},"__metadata__":{}}`), "twice"},
		{"metadata key twice", file(`{"__metadata__":{"a":"","a":""}}`), "twice"},
		{"metadata not a string", file(`{"__metadata__":{"a":1}}`), "not a string"},
		{"metadata not an object", file(`{"__metadata__":[]}`), "object"},
		{"unknown field", f32(`"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1`), "unknown field"},
		{"field twice", f32(`"dtype":"F32","dtype":"F32"`), "twice"},
		{"no dtype", f32(`"shape":[1],"data_offsets":[0,4]`), "dtype is missing"},
		{"no shape", f32(`"dtype":"F32","data_offsets":[0,4]`), "shape is missing"},
		{"no offsets", f32(`"dtype":"F32","shape":[1]`), "data_offsets is missing"},
		{"half precision", f32(`"dtype":"F16","shape":[2],"data_offsets":[0,4]`), `"F16" is not supported`},
		{"dtype a number", f32(`"dtype":1,"shape":[1],"data_offsets":[0,4]`), "not supported"},
		{"negative dimension", f32(`"dtype":"F32","shape":[-1],"data_offsets":[0,4]`), "non-negative"},
		{"fractional dimension", f32(`"dtype":"F32","shape":[1.5],"data_offsets":[0,4]`), "non-negative"},
		{"nested shape", f32(`"dtype":"F32","shape":[[1]],"data_offsets":[0,4]`), "non-negative"},
		{"shape a number", f32(`"dtype":"F32","shape":1,"data_offsets":[0,4]`), "array"},
		{"overflowing shape", f32(`"dtype":"F32","shape":[4294967296,4294967296,4294967297],"data_offsets":[0,4]`), "too large"},
		{"huge dimension", f32(`"dtype":"F32","shape":[9223372036854775807],"data_offsets":[0,4]`), "too large"},
		{"one offset", f32(`"dtype":"F32","shape":[1],"data_offsets":[4]`), "pair"},
		{"three offsets", f32(`"dtype":"F32","shape":[1],"data_offsets":[0,4,8]`), "at most 2"},
		{"offsets reversed", f32(`"dtype":"F32","shape":[1],"data_offsets":[4,0]`), "does not fill"},
		{"shape too small", f32(`"dtype":"F32","shape":[],"data_offsets":[0,8]`), "does not fill"},
		{"hole at the start", f32(`"dtype":"F32","shape":[1],"data_offsets":[4,8]`), "begins at 4"},
		{"overlap", file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 0, 0, 0, 0), "begins at 0"},
		{"data cut", f32(`"dtype":"F64","shape":[1],"data_offsets":[0,8]`), ""},
		{"data left over", file(`{}`, 1), ""},
	}
	for _, tt := range tests {
		for name, decode := range decoders {
			_, err := decode(tt.data, Limits{})
			var format *FormatError
			if !errors.As(err, &format) {
				t.Errorf("%s, %s: got %v, want a *FormatError", tt.name, name, err)
			} else if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s, %s: %q does not say %q", tt.name, name, err, tt.want)
			}
		}
	}
}

func TestDecode_Limits(t *testing.T) {
	tests := map[string]Limits{
		"file":    {MaxBytes: int64(len(reference)) - 1},
		"header":  {MaxHeaderBytes: 100},
		"tensors": {MaxTensors: 1},
	}
	for what, limits := range tests {
		for name, decode := range decoders {
			var limit *LimitError
			if _, err := decode(reference, limits); !errors.As(err, &limit) {
				t.Errorf("%s, %s: got %v", what, name, err)
			}
		}
	}
	for name, decode := range decoders {
		if _, err := decode(reference, Limits{MaxBytes: int64(len(reference)), MaxHeaderBytes: 144, MaxTensors: 2}); err != nil {
			t.Errorf("%s: at the limit: %v", name, err)
		}
	}
	// A header that promises more than there is must not be believed.
	huge := file(`{"a":{"dtype":"F64","shape":[1152921504606846975],"data_offsets":[0,9223372036854775800]}}`)
	for name, decode := range decoders {
		if _, err := decode(huge, Limits{}); err == nil {
			t.Errorf("%s: accepts 8 EiB", name)
		}
	}
}

func TestDecodeFrom_ReaderFails(t *testing.T) {
	broken := errors.New("broken")
	for n := range len(reference) {
		r := io.MultiReader(bytes.NewReader(reference[:n]), iotest.ErrReader(broken))
		if _, err := DecodeFrom(r, Limits{}); !errors.Is(err, broken) {
			t.Fatalf("after %d bytes: got %v", n, err)
		}
	}
}

func TestEncode_Refuses(t *testing.T) {
	tests := map[string]File{
		"empty name":       {Tensors: []Tensor{{F32: []float32{1}}}},
		"reserved name":    {Tensors: []Tensor{{Name: "__metadata__"}}},
		"name not UTF-8":   {Tensors: []Tensor{{Name: "\xff"}}},
		"name twice":       {Tensors: []Tensor{{Name: "a"}, {Name: "a"}}},
		"both types":       {Tensors: []Tensor{{Name: "a", F32: []float32{1}, F64: []float64{1}}}},
		"wrong shape":      {Tensors: []Tensor{{Name: "a", Shape: []int{2}, F32: []float32{1}}}},
		"negative shape":   {Tensors: []Tensor{{Name: "a", Shape: []int{-1}, F32: []float32{1}}}},
		"metadata garbled": {Metadata: map[string]string{"a": "\xff"}},
	}
	for name, f := range tests {
		var b bytes.Buffer
		if err := Encode(&b, f); err == nil || b.Len() != 0 {
			t.Errorf("%s: error %v after %d bytes", name, err, b.Len())
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(reference)
	f.Add(file("{}"))
	f.Add(file(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}} `))
	f.Fuzz(func(t *testing.T, data []byte) {
		limits := Limits{MaxBytes: 1 << 20}
		got, err := Decode(data, limits)
		streamed, errFrom := DecodeFrom(bytes.NewReader(data), limits)
		if (err == nil) != (errFrom == nil) {
			t.Fatalf("Decode: %v, DecodeFrom: %v", err, errFrom)
		}
		if err != nil {
			return
		}
		again, err := Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		fromStream, err := Marshal(streamed)
		if err != nil || !bytes.Equal(again, fromStream) {
			t.Fatalf("Decode and DecodeFrom differ: %v", err)
		}
		twice, err := Decode(again, limits)
		if err != nil && len(again) <= 1<<20 {
			t.Fatal(err)
		}
		if b, _ := Marshal(twice); err == nil && !bytes.Equal(b, again) {
			t.Fatal("encoding does not survive decoding")
		}
	})
}
