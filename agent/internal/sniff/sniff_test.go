package sniff

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millwright-iot/millwright/agent"
)

// birth is a Sparkplug birth with double metrics of the given names, written from
// sparkplug_b.proto (Payload: metrics 2, seq 3; Metric: name 1, datatype 4, double 13).
func birth(names ...string) []byte {
	var b []byte
	for i, name := range names {
		m := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), name)
		m = protowire.AppendVarint(protowire.AppendTag(m, 4, protowire.VarintType), 10)
		m = protowire.AppendFixed64(protowire.AppendTag(m, 13, protowire.Fixed64Type), math.Float64bits(float64(i)))
		b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), m)
	}
	return protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), 0)
}

func float32s(n int) []byte {
	var b []byte
	for i := range n {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(9.81*math.Sin(float64(i)/7))))
	}
	return b
}

func int16s(n int) []byte {
	var b []byte
	for i := range n {
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(700*math.Sin(float64(i)/7))))
	}
	return b
}

// plant publishes what every family of the handbook looks like, one message a second.
func plant(s *Survey) {
	at := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	stamp := binary.LittleEndian.AppendUint64(nil, math.Float64bits(float64(at.Unix())))
	array := "[" + strings.TrimSuffix(strings.Repeat("0.5,-0.25,", 400), ",") + "]"
	for second := range 4 {
		now := at.Add(time.Duration(second) * time.Second)
		for topic, payload := range map[string]string{
			"tele/tasmota_8231A8/SENSOR":         `{"Time":"2019-11-03T19:34:28","BME280":{"Temperature":21.7,"Pressure":988.6},"PressureUnit":"hPa","TempUnit":"C"}`,
			"tele/tasmota_8231A8/LWT":            "Online",
			"zigbee2mqtt/hall/fan":               `{"battery":100,"linkquality":94,"temperature":27.34,"pressure":993}`,
			"shellyplusht-1/events/rpc":          `{"src":"shellyplusht-1","method":"NotifyStatus","params":{"ts":1680962879.62,"temperature:0":{"id":0,"tC":19.8,"tF":67.6}}}`,
			"boiler/sensor/flow_temp/state":      "61.25",
			"boiler/sensor/return_temp/state":    "41.5",
			"boiler/status":                      "online",
			"ncd/f1b2c7":                         `{"nodeId":0,"battery":"3.28","sensor_data":{"odr":"800Hz","temperature":24,"x_rms_ACC_G":0.086,"x_velocity_mm_sec":1.25},"received":1675255870737}`,
			"ifm/1":                              `{"v_Rms":0.0021,"a_Peak":3.4,"a_Rms":0.8,"Crest":4.1,"Temperature":39.4}`,
			"plant/al1350":                       `{"code":"event","cid":1,"adr":"/x","data":{"eventno":"1","srcurl":"y","payload":{"/iolinkmaster/port[2]/iolinkdevice/pdin":{"code":200,"data":"0000FC000001FF000000FF000161FF000025FF03"},"/iolinkmaster/port[4]/iolinkdevice/pdin":{"code":200,"data":"0001FC00"}}}}`,
			"banner/2":                           `{"X-Axis RMS Velocity (in/sec) (6-1000Hz)":0.02,"X-Axis High Frequency RMS Acceleration (G) (1000-5300Hz)":0.1,"Temperature (°F)":98.6}`,
			"gw/senml":                           `[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1.320067464e+09,"n":"temp","u":"Cel","v":23.5},{"n":"volt","u":"V","v":120.1}]`,
			"plant/press-1/state":                fmt.Sprintf(`{"ts":%d,"oil":{"temp":61.5,"pressure":101325},"rpm":1480,"cycle":7,"mode":"auto"}`, now.Unix()),
			"plant/press-1/vibration":            string(float32s(3200)),
			"plant/press-2/vibration":            string(append(append([]byte{}, stamp...), float32s(800)...)),
			"plant/press-3/accel":                string(int16s(1600)),
			"plant/press-4/data":                 `{"time":"2026-01-01T10:00:00Z","vibration":` + array + `}`,
			"plant/press-5/log":                  "time;spindle_temp;load\n2026-01-01 10:00:00;41,5;3\n",
			"plant/press-8/vib":                  `{"fs":1600,"samples":` + array + `}`,
			"plant/press-6/text":                 "hello",
			"spBv1.0/hall/NBIRTH/line-1":         string(birth("bdSeq", "Inputs/Temperature", "Inputs/Pressure")),
			"spBv1.0/hall/NDATA/line-1":          "\x18\x01",
			"spBv1.0/hall/DBIRTH/line-1/motor-3": string(birth("Vibration Velocity mm/s", "Operating hours")),
		} {
			s.Add(topic, []byte(payload), false, now)
		}
	}
	s.Add("plant/press-7/once", float32s(1024), true, at)
}

