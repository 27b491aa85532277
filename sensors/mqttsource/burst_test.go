package mqttsource

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millwright-iot/millwright/sensors"
	"github.com/millwright-iot/millwright/sensors/mqttsource/decode"
)

// chunk writes a part as decode.HeaderChunk says.
func chunk(burst uint32, part, parts uint16, unix float64, samples ...int16) []byte {
	b := binary.LittleEndian.AppendUint32(nil, burst)
	b = binary.LittleEndian.AppendUint16(b, part)
	b = binary.LittleEndian.AppendUint16(b, parts)
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(unix))
	for _, x := range samples {
		b = binary.LittleEndian.AppendUint16(b, uint16(x))
	}
	return b
}

func chunked(t testing.TB) []Channel {
	return []Channel{{Machine: "m", Channel: "v", Topic: "v", Unit: unit(t, "1"),
		Decode: decode.Spec{Format: decode.Int16, RateHz: 100, Header: decode.HeaderChunk}}}
}

func TestSource_Bursts(t *testing.T) {
	broker := startMochi(t)
	c := publisher(t, broker)
	r := start(t, broker, chunked(t), Options{MaxBurstSamples: 12})
	r.connected(t)
	send := func(p []byte) { publish(t, c, "v", false, p) }
	next := func(quality sensors.Quality, unix float64, want ...float64) {
		t.Helper()
		b := r.next(t)
		if fmt.Sprint(b.Samples) != fmt.Sprint(want) || b.Quality != quality || b.RateHz != 100 || b.Start.UnixMilli() != int64(unix*1000) {
			t.Errorf("got %v, quality %d, at %v; want %v, quality %d, at %v", b.Samples, b.Quality, b.Start, want, quality, unix)
		}
	}
	const t0 = 1.7e9
	// Out of order, one part twice, mixed with a neighbour's parts.
	send(chunk(7, 2, 3, t0, 5))
	send(chunk(7, 0, 3, t0, 1, 2))
	send(chunk(7, 0, 3, t0, 1, 2))
	send(chunk(8, 1, 2, t0+1, 8))
	send(chunk(7, 1, 3, t0, 3, 4))
	next(0, t0, 1, 2, 3, 4, 5)
	send(chunk(7, 1, 3, t0, 3, 4)) // late: the burst is out
	send(chunk(8, 0, 2, t0+1, 7))
	next(0, t0+1, 7, 8)
	// No sender may hold more than the limit, nor leave more than four unfinished.
	send(chunk(9, 0, 2, t0+2, make([]int16, 13)...))
	for n := range uint32(5) {
		send(chunk(10+n, 0, 2, t0+3, int16(n)))
	}
	send(chunk(14, 1, 2, t0+3, 1))
	next(sensors.QualityGap, t0+3, 4, 1)
	send(chunk(11, 0, 3, t0+3, 1))  // says other than its burst
	send(chunk(15, 3, 3, t0+3, 1))  // no such part
	send([]byte("shorter than 16")) // no header
	s := r.eventually(t, "all settled", func(s Stats) bool { return s.Received == 17 && s.Queued == 0 })
	if s.SamplesDropped[Duplicate] != 2+2 || s.SamplesDropped[Incomplete] != 13+1 || s.SamplesHeld != 3 || s.SamplesDropped[Malformed] != 1 || s.Dropped[Malformed] != 3 {
		t.Errorf("got %+v", s)
	}
}

