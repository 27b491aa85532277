// Package i2csource reads chips on I²C. New makes a [bussource.Source] from channels
// such as
//
//	{bus: i2c, device: I2C1, address: 0x76, chip: bme280, measure: humidity}
//
// Every bus has a goroutine of its own: one that is held low stops nobody else.
package i2csource

import (
	"bytes"
	"fmt"
	"log/slog"
	"time"

	"periph.io/x/conn/v3/i2c"

	"github.com/millwright-iot/millwright/sensors/bussource"
	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/chips/catalog"
	"github.com/millwright-iot/millwright/sensors/hostbus"
)

// Options tunes a Source. The zero value is ready to use.
type Options struct {
	bussource.Options `yaml:",inline"`
	// TransferTimeout is how long the kernel waits for one transfer. It is set on
	// the adapter, for everybody. Default 200ms.
	TransferTimeout time.Duration `yaml:"transfer_timeout" json:"transfer_timeout_ns"`
	// Open opens a bus. Default hostbus.
	Open func(bus string, timeout time.Duration) (i2c.BusCloser, error) `yaml:"-" json:"-"`
}

// New makes a Source of channels on I²C. The error joins every problem found.
func New(channels []chips.Channel, opts Options, log *slog.Logger) (*bussource.Source, error) {
	if opts.TransferTimeout == 0 {
		opts.TransferTimeout = 200 * time.Millisecond
	}
	if opts.Open == nil {
		opts.Open = hostbus.Host{}.OpenI2C
	}
	groups, err := catalog.GroupByChip(chips.I2C, channels, func(device string) (string, error) {
		n, err := hostbus.ParseI2C(device)
		return fmt.Sprintf("I2C%d", n), err
	})
	if err != nil {
		return nil, fmt.Errorf("configure I²C: %w", err)
	}
	var devices []bussource.Device
	for _, g := range groups {
		address := g.Options.Address
		devices = append(devices, bussource.Device{
			Bus: g.Device, Name: fmt.Sprintf("%s %#02x %s", g.Device, address, g.Model.Name),
			Driver: g.Driver, Channels: g.Channels,
			Open: func() (bussource.Link, error) {
				b, err := opts.Open(g.Device, opts.TransferTimeout)
				if err != nil {
					return bussource.Link{}, err
				}
				return bussource.Link{Conn: &i2c.Dev{Bus: b, Addr: address}, Close: b.Close}, nil
			},
		})
	}
	return bussource.New(devices, opts.Options, log)
}

// Found is a chip that answered.
type Found struct {
	Chip    string `json:"chip"`
	Address uint16 `json:"address"`
}

// Scan looks for chips that there is a driver for, by reading the registers that
// tell them; it writes nothing but addresses of registers. A chip without such a
// register (ads1115) is not found. It may take a transfer's time-out for each
// address where nothing answers.
func Scan(bus i2c.Bus) (found []Found) {
	for _, m := range catalog.Models() {
		for _, address := range m.Addresses {
			if len(m.IDs) > 0 && answers(&i2c.Dev{Bus: bus, Addr: address}, m.IDs) {
				found = append(found, Found{Chip: m.Name, Address: address})
			}
		}
	}
	return found
}

func answers(dev *i2c.Dev, ids []chips.ID) bool {
	for _, id := range ids {
		got := make([]byte, len(id.Want))
		if dev.Tx([]byte{id.Register}, got) != nil || !bytes.Equal(got, id.Want) {
			return false
		}
	}
	return true
}
