package sniff

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millwright-iot/millwright/agent/internal/sparkplug"
	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
	"github.com/millwright-iot/millwright/sensors/profile"
)

// edge is an edge node of Sparkplug, or a device of one, and its metrics with a number.
type edge struct {
	group, node, dev string
	metrics          []string
	units            map[string]string // that births name, by metric
	payloads         [][]byte
}

// edgeNodes lists the births that were heard. Without a birth nobody knows what a node's
// numbers mean.
func edgeNodes(topics []*Topic) []*edge {
	var list []*edge
	for _, t := range topics {
		levels := strings.Split(t.Name, "/")
		if levels[0] != "spBv1.0" || len(levels) < 4 || len(levels) > 5 || levels[2] != "NBIRTH" && levels[2] != "DBIRTH" {
			continue
		}
		n := &edge{group: levels[1], node: levels[3], payloads: t.Payloads, units: map[string]string{}}
		if len(levels) == 5 {
			n.dev = levels[4]
		}
		for _, p := range t.Payloads {
			for _, m := range metricNames(p, n.units) {
				if !slices.Contains(n.metrics, m) {
					n.metrics = append(n.metrics, m)
				}
			}
		}
		slices.Sort(n.metrics)
		list = append(list, n)
	}
	return list
}

// device proposes the node's metrics whose unit can be guessed, nil if there is none.
func (n *edge) device() *profile.Device {
	d := &profile.Device{
		Profile: "sparkplug", Group: n.group, Node: n.node, Device: n.dev, Channels: map[string]string{}, Units: map[string]string{},
	}
	for _, m := range n.metrics {
		if m == "bdSeq" || strings.HasPrefix(m, "Node Control/") || strings.HasPrefix(m, "Properties/") {
			continue
		}
		unit := n.units[m]
		if _, err := sensors.ParseUnit(unit); err != nil {
			unit = guessUnit(m, 0)
		}
		if unit != "" {
			offer(d, channelName(metricLabel(m)), m, unit, n.payloads)
		}
	}
	if len(d.Channels) == 0 {
		return nil
	}
	return d
}

// metricLabel is the last folder of a metric's name; what is as short as the s of mm/s is
// none.
func metricLabel(name string) string {
	for rest := name; ; {
		i := strings.LastIndex(rest, "/")
		if i < 0 || len(name)-i > 3 {
			return name[i+1:]
		}
		rest = rest[:i]
	}
}

// metricNames lists the names of the metrics of a payload that have an integer or a
// floating-point type (Eclipse Sparkplug 3.0.0, section 6.4.16: 1 to 10), and notes the
// units that they name.
func metricNames(payload []byte, units map[string]string) []string {
	var names []string
	sparkplug.EachField(payload, func(number protowire.Number, _ uint64, metric []byte) {
		if number != 2 {
			return
		}
		name, unit, kind := "", "", uint64(0)
		sparkplug.EachField(metric, func(number protowire.Number, bits uint64, text []byte) {
			switch number {
			case 1:
				name = string(text)
			case 4:
				kind = bits
			case 9:
				unit = decode.EngineeringUnit(text)
			}
		})
		if name != "" && kind >= 1 && kind <= 10 && len(names) < maxLeaves {
			names = append(names, name)
			units[name] = unit
		}
	})
	return names
}
