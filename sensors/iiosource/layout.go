package iiosource

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// scanType is how an element lies in a frame of the buffer, as its file _type says:
// "le:s12/16>>4" is little-endian, signed, 12 bits of 16 stored, shifted by 4.
type scanType struct {
	big, signed          bool
	bits, storage, shift uint
}

// parseType reads a _type file. Repeated elements (X) are refused: no sensor of one
// number has them.
func parseType(text string) (t scanType, err error) {
	bad := func() (scanType, error) {
		return scanType{}, fmt.Errorf("parse scan type %q: write it as the kernel does, such as le:s12/16>>4", text)
	}
	order, rest, ok := strings.Cut(text, ":")
	if !ok || len(rest) < 4 || order != "le" && order != "be" || rest[0] != 's' && rest[0] != 'u' {
		return bad()
	}
	t.big, t.signed = order == "be", rest[0] == 's'
	bits, rest, ok := strings.Cut(rest[1:], "/")
	storage, shift, ok2 := strings.Cut(rest, ">>")
	if !ok || !ok2 {
		return bad()
	}
	for _, f := range []struct {
		text string
		to   *uint
	}{{bits, &t.bits}, {storage, &t.storage}, {shift, &t.shift}} {
		n, err := strconv.ParseUint(f.text, 10, 8)
		if err != nil {
			return bad()
		}
		*f.to = uint(n)
	}
	switch t.storage {
	case 8, 16, 32, 64:
	default:
		return bad()
	}
	if t.bits == 0 || t.bits+t.shift > t.storage {
		return bad()
	}
	return t, nil
}

// value reads an element from its storage. Limit says that it is the largest or
// smallest its bits can hold.
func (t scanType) value(raw []byte) (v int64, limit bool) {
	var u uint64
	order := binary.ByteOrder(binary.LittleEndian)
	if t.big {
		order = binary.BigEndian
	}
	switch t.storage {
	case 8:
		u = uint64(raw[0])
	case 16:
		u = uint64(order.Uint16(raw))
	case 32:
		u = uint64(order.Uint32(raw))
	case 64:
		u = order.Uint64(raw)
	}
	u >>= t.shift
	pad := 64 - t.bits
	if t.signed {
		v = int64(u<<pad) >> pad
		top := int64(1) << (t.bits - 1)
		return v, v == top-1 || v == -top
	}
	u = u << pad >> pad
	if u > 1<<62 { // nothing a sensor measures
		return 1 << 62, true
	}
	return int64(u), u == 1<<t.bits-1
}

// field is an enabled element in a frame.
type field struct {
	name   string
	index  int // order in the frame
	typ    scanType
	offset int // in bytes
}

// place sets the offsets of fields, which are in order of index, and returns the
// size of a frame: each element is aligned to its own size, and the frame to the
// largest of them (Documentation/driver-api/iio/buffers.rst).
func place(fields []field) (size int) {
	largest := 1
	for i := range fields {
		n := int(fields[i].typ.storage / 8)
		size = (size + n - 1) / n * n
		fields[i].offset = size
		size += n
		largest = max(largest, n)
	}
	return (size + largest - 1) / largest * largest
}
