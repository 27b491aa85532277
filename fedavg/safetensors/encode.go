package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

type entry struct {
	DType       string   `json:"dtype"`
	Shape       []int    `json:"shape"`
	DataOffsets [2]int64 `json:"data_offsets"`
}

// Encode writes f to w: header first, then tensors in their order, through a
// buffer of constant size. The same File gives the same bytes. It refuses names
// that are empty, repeated or not UTF-8, a tensor with both element types, and a
// shape that does not match the number of elements.
func Encode(w io.Writer, f File) error {
	header, err := f.header()
	if err != nil {
		return fmt.Errorf("encode safetensors: %w", err)
	}
	if _, err := w.Write(header); err != nil {
		return fmt.Errorf("encode safetensors: %w", err)
	}
	buf := make([]byte, 0, 32<<10)
	for i := range f.Tensors {
		if err := f.Tensors[i].write(w, buf); err != nil {
			return fmt.Errorf("encode safetensors: tensor %q: %w", f.Tensors[i].Name, err)
		}
	}
	return nil
}

// Marshal returns what Encode writes.
func Marshal(f File) ([]byte, error) {
	var b bytes.Buffer
	size := int64(0)
	for i := range f.Tensors {
		size += f.Tensors[i].byteLen()
	}
	if size > math.MaxInt-(1<<20) {
		return nil, errors.New("encode safetensors: tensors do not fit the memory of this machine")
	}
	b.Grow(int(size) + 256*(len(f.Tensors)+len(f.Metadata)+1))
	if err := Encode(&b, f); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// header returns the length, the JSON in the order of the tensors, and the
// spaces that align the data.
func (f File) header() ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, lengthBytes, 1024))
	comma := "{"
	field := func(key string, value any) error {
		k, err := json.Marshal(key)
		if err != nil {
			return err
		}
		v, err := json.Marshal(value)
		if err != nil {
			return err
		}
		b.WriteString(comma)
		b.Write(k)
		b.WriteByte(':')
		b.Write(v)
		comma = ","
		return nil
	}
	if f.Metadata != nil {
		for k, v := range f.Metadata {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				return nil, fmt.Errorf("metadata %q is not UTF-8", k)
			}
		}
		if err := field(metadataKey, f.Metadata); err != nil { // encoding/json sorts the keys
			return nil, err
		}
	}
	offset := int64(0)
	seen := make(map[string]bool, len(f.Tensors))
	for i := range f.Tensors {
		t := &f.Tensors[i]
		e, err := t.entry(offset)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("tensor %q: name is used twice", t.Name)
		}
		seen[t.Name] = true
		offset = e.DataOffsets[1]
		if err := field(t.Name, e); err != nil {
			return nil, err
		}
	}
	if comma == "{" {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	if over := b.Len() % alignment; over != 0 {
		b.WriteString(strings.Repeat(" ", alignment-over))
	}
	header := b.Bytes()
	binary.LittleEndian.PutUint64(header, uint64(len(header)-lengthBytes))
	return header, nil
}

func (t *Tensor) entry(offset int64) (entry, error) {
	switch {
	case t.Name == "":
		return entry{}, errors.New("name is empty")
	case t.Name == metadataKey:
		return entry{}, errors.New("name is reserved")
	case !utf8.ValidString(t.Name):
		return entry{}, errors.New("name is not UTF-8")
	case t.F32 != nil && t.F64 != nil:
		return entry{}, errors.New("both F32 and F64 are set")
	}
	shape := slices.Clone(t.Shape)
	if t.Shape == nil {
		shape = []int{t.len()}
	}
	n, err := elements(shape)
	if err != nil {
		return entry{}, err
	}
	if n != t.len() {
		return entry{}, fmt.Errorf("shape %v holds %d elements, not %d", shape, n, t.len())
	}
	return entry{DType: t.dtype(), Shape: shape, DataOffsets: [2]int64{offset, offset + t.byteLen()}}, nil
}

func (t *Tensor) write(w io.Writer, buf []byte) error {
	for part := range slices.Chunk(t.F32, cap(buf)/4) {
		b := buf[:4*len(part)]
		for i, x := range part {
			binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(x))
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(t.F64, cap(buf)/8) {
		b := buf[:8*len(part)]
		for i, x := range part {
			binary.LittleEndian.PutUint64(b[8*i:], math.Float64bits(x))
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}
