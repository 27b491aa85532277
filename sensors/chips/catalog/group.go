package catalog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/millwright-iot/millwright/sensors/bussource"
	"github.com/millwright-iot/millwright/sensors/chips"
)

// Group is the channels that share a chip.
type Group struct {
	Model    *chips.Model
	Device   string // in one spelling
	Options  chips.Options
	Driver   chips.Driver
	Channels []bussource.Channel
}

// GroupByChip checks channels, all on the given bus, and makes a driver for each
// chip they name, in their order. Spell brings the name of a device into one
// spelling, or says what is wrong with it. The error joins everything wrong.
func GroupByChip(bus chips.Bus, channels []chips.Channel, spell func(device string) (string, error)) ([]Group, error) {
	type place struct {
		device  string
		address uint16
	}
	var errs []error
	var order []place
	models := map[place]*chips.Model{}
	members := map[place][]chips.Channel{}
	for _, c := range channels {
		bad := func(err error) {
			errs = append(errs, fmt.Errorf("channel %s/%s: %w", c.Machine, c.Channel, err))
		}
		if c.Bus != bus {
			bad(fmt.Errorf("bus: is %q, not %q", c.Bus, bus))
			continue
		}
		m, err := Find(c.Chip)
		if err != nil {
			bad(err)
			continue
		}
		if err := m.Check(c.Options); err != nil {
			bad(err)
			continue
		}
		device, err := spell(c.Device)
		if err != nil {
			bad(err)
			continue
		}
		c.Device = device
		if bus == chips.I2C && c.Address == 0 {
			c.Address = m.Addresses[0]
		}
		at := place{c.Device, c.Address}
		if models[at] == nil {
			models[at] = m
			order = append(order, at)
		}
		members[at] = append(members[at], c)
	}
	var groups []Group
	for _, at := range order {
		g := Group{Model: models[at], Device: at.device, Options: members[at][0].Options}
		var options []chips.Options
		var names []string
		for _, c := range members[at] {
			options = append(options, c.Options)
			g.Channels = append(g.Channels, bussource.Channel{Machine: c.Machine, Channel: c.Channel})
			names = append(names, c.Machine+"/"+c.Channel)
		}
		var err error
		if g.Driver, err = g.Model.Configure(options); err != nil {
			errs = append(errs, fmt.Errorf("channel %s: %w", strings.Join(names, ", "), err))
			continue
		}
		groups = append(groups, g)
	}
	return groups, errors.Join(errs...)
}
