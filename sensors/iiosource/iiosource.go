// Package iiosource reads devices of Linux Industrial I/O: chips that a driver in the
// kernel handles, of which there are hundreds. New makes a [bussource.Source] from
// channels such as
//
//	{bus: iio, device: iio:device0, element: in_accel_z, rate_hz: 1000}    # a stream, by the buffer
//	{bus: iio, device: bme680, element: in_temp, every: 10s}               # a value now and then, by sysfs
//
// Device is a directory of /sys/bus/iio/devices, or what its file name holds. With
// rate_hz the channel is read through the device's buffer, /dev/iio:deviceN; all
// channels of a device are then streams of one rate. Raw values become base units by
// offset and scale of the device and the unit that the kernel fixes for each type
// (Documentation/ABI/testing/sysfs-bus-iio).
//
// Reading values needs no rights; the buffer needs writing to sysfs and reading the
// device file, which a udev rule grants.
package iiosource

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/millwright-iot/millwright/sensors/bussource"
	"github.com/millwright-iot/millwright/sensors/chips"
)

// Options tunes a Source. The zero value is ready to use.
type Options struct {
	bussource.Options `yaml:",inline"`
	// Root is what /sys and /dev are looked up under. Default "/".
	Root string `yaml:"-" json:"-"`
}

var uses = []string{"rate_hz", "every", "element", "trigger"}

// New makes a Source of channels of IIO devices. The error joins every problem found
// in the configuration; what devices there are is seen by Run.
func New(channels []chips.Channel, opts Options, log *slog.Logger) (*bussource.Source, error) {
	if opts.Root == "" {
		opts.Root = "/"
	}
	var errs []error
	var order []string
	byDevice := map[string][]chips.Channel{}
	for _, c := range channels {
		if err := check(c.Options); err != nil {
			errs = append(errs, fmt.Errorf("channel %s/%s: %w", c.Machine, c.Channel, err))
			continue
		}
		if byDevice[c.Device] == nil {
			order = append(order, c.Device)
		}
		byDevice[c.Device] = append(byDevice[c.Device], c)
	}
	var devices []bussource.Device
	for _, name := range order {
		d, err := newDevice(opts.Root, byDevice[name])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		devices = append(devices, d)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("configure IIO: %w", err)
	}
	return bussource.New(devices, opts.Options, log)
}

// check reports everything wrong with the options of one channel.
func check(o chips.Options) error {
	m := chips.Model{Name: "iio", Buses: []chips.Bus{chips.IIO}, Uses: uses}
	errs := []error{m.Check(o)}
	if o.Chip != "" {
		errs = append(errs, errors.New("chip: iio does not use it; leave it out"))
	}
	if o.Device != "" && filepath.Base(o.Device) != o.Device {
		errs = append(errs, fmt.Errorf("device: %q must be a name such as iio:device0, without a path", o.Device))
	}
	k, err := kindOf(o.Element)
	if err == nil {
		err = chips.CheckUnit(o.Unit, k.quantity)
	}
	if o.RateHz != 0 && o.Every != 0 {
		errs = append(errs, errors.New("every: a stream has rate_hz instead; leave one out"))
	}
	return errors.Join(append(errs, err)...)
}

// newDevice makes the device that channels, of one name, share.
func newDevice(root string, channels []chips.Channel) (bussource.Device, error) {
	first := channels[0].Options
	var elements []element
	d := bussource.Device{Bus: first.Device, Name: first.Device}
	for _, c := range channels {
		who := fmt.Sprintf("channel %s/%s", c.Machine, c.Channel)
		if c.RateHz != first.RateHz || c.Every != first.Every || c.Trigger != first.Trigger {
			return d, fmt.Errorf("%s: rate_hz, every, trigger: channels that share a device must agree on them", who)
		}
		k, err := kindOf(c.Element)
		if err != nil {
			return d, fmt.Errorf("%s: %w", who, err)
		}
		if slices.ContainsFunc(elements, func(e element) bool { return e.name == c.Element }) {
			return d, fmt.Errorf("%s: element: another channel already reads %s", who, c.Element)
		}
		elements = append(elements, element{name: c.Element, kind: k})
		d.Channels = append(d.Channels, bussource.Channel{Machine: c.Machine, Channel: c.Channel})
	}
	p := chips.Plan{Every: first.Every}
	for _, e := range elements {
		p.Quantities = append(p.Quantities, e.kind.quantity)
	}
	if first.RateHz == 0 {
		if p.Every == 0 {
			p.Every = chips.DefaultEvery
		}
		d.Driver = &scalars{tree: tree{root: root, name: first.Device}, elements: elements, plan: p}
		d.Open = func() (bussource.Link, error) { return bussource.Link{}, nil }
		return d, nil
	}
	p.RateHz, p.Every = first.RateHz, bufferEvery
	b := &buffer{tree: tree{root: root, name: first.Device}, elements: elements, plan: p, trigger: first.Trigger}
	d.Driver = b
	d.Open = func() (bussource.Link, error) { return bussource.Link{Close: b.close}, nil }
	return d, nil
}

// bufferEvery is how often a buffer is read: the kernel keeps two seconds.
const bufferEvery = 50 * time.Millisecond
