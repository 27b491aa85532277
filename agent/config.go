// Package agent is the process on a gateway: it reads the sensors of a few
// machines, predicts on the spot, learns in place and works alone when it must.
package agent

import (
	"time"

	"github.com/millwright-iot/millwright/fedavg/strictyaml"
	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/i2csource"
	"github.com/millwright-iot/millwright/sensors/iiosource"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
	"github.com/millwright-iot/millwright/sensors/onewiresource"
	"github.com/millwright-iot/millwright/sensors/profile"
	"github.com/millwright-iot/millwright/sensors/spisource"
)

// Config is the configuration of one agent, written by the plant engineer. Field
// names in the file are those of the yaml tags.
type Config struct {
	// Gateway is the name of this box: letters, digits, '-', '_', '.'; at most 63.
	Gateway string `yaml:"gateway" json:"gateway"`
	// DataDir holds everything that outlives a restart. Default /var/lib/millwright.
	DataDir string `yaml:"data_dir" json:"data_dir"`
	// LogLevel is debug, info, warn or error. Default info.
	LogLevel string `yaml:"log_level" json:"log_level"`
	// Coordinator to learn with; absent, the agent works alone.
	Coordinator *CoordinatorConfig `yaml:"coordinator" json:"coordinator,omitempty"`
	MQTT        MQTTConfig         `yaml:"mqtt" json:"mqtt"`
	API         APIConfig          `yaml:"api" json:"api"`
	Store       StoreConfig        `yaml:"store" json:"store"`
	Training    TrainingConfig     `yaml:"training" json:"training"`
	Buses       BusesConfig        `yaml:"buses" json:"buses"`
	Machines    []MachineConfig    `yaml:"machines" json:"machines"`
	// Patterns are the entries of Machines that discover machines; filled in.
	Patterns []MachineConfig `yaml:"-" json:"patterns,omitempty"`

	discovered []discovered // of Machines, those that Patterns brought

	// Version of the program, shown and told to the coordinator. Not in the file.
	Version string `yaml:"-" json:"-"`
}

// CoordinatorConfig says where the coordinator is and, until the agent has
// enrolled, what token to show. Token and TokenFile exclude each other.
type CoordinatorConfig struct {
	Address   string `yaml:"address" json:"address"` // host:port
	Token     string `yaml:"token" json:"token"`     // mw1.…, as `millwright-coordinator token create` prints it
	TokenFile string `yaml:"token_file" json:"token_file"`
}

// MQTTConfig is the broker that sensors publish to, and where results go.
type MQTTConfig struct {
	// Broker is tcp://host:port, or tls://host:port. Required.
	Broker string `yaml:"broker" json:"broker"`
	// ClientID must be unique at the broker. Default millwright-<gateway>.
	ClientID     string         `yaml:"client_id" json:"client_id"`
	Username     string         `yaml:"username" json:"username"`
	PasswordFile string         `yaml:"password_file" json:"password_file"` // first line is the password
	TLS          *MQTTTLSConfig `yaml:"tls" json:"tls,omitempty"`
	// Publish sends scores and alarms to millwright/<gateway>/<machine>/…. Default true.
	Publish bool `yaml:"publish" json:"publish"`
	// Labels takes labels from millwright/<gateway>/label. Default true.
	Labels bool `yaml:"labels" json:"labels"`
	// Sparkplug shows the gateway as a Sparkplug B edge node too. Default off.
	Sparkplug *SparkplugConfig `yaml:"sparkplug" json:"sparkplug,omitempty"`
	// HomeAssistant announces the machines to Home Assistant. Default off.
	HomeAssistant *HomeAssistantConfig `yaml:"home_assistant" json:"home_assistant,omitempty"`
	// MaxPayload refuses larger messages. Default 4MiB.
	MaxPayload strictyaml.Size `yaml:"max_payload" json:"max_payload"`
	// PersistentSession asks the broker to keep messages at QoS 1 while the agent is
	// away, within the broker's own limits. Messages are acknowledged when a machine
	// has them. Default true.
	PersistentSession bool        `yaml:"persistent_session" json:"persistent_session"`
	Queue             QueueConfig `yaml:"queue" json:"queue"`
}

