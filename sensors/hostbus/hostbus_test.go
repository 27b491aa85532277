package hostbus

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"periph.io/x/conn/v3/onewire"
	"periph.io/x/conn/v3/spi"
)

// box makes a root with the given files, by path; a value of "/" is a directory.
func box(t *testing.T, files map[string]string) Host {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		full := filepath.Join(root, path)
		dir := filepath.Dir(full)
		if text == "/" {
			dir = full
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if text == "/" {
			continue
		}
		if err := os.WriteFile(full, []byte(text), 0o660); err != nil {
			t.Fatal(err)
		}
	}
	return Host{Root: root}
}

func TestParse(t *testing.T) {
	for _, name := range []string{"I2C1", "i2c-1", "/dev/i2c-1", "1"} {
		if n, err := ParseI2C(name); n != 1 || err != nil {
			t.Errorf("ParseI2C(%q) = %d, %v", name, n, err)
		}
	}
	for _, name := range []string{"SPI0.1", "spidev0.1", "/dev/spidev0.1", "0.1"} {
		if b, c, err := ParseSPI(name); b != 0 || c != 1 || err != nil {
			t.Errorf("ParseSPI(%q) = %d, %d, %v", name, b, c, err)
		}
	}
	for _, name := range []string{"", "I2C", "SPI0.0", "I2C-1", "I2Cx", "/dev/i2c-99999999999999999999", "../etc"} {
		if _, err := ParseI2C(name); err == nil || !strings.Contains(err.Error(), "write it as I2C1") {
			t.Errorf("ParseI2C(%q): %v", name, err)
		}
	}
	for _, name := range []string{"", "SPI0", "SPI0.", "SPI.0", "SPI0.-1", "SPI0.256", "I2C1"} {
		if _, _, err := ParseSPI(name); err == nil || !strings.Contains(err.Error(), "write it as SPI0.0") {
			t.Errorf("ParseSPI(%q): %v", name, err)
		}
	}
	// The address of the data sheet's example in the onewire package, checksum 7A.
	if a, err := ParseOneWire("28-000001318252"); err != nil || byte(a) != 0x28 || uint64(a)>>8&0xFFFFFFFFFFFF != 0x000001318252 {
		t.Errorf("ParseOneWire: %#x, %v", a, err)
	}
	// Maxim application note 27: ROM 02 1C B8 01 00 00 00 has checksum A2.
	if a, err := ParseOneWire("02-00000001b81c"); err != nil || a != 0xA200000001B81C02 {
		t.Errorf("ParseOneWire: %#x, %v; want 0xa200000001b81c02", a, err)
	}
	for _, name := range []string{"", "28", "28-0", "28-00000131825g", "2x-000001318252", "28-000001318252/..", "028-00000131825"} {
		if _, err := ParseOneWire(name); err == nil || !strings.Contains(err.Error(), "28-0316a2794bff") {
			t.Errorf("ParseOneWire(%q): %v", name, err)
		}
	}
}

func TestOpen_Absent(t *testing.T) {
	h := box(t, map[string]string{"dev/i2c-0": "", "dev/i2c-20": ""})
	if _, err := h.OpenI2C("I2C1", 0); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "there is I2C0, I2C20") {
		t.Errorf("another bus: %v", err)
	}
	if _, err := h.OpenSPI("SPI0.0", 1e6, spi.Mode0); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "dtparam=spi=on") {
		t.Errorf("no port at all: %v", err)
	}
	if _, err := h.OpenOneWire(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "dtoverlay=w1-gpio") {
		t.Errorf("no 1-Wire: %v", err)
	}
	// A file that is no bus does not take the time-out.
	if _, err := h.OpenI2C("I2C0", time.Second); err == nil || !strings.Contains(err.Error(), "set time-out of") {
		t.Errorf("a file that is no bus: %v", err)
	}
}

func TestExplain(t *testing.T) {
	h := box(t, map[string]string{"dev/i2c-1": "", "dev/spidev0.0": ""})
	path := h.path("dev/i2c-1")
	for _, c := range []struct {
		err  error
		mode os.FileMode
		want string
	}{
		{syscall.EACCES, 0o600, `add the udev rule SUBSYSTEM=="i2c-dev", GROUP="i2c", MODE="0660"`},
		{syscall.EPERM, 0o660, "DeviceAllow=char-i2c rw"},
		{syscall.EBUSY, 0o660, "another program or a driver in the kernel uses it"},
		{syscall.EIO, 0o660, "input/output error"},
	} {
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		err := h.explain(i2cKind, path, &fs.PathError{Op: "open", Path: path, Err: c.err})
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v; want %q", c.err, err, c.want)
		}
	}
	// A file whose group may open it: that group is named.
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if gid, ok := groupOf(info); ok && gid != 0 {
		err := h.explain(i2cKind, path, &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES})
		if !strings.Contains(err.Error(), "add the agent's user to group ") {
			t.Errorf("%v", err)
		}
	} else if os.Geteuid() == 0 {
		if err := os.Chown(path, 0, 12345); err != nil {
			t.Skipf("cannot give the file to another group: %v", err)
		}
		err := h.explain(i2cKind, path, &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES})
		if !strings.Contains(err.Error(), "add the agent's user to group 12345 (systemd: SupplementaryGroups=12345)") {
			t.Errorf("%v", err)
		}
	}
}

