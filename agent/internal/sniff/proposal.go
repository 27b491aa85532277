package sniff

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
	"github.com/millwright-iot/millwright/sensors/profile"
)

// Channel is one proposed channel.
type Channel struct {
	Name    string
	Topic   string
	Unit    string // "": none could be guessed
	Spec    decode.Spec
	Example string // what was read, for the reader
	Missing string // what a person must fill in before it is a channel; empty: nothing
}

// Machine is a proposed machine: channels, devices of known families, or both.
type Machine struct {
	Name     string
	Channels []Channel
	Devices  []profile.Device
}

// Report is what was heard and what is proposed.
type Report struct {
	Topics   []*Topic
	Families map[string]string // topic → what it was taken for
	Machines []*Machine
}

// Make judges what was heard.
func Make(topics []*Topic) *Report {
	r := &Report{Topics: topics, Families: map[string]string{}}
	byKey := map[string]*Machine{}
	names := map[string]int{}
	machine := func(key, name string) *Machine {
		m := byKey[key]
		if m == nil {
			m = &Machine{Name: unique(names, clean(name))}
			byKey[key] = m
			r.Machines = append(r.Machines, m)
		}
		return m
	}
	nodes := edgeNodes(topics)
	for _, t := range topics {
		if strings.ContainsAny(t.Name, "{}") {
			r.Families[t.Name] = "left out: to the agent, braces stand for something else"
			continue
		}
		if notSensors.MatchString(t.Name) || len(t.Payloads) == 0 {
			r.Families[t.Name] = "not a measurement"
			continue
		}
		if strings.HasPrefix(t.Name, "spBv1.0/") {
			r.Families[t.Name] = "sparkplug"
			continue
		}
		if ports := vibrationPorts(t); len(ports) > 0 {
			r.Families[t.Name] = "ifm-vvb001-iolink"
			_, name, last := place(t.Name)
			if !vague.MatchString(last) {
				name = last
			}
			for _, port := range ports {
				m := machine(t.Name+" port "+port, name+"-port-"+port)
				m.Devices = append(m.Devices, vibrationSensor(t, port))
			}
			continue
		}
		if f := familyOf(t); f != nil {
			r.Families[t.Name] = f.name
			f.add(machine(f.key, f.machine), t)
			continue
		}
		key, name, last := place(t.Name)
		channels, kind := generic(t, last)
		r.Families[t.Name] = kind
		several := kind == "json" || kind == "csv" || kind == "senml"
		if len(channels) == 1 && (channels[0].Name == channelName(last) || nameless.MatchString(channels[0].Name)) {
			several, channels[0].Name = false, channelName(last) // the payload names nothing: the topic is the channel
		}
		if several && !vague.MatchString(last) {
			key, name = t.Name, last // the topic is the machine, its fields the channels
		}
		if len(channels) > 0 {
			m := machine(key, name)
			m.Channels = append(m.Channels, channels...)
		}
	}
	for _, n := range nodes {
		if d := n.device(); d != nil {
			m := machine("spBv1.0/"+n.group+"/"+n.node+"/"+n.dev, strings.Trim(n.node+"-"+n.dev, "-"))
			m.Devices = append(m.Devices, *d)
		}
	}
	for _, m := range r.Machines {
		m.settle()
	}
	return r
}

// settle makes the names of a machine's channels unique, in devices and outside.
func (m *Machine) settle() {
	seen := map[string]int{}
	for i := range m.Devices {
		channels := map[string]string{}
		for _, name := range sortedKeys(m.Devices[i].Channels) {
			n := unique(seen, name)
			channels[n] = m.Devices[i].Channels[name]
			if u, ok := m.Devices[i].Units[name]; ok && n != name {
				delete(m.Devices[i].Units, name)
				m.Devices[i].Units[n] = u
			}
		}
		m.Devices[i].Channels = channels
	}
	for i := range m.Channels {
		m.Channels[i].Name = unique(seen, m.Channels[i].Name)
	}
}

// vague are last levels of topics that say nothing of the machine.
var vague = regexp.MustCompile(`(?i)^(state|data|telemetry|sensors?|json|values?|measurements?|status|attributes|out|payload|raw|msg|messages?|live|up|row)$`)

// place returns which machine a topic is of, by its levels, and the last level that
// means something.
func place(topic string) (key, machine, last string) {
	levels := strings.Split(strings.Trim(topic, "/"), "/")
	last = levels[len(levels)-1]
	if len(levels) == 1 {
		return topic, last, last
	}
	return strings.Join(levels[:len(levels)-1], "/"), levels[len(levels)-2], last
}

// nameless are fields that say no more than that they hold the value.
var nameless = regexp.MustCompile(`^(value|val|v|data|reading|measurement|x)$`)

var unclean = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// clean makes a name that the configuration takes.
func clean(name string) string {
	name = strings.Trim(unclean.ReplaceAllString(name, "-"), "-_")
	if name == "" {
		name = "unnamed"
	}
	return strings.Trim(name[:min(len(name), 48)], "-_")
}

// channelName makes the name of a channel.
func channelName(field string) string {
	return strings.ToLower(strings.ReplaceAll(clean(field), "-", "_"))
}

func unique(seen map[string]int, name string) string {
	for {
		seen[name]++
		if seen[name] == 1 {
			return name
		}
		name = fmt.Sprintf("%s-%d", name, seen[name])
	}
}

// reads reports whether the agent's decoder gets a sample out of one of the payloads,
// and which.
func reads(spec decode.Spec, unit string, payloads [][]byte) (example string, ok bool) {
	d, err := decode.New(spec)
	if err != nil {
		return "", false
	}
	for _, p := range payloads {
		for _, r := range d.Decode(nil, p) {
			if r.Err != nil || len(r.Samples) == 0 {
				continue
			}
			if len(r.Samples) == 1 {
				return strings.TrimSpace(fmt.Sprintf("%v %s", r.Samples[0], unit)), true
			}
			return fmt.Sprintf("%d samples, the first %.4g %s", len(r.Samples), r.Samples[0], unit), true
		}
	}
	return "", false
}

// knownUnit reports whether the agent takes a unit.
func knownUnit(symbol string) bool {
	_, err := sensors.ParseUnit(symbol)
	return err == nil
}