// QueueConfig bounds what was received and waits to be processed.
type QueueConfig struct {
	Messages int             `yaml:"messages" json:"messages"` // default 16384
	Size     strictyaml.Size `yaml:"size" json:"size"`         // default 16MiB
	// Wait is how long a full queue holds up reading, so that the broker keeps what
	// comes, before messages are dropped. Default 5s; less than 10s.
	Wait time.Duration `yaml:"wait" json:"wait_ns"`
}

// BusesConfig tunes how sensors on buses are read.
type BusesConfig struct {
	I2C     i2csource.Options     `yaml:"i2c" json:"i2c"`
	SPI     spisource.Options     `yaml:"spi" json:"spi"`
	OneWire onewiresource.Options `yaml:"1wire" json:"1wire"`
	IIO     iiosource.Options     `yaml:"iio" json:"iio"`
}

// MQTTTLSConfig sets up TLS to the broker; only with a tls:// broker.
type MQTTTLSConfig struct {
	CAFile   string `yaml:"ca_file" json:"ca_file"`     // default: the system's authorities
	CertFile string `yaml:"cert_file" json:"cert_file"` // client certificate, with KeyFile
	KeyFile  string `yaml:"key_file" json:"key_file"`
}

// SparkplugConfig names the edge node: spBv1.0/<group>/…/<node>.
type SparkplugConfig struct {
	Group string `yaml:"group" json:"group"` // required; a topic level, such as a plant's name
	Node  string `yaml:"node" json:"node"`   // default the gateway's name
	// PrimaryHost is the id of the host application without which nothing is
	// published: spBv1.0/STATE/<primary_host> says whether it is there. Default none.
	PrimaryHost string `yaml:"primary_host" json:"primary_host,omitempty"`
}

// HomeAssistantConfig says where Home Assistant looks for what there is.
type HomeAssistantConfig struct {
	// Prefix of the discovery topics. Default homeassistant.
	Prefix string `yaml:"prefix" json:"prefix"`
}

// APIConfig is the local HTTP interface.
type APIConfig struct {
	// Listen is host:port; port 0 takes a free one. Default 127.0.0.1:7420.
	Listen string `yaml:"listen" json:"listen"`
	// AllowRemote permits an address that is not loopback: the interface has no
	// authentication, so whoever reaches it can read everything it shows.
	AllowRemote bool `yaml:"allow_remote" json:"allow_remote"`
	// Pprof serves /debug/pprof/; only on loopback.
	Pprof bool `yaml:"pprof" json:"pprof"`
}

// StoreConfig bounds the store of feature vectors that training learns from.
type StoreConfig struct {
	// MaxSamples is how many recent healthy feature vectors are kept per machine,
	// besides its baseline. Default 5000.
	MaxSamples int `yaml:"max_samples" json:"max_samples"`
	// MaxSize bounds the file. Default 64MiB; at most 256MiB.
	MaxSize strictyaml.Size `yaml:"max_size" json:"max_size"`
}

// MachineConfig is one monitored machine, or several of a kind.
type MachineConfig struct {
	Name string `yaml:"name" json:"name"` // as Gateway; unique on the gateway
	// Names, instead of Name, stand for as many machines that differ in nothing but
	// the name, which replaces {machine} in topics and devices below. IDs are what
	// replaces {id} there, by name: addresses, serial numbers.
	Names []string          `yaml:"names" json:"names,omitempty"`
	IDs   map[string]string `yaml:"ids" json:"ids,omitempty"`
	// Discover, instead of Name, takes machines in when they are first heard of, at most
	// so many: their name is what {machine} captures in the topics below. They are
	// remembered in the data directory; a machine that is listed by name as well is not
	// discovered.
	Discover int    `yaml:"discover" json:"discover,omitempty"`
	Class    string `yaml:"class" json:"class"` // e.g. process-pump: decides which jobs it takes part in
	// Window and Baseline set the machine's own model up until the coordinator
	// sends a job for its class. Default 10s and 300 windows.
	Window   time.Duration `yaml:"window" json:"window_ns"`
	Baseline int           `yaml:"baseline" json:"baseline"`
	// StaleAfter without a window the machine counts as stale. Default the
	// longer of 3 hops and 2 windows.
	StaleAfter time.Duration   `yaml:"stale_after" json:"stale_after_ns"`
	Channels   []ChannelConfig `yaml:"channels" json:"channels"`
	// Devices of a known family bring their channels with them; see package profile.
	Devices []profile.Device `yaml:"devices" json:"devices,omitempty"`
	// Mechanics says what the machine is made of, such as its bearing.
	Mechanics *MechanicsConfig `yaml:"mechanics" json:"mechanics,omitempty"`
}

