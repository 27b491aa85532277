// Package spisource reads chips on SPI. New makes a [bussource.Source] from channels
// such as
//
//	{bus: spi, device: SPI0.0, chip: adxl345, rate_hz: 3200, range_g: 16, axis: z}
//
// The ports of one controller, such as SPI0.0 and SPI0.1, take turns; each
// controller has a goroutine of its own.
package spisource

import (
	"fmt"
	"io"
	"log/slog"

	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"github.com/millwright-iot/millwright/sensors/bussource"
	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/chips/catalog"
	"github.com/millwright-iot/millwright/sensors/hostbus"
)

// Conn is an open port.
type Conn interface {
	spi.Conn
	io.Closer
}

// Options tunes a Source. The zero value is ready to use.
type Options struct {
	bussource.Options `yaml:",inline"`
	// Open opens a port at a clock, in a mode. Default hostbus.
	Open func(port string, clock physic.Frequency, mode spi.Mode) (Conn, error) `yaml:"-" json:"-"`
}

// New makes a Source of channels on SPI. The error joins every problem found.
func New(channels []chips.Channel, opts Options, log *slog.Logger) (*bussource.Source, error) {
	if opts.Open == nil {
		opts.Open = func(port string, clock physic.Frequency, mode spi.Mode) (Conn, error) {
			c, err := hostbus.Host{}.OpenSPI(port, clock, mode)
			if err != nil {
				return nil, err // not a nil pointer in an interface
			}
			return c, nil
		}
	}
	groups, err := catalog.GroupByChip(chips.SPI, channels, func(device string) (string, error) {
		bus, chipSelect, err := hostbus.ParseSPI(device)
		return fmt.Sprintf("SPI%d.%d", bus, chipSelect), err
	})
	if err != nil {
		return nil, fmt.Errorf("configure SPI: %w", err)
	}
	var devices []bussource.Device
	for _, g := range groups {
		bus, _, err := hostbus.ParseSPI(g.Device)
		if err != nil {
			return nil, fmt.Errorf("configure SPI: %w", err)
		}
		clock := g.Model.SPIClock
		if hz := g.Options.SpeedHz; hz > 0 {
			clock = physic.Frequency(hz) * physic.Hertz
		}
		devices = append(devices, bussource.Device{
			Bus: fmt.Sprintf("SPI%d", bus), Name: g.Device + " " + g.Model.Name,
			Driver: g.Driver, Channels: g.Channels,
			Open: func() (bussource.Link, error) {
				c, err := opts.Open(g.Device, clock, g.Model.SPIMode)
				if err != nil {
					return bussource.Link{}, err
				}
				return bussource.Link{Conn: c, Close: c.Close}, nil
			},
		})
	}
	return bussource.New(devices, opts.Options, log)
}
