package agent

import (
	"fmt"
	"time"

	"github.com/millwright-iot/millwright/sensors/mqttsource"
)

// mqttBus is the bus of devices that publish to the broker.
const mqttBus = "mqtt"

// deviceDocument is what the local interface shows of a device.
type deviceDocument struct {
	Name     string    `json:"name"`
	Bus      string    `json:"bus"` // mqtt, i2c, spi, 1wire or iio
	State    string    `json:"state"`
	Up       bool      `json:"up"` // not known to be gone
	Machines []string  `json:"machines,omitempty"`
	LastSeen time.Time `json:"last_seen,omitzero"`
	// Skew is how far its clock is ahead, in seconds; absent while unknown.
	Skew       *float64 `json:"clock_skew_s,omitempty"`
	LastError  string   `json:"last_error,omitempty"`
	NominalHz  float64  `json:"nominal_hz,omitempty"`
	MeasuredHz float64  `json:"measured_hz,omitempty"`
	Errors     int64    `json:"errors_total,omitempty"`
	Timeouts   int64    `json:"timeouts_total,omitempty"`
	Overruns   int64    `json:"overruns_total,omitempty"`
	Faults     int64    `json:"faults_total,omitempty"`
}

// devices lists the devices of all sources.
func (s *sources) devices() []deviceDocument {
	var list []deviceDocument
	if s.mqtt != nil {
		for _, d := range s.mqtt.Devices() {
			doc := deviceDocument{
				Name: d.Name, Bus: mqttBus, State: string(d.State), Up: d.State != mqttsource.Stale, Machines: d.Machines, LastSeen: d.LastSeen,
			}
			if d.ClockSkewKnown {
				skew := d.ClockSkew.Seconds()
				doc.Skew = &skew
			}
			list = append(list, doc)
		}
	}
	for _, b := range s.buses {
		for _, d := range b.Stats().Devices {
			doc := deviceDocument{
				Name: d.Name, Bus: string(b.kind), State: "down", Up: d.Up, LastError: d.LastError, NominalHz: d.NominalHz,
				MeasuredHz: d.MeasuredHz, Errors: d.Errors, Timeouts: d.Timeouts, Overruns: d.Overruns, Faults: d.Faults,
			}
			if d.Up {
				doc.State = "up"
			}
			list = append(list, doc)
		}
	}
	return list
}

// troubles says for people which devices on buses are down, and why.
func (s *sources) troubles() []string {
	var notes []string
	for _, b := range s.buses {
		for _, d := range b.Stats().Devices {
			if !d.Up && d.LastError != "" {
				notes = append(notes, fmt.Sprintf("device %s is down: %s", d.Name, d.LastError))
			}
		}
	}
	return notes
}

// Sensors implements api.View.
func (v view) Sensors() any {
	list := v.a.sources.devices()
	if list == nil {
		list = []deviceDocument{}
	}
	return map[string]any{"devices": list}
}
