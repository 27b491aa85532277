package mqttsource

import (
	"math"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// spMetric writes one metric, with the field numbers of sparkplug_b.proto
// (Eclipse Sparkplug 3.0.0, chapter 6).
type spMetric struct {
	name     string
	alias    uint64
	datatype uint64
	unit     string // property engUnit
	value    any    // float64, float32, int32 (as two's complement), uint64, []float32
}

func (m spMetric) bytes() []byte {
	var b []byte
	if m.name != "" {
		b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), m.name)
	}
	if m.alias != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), m.alias)
	}
	if m.datatype != 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 4, protowire.VarintType), m.datatype)
	}
	if m.unit != "" { // PropertySet: keys 1, values 2; PropertyValue: type 1, string 8
		value := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 12)
		value = protowire.AppendString(protowire.AppendTag(value, 8, protowire.BytesType), m.unit)
		set := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "engUnit")
		set = protowire.AppendBytes(protowire.AppendTag(set, 2, protowire.BytesType), value)
		b = protowire.AppendBytes(protowire.AppendTag(b, 9, protowire.BytesType), set)
	}
	switch v := m.value.(type) {
	case nil:
		b = protowire.AppendVarint(protowire.AppendTag(b, 7, protowire.VarintType), 1)
	case int32:
		b = protowire.AppendVarint(protowire.AppendTag(b, 10, protowire.VarintType), uint64(uint32(v)))
	case uint64:
		b = protowire.AppendVarint(protowire.AppendTag(b, 11, protowire.VarintType), v)
	case float32:
		b = protowire.AppendFixed32(protowire.AppendTag(b, 12, protowire.Fixed32Type), math.Float32bits(v))
	case float64:
		b = protowire.AppendFixed64(protowire.AppendTag(b, 13, protowire.Fixed64Type), math.Float64bits(v))
	case []float32:
		var raw []byte
		for _, x := range v {
			raw = protowire.AppendFixed32(raw, math.Float32bits(x))
		}
		b = protowire.AppendBytes(protowire.AppendTag(b, 16, protowire.BytesType), raw)
	}
	return b
}

// spPayload writes a payload; seq below zero leaves the sequence number out.
func spPayload(seq int, ms uint64, metrics ...spMetric) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), ms)
	for _, m := range metrics {
		b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), m.bytes())
	}
	if seq >= 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), uint64(seq))
	}
	return b
}

func sparkplugChannels(t testing.TB) []Channel {
	return []Channel{
		{Machine: "pump", Channel: "speed", Topic: "spBv1.0/plant/+/edge", Device: "plant/edge", Unit: unit(t, "rpm"),
			Decode: decode.Spec{Format: decode.Sparkplug, Path: "Drive/Speed"}},
		{Machine: "pump", Channel: "temperature", Topic: "spBv1.0/plant/+/edge/press", Device: "plant/edge/press", Unit: unit(t, "degC"),
			Decode: decode.Spec{Format: decode.Sparkplug, Path: "Temp 1.x"}},
		{Machine: "pump", Channel: "vibration", Topic: "spBv1.0/plant/+/edge/press", Device: "plant/edge/press", Unit: unit(t, "g"),
			Decode: decode.Spec{Format: decode.Sparkplug, Path: "Vib", RateHz: 1000}},
	}
}

