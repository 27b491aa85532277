package agent

import (
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/replay"
)

// Recorded lists the channels of a filled configuration as a recording names them.
func (c *Config) Recorded() []replay.RecordedChannel {
	var list []replay.RecordedChannel
	add := func(machine, channel string, u sensors.Unit) {
		list = append(list, replay.RecordedChannel{Machine: machine, Channel: channel, Unit: u.Symbol, BaseUnit: u.Quantity.BaseUnit()})
	}
	for i := range c.Machines {
		m := &c.Machines[i]
		for j := range m.Channels {
			if ch := &m.Channels[j]; ch.Wiring.Bus != "" {
				add(m.Name, ch.Name, ch.options().Unit)
			}
		}
		for _, ch := range m.messages() {
			add(m.Name, ch.Channel, ch.Unit)
		}
	}
	return list
}
