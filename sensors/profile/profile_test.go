package profile

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"go.yaml.in/yaml/v3"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource"
)

// plant is a broker, a Source of configured devices and a client to publish with.
type plant struct {
	source *mqttsource.Source
	client mqtt.Client
	blocks chan sensors.Block
	states chan mqttsource.DeviceStats
}

// newPlant reads devices as a plant engineer writes them.
func newPlant(t *testing.T, text string) *plant {
	t.Helper()
	var devices []Device
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&devices); err != nil {
		t.Fatal(err)
	}
	var channels []mqttsource.Channel
	for i, d := range devices {
		cs, problems := d.Expand(fmt.Sprintf("m%d", i))
		if len(problems) > 0 {
			t.Fatalf("device %d: %v", i, problems)
		}
		channels = append(channels, cs...)
	}
	quiet := slog.New(slog.DiscardHandler)
	server := mochi.New(&mochi.Options{Logger: quiet})
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.AddListener(listeners.NewNet("test", l)); err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	p := &plant{blocks: make(chan sensors.Block, 100), states: make(chan mqttsource.DeviceStats, 100)}
	broker := "tcp://" + l.Addr().String()
	p.source, err = mqttsource.New(broker, channels, mqttsource.Options{OnDevice: func(d mqttsource.DeviceStats) { p.states <- d }}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.source.Run(ctx, func(b sensors.Block) error { p.blocks <- b; return nil }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	p.client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker(broker).SetAutoReconnect(false))
	if tok := p.client.Connect(); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("connect: %v", tok.Error())
	}
	t.Cleanup(func() { p.client.Disconnect(100) })
	for deadline := time.Now().Add(10 * time.Second); !p.source.Stats().Connected; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not connected")
		}
	}
	return p
}

func (p *plant) send(t *testing.T, topic, payload string) {
	t.Helper()
	if tok := p.client.Publish(topic, 1, false, payload); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatalf("publish to %s: %v", topic, tok.Error())
	}
}

func (p *plant) next(t *testing.T) sensors.Block {
	t.Helper()
	select {
	case b := <-p.blocks:
		return b
	case <-time.After(10 * time.Second):
		t.Fatalf("no block; stats %+v", p.source.Stats())
		return sensors.Block{}
	}
}

