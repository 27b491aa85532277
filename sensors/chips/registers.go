package chips

import (
	"fmt"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/spi"
)

// Framing is how a chip spells a register's address in the first byte of a
// transfer. I²C needs most of it only for reads of several bytes.
type Framing struct {
	SPIShift uint8 // the address is shifted left by so much on SPI
	SPIRead  byte  // set on SPI to read
	SPIMulti byte  // set on SPI to go on to the next address, if the chip must be told
	// SPIWriteClear is cleared on SPI to write, where the read bit is a part of
	// the address.
	SPIWriteClear byte
	I2CMulti      byte // set on I²C to go on to the next address
}

// Registers reads and writes the registers of a chip on I²C or SPI.
type Registers struct {
	link    conn.Conn
	spi     spi.Conn // nil on I²C
	framing Framing
	w, r    []byte
	packets []spi.Packet
}

// NewRegisters returns access to the chip behind link. A link that is an
// spi.Conn is used as one, any other as I²C.
func NewRegisters(link conn.Conn, f Framing) *Registers {
	s, _ := link.(spi.Conn)
	return &Registers{link: link, spi: s, framing: f}
}

// OnSPI says which bus it is.
func (g *Registers) OnSPI() bool { return g.spi != nil }

// Write sets register reg to v.
func (g *Registers) Write(reg, v byte) error {
	if g.spi != nil {
		reg = reg << g.framing.SPIShift &^ g.framing.SPIWriteClear
	}
	g.w = append(g.w[:0], reg, v)
	if err := g.link.Tx(g.w, nil); err != nil {
		return fmt.Errorf("write register %#02x: %w", reg, err)
	}
	return nil
}

// Read reads len(dst) registers from reg on into dst.
func (g *Registers) Read(reg byte, dst []byte) error {
	return g.ReadEach(reg, dst, len(dst))
}

// ReadEach fills dst with transfers of width bytes, each of which begins anew at
// reg: the way to pop a FIFO that steps once a transfer. On SPI they are one call
// to the kernel, which leaves the chip unselected for 10 µs between two.
func (g *Registers) ReadEach(reg byte, dst []byte, width int) error {
	if width <= 0 || len(dst)%width != 0 {
		return fmt.Errorf("read register %#02x: %d bytes are not a multiple of %d", reg, len(dst), width)
	}
	if g.spi == nil {
		return g.readI2C(reg, dst, width)
	}
	first := reg<<g.framing.SPIShift | g.framing.SPIRead
	if width > 1 {
		first |= g.framing.SPIMulti
	}
	n := len(dst) / width
	size := n * (1 + width)
	if cap(g.w) < size || cap(g.r) < size {
		g.w, g.r = make([]byte, size), make([]byte, size)
	}
	g.w, g.r = g.w[:size], g.r[:size]
	clear(g.w)
	g.packets = g.packets[:0]
	for i := range n {
		lo, hi := i*(1+width), (i+1)*(1+width)
		g.w[lo] = first
		g.packets = append(g.packets, spi.Packet{W: g.w[lo:hi], R: g.r[lo:hi]})
	}
	var err error
	if n == 1 {
		err = g.spi.Tx(g.w, g.r)
	} else {
		err = g.spi.TxPackets(g.packets)
	}
	if err != nil {
		return fmt.Errorf("read register %#02x: %w", reg, err)
	}
	for i := range n {
		copy(dst[i*width:], g.r[i*(1+width)+1:(i+1)*(1+width)])
	}
	return nil
}

func (g *Registers) readI2C(reg byte, dst []byte, width int) error {
	first := reg
	if width > 1 {
		first |= g.framing.I2CMulti
	}
	for lo := 0; lo < len(dst); lo += width {
		g.w = append(g.w[:0], first)
		if err := g.link.Tx(g.w, dst[lo:lo+width]); err != nil {
			return fmt.Errorf("read register %#02x: %w", reg, err)
		}
	}
	return nil
}

// Identify reads an identity register and returns a *WrongChipError unless it
// holds one of want.
func (g *Registers) Identify(chip, name string, reg byte, want ...byte) (byte, error) {
	var id [1]byte
	if err := g.Read(reg, id[:]); err != nil {
		return 0, fmt.Errorf("identify %s: %w", chip, err)
	}
	for _, w := range want {
		if id[0] == w {
			return w, nil
		}
	}
	return 0, &WrongChipError{Chip: chip, Register: name, Got: id[:], Want: want}
}
