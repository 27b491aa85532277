package iiosource

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// tree is the directory of one device in sysfs.
type tree struct {
	root, name string
	dir        string // once found
}

const devices = "sys/bus/iio/devices"

// find looks the device up: its number may change when it comes back.
func (t *tree) find() error {
	t.dir = ""
	base := filepath.Join(t.root, devices)
	if _, err := os.Stat(filepath.Join(base, t.name)); err == nil {
		t.dir = filepath.Join(base, t.name)
		return nil
	}
	entries, err := os.ReadDir(base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("find IIO device %s: %w", t.name, err)
	}
	var there []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "iio:device") {
			continue
		}
		name, _ := os.ReadFile(filepath.Join(base, e.Name(), "name")) // not every device has one
		label := strings.TrimSpace(string(name))
		there = append(there, e.Name()+" ("+label+")")
		if label != t.name {
			continue
		}
		if t.dir != "" {
			return fmt.Errorf("find IIO device %s: several are called so; name one of them, such as %s", t.name, e.Name())
		}
		t.dir = filepath.Join(base, e.Name())
	}
	if t.dir != "" {
		return nil
	}
	if len(there) == 0 {
		there = []string{"none"}
	}
	return fmt.Errorf("find IIO device %s: there is %s; check wiring, driver and device tree", t.name, strings.Join(there, ", "))
}

// read returns the text of a file of the device.
func (t *tree) read(elem ...string) (string, error) {
	path := filepath.Join(append([]string{t.dir}, elem...)...)
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(text)), nil
}

// number reads a finite number.
func (t *tree) number(elem ...string) (float64, error) {
	text, err := t.read(elem...)
	if err != nil {
		return 0, err
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("read %s: %q is not a number", filepath.Join(append([]string{t.dir}, elem...)...), text)
	}
	return x, nil
}

// first reads the first of several files that exists; ok is false if none does.
func (t *tree) first(names []string) (x float64, ok bool, err error) {
	for _, name := range names {
		x, err = t.number(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return x, err == nil, err
		}
	}
	return 0, false, nil
}

// write sets a file of the device.
func (t *tree) write(value string, elem ...string) error {
	path := filepath.Join(append([]string{t.dir}, elem...)...)
	f, err := os.OpenFile(path, os.O_WRONLY, 0) // never make one
	if err == nil {
		_, err = f.WriteString(value + "\n")
		err = errors.Join(err, f.Close())
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf(`set %s to %s: %w; let a udev rule for SUBSYSTEM=="iio" give the agent's group this directory and the device file`, path, value, err)
	case err != nil:
		return fmt.Errorf("set %s to %s: %w", path, value, err)
	}
	return nil
}

// conversion is what makes base units of an element's raw values.
type conversion struct{ offset, scale float64 }

func (c conversion) base(raw float64) float64 { return (raw + c.offset) * c.scale }

// conversion reads offset and scale of an element. A device without an offset has
// none; one without a scale gives numbers that mean nothing.
func (t *tree) conversion(e element) (conversion, error) {
	offset, _, err := t.first(e.shared("offset"))
	if err != nil {
		return conversion{}, err
	}
	scale, ok, err := t.first(e.shared("scale"))
	switch {
	case err != nil:
		return conversion{}, err
	case !ok:
		return conversion{}, fmt.Errorf("read the scale of %s: %s has no %s; its raw values have no unit", e.name, t.dir, e.shared("scale")[0])
	}
	return conversion{offset, scale * e.kind.toBase}, nil
}
