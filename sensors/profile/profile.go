// Package profile knows how families of devices publish over MQTT, so that a
// plant engineer names a device and not topics, paths and units:
//
//	devices:
//	  - {profile: tasmota, device: tasmota_8231A8, channels: {temperature: BME280.Temperature}}
//	  - {profile: ncd, topic: ncd/00:13:a2:00:41:f1:b2:c7}
//
// Units are the vendor's and become base units at the door, as everywhere.
package profile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// Device is one device of a known family, as the agent's configuration names it.
type Device struct {
	// Profile is the family, one of Names.
	Profile string `yaml:"profile"`
	// Device is the device's name in its topics. It may be a capture of
	// mqttsource.Channel.Topic, as {machine}.
	Device string `yaml:"device"`
	// Prefix is what the device's topics begin with where that was changed.
	// Default: the family's.
	Prefix string `yaml:"prefix"`
	// Topic is the topic of the samples, for families without a topic of their
	// own; for the others it replaces theirs. {device} and {field} are filled in.
	Topic string `yaml:"topic"`
	// Group and Node are those of a Sparkplug edge node; Device is empty for a
	// metric of the node itself.
	Group string `yaml:"group"`
	Node  string `yaml:"node"`
	// Channels are the machine's channels by name, each with the device's field
	// that it is. Default: the family's, if all its devices have the same.
	Channels map[string]string `yaml:"channels"`
	// Units are those of channels whose unit the family does not tell, or of a
	// device that was set to other ones.
	Units map[string]string `yaml:"units"`
	// RateHz is the sampling rate of bursts. Default: the family's.
	RateHz float64 `yaml:"rate_hz"`
	// TimeZone is the one the device's clock is set to, for families whose times
	// name none; see decode.Spec. Default: the time of arrival is used.
	TimeZone string `yaml:"time_zone"`
	// Availability are the topics of the device's birth and last will. Default:
	// the family's.
	Availability []string `yaml:"availability"`
}

// family is one row of the table of known devices.
type family struct {
	// topic of the samples; {prefix}, {device}, {group}, {node} and {field} are
	// filled in. Empty: the configuration names it.
	topic        string
	prefix       string
	availability []string
	spec         decode.Spec
	zoneless     bool                      // times name no zone
	path         func(field string) string // default: the field itself; {device} is filled in
	// adjust sets what else a field needs; nil for nothing.
	adjust   func(field string, s *decode.Spec)
	units    []unitOf
	channels map[string]string // default channels; nil where devices differ
}

// port reports whether a device's name says where in a payload it stands.
func (f *family) port() bool { return f.path != nil && strings.Contains(f.path(""), "{device}") }

// unitOf is the unit of the fields whose name ends so, and where a payload
// repeats it, if it does.
type unitOf struct {
	suffix, unit, path string
}

// Names lists the known families, sorted.
func Names() []string { return slices.Sorted(maps.Keys(families())) }

