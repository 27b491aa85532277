// Package chiptest plays recorded traffic back to drivers of chips.
package chiptest

import (
	"testing"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/conntest"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/i2c/i2ctest"
	"periph.io/x/conn/v3/spi"
	"periph.io/x/conn/v3/spi/spitest"

	"github.com/millwright-iot/millwright/sensors/chips"
)

// I2C plays ops back to a driver of the chip at address. At the end of the test all
// of them must have been used.
func I2C(t testing.TB, address uint16, ops ...i2ctest.IO) conn.Conn {
	for i := range ops {
		ops[i].Addr = address
	}
	bus := &i2ctest.Playback{Ops: ops, DontPanic: true}
	t.Cleanup(func() {
		if err := bus.Close(); err != nil {
			t.Error(err)
		}
	})
	return &i2c.Dev{Bus: bus, Addr: address}
}

// SPI plays ops back to a driver. At the end of the test all of them must have been
// used. Packets are played back one by one.
func SPI(t testing.TB, ops ...conntest.IO) spi.Conn {
	port := &spitest.Playback{Playback: conntest.Playback{Ops: ops, DontPanic: true, D: conn.Full}}
	t.Cleanup(func() {
		if err := port.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := port.Connect(1e6, spi.Mode0, 8)
	if err != nil {
		t.Fatal(err)
	}
	return packets{c}
}

// packets sends packets that periph's playback cannot.
type packets struct{ spi.Conn }

func (p packets) TxPackets(all []spi.Packet) error {
	for _, one := range all {
		if err := p.Tx(one.W, one.R); err != nil {
			return err
		}
	}
	return nil
}

// Driver checks and configures a model for options, one a channel.
func Driver(t testing.TB, m *chips.Model, options ...chips.Options) chips.Driver {
	t.Helper()
	for i := range options {
		options[i].Chip, options[i].Device = m.Name, "x"
		if options[i].Bus == "" {
			options[i].Bus = m.Buses[0]
		}
		if err := m.Check(options[i]); err != nil {
			t.Fatal(err)
		}
	}
	d, err := m.Configure(options)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Start starts d on link.
func Start(t testing.TB, d chips.Driver, link conn.Conn) {
	t.Helper()
	if err := d.Start(link); err != nil {
		t.Fatal(err)
	}
}

// Read reads a batch of d.
func Read(t testing.TB, d chips.Driver) *chips.Batch {
	t.Helper()
	b := Batch(d)
	if err := d.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// Batch returns an empty batch for d.
func Batch(d chips.Driver) *chips.Batch {
	b := new(chips.Batch)
	b.Reset(len(d.Plan().Quantities))
	return b
}
