package samples

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
	"time"
)

func encode(r Row) []byte {
	b := make([]byte, 12, 12+8*len(r.Vector))
	binary.LittleEndian.PutUint64(b[4:], uint64(r.At.UnixNano()))
	for _, x := range r.Vector {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:]))
	return b
}

// decode reads a row; false when its checksum is wrong or a number is not finite.
func decode(b []byte) (Row, bool) { return decodeInto(nil, b) }

// decodeInto is decode with a slice that the vector takes if it has room.
func decodeInto(vector []float64, b []byte) (Row, bool) {
	if len(b) < 12 || len(b)%8 != 4 || crc32.ChecksumIEEE(b[4:]) != binary.LittleEndian.Uint32(b) {
		return Row{}, false
	}
	n := (len(b) - 12) / 8
	r := Row{At: time.Unix(0, int64(binary.LittleEndian.Uint64(b[4:]))).UTC(), Vector: slices.Grow(vector[:0], n)[:n]}
	for i := range r.Vector {
		x := math.Float64frombits(binary.LittleEndian.Uint64(b[12+8*i:]))
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return Row{}, false
		}
		r.Vector[i] = x
	}
	return r, true
}