// Expand returns the channels a device gives a machine, sorted by name, and what
// is wrong with d, named by its YAML keys. machine may be empty when the device
// captures {machine}.
func (d Device) Expand(machine string) ([]mqttsource.Channel, []*decode.FieldError) {
	all := families()
	f, ok := all[d.Profile]
	if !ok {
		return nil, []*decode.FieldError{{Field: "profile", Problem: unknown(d.Profile, slices.Sorted(maps.Keys(all)))}}
	}
	var problems []*decode.FieldError
	bad := func(field, format string, args ...any) {
		problems = append(problems, &decode.FieldError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	topic := f.topic
	if d.Topic != "" {
		topic = d.Topic
	}
	if topic == "" {
		bad("topic", "missing; devices of profile %s have no topic of their own: name the one it publishes to", d.Profile)
	}
	for _, need := range []struct{ key, is string }{{"device", d.Device}, {"group", d.Group}, {"node", d.Node}} {
		switch {
		case need.is != "":
		case strings.Contains(topic, "{"+need.key+"}"):
			bad(need.key, "missing; profile %s needs it for the topic %s", d.Profile, topic)
		case f.port() && need.key == "device":
			bad(need.key, "missing; profile %s needs the number of the master's port", d.Profile)
		}
	}
	fields := d.Channels
	if len(fields) == 0 {
		fields = f.channels
	}
	if len(fields) == 0 {
		bad("channels", "missing; devices of profile %s differ: name channels and fields, as in {temperature: <field>}", d.Profile)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Units)) {
		if _, ok := fields[name]; !ok {
			bad("units."+name, "there is no channel %q", name)
		}
	}
	var channels []mqttsource.Channel
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		c, wrong := d.channel(&f, machine, name, fields[name], topic)
		channels, problems = append(channels, c), append(problems, wrong...)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return channels, nil
}

// channel makes one channel.
func (d Device) channel(f *family, machine, name, field, topic string) (c mqttsource.Channel, problems []*decode.FieldError) {
	prefix := f.prefix
	if d.Prefix != "" {
		prefix = strings.TrimSuffix(d.Prefix, "/")
	}
	fill := strings.NewReplacer("{prefix}", prefix, "{device}", d.Device, "{group}", d.Group, "{node}", d.Node, "{field}", field)
	c = mqttsource.Channel{Machine: machine, Channel: name, Topic: fill.Replace(topic), Decode: f.spec}
	if c.Device = d.Device; c.Device == "" {
		c.Device = c.Topic
	}
	if f.port() {
		c.Device = c.Topic + " port " + d.Device
	}
	if d.Profile == "sparkplug" {
		if d.Device != "" {
			c.Topic += "/" + d.Device
		}
		c.Device = strings.TrimSuffix(d.Group+"/"+d.Node+"/"+d.Device, "/")
	}
	availability := f.availability
	if d.Availability != nil {
		availability = d.Availability
	}
	for _, a := range availability {
		c.Availability = append(c.Availability, fill.Replace(a))
	}
	switch f.spec.Format {
	case decode.Scalar:
	default:
		c.Decode.Path = field
		if f.path != nil {
			c.Decode.Path = fill.Replace(f.path(field))
		}
	}
	symbol, declared := d.Units[name]
	for _, u := range f.units {
		if strings.HasSuffix(strings.ToLower(field), strings.ToLower(u.suffix)) {
			if !declared {
				symbol = u.unit
			}
			c.Decode.UnitPath = u.path
			break
		}
	}
	if f.adjust != nil {
		f.adjust(field, &c.Decode)
	}
	if d.RateHz != 0 {
		c.Decode.RateHz = d.RateHz
	}
	if c.Decode.TimeZone = d.TimeZone; f.zoneless && d.TimeZone == "" {
		c.Decode.TimePath = "" // an hour's error is worse than a message's way
	}
	bad := func(key, problem string) {
		problems = append(problems, &decode.FieldError{Field: key, Problem: problem})
	}
	if symbol == "" {
		bad("units."+name, fmt.Sprintf("missing; profile %s does not tell the unit of %q", d.Profile, field))
	} else if unit, err := sensors.ParseUnit(symbol); err != nil {
		bad("units."+name, err.Error())
	} else {
		c.Unit = unit
	}
	for _, p := range c.Decode.Problems() {
		key := p.Field
		if key == "path" {
			key = "channels." + name
		}
		bad(key, p.Problem)
	}
	return c, problems
}

// unknown says which profile was meant.
func unknown(name string, known []string) string {
	if name == "" {
		return "missing; one of " + strings.Join(known, ", ")
	}
	nearest := slices.MinFunc(known, func(a, b string) int {
		return levenshtein.ComputeDistance(a, name) - levenshtein.ComputeDistance(b, name)
	})
	return fmt.Sprintf("unknown profile %q; did you mean %q?", name, nearest)
}