// JSON parts, counted from 1.
func TestSource_BurstsJSON(t *testing.T) {
	broker := startMochi(t)
	c := publisher(t, broker)
	r := start(t, broker, []Channel{{Machine: "m", Channel: "v", Topic: "v", Unit: unit(t, "g"),
		Decode: decode.Spec{Format: decode.JSONArray, Path: "d", RatePath: "odr", TimePath: "t", BurstPath: "id", PartPath: "seq", PartsPath: "of", FirstPart: 1}}}, Options{})
	r.connected(t)
	publish(t, c, "v", false, []byte(`{"id":1,"seq":2,"of":2,"odr":"800Hz","t":1700000000,"d":[3]}`))
	publish(t, c, "v", false, []byte(`{"id":1,"seq":1,"of":2,"odr":"800Hz","t":1700000000,"d":[1,2]}`))
	if b := r.next(t); len(b.Samples) != 3 || b.Samples[2] != 3*9.80665 || b.RateHz != 800 {
		t.Errorf("got %+v; want three samples at 800 Hz", b)
	}
	publish(t, c, "v", false, []byte(`{"id":1.5,"seq":1,"of":2,"odr":"800Hz","d":[1,2]}`))
	r.eventually(t, "a refusal", func(s Stats) bool { return s.SamplesDropped[Malformed] == 2 })
}

