package agent

import (
	"fmt"
	"strings"
)

// Summary says in a few lines what an agent of this configuration does.
func (c *Config) Summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "gateway %s", c.Gateway)
	if c.MQTT.Broker == "" {
		b.WriteString(" uses no broker")
	} else {
		fmt.Fprintf(&b, " reads %s", c.MQTT.Broker)
	}
	if c.publishes() {
		fmt.Fprintf(&b, " and publishes millwright/%s/<machine>/score and …/alarm there", c.Gateway)
	}
	b.WriteString("\n")
	if s := c.MQTT.Sparkplug; s != nil {
		fmt.Fprintf(&b, "is the Sparkplug edge node %s of group %s\n", s.Node, s.Group)
	}
	if h := c.MQTT.HomeAssistant; h != nil {
		fmt.Fprintf(&b, "announces its machines to Home Assistant under %s/\n", h.Prefix)
	}
	for i := range c.Machines {
		m := &c.Machines[i]
		fmt.Fprintf(&b, "machine %s of class %s:\n", m.Name, m.Class)
		m.summary(&b)
	}
	for i := range c.Patterns {
		m := &c.Patterns[i]
		fmt.Fprintf(&b, "at most %d machines of class %s that it discovers:\n", m.Discover, m.Class)
		m.summary(&b)
	}
	if c.Coordinator != nil {
		fmt.Fprintf(&b, "learns with the coordinator at %s\n", c.Coordinator.Address)
	} else {
		b.WriteString("works alone: no coordinator is configured\n")
	}
	fmt.Fprintf(&b, "shows itself at http://%s/api/v1/status\n", c.API.Listen)
	return b.String()
}

// summary lists a machine's channels and where they come from.
func (m *MachineConfig) summary(b *strings.Builder) {
	for _, ch := range m.Channels {
		if ch.Wiring.Bus != "" {
			fmt.Fprintf(b, "  %s in %s from %s on %s %s\n", ch.Name, ch.Unit, ch.what(), ch.Wiring.Bus, ch.Wiring.Device)
			continue
		}
		fmt.Fprintf(b, "  %s in %s from %s (%s)\n", ch.Name, ch.Unit, ch.Topic, ch.Decode.Format)
	}
	for _, d := range m.Devices {
		list, _ := d.Expand(m.Name) // checked before
		for _, ch := range list {
			fmt.Fprintf(b, "  %s in %s from %s (%s)\n", ch.Channel, ch.Unit, ch.Topic, d.Profile)
		}
	}
}
