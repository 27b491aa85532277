package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

// Config is what a run publishes; the tags name the keys of the YAML file, and
// kong makes the flags of them.
type Config struct {
	Broker   `yaml:",inline"`
	Machines []Machine `yaml:"machines"`
}

// Broker says where to.
type Broker struct {
	URL         string `name:"broker" yaml:"broker" default:"tcp://127.0.0.1:1883" help:"Broker, as tcp://host:1883 or ssl://host:8883."`
	Username    string `yaml:"username" help:"User name at the broker."`
	Password    string `yaml:"password" env:"SENSORSIM_PASSWORD" help:"Password at the broker."`
	CA          string `name:"ca" yaml:"ca" type:"path" help:"PEM file of the CA that signed the broker's certificate."`
	TopicPrefix string `yaml:"topic_prefix" default:"plant" help:"First part of every topic: <prefix>/<machine>/<channel>."`
	MaxInflight int    `yaml:"max_inflight" default:"64" help:"Messages sent but not yet acknowledged, at most, per machine."`
}

// Machine is one machine, generated or recorded.
type Machine struct {
	Name   string         `yaml:"name"`
	Synth  *SynthMachine  `yaml:"synth"`
	Replay *ReplayMachine `yaml:"replay"`
}

// SynthMachine is a generated machine; see package synth.
type SynthMachine struct {
	Fault     []string      `yaml:"faults" placeholder:"KIND@BEGINS" help:"Fault as kind@begins/grows-over*severity, such as outer-race@60s/2m*0.5; repeatable."`
	Seed      uint64        `yaml:"seed" help:"Seed of everything random."`
	Speed     Speed         `yaml:"speed" default:"1" help:"How much faster than real time; max is as fast as the broker takes it."`
	ShaftHz   float64       `yaml:"shaft_hz" default:"25" help:"Speed of the shaft in Hz."`
	RateHz    float64       `yaml:"rate_hz" default:"3200" help:"Sampling rate of the vibration in Hz."`
	Samples   int           `yaml:"samples" default:"3200" help:"Samples in a vibration burst."`
	Every     time.Duration `yaml:"every" help:"From one burst to the next, in the machine's time; default: without a pause."`
	Duration  time.Duration `yaml:"duration" help:"How long the machine runs, in its own time; default: until stopped."`
	Start     time.Time     `yaml:"start" help:"Time of the first sample (RFC 3339); default: now. Receivers may refuse times more than a day ahead."`
	Vibration string        `yaml:"vibration" default:"float32_time" enum:"${vibration_formats}" help:"Payload of bursts: ${enum}."`
}

// ReplayMachine is a recorded machine; see package replay.
type ReplayMachine struct {
	File         string    `yaml:"file" required:"" type:"path" help:"CSV file, or CSV in gzip with a name ending in .gz."`
	Separator    string    `yaml:"separator" help:"Separator of the fields; default: found out from the header."`
	TimeColumn   string    `yaml:"time_column" help:"Column with the time of a row."`
	TimeLayout   string    `yaml:"time_layout" help:"Its layout, in the manner of Go; default: ISO 8601 or Unix time."`
	RateHz       float64   `yaml:"rate_hz" help:"Rows a second of a file without a time column."`
	Start        time.Time `yaml:"start" help:"Time of row 0 of such a file (RFC 3339); default: now."`
	Omit         []string  `yaml:"omit" help:"Column not to publish, such as a label; repeatable."`
	FromRow      int       `yaml:"from_row" help:"First row, counted from 0."`
	ToRow        int       `yaml:"to_row" help:"Row after the last; default: the end."`
	Speed        Speed     `yaml:"speed" default:"1" help:"How much faster than recorded; max is as fast as the broker takes it."`
	HoldAfterRow int       `yaml:"hold_after_row" help:"Pause before this row, counted from 0, until the line \"continue\" comes on standard input."`
}

// loadConfig reads a YAML file; unknown keys are errors with file and line.
func loadConfig(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	cfg := Config{Broker: Broker{URL: "tcp://127.0.0.1:1883", TopicPrefix: "plant", MaxInflight: 64}} // as the flags' defaults
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&cfg); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("read configuration %s: %w", path, err)
	}
	return cfg, nil
}

// Speed is how much faster than real time a machine runs. The zero value is
// real time; "max" is as fast as the broker takes the messages.
type Speed float64

// UnmarshalText reads a positive number or "max".
func (s *Speed) UnmarshalText(text []byte) error {
	if string(text) == "max" {
		*s = Speed(math.Inf(1))
		return nil
	}
	x, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(x > 0) || math.IsInf(x, 0) {
		return fmt.Errorf("speed %q is neither a positive number nor max", text)
	}
	*s = Speed(x)
	return nil
}

// factor is the speed as packages replay and synth take it: 0 is without waiting.
func (s Speed) factor() float64 {
	switch {
	case s == 0:
		return 1
	case math.IsInf(float64(s), 0):
		return 0
	}
	return float64(s)
}
