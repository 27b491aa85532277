//go:build unix

package iiosource

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// box is a root with a fake sysfs tree: an accelerometer with a buffer, whose device
// file is a pipe, and an environmental sensor without.
type box struct {
	t    testing.TB
	root string
	pipe *os.File // where the driver in the kernel would put frames
}

func newBox(t testing.TB) *box {
	b := &box{t: t, root: t.TempDir()}
	accel := "sys/bus/iio/devices/iio:device0/"
	for path, text := range map[string]string{
		accel + "name":                                              "adxl355",
		accel + "in_accel_scale":                                    "0.000038245",
		accel + "in_accel_x_raw":                                    "256000",
		accel + "sampling_frequency":                                "4000",
		accel + "sampling_frequency_available":                      "1000 2000 4000",
		accel + "trigger/current_trigger":                           "",
		accel + "buffer/enable":                                     "1",
		accel + "buffer/length":                                     "2",
		accel + "scan_elements/in_accel_x_en":                       "1",
		accel + "scan_elements/in_accel_x_index":                    "0",
		accel + "scan_elements/in_accel_x_type":                     "be:s20/32>>12",
		accel + "scan_elements/in_accel_z_en":                       "0",
		accel + "scan_elements/in_accel_z_index":                    "2",
		accel + "scan_elements/in_accel_z_type":                     "be:s20/32>>12",
		accel + "scan_elements/in_temp_en":                          "1",
		accel + "scan_elements/in_temp_index":                       "3",
		accel + "scan_elements/in_temp_type":                        "be:s12/16>>4",
		accel + "scan_elements/in_timestamp_en":                     "0",
		accel + "scan_elements/in_timestamp_index":                  "4",
		accel + "scan_elements/in_timestamp_type":                   "le:s64/64>>0",
		"sys/bus/iio/devices/iio:device1/name":                      "bme680",
		"sys/bus/iio/devices/iio:device1/in_temp_raw":               "-2111",
		"sys/bus/iio/devices/iio:device1/in_temp_offset":            "-100",
		"sys/bus/iio/devices/iio:device1/in_temp_scale":             "-10.5",
		"sys/bus/iio/devices/iio:device1/in_pressure_input":         "101.325",
		"sys/bus/iio/devices/iio:device1/in_humidityrelative_input": "45123",
		"sys/bus/iio/devices/iio:device1/in_voltage0_raw":           "2048",
		"sys/bus/iio/devices/iio:device1/in_voltage_scale":          "0.5",
		"sys/bus/iio/devices/iio:device1/in_power_raw":              "5",
		"sys/bus/iio/devices/iio:device2/name":                      "twin",
		"sys/bus/iio/devices/iio:device3/name":                      "twin",
	} {
		b.write(path, text)
	}
	dev := filepath.Join(b.root, "dev")
	if err := os.MkdirAll(dev, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dev, "iio:device0")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.pipe, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.pipe.Close() })
	return b
}

func (b *box) write(path, text string) {
	b.t.Helper()
	full := filepath.Join(b.root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text+"\n"), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) read(path string) string {
	b.t.Helper()
	text, err := os.ReadFile(filepath.Join(b.root, path))
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// frame is x and z, 20 bits in 32, and the time in ns, aligned to 8: 16 bytes.
func frame(x, z int32, at int64) []byte {
	f := binary.BigEndian.AppendUint32(nil, uint32(x)<<12)
	f = binary.BigEndian.AppendUint32(f, uint32(z)<<12)
	return binary.LittleEndian.AppendUint64(f, uint64(at))
}

// put writes frames of a ramp at a rate until stop is closed.
func (b *box) put(hz float64, stop <-chan struct{}) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began, made := time.Now(), int64(0)
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		var out []byte
		for n := int64(time.Since(began).Seconds() * hz); made < n; made++ {
			out = append(out, frame(int32(made), -int32(made), int64(float64(made)/hz*1e9)+1)...)
		}
		if err := b.pipe.SetWriteDeadline(time.Now().Add(time.Millisecond)); err != nil {
			b.t.Error(err)
			return
		}
		_, _ = b.pipe.Write(out) // a full pipe loses frames, as the kernel does
	}
}