// A burst whose rest never comes is given up.
func TestSource_BurstTimeout(t *testing.T) {
	s, err := New("tcp://x", chunked(t), Options{}, (&logBuffer{}).logger())
	if err != nil {
		t.Fatal(err)
	}
	s.inbox.setOpen(true)
	at := time.Now()
	put := func(p []byte) {
		it := item{route: s.routes.find("v"), topic: "v", payload: p, arrived: at}
		s.inbox.put(it)
		for _, it := range s.inbox.take(nil) {
			if err := s.process(&it, func(sensors.Block) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(chunk(1, 0, 2, 0, 1, 2, 3))
	at = at.Add(31 * time.Second)
	put(chunk(2, 0, 1, 0, 4))
	st := s.Stats()
	checkSums(t, st)
	if st.SamplesDropped[Incomplete] != 3 || st.SamplesHeld != 0 || st.SamplesEmitted != 1 {
		t.Errorf("got %+v; want the first burst given up", st)
	}
}

func TestSkew(t *testing.T) {
	var s skew
	if _, ok := s.estimate(); ok {
		t.Error("an estimate of nothing")
	}
	// A clock 2 s ahead (arrival - time = -2 s), messages 30 to 500 ms on their way.
	for minute := range int64(25) {
		for i := range 60 {
			s.add(minute, -2*time.Second+time.Duration(30+(i*37+int(minute)*11)%470)*time.Millisecond)
		}
		if minute == 22 {
			s.add(minute, -time.Hour) // one wrong time
		}
		delay, ok := s.estimate()
		if skew := -delay; !ok || skew < 1900*time.Millisecond || skew > 1970*time.Millisecond {
			t.Errorf("minute %d: skew %v; want 2 s less the quickest way", minute, skew)
		}
	}
	s.add(100, 0) // after a long silence only what is new counts
	if delay, _ := s.estimate(); delay != 0 {
		t.Errorf("delay %v; want 0", delay)
	}
}

// A retained message is what the broker remembers: no news without a recent time.
func TestSource_Retained(t *testing.T) {
	broker := startMochi(t)
	c := publisher(t, broker)
	now := time.Now()
	publish(t, c, "a", true, []byte("1"))
	publish(t, c, "b", true, fmt.Appendf(nil, `{"v":2,"t":%d}`, now.Add(-time.Hour).Unix()))
	publish(t, c, "c", true, fmt.Appendf(nil, `{"v":3,"t":%d}`, now.Unix()))
	publish(t, c, "elsewhere", false, []byte("0")) // acknowledged after the others were kept
	channels := append(scalarChannel(t), jsonChannel(t, "b", "b", "v", "1"), jsonChannel(t, "c", "c", "v", "1"))
	channels[0].Topic = "a"
	r := start(t, broker, channels, Options{})
	if b := r.next(t); b.Channel != "c" || b.Quality != sensors.QualityRetained {
		t.Errorf("got %+v; want the only one that is recent", b)
	}
	s := r.eventually(t, "all settled", func(s Stats) bool { return s.Received == 3 && s.Queued == 0 })
	if s.Dropped[Retained] != 2 || strings.Count(r.log.String(), "reason=retained") != 2 { // one for each machine
		t.Errorf("got %+v, log:\n%s", s, r.log)
	}
	for _, d := range r.Devices() {
		if d.State != Unknown || !d.LastSeen.IsZero() {
			t.Errorf("device %+v was never heard itself", d)
		}
	}
}

// Every kind of bad input costs its own channel only, is counted under one reason
// and named in the log once a minute.
func TestSource_BadInput(t *testing.T) {
	zero := 0.0
	json := func(name, path, u string, change func(*decode.Spec)) Channel {
		c := jsonChannel(t, name, name, path, u)
		if change != nil {
			change(&c.Decode)
		}
		return c
	}
	channels := []Channel{
		json("pressure", "v", "bar", func(s *decode.Spec) { s.Min = &zero }),
		json("temperature", "v", "degC", func(s *decode.Spec) { s.UnitPath = "unit" }),
		json("speed", "v", "rpm", nil),
		{Machine: "pump-1", Channel: "burst", Topic: "burst", Unit: unit(t, "1"), Decode: decode.Spec{Format: decode.Int16, RateHz: 10}},
		json("good", "v", "1", nil),
	}
	for _, c := range []struct {
		name, topic, payload string
		reason               Reason
		says                 string
	}{
		{"wrong type", "speed", `{"v":{"x":1}}`, NotNumber, "object or array where a number is expected"},
		{"text", "speed", `{"v":"fast"}`, NotNumber, `holds \"fast\" where a number`},
		{"wrong unit", "temperature", `{"v":70,"unit":"F"}`, WrongUnit, `its unit is \"F\"`},
		{"huge number", "speed", `{"v":1e300}`, Implausible, "beyond anything measured"},
		{"beyond a double", "speed", `{"v":1e400}`, NotFinite, "where a number is expected"},
		{"negative absolute pressure", "pressure", `{"v":-0.1}`, Implausible, "beyond min, which is 0"},
		{"below absolute zero", "temperature", `{"v":-300,"unit":"C"}`, Implausible, "below absolute zero"},
		{"deep nesting", "speed", strings.Repeat(`{"v":`, 100000) + "1" + strings.Repeat("}", 100000), Malformed, "nesting deeper than"},
		{"invalid UTF-8", "speed", "{\"v\":\"\xff\xfe\"}", NotNumber, `where a number is expected`},
		{"odd length", "burst", "abc", Malformed, "not a whole number of int16 samples"},
		{"nothing", "burst", "", Malformed, "not a whole number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &logBuffer{}
				s, err := New("tcp://x", channels, Options{}, log.logger())
				if err != nil {
					t.Fatal(err)
				}
				s.inbox.setOpen(true)
				var out []sensors.Block
				put := func(topic, payload string) {
					s.inbox.put(item{route: s.routes.find(topic), topic: topic, payload: []byte(payload), arrived: time.Now()})
					for _, it := range s.inbox.take(nil) {
						if err := s.process(&it, func(b sensors.Block) error { out = append(out, b); return nil }); err != nil {
							t.Fatal(err)
						}
					}
				}
				for i := range 90 { // one a second
					put(c.topic, c.payload)
					put("good", fmt.Sprintf("{\"v\":%d,\"note\":\"\xff\"}", i))
					time.Sleep(time.Second)
				}
				st := s.Stats()
				checkSums(t, st)
				if st.Dropped[c.reason] != 90 || st.Emitted != 90 || len(out) != 90 || out[89].Channel != "good" || out[89].Samples[0] != 89 {
					t.Errorf("got %+v; want 90 dropped as %s and 90 good ones out", st, c.reason)
				}
				if n := strings.Count(log.String(), "reason="+string(c.reason)); n != 2 || !strings.Contains(log.String(), c.says) {
					t.Errorf("%d lines in 90 s; want 2 that say %q:\n%s", n, c.says, log)
				}
			})
		})
	}
}
