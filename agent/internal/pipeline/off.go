package pipeline

import (
	"time"

	"github.com/millwright-iot/millwright/agent/internal/samples"
	"github.com/millwright-iot/millwright/fedavg/job"
	"github.com/millwright-iot/millwright/sensors"
)

// restFeatures are what is small, of channels of these quantities, when a machine is off.
var restFeatures = map[sensors.Quantity]string{
	sensors.Acceleration: "rms", sensors.Velocity: "rms", sensors.RotationSpeed: "mean", sensors.Power: "mean",
}

// levels are where in a vector of spec it shows that the machine is off; none if it
// does not.
func (m *Machine) levels(spec job.FeatureSpec) []int {
	var at []int
	i := 0
	for _, c := range spec.Channels {
		for _, name := range c.Features {
			if name == restFeatures[m.cfg.Channels[c.Channel]] {
				at = append(at, i)
			}
			i++
		}
	}
	return at
}

// rewrite makes the stored baseline that of a track, after windows were dropped from it.
func (m *Machine) rewrite(t *track) {
	f := t.front
	if err := m.memory.Forget(f.key, samples.Baseline); err != nil {
		m.log.Error("baseline cannot be deleted", "error", err)
	}
	rows := t.detector.BaselineRows()
	for _, row := range rows {
		m.memory.Add(f.key, samples.Baseline, time.Now(), row)
	}
	f.stored = len(rows)
	m.log.Info("machine was off in part of its baseline; those windows do not count", "job", t.spec.Name, "windows", f.stored)
}
