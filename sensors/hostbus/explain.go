package hostbus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// kind is a kind of device file, and how a person gets at it.
type kind struct {
	name      string
	glob      string // below /dev
	label     string // of one, before its number
	group     string // that distributions use
	subsystem string // for udev
	class     string // for systemd's DeviceAllow
	enable    string
}

var i2cKind = kind{
	name: "I²C bus", glob: "i2c-*", label: "I2C", group: "i2c", subsystem: "i2c-dev", class: "char-i2c",
	enable: "enable I²C (on a Raspberry Pi dtparam=i2c_arm=on in config.txt) and load the module i2c-dev",
}

var spiKind = kind{
	name: "SPI port", glob: "spidev*", label: "SPI", group: "spi", subsystem: "spidev", class: "char-spidev",
	enable: "enable SPI (on a Raspberry Pi dtparam=spi=on in config.txt)",
}

// explain adds the mend to an error from opening a device file.
func (h Host) explain(k kind, path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		there := "there is none at all; " + k.enable
		if names := h.names(k); len(names) > 0 {
			there = "there is " + strings.Join(names, ", ")
		}
		return fmt.Errorf("open %s %s: %w; %s", k.name, path, err, there)
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("open %s %s: %w; allow it in the systemd unit with DeviceAllow=%s rw", k.name, path, err, k.class)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("open %s %s: %w; %s", k.name, path, err, k.admit(path))
	case errors.Is(err, syscall.EBUSY):
		return fmt.Errorf("open %s %s: %w; another program or a driver in the kernel uses it", k.name, path, err)
	}
	return fmt.Errorf("open %s %s: %w", k.name, path, err)
}

// admit says how a user gets access to path.
func (k kind) admit(path string) string {
	rule := fmt.Sprintf(`add the udev rule SUBSYSTEM=="%s", GROUP="%s", MODE="0660" and the agent's user to group %s`, k.subsystem, k.group, k.group)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o060 != 0o060 {
		return rule
	}
	gid, ok := groupOf(info)
	if !ok || gid == 0 {
		return rule
	}
	name := strconv.Itoa(gid)
	if g, err := user.LookupGroupId(name); err == nil {
		name = g.Name
	}
	return fmt.Sprintf("add the agent's user to group %s (systemd: SupplementaryGroups=%s)", name, name)
}

// names lists the device files of a kind as configurations spell them.
func (h Host) names(k kind) []string {
	paths, _ := filepath.Glob(h.path("dev", k.glob)) // the pattern is a constant
	var names []string
	for _, p := range paths {
		names = append(names, k.label+strings.TrimPrefix(filepath.Base(p), strings.TrimSuffix(k.glob, "*")))
	}
	return names
}