// The kernel's text, from a DS18B20 at 23 °C.
const slave = "70 01 4b 46 7f ff 10 10 e1 : crc=e1 YES\n70 01 4b 46 7f ff 10 10 e1 t=23000\n"

func TestOneWire(t *testing.T) {
	h := box(t, map[string]string{
		"sys/bus/w1/devices/28-0316a2794bff/w1_slave": slave,
		"sys/bus/w1/devices/28-000000000001/w1_slave": "garbage",
		"sys/bus/w1/devices/00-800000000000/id":       "", // a ghost
		"sys/bus/w1/devices/w1_bus_master1/name":      "",
	})
	bus, err := h.OpenOneWire()
	if err != nil {
		t.Fatal(err)
	}
	found, err := bus.Search(false)
	if err != nil || len(found) != 2 {
		t.Errorf("found %#x, %v; want two devices", found, err)
	}
	read := func(name string) (pad [9]byte, err error) {
		a, err := ParseOneWire(name)
		if err != nil {
			t.Fatal(err)
		}
		dev := &onewire.Dev{Bus: bus, Addr: a}
		if err := dev.Tx([]byte{0x44}, nil); err != nil {
			t.Error(err)
		}
		err = dev.Tx([]byte{0xBE}, pad[:])
		return pad, err
	}
	if pad, err := read("28-0316a2794bff"); err != nil || pad != [9]byte{0x70, 0x01, 0x4B, 0x46, 0x7F, 0xFF, 0x10, 0x10, 0xE1} {
		t.Errorf("scratchpad % x, %v", pad, err)
	}
	if _, err := read("28-000000000001"); err == nil || !strings.Contains(err.Error(), `"garbage" does not begin with nine bytes`) {
		t.Errorf("garbage: %v", err)
	}
	if _, err := read("28-000000000002"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "there is 28-000000000001, 28-0316a2794bff") {
		t.Errorf("absent device: %v", err)
	}
	if err := bus.Tx([]byte{0xCC, 0x44}, nil, onewire.WeakPullup); err == nil {
		t.Error("a command to all devices was taken")
	}
}

func TestList(t *testing.T) {
	h := box(t, map[string]string{
		"dev/i2c-1": "", "sys/class/i2c-dev/i2c-1/name": "bcm2835 (i2c@7e804000)\n",
		"dev/spidev0.0":                               "",
		"sys/bus/i2c/devices/1-0048/name":             "ads1115\n",
		"sys/bus/w1/devices/28-0316a2794bff/w1_slave": slave,
		"sys/bus/iio/devices/iio:device0/name":        "adxl355\n",
	})
	want := []Found{
		{Kind: "i2c", Name: "I2C1", About: "bcm2835 (i2c@7e804000)"}, {Kind: "spi", Name: "SPI0.0"},
		{Kind: "kernel", Name: "1-0048", About: "ads1115"}, {Kind: "1wire", Name: "28-0316a2794bff"},
		{Kind: "iio", Name: "iio:device0", About: "adxl355"},
	}
	got := h.List()
	if len(got) != len(want) {
		t.Fatalf("found %+v", got)
	}
	for i, f := range got {
		if f.Kind != want[i].Kind || f.Name != want[i].Name || f.About != want[i].About || f.Access != "" || !strings.HasPrefix(f.Path, h.Root) {
			t.Errorf("found %+v; want %+v", f, want[i])
		}
	}
	if all := (Host{Root: t.TempDir()}).List(); len(all) != 0 {
		t.Errorf("an empty box has %+v", all)
	}
}

func FuzzParseScratchpad(f *testing.F) {
	f.Add(slave)
	f.Add("50 05 4b 46 7f ff 0c 10 1c : crc=1c YES")
	f.Add("-1 +2 0x3 4 5 6 7 8 9")
	f.Fuzz(func(t *testing.T, text string) {
		pad, err := parseScratchpad(text)
		if err != nil {
			return
		}
		fields := strings.Fields(text)
		for i, b := range pad {
			if s := strings.TrimLeft(strings.ToLower(fields[i]), "0"); s != "" && b == 0 {
				t.Errorf("%q gave byte %d as 0", text, i)
			}
		}
	})
}
