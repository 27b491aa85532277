package sniff

import (
	"cmp"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
	"github.com/millwright-iot/millwright/sensors/profile"
)

// family is a known family that a topic belongs to.
type family struct {
	name         string
	key, machine string // which machine it is of
	device       profile.Device
	// field names a path as the profile does; ok is false for what is none.
	field func(path string) (string, bool)
}

var (
	tasmotaTopic = regexp.MustCompile(`^(.+)/([^/]+)/SENSOR$`)
	zigbeeTopic  = regexp.MustCompile(`^zigbee2mqtt/(.+)$`)
	shellyTopic  = regexp.MustCompile(`^(.+)/events/rpc$`)
	esphomeTopic = regexp.MustCompile(`^(.+)/sensor/([^/]+)/state$`)
)

func all(path string) (string, bool) { return path, true }

func under(prefix string) func(string) (string, bool) {
	return func(path string) (string, bool) {
		field, ok := strings.CutPrefix(path, prefix)
		return field, ok && field != "ts"
	}
}

// familyOf recognises the families of package profile by topic and payload, nil if it is
// none of them.
func familyOf(t *Topic) *family {
	list := leaves(t.Payloads[0])
	has := func(path string) bool {
		return slices.ContainsFunc(list, func(l leaf) bool { return l.path == path })
	}
	contains := func(part string) bool {
		return slices.ContainsFunc(list, func(l leaf) bool { return strings.Contains(l.path, part) })
	}
	key, name, last := place(t.Name)
	if !vague.MatchString(last) {
		key, name = t.Name, last
	}
	if m := tasmotaTopic.FindStringSubmatch(t.Name); m != nil && has("Time") {
		f := &family{name: "tasmota", key: "tasmota/" + m[2], machine: m[2], device: profile.Device{Profile: "tasmota", Device: m[2]}, field: all}
		if m[1] != "tele" {
			f.device.Prefix = m[1]
		}
		return f
	}
	if m := zigbeeTopic.FindStringSubmatch(t.Name); m != nil && list != nil {
		return &family{name: "zigbee2mqtt", key: t.Name, machine: m[1], device: profile.Device{Profile: "zigbee2mqtt", Device: m[1]}, field: all}
	}
	if m := shellyTopic.FindStringSubmatch(t.Name); m != nil && contains("params.") {
		return &family{name: "shelly-gen2", key: m[1], machine: m[1], device: profile.Device{Profile: "shelly-gen2", Device: m[1]}, field: under("params.")}
	}
	if m := esphomeTopic.FindStringSubmatch(t.Name); m != nil {
		return &family{
			name: "esphome", key: m[1] + "/sensor", machine: m[1], device: profile.Device{Profile: "esphome", Device: m[1]},
			field: func(string) (string, bool) { return m[2], true },
		}
	}
	switch {
	case contains("sensor_data.") && (contains("_ACC_G") || contains("_velocity_mm_sec")):
		return &family{name: "ncd", key: key, machine: name, device: profile.Device{Profile: "ncd", Topic: t.Name}, field: under("sensor_data.")}
	case has("v_Rms") && has("a_Rms"):
		return &family{name: "ifm-vvb001", key: key, machine: name, device: profile.Device{Profile: "ifm-vvb001", Topic: t.Name}, field: all}
	case contains("-Axis RMS Velocity (in/sec)"):
		return &family{name: "banner-qm30vt3", key: key, machine: name, device: profile.Device{Profile: "banner-qm30vt3", Topic: t.Name}, field: all}
	}
	return nil
}

// add gives a machine what a topic of the family has, as far as the profile reads it.
func (f *family) add(m *Machine, t *Topic) {
	i := slices.IndexFunc(m.Devices, func(d profile.Device) bool {
		return d.Profile == f.device.Profile && d.Device == f.device.Device && d.Topic == f.device.Topic
	})
	if i < 0 {
		f.device.Channels, f.device.Units = map[string]string{}, map[string]string{}
		m.Devices = append(m.Devices, f.device)
		i = len(m.Devices) - 1
	}
	d := &m.Devices[i]
	values := map[string][]float64{}
	for _, p := range t.Payloads {
		list := leaves(p)
		if f.name == "esphome" {
			if x, ok := number(strings.TrimSpace(string(p))); ok {
				list = []leaf{{"", x}}
			}
		}
		for _, l := range list {
			if x, ok := number(l.value); ok {
				values[l.path] = append(values[l.path], x)
			}
		}
	}
	for _, path := range sortedKeys(values) {
		field, ok := f.field(path)
		unit := guessUnit(strings.ReplaceAll(field, `\`, ""), typical(values[path]))
		if !ok || unit == "" {
			continue // a profile may know it, but it tells nothing of a machine
		}
		offer(d, channelName(strings.ReplaceAll(field, `\`, "")), field, unit, t.Payloads)
	}
}

// offer adds a channel to a device if its profile reads it from one of the payloads. The
// unit is the profile's, else the one guessed.
func offer(d *profile.Device, name, field, unit string, payloads [][]byte) {
	if _, taken := d.Channels[name]; taken {
		return
	}
	try := *d
	for _, units := range []map[string]string{nil, {name: unit}} {
		try.Channels, try.Units = map[string]string{name: field}, units
		channels, problems := try.Expand("machine")
		if len(problems) > 0 || len(channels) != 1 {
			continue
		}
		if channels[0].Decode.Format != decode.Sparkplug {
			if _, ok := reads(channels[0].Decode, "", payloads); !ok {
				continue
			}
		}
		d.Channels[name] = field
		if units != nil {
			d.Units[name] = unit
		}
		return
	}
}

// senmlNames lists the resolved names of a SenML pack's numbers (RFC 8428, 4.5).
func senmlNames(payload []byte) map[string]string {
	var pack []map[string]any
	if json.Unmarshal(payload, &pack) != nil {
		return nil
	}
	names := map[string]string{} // → unit it says
	base, baseUnit := "", ""
	for _, r := range pack {
		if s, ok := r["bn"].(string); ok {
			base = s
		}
		if s, ok := r["bu"].(string); ok {
			baseUnit = s
		}
		n, named := r["n"].(string)
		if _, ok := r["v"].(float64); !ok || !named && base == "" {
			continue
		}
		unit, ok := r["u"].(string)
		if !ok {
			unit = baseUnit
		}
		names[base+n] = unit
	}
	return names
}

// senmlUnits are units of RFC 8428, section 12.1, that the agent spells otherwise.
var senmlUnits = map[string]string{"Cel": "degC", "/": "1", "m/s2": "m/s2", "1/min": "rpm", "m3/s": "m3/s", "%RH": ""}

func senml(t *Topic, records map[string]string) []Channel {
	var list []Channel
	for _, name := range sortedKeys(records) {
		unit, known := senmlUnits[records[name]]
		if !known {
			unit = records[name]
		}
		short := name[strings.LastIndexAny(name, ":/")+1:]
		if unit == "" && records[name] == "" {
			unit = guessUnit(short, 0)
		}
		c := Channel{Name: channelName(short), Topic: t.Name, Unit: unit, Spec: decode.Spec{Format: decode.SenML, Path: name, Partial: true}}
		if c, ok := finish(c, t); ok {
			list = append(list, c)
		}
	}
	return list
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