// report prints what was heard and loads it as the agent would.
func report(t *testing.T, s *Survey) (text string, cfg agent.Config, channels map[string]string) {
	t.Helper()
	topics, ignored := s.Topics()
	var b strings.Builder
	Make(topics).Print(&b, "gw1", "tcp://127.0.0.1:1883", "", 4*time.Second, ignored)
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := agent.LoadConfig(path)
	if err != nil {
		t.Fatalf("what was printed does not load: %v\n%s", err, b.String())
	}
	channels = map[string]string{}
	for i := range cfg.Machines {
		for _, ch := range cfg.Machines[i].Messages() {
			d := ch.Decode
			channels[ch.Machine+"/"+ch.Channel] = strings.TrimRight(fmt.Sprintf("%s %s %s %s %v %s", ch.Topic, ch.Unit, d.Format, d.Path, d.RateHz, d.TimePath), " ")
		}
	}
	return b.String(), cfg, channels
}

func TestReport_EveryFamilyBecomesAConfigurationThatLoads(t *testing.T) {
	s := NewSurvey()
	plant(s)
	text, _, got := report(t, s)
	for name, want := range map[string]string{
		"tasmota_8231A8/bme280_temperature":      "tele/tasmota_8231A8/SENSOR degC json BME280.Temperature 0",
		"tasmota_8231A8/bme280_pressure":         "tele/tasmota_8231A8/SENSOR hPa json BME280.Pressure 0",
		"hall-fan/temperature":                   "zigbee2mqtt/hall/fan degC json temperature 0",
		"hall-fan/pressure":                      "zigbee2mqtt/hall/fan hPa json pressure 0",
		"shellyplusht-1/temperature_0_tc":        "shellyplusht-1/events/rpc degC json params.temperature:0.tC 0 params.ts",
		"boiler/flow_temp":                       "boiler/sensor/flow_temp/state degC scalar  0",
		"boiler/return_temp":                     "boiler/sensor/return_temp/state degC scalar  0",
		"f1b2c7/x_rms_acc_g":                     "ncd/f1b2c7 g json sensor_data.x_rms_ACC_G 0 received",
		"f1b2c7/x_velocity_mm_sec":               "ncd/f1b2c7 mm/s json sensor_data.x_velocity_mm_sec 0 received",
		"1/v_rms":                                "ifm/1 m/s json v_Rms 0 ts",
		"al1350-port-2/temperature":              "plant/al1350 degC json data.payload./iolinkmaster/port[2]/iolinkdevice/pdin.data 0",
		"1/a_rms":                                "ifm/1 m/s2 json a_Rms 0 ts",
		"1/crest":                                "ifm/1 1 json Crest 0 ts",
		"2/x_axis_rms_velocity_in_sec_6_1000hz":  "banner/2 in/s json X-Axis RMS Velocity (in/sec) (6-1000Hz) 0",
		"2/temperature_f":                        "banner/2 degF json Temperature (°F) 0",
		"senml/temp":                             "gw/senml degC senml urn:dev:ow:10e2073a01080063:temp 0",
		"senml/volt":                             "gw/senml V senml urn:dev:ow:10e2073a01080063:volt 0",
		"press-1/temp":                           "plant/press-1/state degC json oil.temp 0 ts",
		"press-1/pressure":                       "plant/press-1/state Pa json oil.pressure 0 ts",
		"press-1/rpm":                            "plant/press-1/state rpm json rpm 0 ts",
		"press-1/vibration":                      "plant/press-1/vibration g float32  3200",
		"press-2/vibration":                      "plant/press-2/vibration g float32  800",
		"press-4/vibration":                      "plant/press-4/data g json_array vibration 800 time",
		"press-8/vib":                            "plant/press-8/vib g json_array samples 0",
		"log/spindle_temp":                       "plant/press-5/log degC csv spindle_temp 0 time",
		"line-1/temperature":                     "spBv1.0/hall/+/line-1 degC sparkplug Inputs/Temperature 0",
		"line-1/pressure":                        "spBv1.0/hall/+/line-1 bar sparkplug Inputs/Pressure 0",
		"line-1-motor-3/vibration_velocity_mm_s": "spBv1.0/hall/+/line-1/motor-3 mm/s sparkplug Vibration Velocity mm/s 0",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
	// What needs a person is there, but commented out.
	for _, want := range []string{
		`#      - {name: accel, topic: plant/press-3/accel, unit: g, format: int16, rate_hz: 1600} # scale must be looked up`,
		"#      - {name: load, topic: plant/press-5/log, unit: \"?\", format: csv, path: load, delimiter: \";\", time_path: time} # the unit could not be guessed",
		"rate_hz could not be measured", "press-7/once", "not a measurement", "1/s",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	// Nor does it take what says nothing of a machine.
	for name := range got {
		for _, word := range []string{"battery", "linkquality", "cycle", "nodeid", "operating"} {
			if strings.Contains(name, word) {
				t.Errorf("%s is proposed", name)
			}
		}
	}
}

// A broker with nothing of use still gives a file that says so.
func TestReport_NothingOfUse(t *testing.T) {
	s := NewSurvey()
	s.Add("a/b", []byte("hello"), false, time.Now())
	topics, _ := s.Topics()
	var b strings.Builder
	Make(topics).Print(&b, "gw1", "tcp://127.0.0.1:1883", "u", time.Second, 3)
	for _, want := range []string{"Nothing was heard that can be taken as it is", "text", "3 messages on more topics", "password_file"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestSurvey_IsBounded(t *testing.T) {
	s := NewSurvey()
	big := make([]byte, maxPayload)
	for i := range maxTopics + 10 {
		for range maxPayloads + 1 {
			s.Add(fmt.Sprint("t/", i), big, false, time.Unix(int64(i), 0))
		}
	}
	topics, ignored := s.Topics()
	if len(topics) != maxTopics || ignored != 10*(maxPayloads+1) || s.kept > maxKept {
		t.Errorf("%d topics, %d messages ignored, %d bytes kept", len(topics), ignored, s.kept)
	}
}

// Whatever a broker carries, what is printed loads.
func FuzzReport(f *testing.F) {
	s := NewSurvey()
	plant(s)
	topics, _ := s.Topics()
	for _, t := range topics {
		f.Add(t.Name, t.Payloads[0])
	}
	f.Add("a: b/{c}/#x\n", []byte(`{"a.b":{"temp ":1,"\u0000":2},"temp":[1,2,3,4,5]}`))
	f.Add("x/temp", []byte("21"))
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		if strings.ContainsAny(topic, "+#\x00") || topic == "" || len(payload) > 1<<16 {
			return // no broker delivers these
		}
		s := NewSurvey()
		now := time.Now()
		s.Add(topic, payload, false, now)
		s.Add(topic, payload, false, now.Add(time.Second))
		topics, _ := s.Topics()
		r := Make(topics)
		var b strings.Builder
		r.Print(&b, "gw1", "tcp://127.0.0.1:1883", "", time.Second, 0)
		whole := false
		for _, m := range r.Machines {
			whole = whole || m.whole()
		}
		if !whole {
			return
		}
		path := filepath.Join(t.TempDir(), "agent.yaml")
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := agent.LoadConfig(path); err != nil {
			t.Errorf("%v\n%s", err, b.String())
		}
	})
}
