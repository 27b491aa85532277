package sniff

import (
	"encoding/hex"
	"regexp"
	"slices"

	"github.com/millwright-iot/millwright/sensors/profile"
)

// pdin is where an ifm IO-Link master of the series AL1300 puts a port's process data
// into its events.
var pdin = regexp.MustCompile(`^data\.payload\./iolinkmaster/port\[([0-9]+)\]/iolinkdevice/pdin\.data$`)

// vibrationPorts lists the ports at which a master has a vibration sensor VVB001: one
// whose 20 bytes hold five numbers of 16 bits, each with its decimal exponent, -4 for the
// velocity and -1 for the others.
func vibrationPorts(t *Topic) []string {
	var ports []string
	for _, l := range leaves(t.Payloads[0]) {
		m := pdin.FindStringSubmatch(l.path)
		text, _ := l.value.(string)
		b, err := hex.DecodeString(text)
		if m == nil || err != nil || len(b) != 20 {
			continue
		}
		exponents := []byte{b[2], b[6], b[10], b[14], b[18]}
		if slices.Equal(exponents, []byte{0xFC, 0xFF, 0xFF, 0xFF, 0xFF}) {
			ports = append(ports, m[1])
		}
	}
	return ports
}

// vibrationSensor is the device at a port of a master.
func vibrationSensor(t *Topic, port string) profile.Device {
	d := profile.Device{Profile: "ifm-vvb001-iolink", Topic: t.Name, Device: port, Channels: map[string]string{}, Units: map[string]string{}}
	for _, field := range []string{"v_Rms", "a_Peak", "a_Rms", "Temperature", "Crest"} {
		offer(&d, channelName(field), field, "", t.Payloads)
	}
	return d
}
