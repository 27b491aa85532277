package agent

import (
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/chips/catalog"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// minBaseline is the least number of windows a baseline is learned from.
const minBaseline = 10

func (m *MachineConfig) check(problem problemFunc, path string) {
	m.checkNames(problem, path)
	checkName(problem, path+".class", m.Class)
	if m.Window < 0 {
		problem(path+".window", "is %v; it must be positive", m.Window)
	}
	if m.Baseline < 0 || (m.Baseline > 0 && m.Baseline < minBaseline) {
		problem(path+".baseline", "is %d; fewer than %d windows say nothing about what is normal", m.Baseline, minBaseline)
	}
	if m.StaleAfter < 0 {
		problem(path+".stale_after", "is %v; it must be positive", m.StaleAfter)
	}
	if len(m.Channels) == 0 && len(m.Devices) == 0 {
		problem(path+".channels", "lists no channel; list at least one")
	}
	seen := map[string]string{}
	taken := func(place, key, name string) {
		if first, ok := seen[name]; ok && name != "" {
			problem(key, "%q is already the name of %s; names must be unique on a machine", name, first)
			return
		}
		seen[name] = place
	}
	for j := range m.Channels {
		place := fmt.Sprintf("channels[%d]", j)
		taken(place, path+"."+place+".name", m.Channels[j].Name)
		m.Channels[j].check(problem, path+"."+place)
	}
	for j, d := range m.Devices {
		place := fmt.Sprintf("devices[%d]", j)
		list, wrong := d.Expand("machine")
		for _, p := range wrong {
			problem(path+"."+place+"."+p.Field, "%s", p.Problem)
		}
		for _, ch := range list {
			taken(place, path+"."+place, ch.Channel)
			checkChannelName(problem, path+"."+place+".channels", ch.Channel)
		}
	}
	m.checkMechanics(problem, path)
}

// checkNames checks a machine's name, or those of several.
func (m *MachineConfig) checkNames(problem problemFunc, path string) {
	switch {
	case m.Discover != 0:
		m.checkDiscover(problem, path)
	case len(m.Names) == 0:
		checkName(problem, path+".name", m.Name)
	case m.Name != "":
		problem(path+".name", "excludes names; keep one of them")
	}
	for i, name := range m.Names {
		checkName(problem, fmt.Sprintf("%s.names[%d]", path, i), name)
		if len(m.IDs) > 0 && m.IDs[name] == "" {
			problem(path+".ids", "has none for %q", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.IDs)) {
		if name != m.Name && !slices.Contains(m.Names, name) {
			problem(path+".ids."+name, "there is no machine %q in names", name)
		}
	}
}

// maxDiscover bounds the machines that an entry may discover.
const maxDiscover = 256

// checkDiscover checks an entry whose machines name themselves.
func (m *MachineConfig) checkDiscover(problem problemFunc, path string) {
	if m.Discover < 0 || m.Discover > maxDiscover {
		problem(path+".discover", "is %d; it is how many machines may be discovered, at most %d", m.Discover, maxDiscover)
	}
	for key, set := range map[string]bool{"name": m.Name != "", "names": m.Names != nil, "ids": m.IDs != nil} {
		if set {
			problem(path+"."+key, "excludes discover; keep one of them")
		}
	}
	for j, ch := range m.Channels {
		place := fmt.Sprintf("%s.channels[%d]", path, j)
		switch {
		case ch.Wiring.Bus != "":
			problem(place+".bus", "only what publishes to the broker can be discovered; list the machine by name")
		case !strings.Contains(ch.Topic, "{machine}"):
			problem(place+".topic", "%q does not say where the machine's name stands; write {machine} there", ch.Topic)
		}
	}
	for j, d := range m.Devices {
		list, _ := d.Expand("")
		for _, ch := range list {
			if !strings.Contains(ch.Topic, "{machine}") {
				problem(fmt.Sprintf("%s.devices[%d]", path, j), "topic %q does not say where the machine's name stands; write {machine} in device or topic", ch.Topic)
				break
			}
		}
	}
}

func checkChannelName(problem problemFunc, path, name string) {
	checkName(problem, path, name)
	if strings.Contains(name, ".") {
		problem(path, "%q contains a '.', which separates channel and feature; use '-' or '_'", name)
	}
}

func (ch *ChannelConfig) check(problem problemFunc, path string) {
	checkChannelName(problem, path+".name", ch.Name)
	if _, err := sensors.ParseUnit(ch.Unit); err != nil {
		problem(path+".unit", "%v", err)
	}
	if ch.Wiring.Bus != "" {
		ch.checkChip(problem, path)
		return
	}
	wiring := ch.Wiring
	wiring.Device = ""
	if key := firstSet(wiring); key != "" {
		problem(path+"."+key, "is for a chip on a bus; name the bus (i2c, spi, 1wire or iio), or remove it")
	}
	switch {
	case ch.Topic == "":
		problem(path+".topic", "is missing; name the MQTT topic the sensor publishes to, or the bus of the chip")
	case strings.ContainsAny(ch.Topic, "+#\x00"):
		problem(path+".topic", "%q contains a wildcard; one channel reads one topic", ch.Topic)
	}
	for _, p := range ch.Decode.Problems() {
		problem(path+"."+p.Field, "%s", p.Problem)
	}
	// The decoder would ignore these in silence.
	one := ch.Decode.Format == decode.Scalar || ch.Decode.Format == decode.JSON
	switch {
	case one && ch.Decode.RateHz != 0:
		problem(path+".rate_hz", "has no meaning for format %s, which is one value a message; remove it, or use json_array, int16 or float32", ch.Decode.Format)
	case ch.Decode.TimeFormat != "" && ch.Decode.TimePath == "":
		problem(path+".time_format", "is set without time_path; name where the time stands, or remove it")
	}
}

// checkChip checks a channel on a bus.
func (ch *ChannelConfig) checkChip(problem problemFunc, path string) {
	rest := ch.Decode
	rest.RateHz = 0
	if key := firstSet(rest); key != "" {
		problem(path+"."+key, "is for messages; remove it, or remove bus")
	}
	for key, set := range map[string]bool{"topic": ch.Topic != "", "availability": ch.Availability != nil, "shared": ch.Shared} {
		if set {
			problem(path+"."+key, "is for messages; remove it, or remove bus")
		}
	}
	var err error
	switch ch.Wiring.Bus {
	case chips.I2C, chips.SPI, chips.OneWire:
		var model *chips.Model
		if model, err = catalog.Find(ch.Wiring.Chip); err != nil {
			problem(path+".chip", "%v", err)
			return
		}
		err = model.Check(ch.options())
	case chips.IIO: // needs no driver of ours; checked together
	default:
		problem(path+".bus", "unknown bus %q; use i2c, spi, 1wire or iio", ch.Wiring.Bus)
	}
	if err == nil {
		return
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		key, text, ok := strings.Cut(line, ": ")
		if !ok || !isKey(key) {
			key, text = "device", strings.TrimPrefix(line, "device ")
		}
		problem(path+"."+key, "%s", text)
	}
}

// isKey says whether a channel on a bus has the key.
func isKey(key string) bool {
	t := reflect.TypeFor[chips.Wiring]()
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("yaml") == key {
			return true
		}
	}
	return key == "rate_hz" || key == "unit"
}

// firstSet returns the key of the first field of a struct that is not zero.
func firstSet(s any) string {
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			key, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
			return key
		}
	}
	return ""
}

// checkTogether reports what is wrong with channels that are good each by itself: two
// that read the same value, or a chip's channels that do not agree. c is filled.
func (c *Config) checkTogether(problem problemFunc) {
	_, err := c.sources("", false, slog.New(slog.DiscardHandler), nil, nil)
	if err == nil {
		return
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		problem("machines", "%s", line)
	}
}