// ChannelConfig is one physical quantity on a machine and where it comes from: a topic
// of the broker, or a chip on a bus of this box.
type ChannelConfig struct {
	Name  string `yaml:"name" json:"name"`   // unique on the machine, as the class's jobs name it
	Topic string `yaml:"topic" json:"topic"` // MQTT topic without wildcards
	// Unit of the values after scale and offset; see sensors.ParseUnit.
	Unit string `yaml:"unit" json:"unit"`
	// Availability are topics that say whether the device is there: its last will.
	Availability []string `yaml:"availability" json:"availability,omitempty"`
	// Mechanics replaces what the machine's says, for this channel.
	Mechanics *MechanicsConfig `yaml:"mechanics" json:"mechanics,omitempty"`
	// Shared permits that another channel reads the very same value.
	Shared bool `yaml:"shared" json:"shared"`
	// Decode says how the payload holds the samples: format, path, rate_hz, scale,
	// offset, time_path, time_format and so on, at the level of the channel.
	Decode decode.Spec `yaml:",inline" json:"decode"`
	// Wiring says which chip on a bus the channel is read from, if Bus is set. For a
	// channel of the broker only its Device is used: what publishes the topic and has
	// a clock and a last will of its own, default the topic.
	Wiring chips.Wiring `yaml:",inline" json:"wiring"`
}

// DefaultConfig returns the defaults of everything that has one and does not
// depend on other fields.
func DefaultConfig() Config {
	return Config{
		DataDir:  "/var/lib/millwright",
		LogLevel: "info",
		MQTT: MQTTConfig{
			Publish: true, Labels: true, MaxPayload: 4 << 20, PersistentSession: true,
			Queue: QueueConfig{Messages: 16384, Size: 16 << 20, Wait: 5 * time.Second},
		},
		API:   APIConfig{Listen: "127.0.0.1:7420"},
		Store: StoreConfig{MaxSamples: 5000, MaxSize: 64 << 20},

		Training: TrainingConfig{Memory: 64 << 20, CPU: 25},
	}
}

// fill sets the defaults that depend on other fields.
func (c *Config) fill() {
	if c.MQTT.ClientID == "" && c.Gateway != "" {
		c.MQTT.ClientID = "millwright-" + c.Gateway
	}
	if s := c.MQTT.Sparkplug; s != nil && s.Node == "" {
		s.Node = c.Gateway
	}
	if h := c.MQTT.HomeAssistant; h != nil && h.Prefix == "" {
		h.Prefix = "homeassistant"
	}
	var machines []MachineConfig
	for _, m := range c.Machines {
		if m.Window == 0 {
			m.Window = 10 * time.Second
		}
		if m.Baseline == 0 {
			m.Baseline = 300
		}
		if m.Discover > 0 {
			c.Patterns = append(c.Patterns, m)
			continue
		}
		machines = append(machines, m.expand()...)
	}
	c.Machines = machines
}

// LoadConfig reads the file at path over DefaultConfig. A file with mistakes is
// a *strictyaml.Problems that lists all of them with their line.
func LoadConfig(path string) (Config, error) {
	cfg, _, err := loadDocument(path)
	return cfg, err
}

// Validate checks a configuration made in code, fills its defaults in and
// returns a *strictyaml.Problems with everything wrong.
func (c *Config) Validate() error {
	var list problems
	c.check(list.add)
	if len(list.List) == 0 {
		c.fill()
		c.checkTogether(list.add)
	}
	if len(list.List) > 0 {
		return &list.Problems
	}
	return nil
}
