package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"unsafe"
)

// Limits bound what a decoder accepts, before it allocates. Zero fields have
// the defaults.
type Limits struct {
	MaxBytes       int64 // of the whole file; default 1 GiB
	MaxHeaderBytes int64 // of the JSON; default 1 MiB
	MaxTensors     int   // default 10,000
}

func (l Limits) withDefaults() Limits {
	if l.MaxBytes <= 0 {
		l.MaxBytes = 1 << 30
	}
	if l.MaxHeaderBytes <= 0 {
		l.MaxHeaderBytes = 1 << 20
	}
	if l.MaxTensors <= 0 {
		l.MaxTensors = 10_000
	}
	return l
}

// Decode reads a file from data and keeps no part of it. NaN and Inf are
// decoded as they are: whether they may be used is for the caller to say. Errors
// are *FormatError and *LimitError.
func Decode(data []byte, limits Limits) (File, error) {
	limits = limits.withDefaults()
	if n := int64(len(data)); n > limits.MaxBytes {
		return File{}, &LimitError{What: "file", Got: n, Most: limits.MaxBytes}
	}
	if len(data) < lengthBytes {
		return File{}, &FormatError{Reason: fmt.Sprintf("%d bytes are too short for a header", len(data))}
	}
	n, err := headerLen([lengthBytes]byte(data), limits)
	if err != nil {
		return File{}, err
	}
	rest := data[lengthBytes:]
	if n > int64(len(rest)) {
		return File{}, &FormatError{Reason: fmt.Sprintf("header of %d bytes is cut short", n)}
	}
	h, err := parseHeader(rest[:n], limits)
	if err != nil {
		return File{}, err
	}
	rest = rest[n:]
	if h.dataLen() != int64(len(rest)) {
		return File{}, &FormatError{Reason: fmt.Sprintf("tensors take %d bytes, the file holds %d", h.dataLen(), len(rest))}
	}
	f := File{Metadata: h.metadata, Tensors: make([]Tensor, len(h.tensors))}
	for i, d := range h.tensors {
		f.Tensors[i] = d.allocate()
		f.Tensors[i].fill(0, rest[d.begin:d.end])
	}
	return f, nil
}

// DecodeFrom reads one file from r up to its end, never more than the limits
// allow, with a buffer of constant size beside the tensors. Beyond the errors of
// Decode it returns those of r.
func DecodeFrom(r io.Reader, limits Limits) (File, error) {
	limits = limits.withDefaults()
	var length [lengthBytes]byte
	if err := readFull(r, length[:], "header length"); err != nil {
		return File{}, err
	}
	n, err := headerLen(length, limits)
	if err != nil {
		return File{}, err
	}
	header := make([]byte, n)
	if err := readFull(r, header, "header"); err != nil {
		return File{}, err
	}
	h, err := parseHeader(header, limits)
	if err != nil {
		return File{}, err
	}
	if h.dataLen() > limits.MaxBytes-lengthBytes-n { // the sum could overflow
		return File{}, &LimitError{What: "tensors' data", Got: h.dataLen(), Most: limits.MaxBytes - lengthBytes - n}
	}
	f := File{Metadata: h.metadata, Tensors: make([]Tensor, len(h.tensors))}
	buf := make([]byte, 64<<10)
	for i, d := range h.tensors {
		t := d.allocate()
		for done := int64(0); done < d.end-d.begin; {
			part := buf[:min(int64(len(buf)), d.end-d.begin-done)]
			if err := readFull(r, part, "tensor "+d.name); err != nil {
				return File{}, err
			}
			t.fill(done, part)
			done += int64(len(part))
		}
		f.Tensors[i] = t
	}
	switch n, err := io.ReadFull(r, buf[:1]); {
	case n > 0:
		return File{}, &FormatError{Reason: fmt.Sprintf("bytes follow the %d that the tensors take", h.dataLen())}
	case !errors.Is(err, io.EOF):
		return File{}, fmt.Errorf("decode safetensors: read end: %w", err)
	}
	return f, nil
}

func readFull(r io.Reader, dst []byte, what string) error {
	_, err := io.ReadFull(r, dst)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &FormatError{Reason: what + " is cut short"}
	}
	if err != nil {
		return fmt.Errorf("decode safetensors: read %s: %w", what, err)
	}
	return nil
}

func headerLen(b [lengthBytes]byte, limits Limits) (int64, error) {
	n := binary.LittleEndian.Uint64(b[:])
	if n > uint64(limits.MaxHeaderBytes) {
		return 0, &LimitError{What: "header", Got: int64(min(n, math.MaxInt64)), Most: limits.MaxHeaderBytes}
	}
	return int64(n), nil
}

// header is a parsed and checked header.
type header struct {
	metadata map[string]string
	tensors  []description // in the order of their bytes
}

type description struct {
	name       string
	dtype      string
	shape      []int
	begin, end int64
}

// dataLen is where the last tensor ends.
func (h header) dataLen() int64 {
	if len(h.tensors) == 0 {
		return 0
	}
	return h.tensors[len(h.tensors)-1].end
}

// arrange sorts the tensors by their bytes, empty ones in the order of the
// header, and checks that they fill the data from its start without holes.
func (h header) arrange() error {
	sort.SliceStable(h.tensors, func(i, j int) bool {
		a, b := h.tensors[i], h.tensors[j]
		if a.begin != b.begin {
			return a.begin < b.begin
		}
		return a.end < b.end
	})
	at := int64(0)
	for _, d := range h.tensors {
		if d.begin != at {
			return &FormatError{Tensor: d.name, Reason: fmt.Sprintf("data begins at %d, but the tensor before ends at %d", d.begin, at)}
		}
		at = d.end
	}
	return nil
}

// allocate makes the tensor without its values. Its size was checked: the
// header's offsets cannot claim more bytes than the file or the limit has.
func (d description) allocate() Tensor {
	t := Tensor{Name: d.name, Shape: d.shape}
	if d.dtype == dtypeF64 {
		t.F64 = make([]float64, (d.end-d.begin)/8)
	} else {
		t.F32 = make([]float32, (d.end-d.begin)/4)
	}
	return t
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// fill stores data, whole elements, from byte offset on.
func (t *Tensor) fill(offset int64, data []byte) {
	if len(data) == 0 {
		return
	}
	if t.F64 != nil {
		dst := t.F64[offset/8:][:len(data)/8]
		if littleEndian { // the bytes of a []float64 are the file's bytes
			copy(unsafe.Slice((*byte)(unsafe.Pointer(&dst[0])), len(data)), data)
			return
		}
		for i := range dst {
			dst[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
		}
		return
	}
	dst := t.F32[offset/4:][:len(data)/4]
	if littleEndian {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&dst[0])), len(data)), data)
		return
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
}
