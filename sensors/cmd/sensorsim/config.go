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

// Config is what a run publishes; the tags name the keys of the YAML file, whose
// meaning is that of the flags (see flags.go).
type Config struct {
	Broker   `yaml:",inline"`
	Machines []Machine `yaml:"machines"`
}

// Broker says where to.
type Broker struct {
	URL         string `yaml:"broker"`
	Username    string `yaml:"username"`
	Password    string `yaml:"password"`
	CA          string `yaml:"ca"`
	TopicPrefix string `yaml:"topic_prefix"`
	MaxInflight int    `yaml:"max_inflight"`
}

// defaultBroker is what flags and YAML file begin with.
func defaultBroker() Broker {
	return Broker{URL: "tcp://127.0.0.1:1883", TopicPrefix: "plant", MaxInflight: 64}
}

// Machine is one machine, generated or recorded.
type Machine struct {
	Name   string         `yaml:"name"`
	Synth  *SynthMachine  `yaml:"synth"`
	Replay *ReplayMachine `yaml:"replay"`
}

// SynthMachine is a generated machine; see package synth. The zero value of a field
// means its default.
type SynthMachine struct {
	Fault     []string      `yaml:"faults"`
	Seed      uint64        `yaml:"seed"`
	Speed     Speed         `yaml:"speed"`
	ShaftHz   float64       `yaml:"shaft_hz"`
	RateHz    float64       `yaml:"rate_hz"`
	Samples   int           `yaml:"samples"`
	Every     time.Duration `yaml:"every"`
	Duration  time.Duration `yaml:"duration"`
	Start     time.Time     `yaml:"start"`
	Vibration string        `yaml:"vibration"`
}

// ReplayMachine is a recorded machine; see package replay. The zero value of a field
// means its default.
type ReplayMachine struct {
	File         string    `yaml:"file"`
	Separator    string    `yaml:"separator"`
	TimeColumn   string    `yaml:"time_column"`
	TimeLayout   string    `yaml:"time_layout"`
	RateHz       float64   `yaml:"rate_hz"`
	Start        time.Time `yaml:"start"`
	Omit         []string  `yaml:"omit"`
	FromRow      int       `yaml:"from_row"`
	ToRow        int       `yaml:"to_row"`
	Speed        Speed     `yaml:"speed"`
	HoldAfterRow int       `yaml:"hold_after_row"`
}

// loadConfig reads a YAML file; unknown keys are errors with file and line.
func loadConfig(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	cfg := Config{Broker: defaultBroker()}
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

// Set reads a flag's value, as UnmarshalText does.
func (s *Speed) Set(text string) error { return s.UnmarshalText([]byte(text)) }

// String writes what UnmarshalText reads.
func (s *Speed) String() string {
	switch {
	case *s == 0:
		return "1"
	case math.IsInf(float64(*s), 1):
		return "max"
	}
	return strconv.FormatFloat(float64(*s), 'g', -1, 64)
}

// Type is the flag's placeholder in the help.
func (s *Speed) Type() string { return "factor" }

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
