// Package hostbus opens and lists the buses of this box: I²C, SPI, and 1-Wire and IIO
// by way of the kernel. It is the only one that knows periph's host drivers, which
// work on Linux; elsewhere every call returns an error.
//
// Errors say what to do: which buses there are instead, which group may open a
// device, which line a udev rule or a systemd unit lacks.
package hostbus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
	"periph.io/x/host/v3/sysfs"
)

// Host is the box whose buses to use. The zero value is this one.
type Host struct {
	// Root is what /dev and /sys are looked up under. Default "/". With another
	// root, lists and errors are of what is there, but buses cannot be opened.
	Root string
}

func (h Host) path(elem ...string) string {
	root := h.Root
	if root == "" {
		root = "/"
	}
	return filepath.Join(append([]string{root}, elem...)...)
}

// ParseI2C returns the number of the bus called name: I2C1, i2c-1, /dev/i2c-1 or 1.
func ParseI2C(name string) (int, error) {
	n := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(name, "/dev/"), "i2c-"), "I2C")
	i, err := strconv.Atoi(n)
	if err != nil || i < 0 || i > 9999 {
		return 0, fmt.Errorf("device: %q is no I²C bus; write it as I2C1 or /dev/i2c-1", name)
	}
	return i, nil
}

// ParseSPI returns the bus and chip select of the port called name: SPI0.1,
// spidev0.1, /dev/spidev0.1 or 0.1.
func ParseSPI(name string) (bus, chipSelect int, err error) {
	n := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(name, "/dev/"), "spidev"), "SPI")
	b, c, ok := strings.Cut(n, ".")
	bus, err1 := strconv.Atoi(b)
	chipSelect, err2 := strconv.Atoi(c)
	if !ok || err1 != nil || err2 != nil || bus < 0 || bus > 9999 || chipSelect < 0 || chipSelect > 255 {
		return 0, 0, fmt.Errorf("device: %q is no SPI port; write it as SPI0.0 or /dev/spidev0.0", name)
	}
	return bus, chipSelect, nil
}

// OpenI2C opens a bus by name. The timeout is how long the kernel waits for a
// transfer, in steps of 10 ms; it belongs to the adapter, so that it holds for
// everybody on the bus. Zero leaves it as it is.
func (h Host) OpenI2C(name string, timeout time.Duration) (i2c.BusCloser, error) {
	n, err := ParseI2C(name)
	if err != nil {
		return nil, err
	}
	path := h.path("dev", fmt.Sprintf("i2c-%d", n))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, h.explain(i2cKind, path, err)
	}
	if timeout > 0 {
		err = setI2CTimeout(f, timeout)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("set time-out of %s: %w", path, err)
	}
	if h.Root != "" && h.Root != "/" {
		return nil, fmt.Errorf("open %s: only buses of this box can be opened", path)
	}
	b, err := sysfs.NewI2C(n)
	if err != nil {
		return nil, h.explain(i2cKind, path, err)
	}
	return b, nil
}

// SPIPort is an open SPI port, connected.
type SPIPort struct {
	spi.Conn
	port spi.PortCloser
}

// Close lets the port go.
func (p *SPIPort) Close() error { return p.port.Close() }

// OpenSPI opens a port by name and connects at a clock and in a mode, eight bits a
// word.
func (h Host) OpenSPI(name string, clock physic.Frequency, mode spi.Mode) (*SPIPort, error) {
	bus, chipSelect, err := ParseSPI(name)
	if err != nil {
		return nil, err
	}
	path := h.path("dev", fmt.Sprintf("spidev%d.%d", bus, chipSelect))
	f, err := os.OpenFile(path, os.O_RDWR, 0) // for its error, which periph's hides
	if err != nil {
		return nil, h.explain(spiKind, path, err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if h.Root != "" && h.Root != "/" {
		return nil, fmt.Errorf("open %s: only ports of this box can be opened", path)
	}
	port, err := sysfs.NewSPI(bus, chipSelect)
	if err != nil {
		return nil, h.explain(spiKind, path, err)
	}
	c, err := port.Connect(clock, mode, 8)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %s at %s: %w", path, clock, err), port.Close())
	}
	return &SPIPort{Conn: c, port: port}, nil
}
