package mqttsource

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// FuzzThere reads any availability payload: a known word has one meaning in any
// case and with blanks around it.
func FuzzThere(f *testing.F) {
	for _, s := range []string{"Online", "offline", `{"state":"online"}`, `{"state": "offline","x":1}`, "true", "0", `{"state":`, "{", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		is, ok := there(payload)
		if is && !ok {
			t.Error("there, and not known to be")
		}
		again, okAgain := there(" " + payload + "\n")
		if utf8.ValidString(payload) && (again != is || okAgain != ok) {
			t.Errorf("%q means %v, %v; with blanks around it %v, %v", payload, is, ok, again, okAgain)
		}
	})
}

// FuzzPattern: what a topic captures, put back, is the message's topic.
func FuzzPattern(f *testing.F) {
	f.Add("plant/{machine}/{channel}/state", "plant/p/v/state")
	f.Add("a-{device}/b", "a-1/b")
	f.Add("{machine}", "$SYS")
	f.Add("a/}{/b", "a/b")
	f.Fuzz(func(t *testing.T, topic, message string) {
		p, err := parsePattern(topic)
		if err != nil || strings.ContainsAny(message, "{}") {
			return
		}
		names, ok := p.match(message)
		if !ok || strings.ContainsAny(p.filter, "#") || strings.Count(p.filter, "+") != len(names) {
			return
		}
		if got := fillIn(topic, names); got != message {
			t.Errorf("%q matched %q as %v, which makes %q", topic, message, names, got)
		}
	})
}

// FuzzSource feeds any message of any topic through a Source with every kind of
// channel: nothing panics, blocks are valid, and the counts add up.
func FuzzSource(f *testing.F) {
	f.Add("spBv1.0/plant/NBIRTH/edge", spPayload(0, 1700000000000, spMetric{name: "Drive/Speed", alias: 1, datatype: 3, value: int32(5)}))
	f.Add("spBv1.0/plant/DDATA/edge/press", spPayload(1, 1700000000000, spMetric{alias: 1, value: int32(5)}))
	f.Add("spBv1.0/plant/NDEATH/edge", spPayload(-1, 1700000000000))
	f.Add("chunk", chunk(1, 0, 2, 1.7e9, 1, 2))
	f.Add("a/m/c", []byte("21.5"))
	f.Add("a/m/LWT", []byte("offline"))
	f.Fuzz(func(t *testing.T, topic string, payload []byte) {
		channels := append(sparkplugChannels(t), chunked(t)...)
		channels[3].Topic = "chunk"
		channels = append(channels, Channel{Topic: "a/{machine}/{channel}", Availability: []string{"a/{machine}/LWT"}, Unit: unit(t, "degC"), Decode: decode.Spec{Format: decode.Scalar}})
		s, err := New("tcp://x", channels, Options{}, (&logBuffer{}).logger())
		if err != nil {
			t.Fatal(err)
		}
		s.inbox.setOpen(true)
		c := newConn(&wire{in: strings.NewReader("")}, withLimit(100, 0, nil))
		defer c.Close()
		for _, retained := range []bool{true, false} {
			s.inbox.put(item{route: s.routes.find(topic), topic: topic, payload: payload, arrived: s.devices.started, conn: c, retained: retained})
		}
		for _, it := range s.inbox.take(nil) {
			if err := s.process(&it, func(b sensors.Block) error { return b.Validate() }); err != nil {
				t.Fatal(err)
			}
		}
		checkSums(t, s.Stats())
		s.Devices()
	})
}
