package hostbus

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Found is a bus, or a chip that the kernel knows of.
type Found struct {
	Kind   string `json:"kind"`             // i2c, spi, 1wire, iio, or kernel: a chip on I²C that a driver in the kernel holds
	Name   string `json:"name"`             // as configurations spell it
	Path   string `json:"path"`             // of its device file or directory
	About  string `json:"about,omitempty"`  // what the kernel calls it
	Access string `json:"access,omitempty"` // why it cannot be used, and the mend; empty if it can
}

// List returns the buses and chips of the box, and whether they can be used. It
// opens device files but sends nothing.
func (h Host) List() []Found {
	var all []Found
	for _, k := range []kind{i2cKind, spiKind} {
		for _, name := range h.names(k) {
			f := Found{Kind: strings.ToLower(k.label), Name: name}
			base := strings.TrimSuffix(k.glob, "*") + strings.TrimPrefix(name, k.label)
			f.Path = h.path("dev", base)
			if k.label == "I2C" {
				f.About = line(h.path("sys/class/i2c-dev", base, "name"))
			}
			if file, err := os.OpenFile(f.Path, os.O_RDWR, 0); err != nil {
				f.Access = h.explain(k, f.Path, err).Error()
			} else if err := file.Close(); err != nil {
				f.Access = fmt.Sprintf("close %s: %v", f.Path, err)
			}
			all = append(all, f)
		}
	}
	for _, p := range glob(h.path("sys/bus/i2c/devices", "*-????")) {
		all = append(all, Found{Kind: "kernel", Name: filepath.Base(p), Path: p, About: line(filepath.Join(p, "name"))})
	}
	for _, name := range h.oneWireNames() {
		all = append(all, Found{Kind: "1wire", Name: name, Path: h.path("sys/bus/w1/devices", name)})
	}
	for _, p := range glob(h.path("sys/bus/iio/devices", "iio:device*")) {
		all = append(all, Found{Kind: "iio", Name: filepath.Base(p), Path: p, About: line(filepath.Join(p, "name"))})
	}
	return all
}

func glob(pattern string) []string {
	paths, _ := filepath.Glob(pattern) // the patterns are constants
	return paths
}

// line returns the first line of a small file, or nothing.
func line(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(first)
}
