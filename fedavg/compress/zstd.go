package compress

import (
	"bytes"
	"errors"
	"math"

	"github.com/klauspost/compress/zstd"

	"github.com/millwright-iot/millwright/fedavg"
)

// window bounds the memory of the compressor. Numbers hardly repeat over longer
// distances.
const window = 1 << 18

// body is what goes into the frame.
type body struct {
	data []byte
	cuts []int
}

// minPart is how many bytes are worth statistics of their own.
const minPart = 1 << 10

// cut says that what follows has other statistics than what is there.
func (b *body) cut() {
	last := 0
	if len(b.cuts) > 0 {
		last = b.cuts[len(b.cuts)-1]
	}
	if len(b.data)-last >= minPart {
		b.cuts = append(b.cuts, len(b.data))
	}
}

// deflate returns the magic and the frame.
func (b *body) deflate() ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(magic)
	w, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(window), zstd.WithEncoderCRC(true), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithAllLitEntropyCompression(true)) // there are no matches, but some bytes are commoner than others
	if err != nil {
		return nil, err
	}
	from := 0
	for _, to := range append(b.cuts, len(b.data)) {
		_, err = w.Write(b.data[from:to])
		err = errors.Join(err, w.Flush()) // ends a block, so that the next is coded by itself
		if err != nil {
			return nil, errors.Join(err, w.Close())
		}
		from = to
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// inflate refuses frames that hold more than most bytes.
func inflate(frame []byte, most int64) ([]byte, error) {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(uint64(most)))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.DecodeAll(frame, nil)
}

// planes writes the first byte of every number of all vectors, then the second
// of every one, and so on: signs and exponents, which are much alike, come to lie
// side by side.
func (b *body) planes(vectors []fedavg.Vector) {
	for shift := 0; shift < 64; shift += 8 {
		for _, v := range vectors {
			if shift < 32 {
				for _, x := range v.F32 {
					b.data = append(b.data, byte(math.Float32bits(x)>>shift))
				}
			}
			for _, x := range v.F64 {
				b.data = append(b.data, byte(math.Float64bits(x)>>shift))
			}
		}
		b.cut()
	}
}

func readPlanes(r *reader, vectors []fedavg.Vector) {
	for shift := 0; shift < 64; shift += 8 {
		for _, v := range vectors {
			if shift < 32 {
				for i, b := range r.take(len(v.F32)) {
					v.F32[i] = math.Float32frombits(math.Float32bits(v.F32[i]) | uint32(b)<<shift)
				}
			}
			for i, b := range r.take(len(v.F64)) {
				v.F64[i] = math.Float64frombits(math.Float64bits(v.F64[i]) | uint64(b)<<shift)
			}
		}
	}
}