func TestSource_Sparkplug(t *testing.T) {
	broker := startMochi(t)
	c := publisher(t, broker)
	rebirths := make(chan []byte, 10)
	if tok := c.Subscribe("spBv1.0/plant/NCMD/edge", 0, func(_ mqtt.Client, m mqtt.Message) { rebirths <- m.Payload() }); !tok.WaitTimeout(10*time.Second) || tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	r := start(t, broker, sparkplugChannels(t), Options{})
	r.connected(t)
	now := uint64(time.Now().UnixMilli())
	send := func(kind string, payload []byte) { publish(t, c, "spBv1.0/plant/"+kind, false, payload) }
	next := func(channel string, want float64) sensors.Block {
		t.Helper()
		b := r.next(t)
		if b.Channel != channel || math.Abs(b.Samples[0]-want) > 1e-9 {
			t.Errorf("got %s = %v; want %s = %v", b.Channel, b.Samples, channel, want)
		}
		return b
	}

	// Data before any birth: the alias means nothing yet, and a birth is asked for.
	send("NDATA/edge", spPayload(7, now, spMetric{alias: 1, value: int32(1500)}))
	select {
	case p := <-rebirths:
		d, err := decode.New(decode.Spec{Format: decode.Sparkplug, Path: "Node Control/Rebirth"})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Decode(nil, p)[0]; got.Err != nil || got.Samples[0] != 1 {
			t.Errorf("request holds %+v; want Node Control/Rebirth = true", got)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no rebirth was asked for")
	}
	nbirth := func(bdSeq, ms uint64) []byte {
		return spPayload(0, ms, spMetric{name: "bdSeq", datatype: 8, value: bdSeq},
			spMetric{name: "Drive/Speed", alias: 1, datatype: 3, value: int32(1500)}, spMetric{name: "Other", alias: 2, datatype: 10, value: 1.5})
	}
	dbirth := func(ms uint64) []byte {
		return spPayload(1, ms, spMetric{name: "Temp 1.x", alias: 10, datatype: 2, value: int32(-20)},
			spMetric{name: "Vib", alias: 11, datatype: 30, value: []float32{1, 2}})
	}
	send("NBIRTH/edge", nbirth(4, now))
	next("speed", 25)
	send("DBIRTH/edge/press", dbirth(now))
	next("temperature", -20)
	if b := next("vibration", 9.80665); len(b.Samples) != 2 || b.RateHz != 1000 {
		t.Errorf("got %+v; want the array as a run at 1000 Hz", b)
	}
	// By alias only, types from the birth; int16 as two's complement of 16 bits.
	send("DDATA/edge/press", spPayload(2, now+1000, spMetric{alias: 10, value: int32(0xffd8)}))
	next("temperature", -40)
	send("NDATA/edge", spPayload(3, now+1000, spMetric{alias: 2, value: 9.0}, spMetric{alias: 1, value: nil}))
	send("DDATA/edge/other", spPayload(4, now+1000, spMetric{alias: 99, value: 9.0})) // a device of no interest counts on
	send("NDATA/edge", spPayload(5, now+2000, spMetric{alias: 1, value: int32(1200)}))
	if b := next("speed", 20); b.Quality != 0 {
		t.Errorf("quality %d; want 0", b.Quality)
	}

	// A gap: aliases may mean something else by now.
	send("DDATA/edge/press", spPayload(9, now+3000, spMetric{alias: 10, value: int32(5)}))
	select {
	case <-rebirths:
	case <-time.After(10 * time.Second):
		t.Fatal("no rebirth was asked for after a gap")
	}
	send("NBIRTH/edge", nbirth(5, now+4000))
	if b := next("speed", 25); b.Quality&sensors.QualityGap == 0 {
		t.Errorf("quality %d after a gap; want QualityGap", b.Quality)
	}
	send("DBIRTH/edge/press", dbirth(now+4000))
	r.next(t)
	r.next(t)

	// The will of the session before comes late and says nothing of this one.
	send("NDEATH/edge", spPayload(-1, now, spMetric{name: "bdSeq", datatype: 8, value: uint64(4)}))
	send("DDEATH/edge/press", spPayload(2, now))
	r.eventually(t, "the device's death", func(Stats) bool {
		d := r.Devices()
		return d[0].State == Live && d[0].Name == "plant/edge" && d[1].State == Stale && d[1].Name == "plant/edge/press" && d[1].Births == 2
	})
	send("NDEATH/edge", spPayload(-1, now, spMetric{name: "bdSeq", datatype: 8, value: uint64(5)}))
	s := r.eventually(t, "the node's death", func(s Stats) bool { return r.Devices()[0].State == Stale && s.Queued == 0 })
	if s.Dropped[NoBirth] != 2 || s.Dropped[Absent] != 1 {
		t.Errorf("got %+v; want two messages without a birth and one without a wanted metric", s)
	}
}

// A birth that names another unit than the channel is believed, for all data that follow;
// text that is no unit contradicts nothing.
func TestSource_SparkplugEngineeringUnit(t *testing.T) {
	broker := startMochi(t)
	c := publisher(t, broker)
	r := start(t, broker, sparkplugChannels(t), Options{})
	r.connected(t)
	now := uint64(time.Now().UnixMilli())
	send := func(kind string, payload []byte) { publish(t, c, "spBv1.0/plant/"+kind, false, payload) }
	send("NBIRTH/edge", spPayload(0, now, spMetric{name: "bdSeq", datatype: 8, value: uint64(1)},
		spMetric{name: "Drive/Speed", alias: 1, datatype: 3, unit: "revolutions", value: int32(1500)}))
	if b := r.next(t); b.Samples[0] != 25 {
		t.Errorf("got %v; want 25 Hz", b.Samples)
	}
	send("DBIRTH/edge/press", spPayload(1, now, spMetric{name: "Temp 1.x", alias: 10, datatype: 10, unit: "degF", value: 98.6}))
	send("DDATA/edge/press", spPayload(2, now+1, spMetric{alias: 10, value: 98.7}))
	r.eventually(t, "both refused", func(s Stats) bool { return s.SamplesDropped[WrongUnit] == 2 })
	send("DBIRTH/edge/press", spPayload(3, now+2, spMetric{name: "Temp 1.x", alias: 10, datatype: 10, unit: "°C", value: 37.0}))
	if b := r.next(t); b.Samples[0] != 37 {
		t.Errorf("got %v; want 37 °C", b.Samples)
	}
}