func (p *plant) state(t *testing.T, device string, want mqttsource.State) {
	t.Helper()
	select {
	case d := <-p.states:
		if d.Name != device || d.State != want {
			t.Errorf("device %s is %s; want %s %s", d.Name, d.State, device, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("device %s never became %s", device, want)
	}
}

// eventually waits for counts: a block is out a moment before it is counted.
func (p *plant) eventually(t *testing.T, ok func(mqttsource.Stats) bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(p.source.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("counts are %+v", p.source.Stats())
		}
	}
}

// value is a channel's sample in base units.
type value struct {
	channel string
	base    float64
}

func (p *plant) values(t *testing.T, want ...value) (last sensors.Block) {
	t.Helper()
	for _, w := range want {
		last = p.next(t)
		if last.Channel != w.channel || math.Abs(last.Samples[0]-w.base) > 1e-9*math.Abs(w.base) {
			t.Errorf("got %s = %v; want %s = %v", last.Channel, last.Samples, w.channel, w.base)
		}
	}
	return last
}

// Payload: tasmota.github.io/docs/MQTT, with TempUnit and PressureUnit as
// Tasmota adds them. 988.6 hPa = 98860 Pa.
func TestFamily_Tasmota(t *testing.T) {
	p := newPlant(t, `[{profile: tasmota, device: tasmota_8231A8, time_zone: "+01:00", channels: {pressure: BME280.Pressure, temperature: BME280.Temperature}}]`)
	p.send(t, "tele/tasmota_8231A8/LWT", "Online")
	p.state(t, "tasmota_8231A8", mqttsource.Live)
	const sensor = `{"Time":"2019-11-03T19:34:28","BME280":{"Temperature":21.7,"Humidity":61.2,"Pressure":988.6},"PressureUnit":"hPa","TempUnit":"%s"}`
	p.send(t, "tele/tasmota_8231A8/SENSOR", fmt.Sprintf(sensor, "C"))
	b := p.values(t, value{"pressure", 98860}, value{"temperature", 21.7})
	if want := time.Date(2019, 11, 3, 18, 34, 28, 0, time.UTC); !b.Start.Equal(want) || b.Quality != 0 {
		t.Errorf("time %v, quality %d; want %v in the zone given", b.Start, b.Quality, want)
	}
	// SetOption8 switched to Fahrenheit: the payload says so, and is believed.
	p.send(t, "tele/tasmota_8231A8/SENSOR", strings.Replace(fmt.Sprintf(sensor, "F"), "19:34", "19:39", 1))
	p.values(t, value{"pressure", 98860})
	p.send(t, "tele/tasmota_8231A8/LWT", "Offline")
	p.state(t, "tasmota_8231A8", mqttsource.Stale)
	p.eventually(t, func(s mqttsource.Stats) bool { return s.SamplesDropped[mqttsource.WrongUnit] == 1 && s.Noted == 2 })
}

// Payloads: zigbee2mqtt.io, "MQTT Topics and Messages" (Xiaomi WSDCGQ01LM) and
// "Device availability".
func TestFamily_Zigbee2MQTT(t *testing.T) {
	p := newPlant(t, `[{profile: zigbee2mqtt, device: hall/0x00158d0003030af1, channels: {temperature: temperature}}]`)
	p.send(t, "zigbee2mqtt/hall/0x00158d0003030af1", `{"temperature": 27.34,"humidity": 44.72}`)
	p.values(t, value{"temperature", 27.34})
	p.state(t, "hall/0x00158d0003030af1", mqttsource.Live)
	p.send(t, "zigbee2mqtt/bridge/state", `{"state":"offline"}`)
	p.state(t, "hall/0x00158d0003030af1", mqttsource.Stale)
	p.send(t, "zigbee2mqtt/hall/0x00158d0003030af1/availability", `{"state":"online"}`) // but its bridge is away
	p.send(t, "zigbee2mqtt/bridge/state", "online")
	p.state(t, "hall/0x00158d0003030af1", mqttsource.Live)
	p.send(t, "zigbee2mqtt/hall/0x00158d0003030af1", `{"temperature": 27.4}`)
	if b := p.next(t); b.Quality&sensors.QualityGap == 0 {
		t.Errorf("quality %d after the bridge was away; want QualityGap", b.Quality)
	}
}

// Payload: a Shelly Plus H&T's NotifyFullStatus (gist.github.com/NelsonMinar,
// 494a0f53), its fields as in shelly-api-docs.shelly.cloud/gen2, "Notifications";
// then a NotifyStatus of what changed. 67.6 °F = (67.6-32)·5/9 °C.
func TestFamily_ShellyGen2(t *testing.T) {
	p := newPlant(t, `[{profile: shelly-gen2, device: shellyplusht-b8d61a8b17cc, channels: {humidity: "humidity:0.rh", in_c: "temperature:0.tC", in_f: "temperature:0.tF"}}]`)
	const topic = "shellyplusht-b8d61a8b17cc/events/rpc"
	p.send(t, topic, `{"src":"shellyplusht-b8d61a8b17cc","dst":"shellyplusht-b8d61a8b17cc/events","method":"NotifyFullStatus","params":{"ts":1680962879.62,"ble":{},"cloud":{"connected":false},"humidity:0":{"id":0,"rh":42.2},"temperature:0":{"id":0,"tC":19.8,"tF":67.6}}}`)
	b := p.values(t, value{"humidity", 0.422}, value{"in_c", 19.8}, value{"in_f", 35.6 * 5 / 9})
	if want := time.UnixMilli(1680962879620); !b.Start.Equal(want) {
		t.Errorf("time %v; want %v", b.Start, want)
	}
	p.send(t, topic, `{"src":"shellyplusht-b8d61a8b17cc","method":"NotifyStatus","params":{"ts":1680963000.01,"sys":{"cfg_rev":11}}}`)
	p.send(t, topic, `{"src":"shellyplusht-b8d61a8b17cc","method":"NotifyStatus","params":{"ts":1680963479.11,"humidity:0":{"id":0,"rh":43}}}`)
	p.values(t, value{"humidity", 0.43})
	// A partial update must not repeat or cost a value.
	p.eventually(t, func(s mqttsource.Stats) bool { return s.Dropped[mqttsource.Absent] == 1 && s.SamplesReceived == 4 })
	p.state(t, "shellyplusht-b8d61a8b17cc", mqttsource.Live)
	p.send(t, "shellyplusht-b8d61a8b17cc/online", "false")
	p.state(t, "shellyplusht-b8d61a8b17cc", mqttsource.Stale)
}

// Topics and payloads: esphome.io/components/mqtt (state topic of a sensor; birth
// and last will "online" and "offline" at <topic_prefix>/status).
func TestFamily_ESPHome(t *testing.T) {
	p := newPlant(t, `[{profile: esphome, device: pump-room, channels: {speed: motor_speed, temperature: bearing}, units: {speed: rpm, temperature: degC}}]`)
	p.send(t, "pump-room/status", "online")
	p.state(t, "pump-room", mqttsource.Live)
	p.send(t, "pump-room/sensor/bearing/state", "41.25")
	p.send(t, "pump-room/sensor/motor_speed/state", "1480")
	p.values(t, value{"temperature", 41.25}, value{"speed", 1480.0 / 60})
	p.send(t, "pump-room/sensor/bearing/state", "nan") // a sensor without a reading
	p.send(t, "pump-room/status", "offline")
	p.state(t, "pump-room", mqttsource.Stale)
	p.eventually(t, func(s mqttsource.Stats) bool { return s.Dropped[mqttsource.NotFinite] == 1 })
}

// Payload: community.ncd.io/t/sensor-payload-keys/11865. 0.086 g · 9.80665 m/s².
func TestFamily_NCD(t *testing.T) {
	p := newPlant(t, `[{profile: ncd, topic: ncd/f1b2c7, channels: {battery: battery, battery_left: battery_percent, temperature: temperature, vibration: x_rms_ACC_G, velocity: x_velocity_mm_sec}}]`)
	p.send(t, "ncd/f1b2c7", `{"nodeId":0,"firmware":7,"battery":"3.28","battery_percent":"98.56","counter":9,"sensor_type":80,
		"sensor_data":{"mode":0,"odr":"800Hz","temperature":34.15,"x_rms_ACC_G":0.086,"x_max_ACC_G":0.065,"x_velocity_mm_sec":4.5,"x_displacement_mm":0.04,"x_peak_one_Hz":35},
		"addr":"00:13:a2:00:41:f1:b2:c7","received":1675255870737,"original":{"data":[127,0,7]}}`)
	b := p.values(t, value{"battery", 3.28}, value{"battery_left", 0.9856}, value{"temperature", 34.15},
		value{"velocity", 0.0045}, value{"vibration", 0.086 * 9.80665})
	if want := time.UnixMilli(1675255870737); !b.Start.Equal(want) {
		t.Errorf("time %v; want %v", b.Start, want)
	}
	if d := p.source.Devices(); len(d) != 1 || !d[0].ClockSkewKnown || d[0].ClockSkew > -24*time.Hour {
		t.Errorf("devices %+v; want the clock years behind", d)
	}
}

// Payload: node-red-contrib-ifm-vvb001, vvb001/data.js, with the values of its README.
func TestFamily_IfmVVB001(t *testing.T) {
	p := newPlant(t, `[{profile: ifm-vvb001, topic: ifm/1}]`)
	p.send(t, "ifm/1", `{"ts":"2022-07-07T21:32:22.133Z","v_Rms":0.0001,"a_Peak":0.2,"a_Rms":0,"Temperature":33,"Crest":4.2,"status":"OK"}`)
	b := p.values(t, value{"acceleration_peak", 0.2}, value{"acceleration_rms", 0}, value{"crest", 4.2}, value{"temperature", 33}, value{"velocity_rms", 0.0001})
	if want := time.Date(2022, 7, 7, 21, 32, 22, 133e6, time.UTC); !b.Start.Equal(want) || b.Quality != 0 {
		t.Errorf("time %v, quality %d; want %v", b.Start, b.Quality, want)
	}
}

// An event of a master of the series AL1300: its shape is that of ifm's IoT core (code,
// cid, adr, data with eventno, srcurl and payload; an element that failed has another
// code and no data). The process data are a VVB001's, captured by the authors of
// benthos-umh (processSensorData_test.go); its bytes 2, 6, 10 and so on are the exponents
// -4 and -1 themselves: 0 m/s, 0.1 m/s², 0 m/s², 0x161 = 353 tenths of °C, 0x25 = 37 tenths.
func TestFamily_IfmVVB001IOLink(t *testing.T) {
	p := newPlant(t, `[{profile: ifm-vvb001-iolink, topic: plant/al1350, device: "2"}, {profile: ifm-vvb001-iolink, topic: plant/al1350, device: "3", channels: {t: Temperature}}]`)
	event := func(two, three string) string {
		return `{"code":"event","cid":123,"adr":"/plant/al1350","data":{"eventno":"17","srcurl":"00-02-01-6D-55-8A/timer[1]/counter/datachanged","payload":{
			"/timer[1]/counter":{"code":200,"data":17},"/processdatamaster/temperature":{"code":200,"data":44},
			"/iolinkmaster/port[2]/iolinkdevice/pdin":` + two + `,"/iolinkmaster/port[3]/iolinkdevice/pdin":` + three + `}}}`
	}
	p.send(t, "plant/al1350", event(`{"code":200,"data":"0000FC000001FF000000FF000161FF000025FF03"}`, `{"code":503}`))
	p.values(t, value{"acceleration_peak", 0.1}, value{"acceleration_rms", 0}, value{"crest", 3.7}, value{"temperature", 35.3}, value{"velocity_rms", 0})
	// 32764 says that there is no value; FF38h is -200 tenths.
	p.send(t, "plant/al1350", event(`{"code":200,"data":"7FFCFC007FFCFF007FFCFF00FF38FF007FFCFF03"}`, `{"code":200,"data":"0001FC"}`))
	p.values(t, value{"temperature", -20})
	p.eventually(t, func(s mqttsource.Stats) bool {
		return s.SamplesDropped[mqttsource.Implausible] == 4 && s.SamplesDropped[mqttsource.Malformed] == 1
	})
	if d := p.source.Devices(); len(d) != 2 || d[0].Name != "plant/al1350 port 2" {
		t.Errorf("devices are %+v", d)
	}
}

// A burst of the VVB001's memory: 4 s at 25 kHz. Payload: node-red-contrib-ifm-vvb001,
// vvb001/stream-blob.js.
func TestFamily_IfmVVB001Burst(t *testing.T) {
	p := newPlant(t, `[{profile: ifm-vvb001-burst, topic: ifm/1/burst}]`)
	payload := []byte(`{"ts":"2022-07-07T21:43:34.542Z","length":200000,"acceleration":[0`)
	for i := range 99999 {
		payload = fmt.Appendf(payload, ",%.3f", float64(i+1)/1000)
	}
	p.send(t, "ifm/1/burst", string(payload)+`],"crc":"4076F8421C"}`)
	if b := p.next(t); len(b.Samples) != 100000 || b.RateHz != 25000 || b.Duration() != 4*time.Second || b.Samples[99999] != 99.999 || !b.Start.Equal(time.Date(2022, 7, 7, 21, 43, 34, 542e6, time.UTC)) {
		t.Errorf("got %d samples at %v Hz, the last %v", len(b.Samples), b.RateHz, b.Samples[len(b.Samples)-1])
	}
}

// Names: Banner QM30VT3-KQP IODD 1.2 (2025-10-16), process data mode 0; by
// definition 1 in = 0.0254 m. 98.6 °F = 37 °C.
func TestFamily_BannerQM30VT3(t *testing.T) {
	p := newPlant(t, `[{profile: banner-qm30vt3, topic: banner/1}, {profile: banner-qm30vt3, topic: banner/2, channels: {temperature: Temperature}, units: {temperature: degC}}]`)
	axis := func(axis string, v, a float64) string {
		return fmt.Sprintf(`"%[1]s-Axis RMS Velocity (in/sec) (6-1000Hz)":%[2]v,"%[1]s-Axis High Frequency RMS Acceleration (G) (1000-5300Hz)":%[3]v,`, axis, v, a)
	}
	p.send(t, "banner/1", "{"+axis("X", 0.1, 1)+axis("Y", 0.2, 2)+axis("Z", 0.3, 3)+`"Temperature (°F)":98.6}`)
	p.values(t, value{"temperature", 37}, value{"x_acceleration_rms", 9.80665}, value{"x_velocity", 0.00254},
		value{"y_acceleration_rms", 2 * 9.80665}, value{"y_velocity", 0.00508}, value{"z_acceleration_rms", 3 * 9.80665}, value{"z_velocity", 0.00762})
	p.send(t, "banner/2", `{"Temperature":37}`) // a sensor that was set to Celsius
	p.values(t, value{"temperature", 37})
}

// Pack: RFC 8428, section 5.1.3, "Multiple Measurements" (second example), with
// the current's unit in the base and relative times made absolute.
func TestFamily_SenML(t *testing.T) {
	p := newPlant(t, `[{profile: senml, topic: senml/1, channels: {current: current, voltage: "urn:dev:ow:10e2073a0108006:voltage"}, units: {current: A, voltage: V}}]`)
	p.send(t, "senml/1", `[
		{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},
		{"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3},{"n":"current","t":-3,"v":1.4},
		{"n":"current","t":-2,"v":1.5},{"n":"current","t":-1,"v":1.6},{"n":"current","v":1.7}]`)
	p.values(t, value{"voltage", 120.1})
	for i := range 6 {
		b := p.values(t, value{"current", 1.2 + 0.1*float64(i)})
		if want := time.UnixMilli(1276020076001 - int64(5-i)*1000); !b.Start.Equal(want) {
			t.Errorf("record %d: time %v; want %v", i, b.Start, want)
		}
	}
}

func TestDevice_Problems(t *testing.T) {
	for _, c := range []struct {
		device Device
		says   []string
	}{
		{Device{}, []string{"profile: missing; one of banner-qm30vt3"}},
		{Device{Profile: "tasmotta"}, []string{`did you mean "tasmota"?`}},
		{Device{Profile: "ifm-vvb001-iolink", Topic: "t"}, []string{"device: missing; profile ifm-vvb001-iolink needs the number of the master's port"}},
		{Device{Profile: "tasmota"}, []string{"device: missing", "channels: missing"}},
		{Device{Profile: "ncd"}, []string{"topic: missing"}},
		{Device{Profile: "esphome", Device: "x", Channels: map[string]string{"speed": "s"}}, []string{"units.speed: missing"}},
		{Device{Profile: "ncd", Topic: "t", Units: map[string]string{"temprature": "degF"}}, []string{`units.temprature: there is no channel`}},
		{Device{Profile: "ncd", Topic: "t", Units: map[string]string{"temperature": "degX"}}, []string{`units.temperature: unknown unit "degX"`}},
		{Device{Profile: "sparkplug", Group: "g", Channels: map[string]string{"a": "A"}, Units: map[string]string{"a": "A"}}, []string{"node: missing"}},
		{Device{Profile: "tasmota", Device: "x", TimeZone: "Mars/Base", Channels: map[string]string{"t": "A.Temperature"}}, []string{`"Mars/Base" is no time zone`}},
	} {
		_, problems := c.device.Expand("m")
		text := fmt.Sprint(problems)
		for _, say := range c.says {
			if !strings.Contains(text, say) {
				t.Errorf("%+v: problems do not say %q: %s", c.device, say, text)
			}
		}
	}
}

// Every family can be configured with what it asks for.
func TestNames_AllExpand(t *testing.T) {
	for _, name := range Names() {
		d := Device{Profile: name, Device: "d", Topic: "t/{device}", Channels: map[string]string{"c": "f"}, Units: map[string]string{"c": "1"}}
		if f := families()[name]; f.adjust != nil {
			d.Channels["c"] = "Crest"
		}
		cs, problems := d.Expand("m")
		if name == "sparkplug" {
			d.Topic, d.Group, d.Node = "", "g", "n"
			cs, problems = d.Expand("m")
		}
		if len(problems) > 0 || len(cs) != 1 {
			t.Errorf("%s: %v", name, problems)
			continue
		}
		if _, err := mqttsource.New("tcp://x", cs, mqttsource.Options{}, slog.Default()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
