package agent

import (
	"slices"
	"strings"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/mqttsource"
)

// expand returns the machines that m stands for, with their names filled in.
func (m MachineConfig) expand() []MachineConfig {
	names := m.Names
	if len(names) == 0 {
		names = []string{m.Name}
	}
	list := make([]MachineConfig, len(names))
	for i, name := range names {
		fill := strings.NewReplacer("{machine}", name, "{id}", m.IDs[name])
		one := m
		one.Name, one.Names, one.IDs = name, nil, nil
		one.Channels = slices.Clone(m.Channels)
		for j := range one.Channels {
			ch := &one.Channels[j]
			ch.Topic, ch.Wiring.Device = fill.Replace(ch.Topic), fill.Replace(ch.Wiring.Device)
			ch.Availability = replaceAll(fill, ch.Availability)
			ch.Decode.Path = fill.Replace(ch.Decode.Path)
		}
		one.Devices = slices.Clone(m.Devices)
		for j := range one.Devices {
			d := &one.Devices[j]
			d.Device, d.Topic, d.Group, d.Node = fill.Replace(d.Device), fill.Replace(d.Topic), fill.Replace(d.Group), fill.Replace(d.Node)
			d.Availability = replaceAll(fill, d.Availability)
		}
		list[i] = one
	}
	return list
}

func replaceAll(r *strings.Replacer, list []string) []string {
	out := slices.Clone(list)
	for i := range out {
		out[i] = r.Replace(out[i])
	}
	return out
}

// options are those of the chip a channel is read from.
func (ch *ChannelConfig) options() chips.Options {
	o := chips.Options{Wiring: ch.Wiring, RateHz: ch.Decode.RateHz}
	o.Unit, _ = sensors.ParseUnit(ch.Unit)
	return o
}

// what names the chip, or the element of an IIO device.
func (ch *ChannelConfig) what() string {
	if ch.Wiring.Bus == chips.IIO {
		return ch.Wiring.Element
	}
	return ch.Wiring.Chip
}

// messages lists the channels that come from the broker. c is checked and filled.
func (c *Config) messages() []mqttsource.Channel {
	var list []mqttsource.Channel
	for i := range c.Machines {
		list = append(list, c.Machines[i].messages()...)
	}
	for i := range c.Patterns {
		list = append(list, c.Patterns[i].messages()...)
	}
	return list
}

// captures returns which pattern a channel of messages belongs to.
func (c *Config) captures(channel int) (pattern int) {
	for i := range c.Machines {
		channel -= len(c.Machines[i].messages())
	}
	for i := range c.Patterns {
		if channel -= len(c.Patterns[i].messages()); channel < 0 {
			return i
		}
	}
	return 0
}

func (m *MachineConfig) messages() []mqttsource.Channel {
	var list []mqttsource.Channel
	for _, ch := range m.Channels {
		if ch.Wiring.Bus != "" {
			continue
		}
		unit, _ := sensors.ParseUnit(ch.Unit)
		list = append(list, mqttsource.Channel{
			Machine: m.Name, Channel: ch.Name, Topic: ch.Topic, Device: ch.Wiring.Device, Availability: ch.Availability,
			Unit: unit, Shared: ch.Shared, Decode: ch.Decode,
		})
	}
	for _, d := range m.Devices {
		more, _ := d.Expand(m.Name)
		list = append(list, more...)
	}
	return list
}

// chips lists the channels that come from a kind of bus.
func (c *Config) chips(bus chips.Bus) []chips.Channel {
	var list []chips.Channel
	for _, m := range c.Machines {
		for i := range m.Channels {
			if ch := &m.Channels[i]; ch.Wiring.Bus == bus {
				list = append(list, chips.Channel{Machine: m.Name, Channel: ch.Name, Options: ch.options()})
			}
		}
	}
	return list
}

// quantities maps the channels of a machine to what they measure.
func (m *MachineConfig) quantities() map[string]sensors.Quantity {
	all := map[string]sensors.Quantity{}
	for _, ch := range m.Channels {
		unit, _ := sensors.ParseUnit(ch.Unit)
		all[ch.Name] = unit.Quantity
	}
	for _, ch := range m.messages() {
		all[ch.Channel] = ch.Unit.Quantity
	}
	return all
}

// publishes says that scores and alarms go to a broker.
func (c *Config) publishes() bool { return c.MQTT.Publish && c.MQTT.Broker != "" }
