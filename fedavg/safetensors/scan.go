package safetensors

import (
	"errors"
	"fmt"
	"io"
)

// Run is a piece of a tensor's bytes, as they come along in a file that is scanned.
type Run struct {
	Tensor int // index, in the order of their bytes
	DType  string
	From   int    // index of the first element
	Data   []byte // whole elements, little-endian; valid during the call
}

// Description is what a header says of a tensor.
type Description struct {
	Name  string
	DType string // "F32" or "F64"
	Shape []int
}

// Scan reads one file from r up to its end and keeps none of it: it calls head
// with what the header says, then run with every piece of every tensor. It uses
// a buffer of constant size, and the header. The first error of head or run ends
// it; its own are those of DecodeFrom.
func Scan(r io.Reader, limits Limits, head func(metadata map[string]string, tensors []Description) error, run func(Run) error) error {
	limits = limits.withDefaults()
	var length [lengthBytes]byte
	if err := readFull(r, length[:], "header length"); err != nil {
		return err
	}
	n, err := headerLen(length, limits)
	if err != nil {
		return err
	}
	text := make([]byte, n)
	if err := readFull(r, text, "header"); err != nil {
		return err
	}
	h, err := parseHeader(text, limits)
	if err != nil {
		return err
	}
	if h.dataLen() > limits.MaxBytes-lengthBytes-n {
		return &LimitError{What: "tensors' data", Got: h.dataLen(), Most: limits.MaxBytes - lengthBytes - n}
	}
	tensors := make([]Description, len(h.tensors))
	for i, d := range h.tensors {
		tensors[i] = Description{Name: d.name, DType: d.dtype, Shape: d.shape}
	}
	if err := head(h.metadata, tensors); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for i, d := range h.tensors {
		size := int64(4)
		if d.dtype == dtypeF64 {
			size = 8
		}
		for done := int64(0); done < d.end-d.begin; {
			part := buf[:min(int64(len(buf)), d.end-d.begin-done)]
			if err := readFull(r, part, "tensor "+d.name); err != nil {
				return err
			}
			if err := run(Run{Tensor: i, DType: d.dtype, From: int(done / size), Data: part}); err != nil {
				return err
			}
			done += int64(len(part))
		}
	}
	switch n, err := io.ReadFull(r, buf[:1]); {
	case n > 0:
		return &FormatError{Reason: fmt.Sprintf("bytes follow the %d that the tensors take", h.dataLen())}
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("decode safetensors: read end: %w", err)
	}
	return nil
}
