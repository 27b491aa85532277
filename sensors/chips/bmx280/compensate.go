package bmx280

import "encoding/binary"

// trim is the calibration in a chip's memory: BMP280 Table 17, BME280 Table 16.
type trim struct {
	t1             uint16
	t2, t3         int16
	p1             uint16
	p2, p3, p4, p5 int16
	p6, p7, p8, p9 int16
	h1, h3         uint8
	h2, h4, h5     int16 // h4 and h5 have 12 bits
	h6             int8
}

// parseTrim reads the registers 0x88 to 0xA1, and for a BME280 0xE1 to 0xE7.
func parseTrim(low *[26]byte, high *[7]byte) trim {
	u := func(i int) uint16 { return binary.LittleEndian.Uint16(low[i:]) }
	s := func(i int) int16 { return int16(u(i)) }
	c := trim{
		t1: u(0), t2: s(2), t3: s(4),
		p1: u(6), p2: s(8), p3: s(10), p4: s(12), p5: s(14), p6: s(16), p7: s(18), p8: s(20), p9: s(22),
	}
	if high != nil {
		c.h1 = low[25]
		c.h2 = int16(binary.LittleEndian.Uint16(high[0:]))
		c.h3 = high[2]
		c.h4 = int16(int8(high[3]))<<4 | int16(high[4]&0x0F)
		c.h5 = int16(int8(high[5]))<<4 | int16(high[4]>>4)
		c.h6 = int8(high[6])
	}
	return c
}

// The formulas are the data sheets' in double precision: BMP280 section 8.1
// (p. 44), BME280 section 8.1. raw values have 20 bits, humidity 16.

// temperature returns °C, and the fine temperature that the others need.
func (c *trim) temperature(raw int32) (degC, fine float64) {
	x := float64(raw)
	var1 := (x/16384 - float64(c.t1)/1024) * float64(c.t2)
	d := x/131072 - float64(c.t1)/8192
	fine = var1 + d*d*float64(c.t3)
	// The data sheet keeps fine as an integer from here on.
	return fine / 5120, float64(int64(fine))
}

// pressure returns Pa; ok is false where the formula divides by zero.
func (c *trim) pressure(raw int32, fine float64) (pa float64, ok bool) {
	var1 := fine/2 - 64000
	var2 := var1 * var1 * float64(c.p6) / 32768
	var2 += var1 * float64(c.p5) * 2
	var2 = var2/4 + float64(c.p4)*65536
	var1 = (float64(c.p3)*var1*var1/524288 + float64(c.p2)*var1) / 524288
	var1 = (1 + var1/32768) * float64(c.p1)
	if var1 == 0 {
		return 0, false
	}
	p := (1048576 - float64(raw) - var2/4096) * 6250 / var1
	var1 = float64(c.p9) * p * p / 2147483648
	var2 = p * float64(c.p8) / 32768
	return p + (var1+var2+float64(c.p7))/16, true
}

// humidity returns % of saturation, from 0 to 100.
func (c *trim) humidity(raw int32, fine float64) float64 {
	h := fine - 76800
	h = (float64(raw) - (float64(c.h4)*64 + float64(c.h5)/16384*h)) *
		(float64(c.h2) / 65536 * (1 + float64(c.h6)/67108864*h*(1+float64(c.h3)/67108864*h)))
	h *= 1 - float64(c.h1)*h/524288
	return min(max(h, 0), 100)
}
