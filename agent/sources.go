package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/bussource"
	"github.com/millwright-iot/millwright/sensors/chips"
	"github.com/millwright-iot/millwright/sensors/i2csource"
	"github.com/millwright-iot/millwright/sensors/iiosource"
	"github.com/millwright-iot/millwright/sensors/mqttsource"
	"github.com/millwright-iot/millwright/sensors/onewiresource"
	"github.com/millwright-iot/millwright/sensors/spisource"
)

// sources are what reads the sensors of a configuration.
type sources struct {
	mqtt  *mqttsource.Source // nil if no channel comes from a broker
	buses []busSource
}

// busSource reads the chips of one kind of bus.
type busSource struct {
	kind chips.Bus
	*bussource.Source
}

// sources makes what reads the sensors; nothing is opened before it runs. Files that
// the configuration names are read only when clientID is given.
func (c *Config) sources(clientID string, persistent bool, log *slog.Logger, onDevice func(mqttsource.DeviceStats), tally func(int64)) (*sources, error) {
	s := &sources{}
	var errs []error
	if list := c.messages(); len(list) > 0 {
		o := mqttsource.Options{
			ClientID: clientID, PersistentSession: persistent, MaxPayloadBytes: int(c.MQTT.MaxPayload),
			MaxQueuedMessages: c.MQTT.Queue.Messages, MaxQueuedBytes: int64(c.MQTT.Queue.Size), MaxWait: c.MQTT.Queue.Wait,
			OnDevice: onDevice, Tally: tally,
		}
		if clientID != "" {
			broker, err := c.MQTT.Link()
			if err != nil {
				return nil, err
			}
			o.Login = broker.Login
		}
		source, err := mqttsource.New(c.MQTT.Broker, list, o, log)
		s.mqtt, errs = source, append(errs, err)
	}
	bus := func(kind chips.Bus, make func([]chips.Channel) (*bussource.Source, error)) {
		if list := c.chips(kind); len(list) > 0 {
			source, err := make(list)
			s.buses, errs = append(s.buses, busSource{kind, source}), append(errs, err)
		}
	}
	bus(chips.I2C, func(l []chips.Channel) (*bussource.Source, error) { return i2csource.New(l, c.Buses.I2C, log) })
	bus(chips.SPI, func(l []chips.Channel) (*bussource.Source, error) { return spisource.New(l, c.Buses.SPI, log) })
	bus(chips.OneWire, func(l []chips.Channel) (*bussource.Source, error) { return onewiresource.New(l, c.Buses.OneWire, log) })
	bus(chips.IIO, func(l []chips.Channel) (*bussource.Source, error) { return iiosource.New(l, c.Buses.IIO, log) })
	return s, errors.Join(errs...)
}

// all lists the sources with their names for people.
func (s *sources) all() map[string]sensors.Source {
	all := map[string]sensors.Source{}
	if s.mqtt != nil {
		all["MQTT source"] = s.mqtt
	}
	for _, b := range s.buses {
		all[string(b.kind)+" source"] = b
	}
	return all
}

// Read reads the sensors of a configuration until ctx ends, beside an agent that may
// run: its MQTT client is another one, without a persistent session. emit is called
// from one goroutine at a time; an error from it ends Read with that error. A chip on a
// bus cannot be read by two processes at once.
func (c *Config) Read(ctx context.Context, log *slog.Logger, emit func(sensors.Block) error) error {
	s, err := c.sources(fmt.Sprintf("%s-reader-%08x", c.MQTT.ClientID, rand.Uint32()), false, log, nil, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	for _, source := range s.all() {
		wg.Go(func() {
			err := source.Run(ctx, func(b sensors.Block) error {
				mu.Lock()
				defer mu.Unlock()
				return emit(b)
			})
			if err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
				cancel(err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
