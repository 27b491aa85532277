// Package safetensors reads and writes the safetensors file format for float32
// and float64 tensors.
//
// A file is: 8 bytes, the header's length as a little-endian unsigned integer;
// the header, a JSON object from tensor name to {"dtype", "shape",
// "data_offsets"}, and optionally "__metadata__", an object of strings; then the
// tensors' bytes, little-endian and row-major. Offsets count from the end of the
// header and must cover the rest of the file without holes or overlaps. The
// format is described at https://github.com/huggingface/safetensors ("Format").
//
// The decoder is stricter than the description in two ways that cost a valid
// file nothing: unknown fields and any other element type are errors. The order
// of tensors is that of their bytes, and survives encoding and decoding.
package safetensors

import (
	"fmt"
	"math"
	"math/bits"
)

// File is the content of a safetensors file.
type File struct {
	Metadata map[string]string
	Tensors  []Tensor // in the order of their bytes
}

// Tensor is a named array. At most one of F32 and F64 is set; the product of
// Shape is its length. A nil Shape is one dimension of that length, when encoding.
type Tensor struct {
	Name  string
	Shape []int
	F32   []float32 // element type F32
	F64   []float64 // element type F64
}

// The element types this package knows, as the format spells them.
const (
	dtypeF32 = "F32"
	dtypeF64 = "F64"
)

const (
	metadataKey   = "__metadata__"
	lengthBytes   = 8
	alignment     = 8 // data starts at a multiple of it, so that a mapped file can be used in place
	maxDimensions = 32
)

func (t *Tensor) dtype() string {
	if t.F64 != nil {
		return dtypeF64
	}
	return dtypeF32
}

func (t *Tensor) len() int { return len(t.F32) + len(t.F64) }

func (t *Tensor) byteLen() int64 { return 4*int64(len(t.F32)) + 8*int64(len(t.F64)) }

// elements is the product of shape, or an error if a dimension is negative or
// the product does not fit an int.
func elements(shape []int) (int, error) {
	if len(shape) > maxDimensions {
		return 0, fmt.Errorf("shape has %d dimensions, more than %d", len(shape), maxDimensions)
	}
	n := uint64(1)
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > math.MaxInt/8 {
			return 0, fmt.Errorf("shape %v is too large", shape)
		}
		n = lo
	}
	return int(n), nil
}

// FormatError says why bytes are not a safetensors file this package reads.
type FormatError struct {
	Tensor string // name, empty when the file as a whole is meant
	Reason string
}

func (e *FormatError) Error() string {
	if e.Tensor == "" {
		return "decode safetensors: " + e.Reason
	}
	return fmt.Sprintf("decode safetensors: tensor %q: %s", e.Tensor, e.Reason)
}

// LimitError says that a file is larger than the reader allowed.
type LimitError struct {
	What      string // "file", "header" or "tensors"
	Got, Most int64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("decode safetensors: %s of size %d exceeds the limit of %d", e.What, e.Got, e.Most)
}
