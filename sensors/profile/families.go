package profile

import (
	"fmt"
	"strings"

	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// families is the table of known devices. Each row names where the format is
// published.
func families() map[string]family {
	return map[string]family{
		// Eclipse Sparkplug 3.0.0, chapters 4 (topics) and 6 (payloads).
		"sparkplug": {
			topic: "spBv1.0/{group}/+/{node}",
			spec:  decode.Spec{Format: decode.Sparkplug},
		},
		// Tasmota documentation, "MQTT": telemetry at tele/%topic%/SENSOR, last will
		// at tele/%topic%/LWT; TempUnit and PressureUnit stand beside the sensors.
		"tasmota": {
			topic: "{prefix}/{device}/SENSOR", prefix: "tele",
			availability: []string{"{prefix}/{device}/LWT"},
			spec:         decode.Spec{Format: decode.JSON, TimePath: "Time", TimeFormat: decode.TimeISO},
			zoneless:     true,
			units: []unitOf{
				{".Temperature", "degC", "TempUnit"}, {".DewPoint", "degC", "TempUnit"},
				{"Pressure", "hPa", "PressureUnit"}, {".Humidity", "%", ""},
				{".Power", "W", ""}, {".Voltage", "V", ""}, {".Current", "A", ""}, {".Frequency", "Hz", ""},
			},
		},
		// Zigbee2MQTT, "MQTT Topics and Messages" and "Device availability". What it
		// calls voltage is in mV from a battery and in V from a plug: the unit must
		// be told.
		"zigbee2mqtt": {
			topic: "{prefix}/{device}", prefix: "zigbee2mqtt",
			availability: []string{"{prefix}/{device}/availability", "{prefix}/bridge/state"},
			spec:         decode.Spec{Format: decode.JSON, Partial: true},
			units: []unitOf{
				{"temperature", "degC", ""}, {"humidity", "%", ""}, {"pressure", "hPa", ""}, {"power", "W", ""}, {"current", "A", ""},
				{"battery", "%", ""},
			},
		},
		// Shelly API documentation, Gen2: "Notifications" (NotifyStatus carries what
		// changed), "MQTT" (topics, <id>/online as last will).
		"shelly-gen2": {
			topic: "{device}/events/rpc", availability: []string{"{device}/online"},
			spec: decode.Spec{Format: decode.JSON, TimePath: "params.ts", TimeFormat: decode.TimeSeconds, Partial: true},
			path: func(field string) string { return "params." + field },
			units: []unitOf{
				{".tC", "degC", ""}, {".tF", "degF", ""}, {".rh", "%", ""}, {".voltage", "V", ""}, {".current", "A", ""},
				{".apower", "W", ""}, {".freq", "Hz", ""}, {".battery.V", "V", ""}, {".battery.percent", "%", ""},
			},
		},
		// ESPHome, "MQTT Client Component": <topic_prefix>/<component>/<object id>/state
		// and birth and last will at <topic_prefix>/status.
		"esphome": {
			topic: "{device}/sensor/{field}/state", availability: []string{"{device}/status"},
			spec: decode.Spec{Format: decode.Scalar},
		},
		// NCD, vibration and temperature sensors V3: the object their gateway's
		// library makes (community.ncd.io/t/sensor-payload-keys/11865); battery as
		// text, received in ms.
		"ncd": {
			spec: decode.Spec{Format: decode.JSON, TimePath: "received", TimeFormat: decode.TimeMilliseconds},
			path: func(field string) string {
				if strings.HasPrefix(field, "battery") || field == "rssi" || strings.Contains(field, ".") {
					return field
				}
				return "sensor_data." + field
			},
			units: []unitOf{
				{"_ACC_G", "g", ""}, {"_velocity_mm_sec", "mm/s", ""}, {"_displacement_mm", "mm", ""}, {"_Hz", "Hz", ""},
				{"temperature", "degC", ""}, {"battery", "V", ""}, {"battery_percent", "%", ""}, {"rpm", "rpm", ""},
			},
			channels: map[string]string{
				"x_acceleration_rms": "x_rms_ACC_G", "y_acceleration_rms": "y_rms_ACC_G", "z_acceleration_rms": "z_rms_ACC_G",
				"x_velocity": "x_velocity_mm_sec", "y_velocity": "y_velocity_mm_sec", "z_velocity": "z_velocity_mm_sec",
				"temperature": "temperature",
			},
		},
		// ifm VVB001, as node-red-contrib-ifm-vvb001 1.1 makes it of the process data
		// (its vvb001/data.js): in the sensor's own units, with the time of reading.
		"ifm-vvb001": {
			spec: decode.Spec{Format: decode.JSON, TimePath: "ts", TimeFormat: decode.TimeISO},
			units: []unitOf{
				{"v_Rms", "m/s", ""}, {"a_Peak", "m/s2", ""}, {"a_Rms", "m/s2", ""}, {"Crest", "1", ""}, {"Temperature", "degC", ""},
			},
			channels: vvb001,
		},
		// Its bursts, the sensor's BLOB of 4 s at 25 kHz, 100000 samples (ifm device
		// manual 80298004 of 06/2021, section 7.2), as the same nodes make them (their
		// vvb001/stream-blob.js): ts is the beginning of the recording.
		"ifm-vvb001-burst": {
			spec:     decode.Spec{Format: decode.JSONArray, RateHz: 25000, TimePath: "ts", TimeFormat: decode.TimeISO},
			units:    []unitOf{{"", "m/s2", ""}},
			channels: map[string]string{"acceleration": "acceleration"},
		},
		// The same sensor at a port, named by device, of an ifm IO-Link master of the
		// series AL1300 that publishes its process data by itself: the event of a timer
		// with the port's pdin in hexadecimal. Places and factors of the 20 bytes as in
		// vvb001/data.js; they hold the factory's units.
		"ifm-vvb001-iolink": {
			spec: decode.Spec{Format: decode.JSON, Partial: true},
			path: func(string) string { return `data.payload./iolinkmaster/port[{device}]/iolinkdevice/pdin.data` },
			adjust: func(field string, s *decode.Spec) {
				for i, word := range []string{"v_Rms", "a_Peak", "a_Rms", "Temperature", "Crest"} {
					if word == field {
						s.Hex, s.Scale = fmt.Sprintf("int16@%d", 4*i), 0.1
						if i == 0 {
							s.Scale = 0.0001
						}
						// From 32760 on, either way, the sensor says that it has no value.
						low, high := -32759.5*s.Scale, 32759.5*s.Scale
						s.Min, s.Max = &low, &high
					}
				}
			},
			units: []unitOf{
				{"v_Rms", "m/s", ""}, {"a_Peak", "m/s2", ""}, {"a_Rms", "m/s2", ""}, {"Crest", "1", ""}, {"Temperature", "degC", ""},
			},
			channels: vvb001,
		},
		// Banner QM30VT3, IODD 1.2 of 2025-10-16, process data mode 0: inches,
		// standard gravities and degrees Fahrenheit by default.
		"banner-qm30vt3": {
			spec: decode.Spec{Format: decode.JSON},
			units: []unitOf{
				{"Velocity (in/sec) (6-1000Hz)", "in/s", ""}, {"Velocity (in/sec)", "in/s", ""}, {"Velocity", "in/s", ""},
				{"Acceleration (G) (1000-5300Hz)", "g", ""}, {"Acceleration (G)", "g", ""}, {"Acceleration", "g", ""},
				{"Temperature (°F)", "degF", ""}, {"Temperature", "degF", ""},
			},
			channels: map[string]string{
				"x_velocity": "X-Axis RMS Velocity (in/sec) (6-1000Hz)", "y_velocity": "Y-Axis RMS Velocity (in/sec) (6-1000Hz)",
				"z_velocity":         "Z-Axis RMS Velocity (in/sec) (6-1000Hz)",
				"x_acceleration_rms": "X-Axis High Frequency RMS Acceleration (G) (1000-5300Hz)",
				"y_acceleration_rms": "Y-Axis High Frequency RMS Acceleration (G) (1000-5300Hz)",
				"z_acceleration_rms": "Z-Axis High Frequency RMS Acceleration (G) (1000-5300Hz)",
				"temperature":        "Temperature (°F)",
			},
		},
		// RFC 8428, Sensor Measurement Lists, in JSON.
		"senml": {spec: decode.Spec{Format: decode.SenML, Partial: true}},
	}
}

// vvb001 names the sensor's process values.
var vvb001 = map[string]string{
	"velocity_rms": "v_Rms", "acceleration_peak": "a_Peak", "acceleration_rms": "a_Rms", "crest": "Crest", "temperature": "Temperature",
}
