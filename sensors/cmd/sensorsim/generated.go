package main

import (
	"context"
	"errors"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/synth"
)

// generated is a machine of package synth.
type generated struct {
	topic   string // of the machine, with a slash at the end
	format  string
	machine *synth.Machine
}

func newGenerated(name, topic string, c SynthMachine) (*generated, error) {
	var errs []error
	var faults []synth.Fault
	for _, text := range c.Fault {
		f, err := synth.ParseFault(text)
		if err != nil {
			errs = append(errs, err)
		}
		faults = append(faults, f)
	}
	if c.Vibration == "" {
		c.Vibration = formatFloat32Time
	}
	if _, err := encodeBurst(sensors.Block{}, c.Vibration); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m, err := synth.New(synth.Config{
		Name: name, Seed: c.Seed, Faults: faults, ShaftHz: c.ShaftHz, RateHz: c.RateHz,
		BurstSamples: c.Samples, BurstEvery: c.Every, Duration: c.Duration, Start: c.Start, Speed: c.Speed.factor(),
	})
	if err != nil {
		return nil, err
	}
	return &generated{topic: topic, format: c.Vibration, machine: m}, nil
}

func (g *generated) publish(ctx context.Context, send sendFunc) error {
	return g.machine.Run(ctx, func(b sensors.Block) error {
		var payload []byte
		if b.Channel == synth.Vibration {
			var err error
			if payload, err = encodeBurst(b, g.format); err != nil {
				return err
			}
		} else {
			payload = encodeScalar(b)
		}
		return send(g.topic+b.Channel, payload, b.Start)
	})
}
