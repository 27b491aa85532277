package publish

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/agent/internal/durable"
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

// announce tells Home Assistant of every machine, if that is asked for, and takes back
// what an earlier configuration announced and this one does not: an empty message makes
// the broker forget a retained one, and Home Assistant the entity.
func (p *Publisher) announce(ctx context.Context, conn *link.Conn) error {
	var messages []link.Message
	if p.opts.Discovery != "" {
		for _, m := range p.machines {
			messages = append(messages, p.discovery(m)...)
		}
	}
	var topics []string
	for _, m := range messages {
		topics = append(topics, m.Topic)
	}
	slices.Sort(topics)
	before := p.announced()
	for _, topic := range before {
		if !slices.Contains(topics, topic) {
			messages = append(messages, link.Message{Topic: topic, QoS: 1, Retain: true})
		}
	}
	// Both, until the broker has everything: then neither a crash nor a lost connection
	// leaves an entity behind that nobody knows of.
	p.setAnnounced(append(before, topics...))
	for _, msg := range messages {
		if err := conn.Send(ctx, msg); err != nil {
			return err
		}
	}
	p.setAnnounced(topics)
	return nil
}

// announced returns the topics of what was announced, sorted.
func (p *Publisher) announced() []string {
	var list []string
	if p.opts.AnnouncedPath != "" {
		durable.ReadChecked(p.opts.AnnouncedPath, p.log, func(body []byte) error {
			list = nil
			return json.Unmarshal(body, &list)
		})
	}
	return list
}

// setAnnounced remembers topics. Where it cannot, an entity may stay behind.
func (p *Publisher) setAnnounced(topics []string) {
	slices.Sort(topics)
	topics = slices.Compact(topics)
	if p.opts.AnnouncedPath == "" || slices.Equal(topics, p.announced()) {
		return
	}
	body, err := json.Marshal(topics)
	if err == nil {
		err = durable.WriteChecked(p.opts.AnnouncedPath, body)
	}
	if err != nil {
		p.log.Warn("what was announced to Home Assistant cannot be remembered; a machine that is removed stays there", "error", err)
	}
}

// plain spells a name with the letters that discovery topics may have, different names
// differently.
func plain(name string) string {
	return strings.NewReplacer("_", "__", ".", "_d").Replace(name)
}
