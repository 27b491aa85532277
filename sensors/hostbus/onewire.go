package hostbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"periph.io/x/conn/v3/onewire"
)

// Commands that the kernel's w1_therm driver can stand in for.
const (
	matchROM       = 0x55
	convert        = 0x44
	readScratchpad = 0xBE
)

// ParseOneWire returns the address of the device that the kernel calls name, family
// code and serial number in hexadecimal: 28-0316a2794bff.
func ParseOneWire(name string) (onewire.Address, error) {
	f, s, ok := strings.Cut(name, "-")
	family, err1 := strconv.ParseUint(f, 16, 8)
	serial, err2 := strconv.ParseUint(s, 16, 48)
	if !ok || len(f) != 2 || len(s) != 12 || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("device: %q is no 1-Wire device; write it as in /sys/bus/w1/devices, such as 28-0316a2794bff", name)
	}
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], serial<<8|family)
	b[7] = onewire.CalcCRC(b[:7])
	return onewire.Address(binary.LittleEndian.Uint64(b[:])), nil
}

// OneWire is the 1-Wire devices that the kernel has found, by way of sysfs, which
// needs no rights, unlike its netlink interface. It can read the scratchpads of
// thermometers; the kernel converts before each read, which takes up to 0.75 s.
type OneWire struct{ host Host }

var _ onewire.BusCloser = (*OneWire)(nil)

// OpenOneWire returns the bus if the kernel has one.
func (h Host) OpenOneWire() (*OneWire, error) {
	if _, err := os.Stat(h.path("sys/bus/w1/devices")); err != nil {
		return nil, fmt.Errorf("open 1-Wire: %w; enable it (on a Raspberry Pi dtoverlay=w1-gpio in config.txt)", err)
	}
	return &OneWire{h}, nil
}

func (o *OneWire) String() string { return "1-Wire" }

// Close does nothing.
func (o *OneWire) Close() error { return nil }

// Tx implements onewire.Bus for Convert T, which does nothing, and Read Scratchpad,
// both to a device selected by its address.
func (o *OneWire) Tx(w, r []byte, _ onewire.Pullup) error {
	if len(w) != 10 || w[0] != matchROM {
		return errors.New("1-Wire by way of the kernel can only select a device and give one command")
	}
	id := binary.LittleEndian.Uint64(w[1:])
	switch w[9] {
	case convert:
		return nil
	case readScratchpad:
		return o.scratchpad(id, r)
	}
	return fmt.Errorf("1-Wire by way of the kernel has no command %#02x", w[9])
}

func (o *OneWire) scratchpad(id uint64, dst []byte) error {
	name := fmt.Sprintf("%02x-%012x", id&0xFF, id>>8&(1<<48-1))
	path := o.host.path("sys/bus/w1/devices", name, "w1_slave")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		there := "there is none"
		if all, _ := o.Search(false); len(all) > 0 {
			there = "there is " + strings.Join(o.host.oneWireNames(), ", ")
		}
		return fmt.Errorf("find 1-Wire device %s: %w; %s; check wiring, and that the module w1_therm is loaded", name, err, there)
	} else if err != nil {
		return fmt.Errorf("read 1-Wire device: %w; it does not answer: check wiring and pull-up", err)
	}
	pad, err := parseScratchpad(string(text))
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	copy(dst, pad[:])
	return nil
}

// parseScratchpad reads the nine bytes that w1_slave begins with, such as
// "50 05 4b 46 7f ff 0c 10 1c : crc=1c YES". Whether their checksum is right is for
// the driver to say.
func parseScratchpad(text string) (pad [9]byte, err error) {
	fields := strings.Fields(text)
	if len(fields) < 9 {
		return pad, fmt.Errorf("%.60q does not begin with nine bytes", text)
	}
	for i := range pad {
		b, err := strconv.ParseUint(fields[i], 16, 8)
		if err != nil {
			return pad, fmt.Errorf("%.60q does not begin with nine bytes", text)
		}
		pad[i] = byte(b)
	}
	return pad, nil
}

// Search returns the devices that the kernel has found.
func (o *OneWire) Search(bool) ([]onewire.Address, error) {
	var found []onewire.Address
	for _, name := range o.host.oneWireNames() {
		if a, err := ParseOneWire(name); err == nil {
			found = append(found, a)
		}
	}
	return found, nil
}

func (h Host) oneWireNames() (names []string) {
	paths, _ := filepath.Glob(h.path("sys/bus/w1/devices", "??-????????????"))
	for _, p := range paths {
		if name := filepath.Base(p); name[:2] != "00" { // a device whose address was misread
			names = append(names, name)
		}
	}
	return names
}
