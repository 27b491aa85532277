package publish

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/link"
)

// Machine is a monitored machine as Home Assistant is told of it.
type Machine struct {
	Name, Class string
	// StaleAfter without a score its entities count as unavailable.
	StaleAfter time.Duration
}

// The documents of Home Assistant's MQTT discovery
// (https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery).
type (
	entity struct {
		Name          string   `json:"name"`
		UniqueID      string   `json:"unique_id"`
		StateTopic    string   `json:"state_topic"`
		ValueTemplate string   `json:"value_template"`
		DeviceClass   string   `json:"device_class,omitempty"`
		StateClass    string   `json:"state_class,omitempty"`
		Precision     int      `json:"suggested_display_precision,omitempty"`
		Options       []string `json:"options,omitempty"`
		Attributes    string   `json:"json_attributes_topic,omitempty"`
		Icon          string   `json:"icon,omitempty"`
		ExpireAfter   int      `json:"expire_after,omitempty"` // seconds
		Availability  string   `json:"availability_topic"`
		Device        device   `json:"device"`
		Origin        origin   `json:"origin"`
	}
	device struct {
		Identifiers  []string `json:"identifiers"`
		Name         string   `json:"name"`
		Manufacturer string   `json:"manufacturer"`
		Model        string   `json:"model"`
		SerialNumber string   `json:"serial_number"`
	}
	origin struct {
		Name    string `json:"name"`
		Version string `json:"sw_version,omitempty"`
	}
)

// discovery returns the messages that make Home Assistant show a machine: score, zone
// and alarm. They are retained, so that it finds them after its own restart.
func (p *Publisher) discovery(m Machine) []link.Message {
	id := "millwright_" + plain(p.opts.Gateway) + "_" + plain(m.Name)
	base := entity{
		StateTopic: p.topic(m.Name, "score"), Availability: p.statusTopic(), ExpireAfter: int(m.StaleAfter / time.Second),
		Device: device{
			Identifiers: []string{id}, Name: m.Name, Manufacturer: "Millwright", Model: m.Class, SerialNumber: p.opts.Gateway + "/" + m.Name,
		},
		Origin: origin{Name: "millwright-agent", Version: p.opts.Version},
	}
	var list []link.Message
	add := func(component, object string, e entity) {
		e.UniqueID = id + "_" + object
		body, err := json.Marshal(e)
		if err != nil {
			return // text and numbers only: cannot be
		}
		topic := p.opts.Discovery + "/" + component + "/" + id + "/" + object + "/config"
		list = append(list, link.Message{Topic: topic, Payload: body, QoS: 1, Retain: true})
	}
	// A document without a score, as during the baseline, makes the state unknown.
	score := base
	score.Name, score.ValueTemplate = "Score", "{{ value_json.score | default(none) }}"
	score.StateClass, score.Precision, score.Icon, score.Attributes = "measurement", 2, "mdi:heart-pulse", base.StateTopic
	add("sensor", "score", score)
	zone := base
	zone.Name, zone.ValueTemplate = "Zone", "{{ value_json.zone | default(none) }}"
	zone.DeviceClass, zone.Options, zone.Icon = "enum", []string{"A", "B", "C", "D"}, "mdi:gauge"
	add("sensor", "zone", zone)
	alarm := base
	alarm.Name, alarm.ValueTemplate, alarm.DeviceClass = "Alarm", "{{ 'ON' if value_json.alarm else 'OFF' }}", "problem"
	add("binary_sensor", "alarm", alarm)
	return list
}

// plain spells a name with the letters that discovery topics may have, different names
// differently.
func plain(name string) string {
	return strings.NewReplacer("_", "__", ".", "_d").Replace(name)
}
