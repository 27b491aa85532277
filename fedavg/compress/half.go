package compress

import (
	"encoding/binary"
	"math"

	"github.com/millwright-iot/millwright/fedavg"
)

// A run of halves is an exponent e for each vector, 2 bytes, and then the numbers
// over 2^e as IEEE 754 binary16: all low bytes, then all high ones. The exponent puts the
// largest number just below binary16's limit, so that none is too large and few are
// too small for 11 bits of mantissa.

func (b *body) halves(vectors []fedavg.Vector) {
	scales := make([]float64, len(vectors))
	for k, v := range vectors {
		e := 0
		if top := scaleOf(v.F32); top > 0 {
			_, e = math.Frexp(float64(top))
			e -= 15 // top/2^e is from 2^14 to below 2^15
		}
		b.data = binary.LittleEndian.AppendUint16(b.data, uint16(int16(e)))
		scales[k] = math.Ldexp(1, -e)
	}
	b.cut()
	for shift := 0; shift < 16; shift += 8 {
		for k, v := range vectors {
			for _, x := range v.F32 {
				b.data = append(b.data, byte(toHalf(float64(x)*scales[k])>>shift))
			}
		}
		b.cut()
	}
}

func readHalves(r *reader, vectors []fedavg.Vector) {
	scales := make([]float64, len(vectors))
	size := 0
	for k, v := range vectors {
		scales[k] = math.Ldexp(1, int(int16(r.uint16())))
		size += len(v.F32)
	}
	low, high := r.take(size), r.take(size)
	if high == nil {
		return
	}
	for k, v := range vectors {
		for i := range v.F32 {
			v.F32[i] = float32(fromHalf(uint16(low[i])|uint16(high[i])<<8) * scales[k])
		}
		low, high = low[len(v.F32):], high[len(v.F32):]
	}
}

// toHalf rounds x, |x| < 2^15, to binary16, ties to even.
func toHalf(x float64) uint16 {
	sign := uint16(0)
	if math.Signbit(x) {
		sign, x = 1<<15, -x
	}
	if x < 0x1p-14 { // subnormal, in units of 2^−24
		return sign | uint16(math.RoundToEven(x*0x1p24))
	}
	f, e := math.Frexp(x)                        // x = f·2^e, ½ ≤ f < 1
	m := uint16(math.RoundToEven(f * (1 << 11))) // 2^10 … 2^11; the latter carries into the exponent
	return sign | (uint16(e+14)<<10 + m - 1<<10)
}

func fromHalf(h uint16) float64 {
	m, e := float64(h&(1<<10-1)), int(h>>10&31)
	switch e {
	case 31:
		return math.NaN() // infinite or not a number: nothing that toHalf makes
	case 0:
		m = math.Ldexp(m, -24)
	default:
		m = math.Ldexp(m+(1<<10), e-25)
	}
	if h>>15 != 0 {
		return -m
	}
	return m
}
