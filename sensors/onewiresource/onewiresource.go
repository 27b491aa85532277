// Package onewiresource reads thermometers on 1-Wire. New makes a
// [bussource.Source] from channels such as
//
//	{bus: 1wire, device: 28-0316a2794bff, chip: ds18b20, every: 10s}
//
// By default it goes by way of the kernel's w1_therm driver, which needs no rights.
package onewiresource

import (
	"fmt"
	"log/slog"
	"strings"

	"periph.io/x/conn/v3/onewire"

	"github.com/millwright-iot/millwright/sensors/bussource"
	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/chips/catalog"
	"github.com/millwright-iot/millwright/sensors/chips/ds18b20"
	"github.com/millwright-iot/millwright/sensors/hostbus"
)

// Options tunes a Source. The zero value is ready to use.
type Options struct {
	bussource.Options `yaml:",inline"`
	// Open opens the bus. Default hostbus.
	Open func() (onewire.BusCloser, error) `yaml:"-" json:"-"`
}

// New makes a Source of channels on 1-Wire. The error joins every problem found.
func New(channels []chips.Channel, opts Options, log *slog.Logger) (*bussource.Source, error) {
	if opts.Open == nil {
		opts.Open = func() (onewire.BusCloser, error) {
			b, err := hostbus.Host{}.OpenOneWire()
			if err != nil {
				return nil, err // not a nil pointer in an interface
			}
			return b, nil
		}
	}
	groups, err := catalog.GroupByChip(chips.OneWire, channels, func(device string) (string, error) {
		a, err := hostbus.ParseOneWire(device)
		if err == nil && byte(a) != ds18b20.FamilyCode {
			err = fmt.Errorf("device: %s has family code %02x; a ds18b20 has %02x", device, byte(a), ds18b20.FamilyCode)
		}
		return strings.ToLower(device), err
	})
	if err != nil {
		return nil, fmt.Errorf("configure 1-Wire: %w", err)
	}
	var devices []bussource.Device
	for _, g := range groups {
		address, err := hostbus.ParseOneWire(g.Device)
		if err != nil {
			return nil, fmt.Errorf("configure 1-Wire: %w", err)
		}
		devices = append(devices, bussource.Device{
			Bus: "1-Wire", Name: g.Device + " " + g.Model.Name, Driver: g.Driver, Channels: g.Channels,
			Open: func() (bussource.Link, error) {
				b, err := opts.Open()
				if err != nil {
					return bussource.Link{}, err
				}
				return bussource.Link{Conn: &onewire.Dev{Bus: b, Addr: address}, Close: b.Close}, nil
			},
		})
	}
	return bussource.New(devices, opts.Options, log)
}
