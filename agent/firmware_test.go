package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/millwright-iot/millwright/sensors/mqttsource"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
	"github.com/millwright-iot/millwright/sensors/profile"
)

func firmware(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("..", "firmware-configs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// statements are the lines that are no comments.
func statements(text string) (list []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			list = append(list, line)
		}
	}
	return list
}

var udevRule = regexp.MustCompile(`^([A-Z]+(==|=|\+=)"[^"]*")(, [A-Z]+(==|=|\+=)"[^"]*")*$`)

// Every rule is of udev's syntax, and every subsystem of a bus the agent reads has one.
func TestUdevRules(t *testing.T) {
	text := firmware(t, "udev/90-millwright-sensors.rules")
	for _, rule := range statements(text) {
		if !udevRule.MatchString(rule) {
			t.Errorf("%s is no rule", rule)
		}
	}
	for _, want := range []string{`SUBSYSTEM=="i2c-dev", GROUP="i2c"`, `SUBSYSTEM=="spidev", GROUP="spi"`, `SUBSYSTEM=="iio", GROUP="iio"`} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s", want)
		}
	}
	if udevadm, err := exec.LookPath("udevadm"); err == nil {
		out, err := exec.Command(udevadm, "verify", "--resolve-names=never", "../firmware-configs/udev/90-millwright-sensors.rules").CombinedOutput()
		if err != nil && !strings.Contains(string(out), "Unknown") && !strings.Contains(string(out), "unrecognized") {
			t.Errorf("udevadm verify: %v: %s", err, out)
		}
	}
}

// The groups of the service are those of the rules.
func TestBusesDropIn(t *testing.T) {
	list := statements(firmware(t, "systemd/millwright-agent.service.d/buses.conf"))
	if list[0] != "[Service]" || list[1] != "SupplementaryGroups=i2c spi iio" {
		t.Errorf("drop-in is %q", list)
	}
	for _, line := range list[1:] {
		if key, value, ok := strings.Cut(line, "="); !ok || key == "" || value == "" {
			t.Errorf("%q is no assignment", line)
		}
	}
}

// What the node publishes is what the profile reads, by the line the file offers.
func TestESPHomeNode(t *testing.T) {
	text := firmware(t, "sensor-nodes/esphome.yaml")
	var node struct {
		MQTT struct {
			Prefix string                          `yaml:"topic_prefix"`
			Birth  struct{ Topic, Payload string } `yaml:"birth_message"`
			Will   struct{ Topic, Payload string } `yaml:"will_message"`
		} `yaml:"mqtt"`
		Sensor []struct{ ID, Name, Platform string } `yaml:"sensor"`
	}
	if err := yaml.Unmarshal([]byte(text), &node); err != nil {
		t.Fatal(err)
	}
	topics := map[string]bool{}
	for _, s := range node.Sensor {
		topics[node.MQTT.Prefix+"/sensor/"+s.Name+"/state"] = true // the object id is made of the name
	}
	var config struct {
		Devices []profile.Device `yaml:"devices"`
	}
	_, rest, _ := strings.Cut(text, "#   devices:\n")
	line, _, _ := strings.Cut(rest, "\n")
	if err := yaml.Unmarshal([]byte("devices:\n"+strings.Replace(line, "#", " ", 1)), &config); err != nil || len(config.Devices) != 1 {
		t.Fatalf("%v in %q", err, line)
	}
	channels, problems := config.Devices[0].Expand("press-1")
	if len(problems) > 0 || len(channels) != len(topics) {
		t.Fatalf("%v, %d channels of %d", problems, len(channels), len(topics))
	}
	for _, c := range channels {
		if !topics[c.Topic] || len(c.Availability) != 1 || c.Availability[0] != node.MQTT.Will.Topic || node.MQTT.Will.Topic != node.MQTT.Birth.Topic {
			t.Errorf("channel %+v is none of %v", c, topics)
		}
	}
	if node.MQTT.Birth.Payload != "online" || node.MQTT.Will.Payload != "offline" {
		t.Errorf("birth and will are %+v", node.MQTT)
	}
}

var tasmotaCommand = regexp.MustCompile(`^[A-Z][A-Za-z]+[0-9]* \S+$`)

// Every line is a Backlog of commands with a value, and the topics they make are those
// the profile reads.
func TestTasmotaNode(t *testing.T) {
	values := map[string]string{}
	for _, line := range statements(firmware(t, "sensor-nodes/tasmota.txt")) {
		commands, ok := strings.CutPrefix(line, "Backlog ")
		if !ok || strings.Count(line, ";") >= 30 { // Tasmota's limit of commands in one Backlog
			t.Errorf("%q is no Backlog", line)
		}
		for command := range strings.SplitSeq(commands, "; ") {
			if !tasmotaCommand.MatchString(command) {
				t.Errorf("%q is no command with a value", command)
			}
			name, value, _ := strings.Cut(command, " ")
			values[name] = value
		}
	}
	topic := strings.NewReplacer("%prefix%", "tele", "%topic%", values["Topic"]).Replace(values["FullTopic"]) + "SENSOR"
	d := profile.Device{Profile: "tasmota", Device: values["Topic"], Channels: map[string]string{"temperature": "DS18B20.Temperature"}}
	channels, problems := d.Expand("fan-2")
	if len(problems) > 0 || channels[0].Topic != topic {
		t.Fatalf("%v; profile reads %v, the node publishes %s", problems, channels, topic)
	}
	reading := mustDecode(t, channels[0], `{"Time":"2026-01-01T10:00:00","DS18B20":{"Id":"01","Temperature":41.25},"TempUnit":"C"}`)
	if len(reading.Samples) != 1 || reading.Samples[0] != 41.25 {
		t.Errorf("read %+v", reading)
	}
}

func mustDecode(t *testing.T, c mqttsource.Channel, payload string) decode.Reading {
	t.Helper()
	d, err := decode.New(c.Decode)
	if err != nil {
		t.Fatal(err)
	}
	return d.Decode(nil, []byte(payload))[0]
}
