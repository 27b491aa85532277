package compress

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/millwright-iot/millwright/fedavg"
)

// blockLen is how many numbers share a scale.
const blockLen = 256

// levels is how many steps there are from 0 to the largest number of a block.
func (m Method) levels() int {
	if m == Int4 {
		return 7
	}
	return 127
}

// dice throws what random rounding needs.
type dice struct {
	source *rand.PCG
	bits   uint64
	left   bool
}

func newDice(seed uint64, u *fedavg.Update) *dice {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %q %d %d %q", seed, u.Job, u.Round, u.Attempt, u.Agent))
	return &dice{source: rand.NewPCG(binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:]))}
}

// throw returns a number from 0 to below 1, a multiple of 2^−32.
func (d *dice) throw() float64 {
	if d.left = !d.left; d.left {
		d.bits = d.source.Uint64()
	} else {
		d.bits >>= 32
	}
	return float64(uint32(d.bits)) * 0x1p-32
}

// levels writes, for all vectors, the largest magnitude of every block, 4 bytes
// each, and then each number as the level between −levels and +levels that
// it lies at, plus levels: a byte, or half of one. Between two levels it takes the
// upper as often as it is near it, so that its mean is right (QSGD, arXiv 1610.02132,
// section 3.1, with the largest magnitude for norm).
func (b *body) levels(vectors []fedavg.Vector, levels int, d *dice) {
	for _, v := range vectors {
		for from := 0; from < len(v.F32); from += blockLen {
			b.data = binary.LittleEndian.AppendUint32(b.data, math.Float32bits(scaleOf(block(v.F32, from))))
		}
	}
	b.cut()
	codes := &packer{body: b, bytes: levels > 7}
	for _, v := range vectors {
		for from := 0; from < len(v.F32); from += blockLen {
			x := block(v.F32, from)
			scale := float64(scaleOf(x))
			for _, x := range x {
				level := levels
				if scale > 0 {
					level += int(math.Floor(float64(x)/scale*float64(levels) + d.throw()))
				}
				codes.put(byte(level))
			}
		}
	}
	codes.end()
}

// packer writes codes of a byte, or two to a byte, low half first.
type packer struct {
	*body
	bytes, half bool
	low         byte
}

func (p *packer) put(code byte) {
	switch {
	case p.bytes:
		p.data = append(p.data, code)
		return
	case p.half:
		p.data = append(p.data, p.low|code<<4)
	}
	p.low, p.half = code, !p.half
}

func (p *packer) end() {
	if p.half {
		p.data = append(p.data, p.low)
	}
}

func readLevels(r *reader, vectors []fedavg.Vector, levels int) {
	size := 0
	scales := make([][]float64, len(vectors))
	for k, v := range vectors {
		size += len(v.F32)
		for from := 0; from < len(v.F32) && r.err == nil; from += blockLen {
			scale := r.float32()
			if !(scale >= 0) || math.IsInf(float64(scale), 0) {
				r.fail("%s: the scale of block %d is %v", v.Name, from/blockLen, scale)
			}
			scales[k] = append(scales[k], float64(scale)/float64(levels))
		}
	}
	bytes := levels > 7
	if !bytes {
		size = size/2 + size%2
	}
	codes := r.take(size)
	if codes == nil {
		return
	}
	at := 0
	for k, v := range vectors {
		for i := range v.F32 {
			var level int
			if bytes {
				level = int(codes[at])
			} else {
				level = int(codes[at/2] >> (4 * (at % 2)) & 15)
			}
			if level > 2*levels {
				r.fail("%s[%d]: level %d of %d", v.Name, i, level, 2*levels)
				return
			}
			v.F32[i] = float32(float64(level-levels) * scales[k][i/blockLen])
			at++
		}
	}
}

func block(x []float32, from int) []float32 { return x[from:min(from+blockLen, len(x))] }

func scaleOf(x []float32) float32 {
	top := uint32(0)
	for _, v := range x {
		top = max(top, math.Float32bits(v)&^(1<<31))
	}
	return math.Float32frombits(top)
}
