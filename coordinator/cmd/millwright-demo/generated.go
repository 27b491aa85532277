package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/fedavg/model"
)

// The generated fleet: three gateways with two pumps each, of which three get a
// fault. Machine time passes faster than real time.
const (
	generatedSpeed    = 12
	generatedWindow   = 2 * time.Second
	generatedBaseline = 200 // windows: longer than the slowest swing of the load
	// generatedHistory is how far in the past the machines' time begins, so that it
	// reaches the present about when the last fault is found.
	generatedHistory = 15 * time.Minute
)

// generatedFaults tells, by machine, what goes wrong and when after the start.
var generatedFaults = []struct {
	fault  string
	begins time.Duration
}{
	{"outer-race", 10 * time.Minute}, {},
	{"imbalance", 12 * time.Minute}, {},
	{}, {"inner-race", 14 * time.Minute},
}

// generatedScenario makes the fleet. Left running, its time overtakes the wall
// clock; agents take times up to a day ahead as they are.
func generatedScenario(now time.Time, seed uint64, rounds int) scenario {
	s := scenario{name: "generated pumps", rounds: rounds, limit: 5 * time.Minute}
	start := now.Add(-generatedHistory).Truncate(generatedWindow)
	var sensors strings.Builder
	sensors.WriteString("machines:\n")
	for i, f := range generatedFaults {
		m := machine{name: fmt.Sprintf("pump-%d", i+1), class: "process-pump", gateway: fmt.Sprintf("hall-%d", i/2+1)}
		topic := func(channel string) string { return "plant/" + m.name + "/" + channel }
		m.channels = []channel{
			{Name: "vibration", Topic: topic("vibration"), Unit: "m/s2", Format: "float32", RateHz: 3200, Header: "unix_f64"},
			{Name: "temperature", Topic: topic("temperature"), Unit: "degC", Format: "json", Path: "value", TimePath: "t"},
			{Name: "pressure", Topic: topic("pressure"), Unit: "Pa", Format: "json", Path: "value", TimePath: "t"},
		}
		fmt.Fprintf(&sensors, "  - name: %s\n    synth:\n      seed: %d\n      speed: %d\n      start: %s\n      every: %v\n",
			m.name, seed+uint64(i), generatedSpeed, start.UTC().Format(time.RFC3339), generatedWindow)
		if f.fault != "" {
			m.fault, m.begins = f.fault, start.Add(f.begins)
			fmt.Fprintf(&sensors, "      faults: [%s@%v/4m]\n", f.fault, f.begins)
		}
		s.machines = append(s.machines, m)
	}
	s.sensors = sensors.String()
	s.jobs = pumpJobs(rounds)
	return s
}

// pumpJobs are the jobs of the generated pumps: statistics decide, and a neural
// network learns beside them, shown but without a say.
func pumpJobs(rounds int) []job.Spec {
	live := job.Spec{
		Name: "pump-gaussian", Class: "process-pump",
		Features: job.FeatureSpec{Window: generatedWindow, Channels: []job.ChannelFeatures{
			{Channel: "vibration", Features: []string{"rms", "crest", "kurtosis", "velocity_rms", "band_rms_10_100", "band_rms_100_500", "band_rms_500_1500"}},
			{Channel: "temperature", Features: []string{"mean"}},
			{Channel: "pressure", Features: []string{"mean", "std"}},
		}},
		Model: model.Spec{Kind: model.KindGaussian},
		Alarm: job.AlarmSpec{Baseline: generatedBaseline},
		Rounds: job.RoundPolicy{
			Every: 3 * time.Second, MinParticipants: len(generatedFaults) / 2, Deadline: time.Minute, Count: rounds,
		},
	}
	shadow := live
	shadow.Name, shadow.Role = "pump-autoencoder", job.Shadow
	shadow.Model = model.Spec{Kind: model.KindAutoencoder}
	return []job.Spec{live.WithDefaults(), shadow.WithDefaults()}
}
